import MartletRuntime
import MartletSimulator
@testable import MartletTransport
import MartletWire
import Testing

@Suite("Stream, between two hosts")
struct StreamWorldTests {
    /// A world with a server, which has a connection to `serve` for each that comes to port 7, and a client.
    private static func world(
        _ serve: @escaping (Connection, Stream) -> Void
    ) -> (World, server: Host, client: Host) {
        let world = World(seed: 3)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        client.line.latency = .milliseconds(5)
        server.start { environment in
            let listener = try Node(environment).listen(port: 7) { connection in
                connection.onStream = { serve(connection, $0) }
            }
            try await environment.loop.sleep(until: .never)
            listener.close()
        }
        return (world, server, client)
    }

    @Test("setting one deadline, again and again, leaves the other as it is")
    func deadlines() throws {
        var kept: [Stream] = []
        let (world, server, client) = Self.world { _, stream in kept.append(stream) }
        var took: [Duration] = []
        client.start { environment in
            let loop = environment.loop
            let connection = try await Node(environment).dial(server.address, port: 7)
            for isWriting in [true, false] {
                let stream = try connection.openStream()
                let change = { isWriting ? stream.setReadDeadline(after: $0) : stream.setWriteDeadline(after: $0) }
                let begin = loop.now
                if isWriting {
                    stream.setWriteDeadline(after: .seconds(2))
                } else {
                    stream.setReadDeadline(after: .seconds(2))
                }
                var isOver = false
                loop.spawn {
                    while !isOver {
                        try? await loop.sleep(for: .milliseconds(300))
                        change(.seconds(20))
                    }
                }
                await #expect(throws: StreamError.timedOut) {
                    while true {
                        if isWriting {
                            try await stream.write(Bytes(pattern(64 << 10)))
                        } else {
                            _ = try await stream.read()
                        }
                    }
                }
                isOver = true
                took.append(loop.now - begin)
            }
        }
        try world.run(within: .seconds(100)) { took.count == 2 }
        #expect(took.allSatisfy { $0 >= .seconds(2) && $0 < .milliseconds(2100) }, "\(took)")
    }

    @Test("a deadline that was replaced does not pass, however late its timer is heard of")
    func replacedDeadline() {
        var deadline = StreamState.Deadline()
        deadline.set(after: .seconds(1))
        let before = deadline
        deadline.set(after: nil)
        let early = deadline.pass(before)
        #expect(!early && !deadline.isPast)
        let late = deadline.pass(deadline)
        #expect(late && deadline.isPast)
    }

    @Test("whoever closes a connection when its last stream has ended loses nothing of what that stream said")
    func closingAtTheEnd() throws {
        let answer = pattern(40_000)
        var ended = 0
        let (world, server, client) = Self.world { connection, stream in
            connection.whenEnded(stream) {
                ended += 1
                connection.close()
            }
            connection.loop.spawn {
                _ = try? await stream.read(exactly: 1)
                guard (try? await stream.read()) == .some(.none) else { return }
                try? await stream.write(Bytes(answer))
                stream.closeWrite()
            }
        }
        var answers: [[UInt8]] = []
        client.start { environment in
            let node = Node(environment)
            // Their records are made by turns in the same memory.
            var connections: [Connection] = []
            for _ in 0..<4 { connections.append(try await node.dial(server.address, port: 7)) }
            for connection in connections {
                let stream = try connection.openStream()
                try await stream.write(Bytes([1]))
                stream.closeWrite()
                environment.loop.spawn {
                    var received: [UInt8] = []
                    while let bytes = try? await stream.read() { received += Array(bytes) }
                    answers.append(received)
                }
            }
        }
        try world.run(within: .seconds(20)) { answers.count == 4 }
        #expect(answers.allSatisfy { $0 == answer })
        #expect(ended == 4)
    }

    @Test("what binds a stream to its connection can be asked from any thread, and when the connection is over too")
    func binding() throws {
        var streams: [Stream] = []
        let (world, server, client) = Self.world { _, stream in streams.append(stream) }
        client.start { environment in
            let connection = try await Node(environment).dial(server.address, port: 7)
            let stream = try connection.openStream()
            try await stream.write(Bytes([1]))
            streams.append(stream)
            try await environment.loop.sleep(for: .seconds(1))
            connection.close()
        }
        try world.run(for: .seconds(3))
        #expect(streams.count == 2)
        #expect(streams.first?.binding.count == 32)
        #expect(Set(streams.map(\.binding)).count == 1)
    }
}
