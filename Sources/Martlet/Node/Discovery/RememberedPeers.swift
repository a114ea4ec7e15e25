internal import MartletIdentity

/// Whom a node that starts dials first of those that it remembers: a machine.
///
/// Add those that an operator named, then those that proved to be on a topic, then the others, each with the one that was
/// connected last first. Coming in costs nothing, so the peers of one network get a few places only, and those that
/// proved nothing get a few places together.
struct RememberedPeers {
    /// A peer of the database.
    struct Candidate {
        var peer: PeerID
        /// The network in which it was met last; empty if that is unknown, which no stranger can bring about.
        var network: String
    }

    private let limits: DiscoveryLimits
    /// Those that are dialled, in this order.
    private(set) var chosen: [PeerID] = []
    private var ids: Set<PeerID> = []
    private var places: [String: Int] = [:]

    init(_ limits: DiscoveryLimits) {
        self.limits = limits
    }

    /// Adds peers that an operator named.
    mutating func addNamed(_ peers: [Candidate]) {
        for peer in peers { add(peer, ofNetwork: .max) }
    }

    /// Adds peers that proved to be on a topic of this node.
    mutating func addProven(_ peers: [Candidate]) {
        for peer in peers { add(peer, ofNetwork: limits.rememberedOfNetwork) }
    }

    /// Adds peers that proved nothing.
    mutating func addOthers(_ peers: [Candidate]) {
        let most = chosen.count + limits.rememberedStrangers
        for peer in peers where chosen.count < most { add(peer, ofNetwork: limits.rememberedStrangersOfNetwork) }
    }

    private mutating func add(_ candidate: Candidate, ofNetwork most: Int) {
        let network = candidate.network
        let taken = network.isEmpty ? 0 : places[network, default: 0]
        guard chosen.count < limits.remembered, taken < most, ids.insert(candidate.peer).inserted else { return }
        places[network] = taken + 1
        chosen.append(candidate.peer)
    }
}
