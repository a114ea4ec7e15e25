import MartletMesh
import MartletRuntime
import MartletSimulator
import MartletWire

/// Nodes of a mesh in a simulated world, one on each host, and what they have told.
final class Crowd {
    final class Member {
        let host: Host
        let port: UInt16
        var node: MeshNode?
        var events: [MeshEvent] = []
        /// Names of who is connected, by the events alone.
        var connected: [String] = []
        var heard: [String] = []

        init(host: Host, port: UInt16) {
            self.host = host
            self.port = port
        }

        var address: MeshAddress { MeshAddress(SocketAddress(host.address, port: port)) }

        func note(_ event: MeshEvent) {
            events.append(event)
            switch event {
            case .connected(let peer, _, _): connected.append(peer.name)
            case .disconnected(let peer, _, _): connected.removeAll { $0 == peer.name }
            case .message(let peer, let text): heard.append("\(peer.name): \(text)")
            default: break
            }
        }

        func count(where condition: (MeshEvent) -> Bool) -> Int { events.count(where: condition) }
    }

    let world: World
    var members: [Member] = []

    init(seed: UInt64) { world = World(seed: seed) }

    /// A node named `name` on a host of its own, that starts at `time`.
    @discardableResult
    func join(
        _ name: String? = nil, port: UInt16 = 8001, at time: Duration = .zero, bootstrap: [MeshAddress] = [],
        _ configure: (inout MeshConfiguration) -> Void = { _ in },
        then act: (nonisolated(nonsending) (MeshNode, SimulatedEnvironment) async throws -> Void)? = nil
    ) -> Member {
        let number = members.count
        let host = world.host("h\(number)", IPAddress(192, 168, UInt8(number >> 8), UInt8(number & 255) + 1))
        let member = Member(host: host, port: port)
        members.append(member)
        var configuration = MeshConfiguration()
        configuration.name = name ?? "n\(number)"
        configure(&configuration)
        host.start { [configuration] environment in
            try await environment.loop.sleep(for: time)
            let node = MeshNode(
                port: port, bootstrap: bootstrap, configuration: configuration, environment: environment)
            member.node = node
            try await node.start()
            if let act {
                environment.loop.spawn {
                    do { try await act(node, environment) } catch { member.events.append(.failed("\(error)")) }
                }
            }
            for await event in node.events { member.note(event) }
        }
        return member
    }

    /// How many connections there are, if each is seen from both sides.
    var connections: Int { members.reduce(0) { $0 + $1.connected.count } / 2 }

    /// Whether everyone is connected to everyone, once.
    var isFull: Bool {
        members.allSatisfy { $0.connected.count == members.count - 1 && Set($0.connected).count == members.count - 1 }
    }
}

/// A program that speaks lines over TCP by hand, as a stranger would.
struct LineClient {
    let stream: ByteStream
    private let conversation: StreamConversation
    private var buffer = LineReader()

    private final class LineReader {
        var waiting: [UInt8] = []
    }

    init(_ stream: ByteStream) {
        self.stream = stream
        conversation = StreamConversation(stream)
    }

    init(dialling address: SocketAddress, _ environment: any Environment) async throws {
        self.init(
            try await environment.connectTCP(
                address, from: nil, options: TCPOptions(), deadline: environment.loop.now + .seconds(10)))
    }

    func send(_ line: String) async throws { try await send(bytes: Array((line + "\n").utf8)) }

    func send(bytes: [UInt8]) async throws { try await conversation.send(Bytes(bytes)) }

    /// The next line, or `nil` at the end.
    func line() async throws -> String? {
        while true {
            if let end = buffer.waiting.firstIndex(of: 0x0A) {
                defer { buffer.waiting.removeFirst(end + 1) }
                return String(decoding: buffer.waiting[..<end], as: UTF8.self)
            }
            guard let bytes = try await conversation.receive() else { return nil }
            buffer.waiting += Array(bytes)
        }
    }
}
