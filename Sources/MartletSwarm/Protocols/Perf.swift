public import MartletIdentity
internal import MartletRuntime
internal import MartletTransport
internal import MartletWire

/// What a measurement by `/perf/1.0.0` gave.
public struct PerfResult: Hashable, Sendable {
    /// Bytes that were sent.
    public var sent: UInt64
    /// How long it took to send them.
    public var sending: Duration
    /// Bytes that came back.
    public var received: UInt64
    /// How long it took, from the last byte that was sent, until they were there.
    public var receiving: Duration
}

// `/perf/1.0.0` (libp2p's perf specification): the asker says how many bytes it wants, sends as many as it likes, and gets
// those that it wanted. The specification warns of offering it to everyone.
extension Swarm {
    private static let perfName = "/perf/1.0.0"
    private static let perfPiece = 64 << 10

    /// Answers `/perf/1.0.0` from now on, for two streams of a peer at a time.
    public func servePerf() {
        handle(Self.perfName, limit: 2) { [weak self] stream, _ in
            guard let self else { return }
            self.loop.spawn { await self.answerPerf(stream) }
        }
    }

    private nonisolated(nonsending) func answerPerf(_ stream: Stream) async {
        do throws(StreamError) {
            stream.setReadDeadline(after: .seconds(120))
            let wanted = try await stream.read(exactly: 8)
            while try await stream.read() != nil { stream.setReadDeadline(after: .seconds(120)) }
            var reader = Reader(wanted.span)
            try await Self.send((try? reader.integer(UInt64.self)) ?? 0, on: stream)
            stream.closeWrite()
        } catch {
            giveUp(stream, error)
        }
    }

    private nonisolated(nonsending) static func send(_ count: UInt64, on stream: Stream) async throws(StreamError) {
        let piece = Bytes(count: perfPiece) { $0.initializeMemory(as: UInt8.self, repeating: 0) }
        var rest = count
        while rest > 0 {
            let size = Int(min(rest, UInt64(piece.count)))
            stream.setWriteDeadline(after: .seconds(120))
            try await stream.write(piece.slice(0..<size))
            rest -= UInt64(size)
        }
    }

    /// Sends `upload` bytes to `peer`, then has it send `download`, and says how long each took.
    public nonisolated(nonsending) func perf(
        to peer: PeerID, upload: UInt64, download: UInt64
    ) async throws(SwarmError) -> PerfResult {
        let stream = try await openRawStream(to: peer, by: loop.now + limits.dialTimeout)
        var wanted = Writer(capacity: 8)
        wanted.integer(download)
        let start: Instant
        let sent: Instant
        var received: UInt64 = 0
        do throws(StreamError) {
            // Agreed on before anything is sent: a peer that does not speak it takes what is sent for nonsense, and breaks
            // the stream off before it can be heard why.
            stream.setReadDeadline(after: limits.negotiationTimeout)
            _ = try await stream.negotiate([Self.perfName])
            start = loop.now
            try await stream.write(wanted.finish())
            try await Self.send(upload, on: stream)
            stream.closeWrite()
            sent = loop.now
            stream.setReadDeadline(after: .seconds(120))
            while let piece = try await stream.read() { received += UInt64(piece.count) }
        } catch {
            throw SwarmError(error)
        }
        guard received == download else { throw .violation("\(received) bytes instead of \(download)") }
        return PerfResult(sent: upload, sending: sent - start, received: received, receiving: loop.now - sent)
    }
}
