import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("World")
struct WorldTests {
    /// Answers every datagram at port 7 with itself.
    static func echoUDP(_ environment: SimulatedEnvironment) async throws {
        let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 7), options: UDPOptions())
        socket.onDatagram = { datagram in
            _ = socket.send(datagram.bytes, to: datagram.source)
        }
        try await environment.loop.sleep(until: .never)
    }

    @Test("a datagram takes the latency of both lines each way")
    func latency() throws {
        let world = World(seed: 1)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        server.line.latency = .milliseconds(10)
        client.line.latency = .milliseconds(30)
        server.start(Self.echoUDP)
        var answered: Instant?
        client.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 0), options: UDPOptions())
            socket.onDatagram = { datagram in
                #expect(datagram.bytes.byteCount == 3)
                answered = environment.loop.now
            }
            _ = socket.send(Bytes([1, 2, 3]).span, to: SocketAddress(IPAddress(192, 0, 2, 1), port: 7))
        }
        try world.run(for: .seconds(1))
        #expect(answered == .start + .milliseconds(80))
        #expect(world.statistics.delivered == 2)
    }

    @Test("a TCP stream arrives whole and in order over a line that loses a fifth")
    func lossyTCP() throws {
        let world = World(seed: 2)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        client.line = LinkConditions(latency: .milliseconds(20), jitter: .milliseconds(5), loss: 0.2)
        server.start { environment in
            let listener = try environment.listenTCP(SocketAddress(.anyV4, port: 7), options: TCPOptions())
            listener.onConnection = { stream in
                environment.loop.spawn {
                    let conversation = StreamConversation(stream)
                    while let bytes = try? await conversation.receive() { try? await conversation.send(bytes) }
                    stream.close()
                }
            }
            try await environment.loop.sleep(until: .never)
        }
        var received: [UInt8] = []
        var isDone = false
        let sent = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        client.start { environment in
            let stream = try await environment.connectTCP(
                SocketAddress(IPAddress(192, 0, 2, 1), port: 7), from: nil, options: TCPOptions(),
                deadline: environment.loop.now + .seconds(30))
            let conversation = StreamConversation(stream)
            try await conversation.send(Bytes(sent))
            stream.finish()
            while let bytes = try await conversation.receive() { received += Array(bytes) }
            isDone = true
        }
        try world.run(within: .seconds(200)) { isDone }
        #expect(received == sent)
        #expect(world.statistics.dropped[.loss] > 0)
    }
}
