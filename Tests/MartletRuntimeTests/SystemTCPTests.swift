import MartletRuntime
import MartletWire
import Testing

@Suite("TCP of the system")
struct SystemTCPTests {
    /// Everything until the end.
    static func readAll(_ stream: ByteStream) async throws -> Bytes {
        let conversation = StreamConversation(stream)
        var all = Writer()
        while let bytes = try await conversation.receive(upTo: 1 << 16) { all.bytes(bytes) }
        return all.finish()
    }

    @Test("both ends know each other's address and hear each other", arguments: [IPAddress.loopbackV4, .loopbackV6])
    func echo(ip: IPAddress) async throws {
        try await withEnvironment { environment in
            let pair = try await Pair(environment, ip)
            #expect(pair.client.remoteAddress == pair.listener.localAddress)
            #expect(pair.server.localAddress == pair.listener.localAddress)
            #expect(pair.server.remoteAddress == pair.client.localAddress)
            let client = StreamConversation(pair.client)
            let server = StreamConversation(pair.server)
            for size in [1, 64, 1000, 16384] {
                try await client.send(pattern(size))
                let heard = try await server.receive()
                #expect(heard == pattern(size))
                try await server.send(pattern(size, from: 1))
                let answer = try await client.receive()
                #expect(answer == pattern(size, from: 1))
            }
        }
    }

    @Test("a connection knows how long its segments are, and one that is closed does not")
    func segments() async throws {
        try await withEnvironment { environment in
            let pair = try await Pair(environment)
            #expect(try #require(pair.client.segmentSize) > 1000)
            #expect(try #require(pair.server.segmentSize) > 1000)
            pair.client.close()
            pair.server.reset()
            #expect(pair.client.segmentSize == nil && pair.server.segmentSize == nil)
        }
    }

    @Test("many writes of one turn arrive in order, and the queue is empty before the loop waits again")
    func gather() async throws {
        try await withEnvironment { environment in
            let pair = try await Pair(environment)
            var expected = Writer()
            for number in 0..<2000 {
                let piece = pattern(number % 300, from: number)
                pair.client.write(piece)
                expected.bytes(piece)
            }
            let whole = expected.finish()
            #expect(pair.client.queued == whole.count)
            pair.client.finish()
            let received = try await Self.readAll(pair.server)
            #expect(received == whole)
            #expect(pair.client.queued == 0)
        }
    }

    @Test("each direction ends by itself, first one way and then the other")
    func halfClose() async throws {
        try await withEnvironment { environment in
            for isClientFirst in [true, false] {
                let pair = try await Pair(environment)
                let (first, second) = isClientFirst ? (pair.client, pair.server) : (pair.server, pair.client)
                first.write(Bytes(utf8: "question"))
                first.finish()
                #expect(first.write([9]), "what is written behind the end goes nowhere")
                let question = try await Self.readAll(second)
                #expect(question == Bytes(utf8: "question"))
                second.write(pattern(100_000))
                second.finish()
                let answer = try await Self.readAll(first)
                #expect(answer == pattern(100_000))
                first.close()
                second.close()
                var byte: UInt8 = 0
                #expect(withUnsafeMutableBytes(of: &byte) { first.read(into: $0) } == .failed(.closed))
            }
        }
    }

    @Test("what was queued before close still arrives, all of it, at a reader that is slow")
    func closeSends() async throws {
        try await withEnvironment { environment in
            let pair = try await Pair(environment)
            // Unread input must not turn the end into a reset.
            pair.server.write(pattern(1000))
            try await environment.loop.sleep(for: .milliseconds(2))
            let whole = pattern(8 << 20)
            pair.client.write(whole)
            pair.client.close()
            try await environment.loop.sleep(for: .milliseconds(5))
            let received = try await Self.readAll(pair.server)
            #expect(received == whole)
        }
    }

    @Test("a reset drops what is queued and is seen as one")
    func reset() async throws {
        try await withEnvironment { environment in
            let pair = try await Pair(environment)
            let server = StreamConversation(pair.server)
            pair.client.write(pattern(100))
            pair.client.reset()
            await #expect(throws: NetworkError(.reset, "receive", pair.server.remoteAddress)) {
                _ = try await server.receive()
            }
            #expect(pair.server.failure == .reset)
            #expect(pair.server.write([1]), "nobody waits for a stream that is broken")
            await #expect(throws: NetworkError(.reset, "send", pair.server.remoteAddress)) {
                try await server.send([1])
            }
        }
    }

    @Test("a reader that comes late hears of what came early, and one that stops early is called again")
    func lateReader() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let pair = try await Pair(environment)
            pair.client.write(pattern(100))
            try await loop.sleep(for: .milliseconds(2))
            let done = Signal(on: loop)
            var calls = 0
            var read: [UInt8] = []
            pair.server.onReadable = {
                calls += 1
                var ten = [UInt8](repeating: 0, count: 10)
                if case .bytes(let count) = ten.withUnsafeMutableBytes({ pair.server.read(into: $0) }) {
                    read += ten.prefix(count)
                }
                if read.count < 100 { pair.server.readLater() } else { done.signal() }
            }
            try await done.wait()
            #expect(calls == 10)
            #expect(Bytes(read) == pattern(100))
        }
    }

    @Test("connections wait in the backlog until someone takes them")
    func lateTaker() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let listener = try environment.listenTCP(SocketAddress(.loopbackV4, port: 0), options: TCPOptions())
            var clients: [ByteStream] = []
            for _ in 0..<3 {
                clients.append(
                    try await environment.connectTCP(
                        listener.localAddress, from: nil, options: TCPOptions(), deadline: loop.now + .seconds(5)))
            }
            try await loop.sleep(for: .milliseconds(2))
            let taken = Mailbox<ByteStream>(on: loop)
            listener.onConnection = { taken.put($0) }
            let servers = try await taken.next(3)
            #expect(servers.map(\.remoteAddress) == clients.map(\.localAddress))
        }
    }

    @Test("a dial that is refused, late or cancelled says so")
    func dialErrors() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let gone = try environment.listenTCP(SocketAddress(.loopbackV4, port: 0), options: TCPOptions())
            gone.close()
            let deadline = loop.now + .seconds(10)
            await #expect(throws: NetworkError(.refused, "connect", gone.localAddress)) {
                _ = try await environment.connectTCP(
                    gone.localAddress, from: nil, options: TCPOptions(), deadline: deadline)
            }
            let full = try await FullListener(environment)
            let address = full.listener.localAddress
            for wait in [Duration.milliseconds(20), .zero] {
                await #expect(throws: NetworkError(.timedOut, "connect", address)) {
                    _ = try await full.dial(by: loop.now + wait)
                }
            }
            let reason = Mailbox<NetworkError.Reason?>(on: loop)
            let task = loop.spawn {
                do throws(NetworkError) {
                    _ = try await full.dial()
                    reason.put(nil)
                } catch {
                    reason.put(error.reason)
                }
            }
            try await loop.sleep(for: .milliseconds(2))
            task.cancel()
            let why = try await reason.next()
            #expect(why == .cancelled)
            full.close()
        }
    }

    @Test("one can dial from the port on which one listens, and from a given address")
    func dialFrom() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            var options = TCPOptions()
            options.reusesPort = true
            let own = try environment.listenTCP(SocketAddress(.loopbackV4, port: 0), options: options)
            let other = try environment.listenTCP(SocketAddress(.loopbackV4, port: 0), options: options)
            let taken = Mailbox<ByteStream>(on: loop)
            other.onConnection = { taken.put($0) }
            for from in [own.localAddress, SocketAddress(IPAddress(127, 0, 0, 9), port: 0)] {
                let client = try await environment.connectTCP(
                    other.localAddress, from: from, options: options, deadline: loop.now + .seconds(5))
                let server = try await taken.next()
                #expect(server.remoteAddress == client.localAddress)
                #expect(server.remoteAddress?.ip == from.ip)
                if from.port != 0 { #expect(server.remoteAddress == from) }
                client.reset()
                server.reset()
            }
        }
    }
}
