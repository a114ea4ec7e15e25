public import MartletWire

/// What came of a read.
public enum ReadResult: Hashable, Sendable {
    /// So many bytes were read, at least one.
    case bytes(Int)
    /// Nothing is there; `onReadable` will be called when something is.
    case wouldBlock
    /// The other side has ended its direction, and everything before the end has been read.
    case end
    /// The stream is broken, or closed.
    case failed(NetworkError.Reason)
}

/// An ordered stream of bytes each way, on a loop: a TCP connection, or something that stands in its place.
///
/// Reading is by pull, so that the reader chooses the memory and the pace: when `onReadable` is called, `read` until
/// it says `wouldBlock`, or stop and read on later by `readLater`. Writing queues; what is queued goes out together at
/// the end of the turn. A writer that stops when `write` says `false` and goes on at `onWritable` keeps the queue
/// within bounds. A conversation uses `receive` and `send` instead of all that.
///
/// The class is abstract: an environment makes its own kind.
open class ByteStream {
    /// The loop on which it calls back.
    public let loop: EventLoop
    /// Something can be read, or the end or a failure has come.
    public var onReadable: (() -> Void)?
    /// The queue has fallen below its low mark after a `write` said `false`, or the stream has failed.
    public var onWritable: (() -> Void)?

    /// A stream for subclasses.
    public init(loop: EventLoop) {
        self.loop = loop
    }

    /// This end's address, where there is such a thing.
    open var localAddress: SocketAddress? { nil }

    /// The other end's address, where there is such a thing.
    open var remoteAddress: SocketAddress? { nil }

    /// How many bytes the system sends in one segment, where there is such a thing.
    open var segmentSize: Int? { nil }

    /// Why the stream broke, once it has.
    open var failure: NetworkError.Reason? { nil }

    /// Reads what is there into `buffer`, at most as much as it holds. `buffer` must not be empty.
    open func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
        preconditionFailure("abstract")
    }

    /// Calls `onReadable` again soon, for a reader that stopped before `wouldBlock`.
    open func readLater() {
        preconditionFailure("abstract")
    }

    /// Queues `bytes`. Says whether more may be written before `onWritable`; they are queued either way. On a stream
    /// that is broken or closed they go nowhere.
    @discardableResult
    open func write(_ bytes: Bytes) -> Bool {
        preconditionFailure("abstract")
    }

    /// How many bytes are queued and not yet handed to the system.
    open var queued: Int {
        preconditionFailure("abstract")
    }

    /// Ends this side's direction after what is queued. The other direction goes on.
    open func finish() {
        preconditionFailure("abstract")
    }

    /// Closes both directions, what is queued still being sent for a few seconds, as far as the other side takes it and
    /// not too many such streams keep each other waiting. Nothing is called back afterwards.
    open func close() {
        preconditionFailure("abstract")
    }

    /// Breaks the stream off: what is queued is dropped and the other side sees a reset. Nothing is called back
    /// afterwards.
    open func reset() {
        preconditionFailure("abstract")
    }
}

/// How a TCP socket is to be opened.
public struct TCPOptions: Hashable, Sendable {
    /// Whether small writes go out at once (no Nagle).
    public var noDelay = true
    /// How long a silent connection is left before the system asks whether the other side is there; `nil` for never.
    public var keepAlive: Duration? = .seconds(60)
    /// How much may be queued before `write` says `false`.
    public var highWaterMark = 1 << 20
    /// How far the queue must fall before `onWritable`.
    public var lowWaterMark = 256 << 10
    /// How many connections may wait to be accepted.
    public var backlog = 1024
    /// Whether several sockets may be bound to the address: to dial from the port that one listens on, too.
    public var reusesPort = false

    /// The defaults.
    public init() {}
}

/// Accepts connections on a loop.
///
/// The class is abstract: an environment makes its own kind.
open class TCPListener {
    /// The loop on which it calls back.
    public let loop: EventLoop
    /// The address it is bound to, with the port it was given.
    public let localAddress: SocketAddress
    /// Takes a connection. Without a taker, connections wait in the backlog.
    open var onConnection: ((ByteStream) -> Void)?

    /// A listener bound to `localAddress`, for subclasses.
    public init(loop: EventLoop, localAddress: SocketAddress) {
        self.loop = loop
        self.localAddress = localAddress
    }

    /// Stops accepting. Connections that were taken live on.
    open func close() {
        preconditionFailure("abstract")
    }
}
