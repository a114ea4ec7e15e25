public import MartletRuntime

/// What kind of connection it is, from its first moment on.
public struct ConnectionNature: Hashable, Sendable {
    /// Who dialled whom.
    public enum Direction: Hashable, Sendable {
        /// The other side dialled.
        case inbound
        /// This side dialled.
        case outbound
    }

    /// Who dialled whom.
    public var direction: Direction
    /// Which transport carries it: `tcp`, `quic-v1`.
    public var transport: String
    /// What secures it: `/noise`, `/tls/1.0.0`; `nil` where the transport does.
    public var security: String?
    /// What divides it into streams: `/yamux/1.0.0`; `nil` where the transport does.
    public var muxer: String?
    /// Whether a third peer passes it on.
    public var isRelayed = false
    /// Whether time or bytes on it are rationed, so that only what has to should use it.
    public var isLimited = false
    /// Whether a better connection to the same peer should take its place.
    public var isReplaceable = false

    /// A direct, unlimited connection that is here to stay.
    public init(direction: Direction, transport: String, security: String? = nil, muxer: String? = nil) {
        self.direction = direction
        self.transport = transport
        self.security = security
        self.muxer = muxer
    }
}

/// Why a connection ended, or could not do what was asked.
public enum ConnectionError: Error, Hashable, Sendable {
    /// This side closed it, with `code`.
    case closed(code: UInt64)
    /// The other side closed it, with `code`.
    case closedByPeer(code: UInt64)
    /// The network took it away.
    case network(NetworkError.Reason)
    /// The other side did not answer for so long that it is taken for gone.
    case unanswered
    /// Nothing was said for so long that the transport gave up.
    case idle
    /// The other side broke the rules; `detail` says how.
    case violation(Violation, detail: String)
    /// As many streams are open as this side or the other allows.
    case tooManyStreams
    /// No more streams can be opened: the connection is being closed, or its numbers are used up.
    case noMoreStreams
    /// The conversation that waited was cancelled.
    case cancelled
    /// It did not happen by its deadline.
    case timedOut
}

/// What has gone over a connection so far.
public struct ConnectionStatistics: Hashable, Sendable {
    /// Bytes of streams that came in.
    public var bytesReceived: UInt64 = 0
    /// Bytes of streams that went out.
    public var bytesSent: UInt64 = 0
    /// Streams that the other side opened.
    public var streamsAccepted: UInt64 = 0
    /// Streams that this side opened.
    public var streamsOpened: UInt64 = 0
    /// Streams that are open.
    public var openStreams = 0
    /// The time from a question to its answer, as last estimated.
    public var roundTripTime: Duration?

    /// Nothing yet.
    public init() {}
}
