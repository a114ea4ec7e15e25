internal import MartletIdentity
internal import MartletRuntime

/// Which connections are closed when there are too many: a machine.
struct TrimPlan {
    /// A peer with its connections, as far as their worth is concerned.
    struct Candidate: Hashable, Sendable {
        var peer: PeerID
        /// The sum of the values of its tags.
        var value: Int
        var isProtected: Bool
        /// Whether any stream is open.
        var isBusy: Bool
        /// Whether this side dialled one of its connections.
        var isOutbound: Bool
        /// When its newest connection was made.
        var newest: Instant
        /// How many connections it has.
        var connections: Int
    }

    /// The peers to be disconnected, the least valuable first, so that `excess` connections go. Those that are protected
    /// or whose connection is younger than `grace` are spared, even where that leaves too many.
    static func victims(
        among candidates: [Candidate], excess: Int, grace: Duration, at now: Instant
    ) -> [PeerID] {
        var rest = excess
        var victims: [PeerID] = []
        let eligible = candidates.filter { !$0.isProtected && $0.newest + grace <= now }
        for candidate in eligible.sorted(by: isWorthLess) {
            guard rest > 0 else { break }
            victims.append(candidate.peer)
            rest -= candidate.connections
        }
        return victims
    }

    private static func isWorthLess(_ left: Candidate, _ right: Candidate) -> Bool {
        if left.value != right.value { return left.value < right.value }
        if left.isBusy != right.isBusy { return right.isBusy }
        // A stranger can make inbound connections at will.
        if left.isOutbound != right.isOutbound { return right.isOutbound }
        if left.newest != right.newest { return left.newest > right.newest }
        return left.peer < right.peer
    }
}
