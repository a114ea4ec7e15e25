import MartletMainline
import MartletRuntime
import MartletSimulator
import MartletWire

/// A flood of forged ids close to one topic. Each attacker makes himself known to everybody, names only other attackers,
/// and swallows announcements.
final class SybilAttack {
    private let net: SimulatedDHT
    private let target: NodeID
    private var sybils: [(id: Bytes, address: SocketAddress)] = []

    init(_ net: SimulatedDHT, around topic: Topic, addresses: Int, networks: Int) {
        self.net = net
        target = topic.infohash
        let victims = net.world.hosts.filter { $0.network === net.world.internet }.map(\.address)
        var hosts: [Host] = []
        for number in 0..<addresses {
            let address = IPAddress(90, 1, UInt8(number % networks), UInt8(1 + number / networks))
            let host = net.world.host("sybil\(number)", address)
            host.line = net.line
            hosts.append(host)
            // The first eight bytes are the target's, which no honest node of ten thousand has.
            var id = Array(target.bytes.prefix(8))
            while id.count < 20 { id.append(UInt8(truncatingIfNeeded: net.world.draw())) }
            sybils.append((Bytes(id), SocketAddress(address, port: 6881)))
        }
        for (number, host) in hosts.enumerated() {
            // The world runs nothing once its test has let go of this object.
            host.start { [unowned self] environment in
                let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 6881), options: UDPOptions())
                // The world runs nothing once its test has let go of this object.
                socket.onDatagram = { [unowned self] datagram in
                    guard let answer = answer(Bytes(copying: datagram.bytes), from: datagram.source, number) else {
                        return
                    }
                    _ = socket.send(answer.span, to: datagram.source)
                }
                var random = environment.random
                while true {
                    let victim = victims[Int(random.next() % UInt64(victims.count))]
                    _ = socket.send(query(number).span, to: SocketAddress(victim, port: 6881))
                    try await environment.loop.sleep(for: .milliseconds(200))
                }
            }
        }
    }

    private func entry(_ key: String, _ value: Bencode) -> Bencode.Entry { Bencode.Entry(Bytes(utf8: key), value) }

    private func text(_ text: String) -> Bencode { .string(Bytes(utf8: text)) }

    private func query(_ number: Int) -> Bytes {
        let arguments = [entry("id", .string(sybils[number].id)), entry("target", .string(target.bytes))]
        return Bencode.dictionary([
            entry("a", .dictionary(arguments)), entry("q", text("find_node")), entry("t", text("aa")),
            entry("y", text("q")),
        ]).encoded()
    }

    private func answer(_ datagram: Bytes, from source: SocketAddress, _ number: Int) -> Bytes? {
        guard let query = try? Bencode(datagram), query["q"] != nil, let transaction = query["t"] else { return nil }
        var nodes = Writer()
        for step in 1...8 {
            let sybil = sybils[(number + step * 37) % sybils.count]
            nodes.bytes(sybil.id)
            nodes.address(sybil.address.ip)
            nodes.integer(sybil.address.port)
        }
        let values = [
            entry("id", .string(sybils[number].id)), entry("nodes", .string(nodes.finish())), entry("token", text("t")),
        ]
        return Bencode.dictionary([entry("r", .dictionary(values)), entry("t", transaction), entry("y", text("r"))])
            .encoded()
    }
}
