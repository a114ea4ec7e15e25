public import MartletWire

/// A machine that decides which of a host's addresses to dial when (RFC 8305), so that a family of addresses that
/// does not work costs a moment and not a timeout.
///
/// It is told what comes: `handleAnswer` for each family once, whether or not it brought addresses,
/// `handleFailure` and `handleSuccess` of attempts, `handleTimeout` at its `deadline`. After each of these, dial every
/// `nextAttempt` until there is none, then arm one timer for `deadline`. It is over when an attempt has succeeded
/// (cancel the others) or `isExhausted`.
public struct HappyEyeballs<Address: Sendable>: Sendable {
    /// How long an answer with IPv4 addresses waits for the one with IPv6 addresses (RFC 8305 §3).
    public var resolutionDelay = Duration.milliseconds(50)
    /// How long an attempt has before the next begins beside it (RFC 8305 §5).
    public var attemptDelay = Duration.milliseconds(250)

    private var waiting: (v4: [Address], v6: [Address]) = ([], [])
    private var answered: (v4: Bool, v6: Bool) = (false, false)
    /// The family of the attempt that began last; the next is of the other, where there is one.
    private var lastFamily: IPAddress.Family?
    private var begun = 0
    private var running = 0
    /// When the next attempt may begin.
    private var earliest: Instant?
    private var now: Instant

    /// Whether an attempt has succeeded.
    public private(set) var hasSucceeded = false

    /// Nothing known yet, at `now`.
    public init(at now: Instant) {
        self.now = now
    }

    /// When `handleTimeout` is due, or `nil`.
    public var deadline: Instant? {
        hasSucceeded || (waiting.v4.isEmpty && waiting.v6.isEmpty) ? nil : earliest
    }

    /// Whether there is nothing left to try and nothing to wait for.
    public var isExhausted: Bool {
        !hasSucceeded && answered.v4 && answered.v6 && waiting.v4.isEmpty && waiting.v6.isEmpty && running == 0
    }

    /// The addresses of one family have come, best first; none where it has none or could not be asked.
    public mutating func handleAnswer(_ addresses: [Address], of family: IPAddress.Family, at now: Instant) {
        self.now = max(self.now, now)
        if family == .v4 {
            waiting.v4 += addresses
            answered.v4 = true
        } else {
            waiting.v6 += addresses
            answered.v6 = true
        }
        guard begun == 0 else { return }
        if answered.v6 {
            earliest = self.now
        } else if earliest == nil, !waiting.v4.isEmpty {
            earliest = self.now + resolutionDelay
        }
    }

    /// An attempt has failed; another begins in its place.
    public mutating func handleFailure(at now: Instant) {
        self.now = max(self.now, now)
        running -= 1
        earliest = self.now
    }

    /// An attempt has succeeded; no other begins.
    public mutating func handleSuccess() {
        running -= 1
        hasSucceeded = true
    }

    /// `deadline` has come.
    public mutating func handleTimeout(at now: Instant) {
        self.now = max(self.now, now)
    }

    /// An address to dial now, or `nil` where none is due.
    public mutating func nextAttempt() -> Address? {
        guard !hasSucceeded, let earliest, earliest <= now else { return nil }
        let wantsV6 = lastFamily != .v6
        let address: Address
        if !waiting.v6.isEmpty, wantsV6 || waiting.v4.isEmpty {
            address = waiting.v6.removeFirst()
            lastFamily = .v6
        } else if !waiting.v4.isEmpty {
            address = waiting.v4.removeFirst()
            lastFamily = .v4
        } else {
            return nil
        }
        begun += 1
        running += 1
        self.earliest = now + attemptDelay
        return address
    }
}
