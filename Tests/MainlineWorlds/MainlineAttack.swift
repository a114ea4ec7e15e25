import MartletMainline
import MartletRuntime
import MartletSimulator
import MartletWire

/// What an attacker does with many nodes of his own.
public enum Attack: Hashable, Sendable {
    /// Ids forged close to the first topic, on so many addresses in so many networks. They name only each other, and
    /// swallow what is announced.
    case sybil(addresses: Int, networks: Int)
    /// Nodes with honest ids, each in a network of its own, that answer with nodes close to what is asked for which do
    /// not exist, under addresses that entitle to those ids.
    case poison(addresses: Int)
}

/// The nodes of an attacker in a world. They make themselves known to everybody.
final class Attackers {
    private let net: SimulatedDHT
    private let attack: Attack
    private var own: [(id: NodeID, address: SocketAddress)] = []
    /// Nodes that do not exist, in the order of their ids.
    private var invented: [(id: NodeID, address: SocketAddress)] = []

    /// How many nodes are invented: of so many, some share 17 bits with whatever is asked for.
    private static let inventions = 1 << 17

    init(_ net: SimulatedDHT, _ attack: Attack, around topic: Topic) {
        self.net = net
        self.attack = attack
        let victims = net.world.hosts.filter { $0.network === net.world.internet }.map(\.address)
        var generator = WorldGenerator(net.world)
        switch attack {
        case .sybil(let addresses, let networks):
            for number in 0..<addresses {
                let ip = IPAddress(90, 1, UInt8(number % networks), UInt8(1 + number / networks))
                // As close as no honest node of ten thousand.
                let id = topic.infohash.drawn(sharing: 64, using: &generator)
                own.append((id, SocketAddress(ip, port: 6881)))
            }
        case .poison(let addresses):
            for number in 0..<addresses {
                let ip = IPAddress(90, UInt8(1 + number / 250), UInt8(number % 250), 1)
                own.append((NodeID(boundTo: ip, using: &generator), SocketAddress(ip, port: 6881)))
            }
            for number in 0..<Self.inventions {
                let ip = IPAddress(v4: 0x6400_0001 + UInt32(number) << 8)
                invented.append((NodeID(boundTo: ip, using: &generator), SocketAddress(ip, port: 6881)))
            }
            invented.sort { $0.id < $1.id }
        }
        let hosts = own.indices.map { net.world.host("attacker\($0)", own[$0].address.ip) }
        for (number, host) in hosts.enumerated() {
            host.line = net.line
            // The world runs nothing once its test has let go of this object.
            host.start { [unowned self] environment in
                let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 6881), options: UDPOptions())
                // The world runs nothing once its test has let go of this object.
                socket.onDatagram = { [unowned self] datagram in
                    guard let answer = answer(Bytes(copying: datagram.bytes), number) else { return }
                    _ = socket.send(answer.span, to: datagram.source)
                }
                var random = environment.random
                while true {
                    let victim = victims[Int(random.next() % UInt64(victims.count))]
                    _ = socket.send(query(number).span, to: SocketAddress(victim, port: 6881))
                    try await environment.loop.sleep(for: .milliseconds(500))
                }
            }
        }
    }

    private func entry(_ key: String, _ value: Bencode) -> Bencode.Entry { Bencode.Entry(Bytes(utf8: key), value) }

    private func text(_ text: String) -> Bencode { .string(Bytes(utf8: text)) }

    private func query(_ number: Int) -> Bytes {
        let arguments = [entry("id", .string(own[number].id.bytes)), entry("target", .string(own[number].id.bytes))]
        return Bencode.dictionary([
            entry("a", .dictionary(arguments)), entry("q", text("find_node")), entry("t", text("aa")),
            entry("y", text("q")),
        ]).encoded()
    }

    private func answer(_ datagram: Bytes, _ number: Int) -> Bytes? {
        guard let query = try? Bencode(datagram), query["q"] != nil, let transaction = query["t"] else { return nil }
        var values = [entry("id", .string(own[number].id.bytes))]
        if case .string(let target)? = query["a"]?["info_hash"] ?? query["a"]?["target"],
            let target = try? NodeID(bytes: target.span)
        {
            var nodes = Writer()
            for node in named(for: target, by: number) {
                nodes.bytes(node.id.bytes)
                nodes.address(node.address.ip)
                nodes.integer(node.address.port)
            }
            values += [entry("nodes", .string(nodes.finish())), entry("token", text("t"))]
        }
        return Bencode.dictionary([entry("r", .dictionary(values)), entry("t", transaction), entry("y", text("r"))])
            .encoded()
    }

    /// The eight nodes that an answer tells of.
    private func named(for target: NodeID, by number: Int) -> [(id: NodeID, address: SocketAddress)] {
        if case .sybil = attack { return (1...8).map { own[(number + $0 * 37) % own.count] } }
        var low = 0
        var high = invented.count
        while low < high {
            let middle = (low + high) / 2
            if invented[middle].id < target { low = middle + 1 } else { high = middle }
        }
        // Each attacker invents others.
        let first = min(max(0, low - 32 + 8 * (number % 8)), invented.count - 8)
        return Array(invented[first..<first + 8])
    }
}

/// Numbers that a world draws.
private struct WorldGenerator: RandomNumberGenerator {
    let world: World

    init(_ world: World) { self.world = world }

    mutating func next() -> UInt64 { world.draw() }
}
