internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

/// Which connections are closed when there are too many: a machine.
///
/// Anyone can connect, again and again and from many places, so being new is no merit and being there is some. Of peers
/// whose tags are worth the same, the most crowded network gives up its members first, the young before the old and the
/// idle before the busy; and a few of the best go last of all: the half that has been there longest, and a sixteenth each
/// by what went over their connections and by networks that nobody else can predict. So whoever remakes connections
/// pushes out mostly its own.
///
/// Crowds are counted at three levels. In an IPv6 /48 the most crowded /64 gives up its members first, and so does the most
/// crowded IPv6 /48 or IPv4 /24 of all. Their number alone says little: the holder of an IPv6 /32 has 65,536 of them, and
/// the holder of an IPv4 /16 has 256. So such an allocation keeps an eighth of all peers in this way; those of its members
/// that are beyond that go before everyone else's, the best included. An honest institution or provider seldom has as many,
/// and private networks are no one's allocation.
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
        /// Where it is; `nil` for all that come through others.
        var address: IPAddress?
        /// When the oldest of its connections was made.
        var since: Instant
        /// How many bytes went over its connections.
        var traffic: UInt64
        /// How many connections it has.
        var connections: Int
    }

    /// How long a peer counts as young. One that this side dialled is spared for as long.
    let grace: Duration
    /// What decides which networks are spared: a number that nobody else knows.
    let salt: UInt64

    /// The part of the peers of one worth that goes last for having been there longest.
    private static let oldestShare = 2
    /// The parts that go last for their traffic, and for their networks.
    private static let bestShare = 16
    /// The part of all peers that strangers of one allocation may be before those beyond it go first…
    private static let allocationShare = 8
    /// …and how many they may be in any case: among few peers a part of them says nothing.
    private static let leastAllocation = 8

    /// A candidate, with what it takes to compare it with others.
    private struct Ranked {
        let candidate: Candidate
        /// Whether it is one of the best.
        var isBest = false
        /// How many of its host, and how many of its network, are better.
        var hostCrowd = 0
        var crowd = 0
        /// How far it is beyond what its allocation may have; 0 if it is not, or is no stranger.
        var excess = 0
        let isYoung: Bool

        /// Whether it came by itself, as anyone can, and nobody here needs it.
        var isStranger: Bool { !candidate.isProtected && !candidate.isOutbound }

        /// The block around it at a level; `nil` for all that come through others.
        func block(_ level: (IPAddress) -> IPBlock?) -> IPBlock? { candidate.address.flatMap(level) }
    }

    /// The peers to be disconnected, the least valuable first, so that `excess` connections go. Those that are protected,
    /// or were dialled less than `grace` ago, are spared, even if that leaves too many.
    func victims(among candidates: [Candidate], excess: Int, at now: Instant) -> [PeerID] {
        guard excess > 0 else { return [] }
        var all = candidates.map { Ranked(candidate: $0, isYoung: $0.since + grace > now) }
        markBest(&all)
        countCrowds(&all, of: IPBlock.host, as: \.hostCrowd)
        countCrowds(&all, of: IPBlock.neighbourhood, as: \.crowd)
        countExcess(&all)
        all.removeAll { $0.candidate.isProtected || ($0.candidate.isOutbound && $0.isYoung) }
        all.sort(by: Self.goesBefore)
        var rest = excess
        var victims: [PeerID] = []
        for one in all {
            guard rest > 0 else { break }
            victims.append(one.candidate.peer)
            rest -= one.candidate.connections
        }
        return victims
    }

    /// Marks the best of those that dialled, among each worth.
    private func markBest(_ all: inout [Ranked]) {
        let strangers = all.indices.filter { all[$0].isStranger }
        for group in Dictionary(grouping: strangers, by: { all[$0].candidate.value }).values {
            let few = group.count / Self.bestShare
            let byAge = group.sorted { Self.isOlder(all[$0].candidate, all[$1].candidate) }
            let byTraffic = byAge.sorted { all[$0].candidate.traffic > all[$1].candidate.traffic }
            let firsts = firstOfNetworks(byAge, all)
            for index in byAge.prefix(group.count / Self.oldestShare) { all[index].isBest = true }
            for index in byTraffic.prefix(few) where all[index].candidate.traffic > 0 { all[index].isBest = true }
            for index in firsts.prefix(few) { all[index].isBest = true }
        }
    }

    /// The first of each network among `indices`, in an order that nobody else knows: one of each allocation, then a second
    /// one of each, and so on. Whoever has many networks would else be sure to have the first.
    private func firstOfNetworks(_ indices: [Int], _ all: [Ranked]) -> [Int] {
        var networks: Set<IPBlock> = []
        let firsts = indices.compactMap { index -> (index: Int, order: UInt64)? in
            guard let network = all[index].block(IPBlock.neighbourhood), networks.insert(network).inserted else {
                return nil
            }
            return (index, order(of: network))
        }.sorted { $0.order < $1.order }
        var rounds: [IPBlock: Int] = [:]
        let dealt = firsts.map { index, order in
            guard let allocation = all[index].block(IPBlock.allocation) else {
                return (index: index, round: 0, order: order)
            }
            defer { rounds[allocation, default: 0] += 1 }
            return (index: index, round: rounds[allocation, default: 0], order: order)
        }
        return dealt.sorted { ($0.round, $0.order) < ($1.round, $1.order) }.map(\.index)
    }

    /// Counts for each how many of its block at a level are better: it is one of the last to go if there are none.
    private func countCrowds(
        _ all: inout [Ranked], of level: (IPAddress) -> IPBlock, as crowd: WritableKeyPath<Ranked, Int>
    ) {
        for group in Dictionary(grouping: all.indices, by: { all[$0].block(level) }).values {
            let bestFirst = group.sorted { left, right in
                let (left, right) = (all[left], all[right])
                let (isSafe, isOtherSafe) = (left.candidate.isProtected, right.candidate.isProtected)
                return isSafe == isOtherSafe ? Self.goesBefore(right, left) : isSafe
            }
            for (place, index) in bestFirst.enumerated() { all[index][keyPath: crowd] = place }
        }
    }

    /// Counts for each stranger how far it is beyond what its allocation may have.
    private func countExcess(_ all: inout [Ranked]) {
        let most = max(all.count / Self.allocationShare, Self.leastAllocation)
        let strangers = all.indices.filter { all[$0].isStranger }
        for (allocation, group) in Dictionary(grouping: strangers, by: { all[$0].block(IPBlock.allocation) }) {
            guard allocation != nil, group.count > most else { continue }
            let bestFirst = group.sorted { Self.goesBefore(all[$1], all[$0]) }
            for (place, index) in bestFirst.enumerated().dropFirst(most) { all[index].excess = place - most + 1 }
        }
    }

    private static func goesBefore(_ left: Ranked, _ right: Ranked) -> Bool {
        let (one, other) = (left.candidate, right.candidate)
        if one.value != other.value { return one.value < other.value }
        if left.excess != right.excess { return left.excess > right.excess }
        if left.isBest != right.isBest { return right.isBest }
        // A stranger can make inbound connections at will.
        if one.isOutbound != other.isOutbound { return other.isOutbound }
        if left.crowd != right.crowd { return left.crowd > right.crowd }
        if left.hostCrowd != right.hostCrowd { return left.hostCrowd > right.hostCrowd }
        if left.isYoung != right.isYoung { return left.isYoung }
        if one.isBusy != other.isBusy { return other.isBusy }
        return isOlder(other, one)
    }

    private static func isOlder(_ left: Candidate, _ right: Candidate) -> Bool {
        left.since == right.since ? left.peer < right.peer : left.since < right.since
    }

    /// Where `network` stands in an order that depends on `salt` (the finalizer of SplitMix64).
    private func order(of network: IPBlock) -> UInt64 {
        let number = network.network.number
        var hash = salt ^ UInt64(truncatingIfNeeded: number >> 64)
        for part in [UInt64(truncatingIfNeeded: number), UInt64(network.length)] {
            hash = (hash ^ hash >> 30) &* 0xBF58_476D_1CE4_E5B9
            hash = (hash ^ hash >> 27) &* 0x94D0_49BB_1331_11EB
            hash ^= hash >> 31 ^ part
        }
        hash = (hash ^ hash >> 30) &* 0xBF58_476D_1CE4_E5B9
        return hash ^ hash >> 27
    }
}
