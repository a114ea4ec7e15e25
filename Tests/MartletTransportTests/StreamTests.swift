import MartletIdentity
import MartletRuntime
@testable import MartletTransport
import MartletWire
import Synchronization
import TestSupport
import Testing

/// Two nodes on loops of their own, and a connection between them. The test itself is on neither loop.
final class LoopbackPair: Sendable {
    let server: SystemEnvironment
    let client: SystemEnvironment
    private let security: [SecurityProtocol]

    init(security: [SecurityProtocol] = [.noise, .tls]) throws {
        self.security = security
        server = try loopbackEnvironment("server")
        client = try loopbackEnvironment("client")
    }

    /// Opens `count` streams on a new connection; `serve` has the other ends, each in a task of its own.
    func open(_ count: Int = 1, serve: @escaping @Sendable (Stream) async throws -> Void) async throws -> [Stream] {
        let server = server
        let client = client
        let security = security
        let port = try await server.loop.run {
            let listener = try Node(server, security: security).listen(port: 0, on: IPAddress(127, 0, 0, 1)) {
                connection in
                connection.onStream = { stream in
                    Task.detached { try? await serve(stream) }
                }
            }
            return listener.address.port ?? 0
        }
        return try await client.loop.run {
            let connection = try await Node(client, security: security).dial(IPAddress(127, 0, 0, 1), port: port)
            return try (0..<count).map { _ in try connection.openStream() }
        }
    }

    func close() async {
        await client.shutdown()
        await server.shutdown()
    }
}

@Suite("Stream, from tasks off the loop")
struct StreamTests {
    private func withPair(_ body: (LoopbackPair) async throws -> Void) async throws {
        let pair = try LoopbackPair()
        do {
            try await body(pair)
        } catch {
            await pair.close()
            throw error
        }
        await pair.close()
    }

    @Test("four megabytes come back while both sides read and write at once", .timeLimit(.minutes(1)))
    func bulk() async throws {
        try await withPair { pair in
            let stream = try await pair.open { try await echo($0) }[0]
            let sent = pattern(Sanitizer.amount(4 << 20, reduced: 1 << 20))
            let bytes = Bytes(sent)
            async let writing: Void = {
                var offset = 0
                while offset < bytes.count {
                    let size = min(60_000, bytes.count - offset)
                    try await stream.write(bytes.slice(offset..<offset + size))
                    offset += size
                }
                stream.closeWrite()
            }()
            var received: [UInt8] = []
            while let piece = try await stream.read() { received += Array(piece) }
            try await writing
            #expect(received == sent)
        }
    }

    @Test("messages keep their bounds, larger than a window as well, and pin nothing", .timeLimit(.minutes(1)))
    func messages() async throws {
        try await withPair { pair in
            let stream = try await pair.open { stream in
                while let message = try await stream.readMessage(upTo: 1 << 20) {
                    try await stream.writeMessage(message)
                }
                stream.closeWrite()
            }[0]
            for size in [0, 1, 60, 127, 128, 16_383, 16_384, 300_000, 1 << 20] {
                let message = Bytes(pattern(size))
                try await stream.writeMessage(message)
                #expect(try await stream.readMessage(upTo: 1 << 20) == message)
            }
            try await stream.writeMessage(Bytes(pattern(60)))
            await #expect(throws: StreamError.messageTooLarge(size: 60)) { try await stream.readMessage(upTo: 59) }
            stream.closeWrite()
            #expect(try await stream.readMessage(upTo: 60)?.count == 60)
            #expect(try await stream.readMessage(upTo: 60) == nil)
        }
    }

    @Test("a cancelled read and one past its deadline leave the stream usable", .timeLimit(.minutes(1)))
    func cancellation() async throws {
        try await withPair { pair in
            let stream = try await pair.open { try await echo($0) }[0]
            for _ in 0..<20 {
                let reading = Task { try await stream.read() }
                await Task.yield()
                reading.cancel()
                await #expect(throws: StreamError.cancelled) { try await reading.value }
            }
            stream.setReadDeadline(after: .milliseconds(5))
            await #expect(throws: StreamError.timedOut) { try await stream.read() }
            stream.setReadDeadline(after: nil)
            try await stream.write(Bytes([1, 2, 3]))
            #expect(try await stream.read(exactly: 3) == Bytes([1, 2, 3]))
        }
    }

    @Test(
        "a proposed protocol is agreed on wherever the answer is cut, and a reader who waits gets what comes behind it",
        .timeLimit(.minutes(1)))
    func consent() async throws {
        try await withPair { pair in
            let answer = Array("\u{13}/multistream/1.0.0\n\u{06}/echo\n".utf8)
            let cuts = Mutex(0)
            let streams = try await pair.open(answer.count) { stream in
                _ = try await stream.read(exactly: answer.count)
                let cut = cuts.withLock { cut in
                    cut += 1
                    return cut
                }
                try await stream.write(Bytes(answer[..<cut]))
                try await stream.write(Bytes(answer[cut...] + [1, 2]))
                try await stream.write(Bytes([3]))
                stream.closeWrite()
            }
            for stream in streams {
                try stream.propose("/echo")
                #expect(try await stream.read(exactly: 3) == Bytes([1, 2, 3]))
                #expect(try await stream.read() == nil)
            }
        }
    }

    @Test("a reader learns that a proposed protocol is not spoken", .timeLimit(.minutes(1)))
    func refusal() async throws {
        try await withPair { pair in
            let stream = try await pair.open { stream in
                try await stream.write(Bytes(utf8: "\u{13}/multistream/1.0.0\n"))
                try await stream.write(Bytes(utf8: "\u{03}na\n"))
                while try await stream.read() != nil {}
            }[0]
            try stream.propose("/echo")
            await #expect(throws: StreamError.protocolsNotSupported(["/echo"])) {
                try await stream.read(exactly: 100)
            }
        }
    }

    @Test("a second reader is told that there is one", .timeLimit(.minutes(1)))
    func busy() async throws {
        try await withPair { pair in
            let stream = try await pair.open { try await echo($0) }[0]
            await #expect(throws: StreamError.busy) {
                try await withThrowingTaskGroup { group in
                    for _ in 0..<2 { group.addTask { try await stream.read() } }
                    defer { group.cancelAll() }
                    // Nothing comes, so the first to be done is the one that was refused.
                    _ = try await group.next()
                }
            }
        }
    }

    @Test(
        "a writer waits for a reader that does not read, and a reset with a code ends its wait", .timeLimit(.minutes(1))
    )
    func backPressure() async throws {
        try await withPair { pair in
            let written = Atomic(0)
            let stream = try await pair.open { stream in
                _ = try await stream.read(exactly: 1)
                while written.load(ordering: .relaxed) < 256 << 10 { await Task.yield() }
                stream.reset(code: 42)
            }[0]
            let piece = Bytes([UInt8](repeating: 1, count: 16 << 10))
            await #expect(throws: StreamError.reset(code: 42)) {
                while true {
                    try await stream.write(piece)
                    written.add(piece.count, ordering: .relaxed)
                }
            }
            // A window, what the kernel and the queues hold, and not a byte without bound.
            #expect(written.load(ordering: .relaxed) < 8 << 20)
            await #expect(throws: StreamError.reset(code: 42)) { try await stream.read() }
        }
    }

    @Test("a stream that is dropped is reset; one that was closed for writing still delivers", .timeLimit(.minutes(1)))
    func dropping() async throws {
        try await withPair { pair in
            let (ends, ended) = AsyncStream.makeStream(of: Result<Int, StreamError>.self)
            var streams = try await pair.open(2) { stream in
                var count = 0
                do throws(StreamError) {
                    while let bytes = try await stream.read() { count += bytes.count }
                    ended.yield(.success(count))
                } catch {
                    ended.yield(.failure(error))
                }
            }
            var results = ends.makeAsyncIterator()
            try await streams[1].write(Bytes(pattern(100_000)))
            streams[1].closeWrite()
            streams.removeLast()
            #expect(await results.next() == .success(100_000))
            try await streams[0].write(Bytes([1]))
            streams.removeLast()
            #expect(await results.next() == .failure(.reset(code: 0)))
        }
    }

    @Test("a hundred streams at once each get back their own", .timeLimit(.minutes(1)))
    func many() async throws {
        try await withPair { pair in
            let streams = try await pair.open(100) { try await echo($0) }
            try await withThrowingTaskGroup { group in
                for (index, stream) in streams.enumerated() {
                    group.addTask {
                        let sent = Bytes([UInt8](repeating: UInt8(index), count: 20_000))
                        try await stream.write(sent)
                        stream.closeWrite()
                        #expect(try await stream.read(exactly: sent.count) == sent)
                        #expect(try await stream.read() == nil)
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
