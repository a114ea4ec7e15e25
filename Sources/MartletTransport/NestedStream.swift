public import MartletRuntime
public import MartletWire

/// A stream of a connection as an ordered stream of bytes like TCP's, so that another connection can be made inside it.
///
/// It takes over the stream, and is used on the loop of the stream's connection.
public final class NestedStream: ByteStream {
    private let stream: Stream
    private let link: StreamLink
    private var isReadPlanned = false
    private var owesWritable = false
    private var isClosed = false

    /// Takes over `stream`.
    public init(_ stream: Stream) {
        self.stream = stream
        link = stream.link
        super.init(loop: stream.link.loop)
        link.onReadable = { [weak self] in self?.readLater() }
        link.onWritable = { [weak self] in self?.tellWritable() }
    }

    /// Why the stream broke, once it has.
    public override var failure: NetworkError.Reason? { link.failure.map { Self.reason($0) } }

    /// Reads what is there into `buffer`.
    public override func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
        guard !isClosed else { return .failed(.closed) }
        do throws(StreamError) {
            let (piece, wakes) = try link.takeInput(atLeast: 1) { $0.take(upTo: buffer.count) }
            if wakes { link.wake() }
            switch piece {
            case .bytes(let bytes):
                bytes.withUnsafeBytes { buffer.copyMemory(from: $0) }
                return .bytes(bytes.count)
            case .nothingYet: return .wouldBlock
            case .end: return .end
            case .negotiationFirst: return .failed(.closed)
            }
        } catch {
            return .failed(Self.reason(error))
        }
    }

    /// Calls `onReadable` again soon.
    public override func readLater() {
        guard !isReadPlanned, !isClosed else { return }
        isReadPlanned = true
        // Not at once: what comes in is handed out while the connection below is busy with it.
        loop.afterThis { [self] in
            isReadPlanned = false
            if !isClosed { onReadable?() }
        }
    }

    /// Queues `bytes`. Says whether more may be written before `onWritable`.
    @discardableResult
    public override func write(_ bytes: Bytes) -> Bool {
        guard !isClosed, let (hasRoom, wakes) = try? link.append(bytes) else { return true }
        if wakes { link.wake() }
        if !hasRoom { owesWritable = true }
        return hasRoom
    }

    private func tellWritable() {
        guard owesWritable, !isClosed else { return }
        owesWritable = false
        onWritable?()
    }

    /// How many bytes wait for the connection below.
    public override var queued: Int { link.output.count }

    /// Ends this side's direction after what is queued.
    public override func finish() {
        stream.closeWrite()
    }

    /// Closes both directions, what is queued still being sent.
    public override func close() {
        detach()
        stream.closeWrite()
        stream.closeRead()
    }

    /// Breaks the stream off.
    public override func reset() {
        detach()
        stream.reset()
    }

    private func detach() {
        isClosed = true
        onReadable = nil
        onWritable = nil
        link.onReadable = nil
        link.onWritable = nil
    }

    private static func reason(_ error: StreamError) -> NetworkError.Reason {
        switch error {
        case .connection(.network(let reason)): reason
        case .connection, .closed: .closed
        case .timedOut: .timedOut
        default: .reset
        }
    }
}
