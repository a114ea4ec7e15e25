internal import MartletRuntime

/// The pings of a Yamux connection, its own and the other side's: a machine.
///
/// One ping of its own is under way at a time. Its value is drawn at random, so that only one who reads it can answer it.
struct YamuxPings {
    private let interval: Duration
    private let timeout: Duration
    private let perSecond: Int
    private var value: UInt32 = 0
    private var sent: Instant?
    private var next: Instant
    private var second = Instant.start
    private var inSecond = 0
    /// The time from a ping to its answer, smoothed.
    private(set) var roundTripTime: Duration?

    /// The pings within `limits`, the first of which is due at `first`.
    init(_ limits: YamuxLimits, first: Instant) {
        interval = limits.pingInterval
        timeout = limits.pingTimeout
        perSecond = limits.pingsPerSecond
        next = first
    }

    /// When `handleTimeout` is to be called.
    var deadline: Instant { sent.map { $0 + timeout } ?? next }

    /// Returns the value of the ping that is to go out now, if one is due.
    mutating func handleTimeout(
        at now: Instant, using random: inout some RandomNumberGenerator
    ) throws(YamuxError) -> UInt32? {
        if let sent {
            if now >= sent + timeout { throw .unanswered }
            return nil
        }
        guard now >= next else { return nil }
        value = UInt32(truncatingIfNeeded: random.next())
        sent = now
        return value
    }

    /// Takes an answer. Returns whether it answers the ping that is under way.
    mutating func handleAnswer(_ answer: UInt32, at now: Instant) -> Bool {
        guard let sent, answer == value else { return false }
        let sample = now - sent
        roundTripTime = roundTripTime.map { ($0 * 7 + sample) / 8 } ?? sample
        self.sent = nil
        next = now + interval
        return true
    }

    /// Counts a ping of the other side.
    mutating func handlePing(at now: Instant) throws(YamuxError) {
        if now >= second + .seconds(1) { (second, inSecond) = (now, 0) }
        inSecond += 1
        guard inSecond <= perSecond else { throw .tooManyPings }
    }
}
