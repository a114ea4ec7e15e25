/// How good a peer is to be connected to: a number from 0 to 100 that begins at 50, and the reasons that make it up.
///
/// It is a machine: facts in, points out.
struct PeerScore {
    /// What the database knows that the score depends on.
    struct Facts {
        /// How often dialling it succeeded and failed.
        var successes = 0
        var failures = 0
        /// The mean time there and back and its variation, in microseconds, where they were measured.
        var roundTrip: Double?
        var jitter = 0.0
        /// The share of packets that were lost.
        var loss = 0.0
        /// The share of the last day's hours, from the first in which it was connected, that it was connected for.
        var uptime: Double?
    }

    /// The score of a peer of which nothing is known.
    static let beginning = 50.0

    /// The reasons, in the order of their names; those without points are left out.
    static func reasons(_ facts: Facts) -> [(reason: String, points: Double)] {
        var reasons: [(String, Double)] = []
        // With one success and one failure imagined, so that the first dial does not decide it all.
        let dials = Double(facts.successes + facts.failures)
        if dials > 0 { reasons.append(("dials", 30 * (Double(facts.successes) + 1) / (dials + 2) - 15)) }
        if let roundTrip = facts.roundTrip {
            if facts.jitter > 0 { reasons.append(("jitter", -10 * min(1, facts.jitter / max(1, roundTrip)))) }
            if facts.loss > 0 { reasons.append(("loss", -20 * min(1, facts.loss * 5))) }
            // From 20 points at once to none at half a second.
            reasons.append(("round trip", 20 * max(0, 1 - roundTrip / 500_000)))
        }
        if let uptime = facts.uptime { reasons.append(("uptime", 20 * min(1, uptime))) }
        return reasons.map { ($0.0, ($0.1 * 10).rounded() / 10) }.filter { $0.1 != 0 }
    }

    /// The score that points add up to.
    static func score(_ points: some Sequence<Double>) -> Double {
        max(0, min(100, points.reduce(beginning, +)))
    }
}
