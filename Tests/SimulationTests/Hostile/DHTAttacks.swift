import Martlet
import MartletRuntime
import MartletSimulator
import NodeWorlds

/// A node of the DHT that lies: it asks everyone, so that it becomes known, and answers as `nodes` and `peers` say.
private struct Liar {
    let stranger: Stranger
    let id: NodeID
    let socket: UDPSocket

    init(_ stranger: Stranger, port: UInt16) throws {
        var random = stranger.environment.random
        self.stranger = stranger
        id = NodeID(boundTo: stranger.address, using: &random)
        socket = try stranger.environment.bindUDP(SocketAddress(.anyV4, port: port), options: UDPOptions())
    }

    /// Answers each question that names a target or an infohash.
    func answer(
        nodes: @escaping (NodeID) -> [(id: NodeID, address: SocketAddress)],
        peers: @escaping () -> [SocketAddress] = { [] }
    ) {
        socket.onDatagram = { [socket, id] datagram in
            guard let query = try? Bencode(Bytes(copying: datagram.bytes)), query["q"] != nil, let tag = query["t"]
            else { return }
            var values = [Self.entry("id", .string(id.bytes))]
            if case .string(let text)? = query["a"]?["info_hash"] ?? query["a"]?["target"],
                let target = try? NodeID(bytes: text.span)
            {
                var writer = Writer()
                for node in nodes(target) {
                    writer.bytes(node.id.bytes)
                    Self.write(node.address, to: &writer)
                }
                values += [
                    Self.entry("nodes", .string(writer.finish())), Self.entry("token", .string(Bytes(utf8: "t"))),
                ]
                let known = query["a"]?["info_hash"] == nil ? [] : peers()
                if !known.isEmpty {
                    let compact = known.map { address -> Bencode in
                        var writer = Writer()
                        Self.write(address, to: &writer)
                        return .string(writer.finish())
                    }
                    values.append(Self.entry("values", .list(compact)))
                }
            }
            let answer = Bencode.dictionary([
                Self.entry("r", .dictionary(values)), Self.entry("t", tag), Self.entry("y", .string(Bytes(utf8: "r"))),
            ])
            _ = socket.send(answer.encoded().span, to: datagram.source)
        }
    }

    /// Asks `member` for the nodes near this one.
    func ask(_ member: NodeWorld.Member) {
        let arguments = [Self.entry("id", .string(id.bytes)), Self.entry("target", .string(id.bytes))]
        let query = Bencode.dictionary([
            Self.entry("a", .dictionary(arguments)), Self.entry("q", .string(Bytes(utf8: "find_node"))),
            Self.entry("t", .string(Bytes(utf8: "aa"))), Self.entry("y", .string(Bytes(utf8: "q"))),
        ])
        _ = socket.send(query.encoded().span, to: SocketAddress(member.host.address, port: NodeWorld.port))
    }

    /// Asks one after the other.
    nonisolated(nonsending) func askAll() async throws {
        while true {
            for member in stranger.targets {
                ask(member)
                try await stranger.pause(.milliseconds(200))
            }
        }
    }

    private static func entry(_ key: String, _ value: Bencode) -> Bencode.Entry {
        Bencode.Entry(Bytes(utf8: key), value)
    }

    private static func write(_ address: SocketAddress, to writer: inout Writer) {
        writer.address(address.ip)
        writer.integer(address.port)
    }
}

/// Nodes of the DHT that answer each question with nodes close to the target which are all the victim.
struct FalseNodes: Attack {
    let name = "false nodes of the DHT"
    let hosts = 4

    func strike(_ stranger: Stranger) async throws {
        let liar = try Liar(stranger, port: NodeWorld.port)
        defer { liar.socket.close() }
        liar.answer { target in
            var random = stranger.environment.random
            return (0..<8).map { _ in
                let port = UInt16(1024 + stranger.draw(below: 60_000))
                return (target.drawn(sharing: 100, using: &random), SocketAddress(stranger.victim, port: port))
            }
        }
        try await liar.askAll()
    }
}

/// Nodes of the DHT that answer with nodes entitled to their ids, at addresses where nobody is.
struct DeadNodes: Attack {
    let name = "dead nodes of the DHT"
    let hosts = 4

    func strike(_ stranger: Stranger) async throws {
        let liar = try Liar(stranger, port: NodeWorld.port)
        defer { liar.socket.close() }
        liar.answer { _ in
            var random = stranger.environment.random
            return (0..<8).map { _ in
                let ip = IPAddress(
                    71, UInt8(stranger.draw(below: 256)), UInt8(stranger.draw(below: 256)),
                    UInt8(1 + stranger.draw(below: 250)))
                return (NodeID(boundTo: ip, using: &random), SocketAddress(ip, port: 6881))
            }
        }
        try await liar.askAll()
    }
}

/// One host with many ports, each of them another node of the DHT.
struct ManyPorts: Attack {
    let name = "many ports of one host"

    func strike(_ stranger: Stranger) async throws {
        let liars = try (0..<64).map { try Liar(stranger, port: UInt16(7000 + $0)) }
        defer { for liar in liars { liar.socket.close() } }
        for liar in liars { liar.answer { _ in [] } }
        while true {
            for member in stranger.targets {
                for liar in liars { liar.ask(member) }
                try await stranger.pause(.seconds(1))
            }
        }
    }
}

/// Nodes of the DHT that know a hundred peers for each topic: ports of the victim, and addresses of private networks.
struct FalsePeers: Attack {
    let name = "false peers for the topic"
    let hosts = 4

    func strike(_ stranger: Stranger) async throws {
        let liar = try Liar(stranger, port: NodeWorld.port)
        defer { liar.socket.close() }
        liar.answer { _ in
            [(liar.id, SocketAddress(stranger.address, port: NodeWorld.port))]
        } peers: {
            (0..<100).map { number in
                number % 10 == 0
                    ? SocketAddress(IPAddress(192, 168, 1, UInt8(number + 1)), port: 4001)
                    : SocketAddress(stranger.victim, port: UInt16(1024 + stranger.draw(below: 60_000)))
            }
        }
        try await liar.askAll()
    }
}
