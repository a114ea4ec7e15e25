internal import MartletRuntime
internal import MartletWire

/// Who dials and is not yet in: counts unfinished connections and answers to strangers, and says who must prove an
/// address first. A machine.
///
/// What is counted for an address that is not proven may be somebody else's doing, since anyone can write any address on
/// a packet. So it never shuts anyone out: beyond its bounds an address must be proven, which costs those who are there
/// in earnest one round trip. Only what a proven address does is held against it.
struct QUICDoor {
    private let limits: QUICLimits
    private var counts: [QUICNewcomer: Int] = [:]
    private var unprovenHandshakes: RateLimit
    private var retries: RateLimit
    private var answers: RateLimit
    /// How many connections that others dial are unfinished.
    private(set) var halfOpen = 0
    /// The ids under which the last dialers knocked that were asked for a proof, in two generations.
    private var asked: Set<ConnectionID> = []
    private var askedBefore: Set<ConnectionID> = []

    /// A door with the bounds of `limits`.
    init(_ limits: QUICLimits) {
        self.limits = limits
        unprovenHandshakes = RateLimit(perSecond: limits.handshakesPerSecondBeforeRetry)
        retries = RateLimit(perSecond: limits.retriesPerSecond)
        answers = RateLimit(perSecond: limits.strayAnswersPerSecond)
    }

    /// Whether `newcomer`, which knocks under `id`, must prove its address before anything is kept of it or computed for
    /// it, at `now`. Counts the handshake if not.
    mutating func mustProve(_ newcomer: QUICNewcomer, by id: ConnectionID, at now: Instant) -> Bool {
        if newcomer.isProven { return false }
        // A ClientHello may fill two packets. After the Retry that answers the first, the dialer goes on under another id
        // and never finishes what the second by itself would begin.
        if asked.contains(id) || askedBefore.contains(id) { return true }
        if halfOpen >= min(limits.halfOpenBeforeRetry, limits.halfOpen) { return true }
        let most = min(limits.halfOpenPerAddressBeforeRetry, limits.halfOpenPerAddress)
        if counts[newcomer, default: 0] >= most { return true }
        // No packet from outside bears an address of this host.
        return !newcomer.host.isLoopback && !unprovenHandshakes.allows(at: now)
    }

    /// The dialer that knocks under `id` is asked for a proof of its address.
    mutating func askedForProof(_ id: ConnectionID) {
        asked.insert(id)
        guard asked.count >= limits.rememberedRetries else { return }
        askedBefore = asked
        asked = []
    }

    /// How many ids are remembered of dialers that were asked for a proof.
    var rememberedRetries: Int { asked.count + askedBefore.count }

    /// Why `newcomer` cannot come in, or `nil` if it can.
    func refusal(of newcomer: QUICNewcomer) -> QUICRefusal? {
        guard halfOpen < limits.halfOpen else { return .halfOpen }
        return counts[newcomer, default: 0] < limits.halfOpenPerAddress ? nil : .halfOpenPerAddress
    }

    /// A connection of `newcomer` has begun.
    mutating func began(_ newcomer: QUICNewcomer) {
        halfOpen += 1
        counts[newcomer, default: 0] += 1
    }

    /// A connection of `newcomer` is unfinished no longer.
    mutating func finished(_ newcomer: QUICNewcomer) {
        guard let count = counts[newcomer] else { return }
        halfOpen -= 1
        counts[newcomer] = count > 1 ? count - 1 : nil
    }

    /// Whether one more Retry may be sent at `now`; counts it if so.
    mutating func allowsRetry(at now: Instant) -> Bool { retries.allows(at: now) }

    /// Whether one more other answer may be sent at `now`; counts it if so.
    mutating func allowsAnswer(at now: Instant) -> Bool { answers.allows(at: now) }
}

/// Under what a connection that somebody else dials is counted as unfinished.
struct QUICNewcomer: Hashable {
    /// Its IPv4 address or IPv6 /64.
    let host: IPAddress
    /// Whether it has shown that what is sent there reaches it.
    let isProven: Bool

    /// One from `address`.
    init(_ address: IPAddress, isProven: Bool) {
        let address = address.unmapped
        // The /64 of `::1` has other addresses, none of which is a host's.
        host = address.isV4 || address.isLoopback ? address : address.prefix(64)
        self.isProven = isProven
    }
}
