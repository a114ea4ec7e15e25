internal import MartletRuntime

/// The bounds of a QUIC transport: what a stranger can make it hold or do.
public struct QUICLimits: Hashable, Sendable {
    /// How many connections there may be.
    public var connections = 10_000
    /// How many connections that others dial may be unfinished.
    public var halfOpen = 512
    /// From how many unfinished ones on a dialer must prove its address first, by Retry.
    public var halfOpenBeforeRetry = 64
    /// From how many unfinished ones on that bear one IPv4 address or IPv6 /64 without proof, the next must prove it.
    public var halfOpenPerAddressBeforeRetry = 8
    /// How many handshakes a second are begun with dialers that have not proven their addresses; the next must do so
    /// first. A handshake costs about half a millisecond, so packets with made-up addresses take up one twentieth of a
    /// core. Those that come from this host itself are not counted.
    public var handshakesPerSecondBeforeRetry = 100
    /// How many of the unfinished may come from one IPv4 address or one IPv6 /64 that is proven.
    public var halfOpenPerAddress = 32
    /// How long a handshake may take.
    public var handshakeTimeout = Duration.seconds(10)
    /// How long a connection may be silent.
    public var idleTimeout = Duration.seconds(30)
    /// After how much silence the side that dialled says something; less where the other side's idle timeout asks for it.
    public var keepAlive = Duration.seconds(15)
    /// How long what is queued may take to go out once a connection is being closed.
    public var closeTimeout = Duration.seconds(3)
    /// How many streams of a connection the other side may have open.
    public var streams = 256
    /// How many bytes of a stream may be on their way to its reader at first, and at most when the window has grown.
    public var streamWindow = 256 << 10...16 << 20
    /// The same for all streams of a connection together.
    public var connectionWindow = 1 << 20...24 << 20
    /// How many bytes QUIC may hold for a connection where the node's memory is used up, beside what its own packets in
    /// flight take. One that holds more is closed.
    public var memoryWhenExhausted = 128 << 10
    /// How many Retry packets a second are sent. They have a rate of their own because they are the way in for everyone
    /// while there is a flood.
    public var retriesPerSecond = 10_000
    /// Of how many of the last dialers at least that were asked by Retry for a proof of their addresses the ids are
    /// remembered, and of at most twice as many. What else comes under these ids begins no handshake.
    public var rememberedRetries = 512
    /// How many other answers a second strangers get who have no connection: Version Negotiation, refusals and stateless
    /// resets together.
    public var strayAnswersPerSecond = 1_000

    /// The defaults.
    public init() {}
}

/// Why a QUIC endpoint did not do what a datagram asked for.
public enum QUICRefusal: Int, CaseIterable, Hashable, Sendable {
    /// Too many connections.
    case connections
    /// No memory for one more connection, or for all that the other side of one made it hold.
    case memory
    /// Too many unfinished connections.
    case halfOpen
    /// Too many unfinished connections from that address.
    case halfOpenPerAddress
    /// Nobody listens, or the listener does not let that address in.
    case notAdmitted
    /// The dialer must prove its address first; it was sent a Retry.
    case addressNotProven
    /// The proof of the address is wrong or too old.
    case token
    /// Another version of QUIC; the versions were sent.
    case version
    /// A packet for a connection that does not exist.
    case unknownConnection
    /// Not a packet that can begin a connection, nor any other.
    case malformed
    /// A handshake that failed, by the other side's fault or wish.
    case handshake
    /// An answer that was due, but too many strangers were answered already.
    case answersExhausted
}

/// How often an endpoint refused, by reason, and what else it counted.
public struct QUICStatistics: Hashable, Sendable {
    /// Connections that came about.
    public internal(set) var established = 0
    /// Connections that there are.
    public internal(set) var connections = 0
    /// Connections that others dial and that are unfinished.
    public internal(set) var halfOpen = 0
    /// Stateless resets that were sent.
    public internal(set) var resetsSent = 0
    /// Batches of packets that the network did not take.
    public internal(set) var sendFailures = 0
    private var counts = Array(repeating: 0, count: QUICRefusal.allCases.count)

    /// Nothing yet.
    public init() {}

    /// How often it refused for `reason`.
    public internal(set) subscript(reason: QUICRefusal) -> Int {
        get { counts[reason.rawValue] }
        set { counts[reason.rawValue] = newValue }
    }

    mutating func add(_ other: QUICStatistics) {
        established += other.established
        connections += other.connections
        halfOpen += other.halfOpen
        resetsSent += other.resetsSent
        sendFailures += other.sendFailures
        for reason in QUICRefusal.allCases { self[reason] += other[reason] }
    }
}

/// A machine that allows something a number of times a second, and saves up for at most one second.
struct RateLimit {
    private let perSecond: Int64
    private var fullAt = Instant.start

    init(perSecond: Int) {
        self.perSecond = Int64(max(perSecond, 1))
    }

    /// Whether one more is allowed at `now`; then it is counted.
    mutating func allows(at now: Instant) -> Bool {
        let step = Duration.nanoseconds(1_000_000_000 / perSecond)
        let next = max(fullAt, now) + step
        guard next - now <= .seconds(1) else { return false }
        fullAt = next
        return true
    }
}
