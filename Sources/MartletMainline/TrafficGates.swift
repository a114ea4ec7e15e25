import MartletRuntime
import MartletWire

/// A rate, and how much at once after a pause: one point in time says how far the allowance is used up (the generic
/// cell rate algorithm).
struct RateGate {
    private var full = Instant.start

    /// Whether `amount` may pass now where `perSecond` do, and as much more at once as comes in `burst`. If so, it does.
    mutating func pass(_ amount: Int, perSecond: Int, burst: Duration, at now: Instant) -> Bool {
        let next = max(full, now) + .nanoseconds(Int64(amount) * 1_000_000_000 / Int64(max(1, perSecond)))
        guard next <= now + burst else { return false }
        full = next
        return true
    }

    /// When one more will be let pass; in the past where it would be now.
    func reopens(perSecond: Int, burst: Duration) -> Instant {
        full + .nanoseconds(1_000_000_000 / Int64(max(1, perSecond))) - burst
    }

    /// Whether one more would be let pass.
    func isOpen(perSecond: Int, burst: Duration, at now: Instant) -> Bool {
        reopens(perSecond: perSecond, burst: burst) <= now
    }
}

extension IPAddress {
    /// What every bound by host counts: an IPv4 address, or the /64 that each IPv6 host has for itself.
    var counted: IPAddress { isV4 ? self : prefix(64) }
}

/// What keeps this node from being used against others: how much each source, and each network, may make it send.
///
/// Sources are spread over a fixed number of counters by a keyed hash, so memory is bounded whatever comes, and nobody
/// can choose with whom he shares one. Those that do share one share its allowance.
struct TrafficGates {
    /// Why an answer is not sent.
    enum Refusal: Hashable {
        case sourceRate, sourceBytes, networkBytes
    }

    private struct Proof {
        var tag: UInt32 = 0
        /// Until when, in seconds of the clock; 0 for never.
        var end: UInt32 = 0
    }

    private let limits: MainlineLimits
    private let hash: SipHash
    private var answers: [RateGate]
    private var sourceBytes: [RateGate]
    private var networkBytes: [RateGate]
    private var proofs: [Proof]

    /// As much as comes in this time is let pass at once.
    private static let burst = Duration.seconds(2)

    init(limits: MainlineLimits, hash: SipHash) {
        self.limits = limits
        self.hash = hash
        let count = max(1, limits.sourceCounters)
        answers = [RateGate](repeating: RateGate(), count: limits.answersPerSource > 0 ? count : 0)
        sourceBytes = [RateGate](repeating: RateGate(), count: limits.unprovenBytesPerSource > 0 ? count : 0)
        networkBytes = [RateGate](repeating: RateGate(), count: limits.unprovenBytesPerNetwork > 0 ? count : 0)
        proofs = [Proof](repeating: Proof(), count: count)
    }

    /// Whether another query of `ip` may be looked at.
    mutating func mayAsk(_ ip: IPAddress, at now: Instant) -> Bool {
        guard !answers.isEmpty else { return true }
        let place = Int(hash(ip.counted) % UInt64(answers.count))
        return answers[place].pass(1, perSecond: limits.answersPerSource, burst: Self.burst, at: now)
    }

    /// Why an answer of `size` bytes to `ip` may not be sent; `nil` where it may.
    mutating func refusal(of size: Int, to ip: IPAddress, at now: Instant) -> Refusal? {
        guard !sourceBytes.isEmpty || !networkBytes.isEmpty, !isProven(ip, at: now) else { return nil }
        if !sourceBytes.isEmpty {
            let place = Int(hash(ip.counted) % UInt64(sourceBytes.count))
            let rate = limits.unprovenBytesPerSource
            guard sourceBytes[place].pass(size, perSecond: rate, burst: Self.burst, at: now) else {
                return .sourceBytes
            }
        }
        if !networkBytes.isEmpty {
            let place = Int(hash(ip.prefix(ip.isV4 ? 24 : 48)) % UInt64(networkBytes.count))
            let rate = limits.unprovenBytesPerNetwork
            guard networkBytes[place].pass(size, perSecond: rate, burst: Self.burst, at: now) else {
                return .networkBytes
            }
        }
        return nil
    }

    /// `ip` has answered a query of ours, or shown a valid token: it does receive what is sent to it.
    mutating func prove(_ ip: IPAddress, at now: Instant) {
        let hashed = hash(ip.counted)
        let end = (now + limits.provenFor).nanoseconds / 1_000_000_000
        proofs[Int(hashed % UInt64(proofs.count))] = Proof(
            tag: UInt32(truncatingIfNeeded: hashed >> 32), end: UInt32(truncatingIfNeeded: end) | 1)
    }

    /// Whether `ip` has proven lately that it receives what is sent to it.
    func isProven(_ ip: IPAddress, at now: Instant) -> Bool {
        let hashed = hash(ip.counted)
        let proof = proofs[Int(hashed % UInt64(proofs.count))]
        return proof.tag == UInt32(truncatingIfNeeded: hashed >> 32)
            && now.nanoseconds / 1_000_000_000 < UInt64(proof.end)
    }
}
