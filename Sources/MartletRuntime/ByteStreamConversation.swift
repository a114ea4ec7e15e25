public import MartletWire

/// Reading and writing a stream as straight-line code. A stream is used either so or by its callbacks, which this
/// sets; it has one reader and one writer at a time.
public struct StreamConversation {
    private let stream: ByteStream
    private let readable: Signal
    private let writable: Signal

    /// Takes over the callbacks of `stream`.
    public init(_ stream: ByteStream) {
        self.stream = stream
        let readable = Signal(on: stream.loop)
        let writable = Signal(on: stream.loop)
        self.readable = readable
        self.writable = writable
        stream.onReadable = { readable.signal() }
        stream.onWritable = { writable.signal() }
    }

    /// The next bytes, as they come, at most `maximum`; `nil` at the end. Cancelling leaves the stream as it was.
    public nonisolated(nonsending) func receive(upTo maximum: Int = 16 << 10) async throws(NetworkError) -> Bytes? {
        var room = Writer(capacity: maximum)
        while true {
            var result = ReadResult.wouldBlock
            room.append(upTo: maximum) { buffer in
                result = stream.read(into: buffer)
                if case .bytes(let count) = result { return count }
                return 0
            }
            switch result {
            case .bytes: return room.finish().compacted()
            case .end: return nil
            case .failed(let reason): throw NetworkError(reason, "receive", stream.remoteAddress)
            case .wouldBlock: try await wait(for: readable, "receive")
            }
        }
    }

    /// Writes `bytes`, and waits while more than the stream's high mark is queued.
    public nonisolated(nonsending) func send(_ bytes: Bytes) async throws(NetworkError) {
        if let failure = stream.failure { throw NetworkError(failure, "send", stream.remoteAddress) }
        guard !stream.write(bytes) else { return }
        try await wait(for: writable, "send")
        if let failure = stream.failure { throw NetworkError(failure, "send", stream.remoteAddress) }
    }

    private nonisolated(nonsending) func wait(for signal: Signal, _ operation: String) async throws(NetworkError) {
        do {
            try await signal.wait()
        } catch {
            throw NetworkError(.cancelled, operation, stream.remoteAddress)
        }
    }
}
