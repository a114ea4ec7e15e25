import MartletRuntime
import MartletSimulator
import MartletWire

/// A UDP socket on a host that writes down what comes to it.
final class Probe {
    private(set) var received: [(text: String, source: SocketAddress, at: Instant)] = []
    private(set) var socket: UDPSocket!
    let host: Host
    /// Whether it sends everything back.
    var echoes = false

    init(on host: Host, port: UInt16 = 4000, at address: IPAddress? = nil) {
        self.host = host
        host.start { [self] environment in
            let any = host.address.isV4 ? IPAddress.anyV4 : .anyV6
            socket = try environment.bindUDP(SocketAddress(address ?? any, port: port), options: UDPOptions())
            socket.onDatagram = { [self] datagram in
                let text = Bytes(copying: datagram.bytes).utf8 ?? "?"
                received.append((text, datagram.source, environment.loop.now))
                if echoes { _ = socket.send(datagram.bytes, to: datagram.source) }
            }
            try await environment.loop.sleep(until: .never)
        }
    }

    /// What came, without who sent it.
    var texts: [String] { received.map(\.text) }

    func send(_ text: String, to destination: SocketAddress) {
        _ = socket.send(Bytes(utf8: text).span, to: destination)
    }

    func send(_ text: String, to probe: Probe) {
        send(text, to: SocketAddress(probe.host.address, port: probe.socket.localAddress.port))
    }

    /// Sends `count` datagrams of `size` bytes that begin with their number.
    func burst(_ count: Int, size: Int, to probe: Probe) {
        for number in 0..<count {
            let text = String(number)
            send(text + String(repeating: " ", count: max(0, size - text.count)), to: probe)
        }
    }

    /// The numbers of a burst that came.
    var numbers: [Int] { texts.compactMap { Int($0.prefix { $0 != " " }) } }
}

/// Takes connections at port 7 of a host, and does with each what it is told.
func serve(
    _ host: Host, options: TCPOptions = TCPOptions(),
    _ conversation: nonisolated(nonsending) @escaping (ByteStream, EventLoop) async throws -> Void
) {
    host.start { environment in
        let listener = try environment.listenTCP(SocketAddress(.anyV4, port: 7), options: options)
        listener.onConnection = { stream in
            environment.loop.spawn { try? await conversation(stream, environment.loop) }
        }
        defer { listener.close() }
        try await environment.loop.sleep(until: .never)
    }
}

/// Sends back what comes, until the end, and then ends, too.
nonisolated(nonsending) func echo(_ stream: ByteStream, _ loop: EventLoop) async throws {
    let conversation = StreamConversation(stream)
    while let bytes = try await conversation.receive() { try await conversation.send(bytes) }
    stream.close()
}

extension SimulatedEnvironment {
    /// A connection to port 7 of `host`.
    nonisolated(nonsending) func connect(
        _ host: Host, port: UInt16 = 7, within limit: Duration = .seconds(30)
    ) async throws(NetworkError) -> ByteStream {
        try await connectTCP(
            SocketAddress(host.address, port: port), from: nil, options: TCPOptions(), deadline: loop.now + limit)
    }
}

/// So many bytes of a pattern in which each place looks different.
func pattern(_ count: Int) -> Bytes {
    Bytes((0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ $0 >> 16) })
}

/// Two hosts on the internet.
func pair(_ world: World, _ line: LinkConditions = LinkConditions()) -> (Host, Host) {
    let one = world.host("one", IPAddress(192, 0, 2, 1))
    let two = world.host("two", IPAddress(192, 0, 2, 2))
    one.line = line
    two.line = line
    return (one, two)
}

extension World {
    /// Runs until `condition` is true; for tests that wait for an event.
    func wait(_ limit: Duration = .seconds(300), for condition: () -> Bool) throws {
        try run(within: limit, until: condition)
    }
}
