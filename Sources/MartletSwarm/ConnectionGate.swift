internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

/// Counts connections and says which may come in: a machine.
///
/// A connection that comes in is first `admit`ted, when no more is known than the address it comes from. It has its place
/// among those that are being made until it `leave`s, which it does whatever becomes of it. If it is made, `establish`
/// then asks for the place that it needs when its peer is known. Each that has one gives it back by `close`.
///
/// Bounds and rates of one address hold for what comes from it for certain. A packet that only bears it may be anyone's:
/// it takes a place of those that are for such packets, and a rate that is used up makes it prove the address.
struct ConnectionGate: Sendable {
    /// How a connection came to be.
    enum Entrance: Hashable, Sendable {
        /// This side dialled.
        case dialled
        /// The other side did, from this address, where it is one of IP's.
        case admitted(IPAddress?)
    }

    /// What one who knocks is told.
    enum Answer: Hashable, Sendable {
        /// Come in.
        case admitted
        /// Prove your address first.
        case mustProve
        /// No.
        case refused(Refusal)
    }

    /// Whose bounds hold for an address: its host's, its network's, and those of the allocation that the network is part
    /// of. With an allocation come networks by the thousand, and with a network hosts, so that each level needs its own.
    private struct Origin {
        let host: IPBlock
        let network: IPBlock
        let allocation: IPBlock?

        init(_ address: IPAddress) {
            host = .host(of: address)
            network = .neighbourhood(of: address)
            allocation = .allocation(of: address)
        }

        var blocks: [IPBlock] { [host, network] + (allocation.map { [$0] } ?? []) }
    }

    /// How many are of each block.
    private struct Tally {
        private var counts: [IPBlock: Int] = [:]

        subscript(block: IPBlock) -> Int { counts[block, default: 0] }

        mutating func add(_ origin: Origin) {
            for block in origin.blocks { counts[block, default: 0] += 1 }
        }

        mutating func remove(_ origin: Origin) {
            for block in origin.blocks { ConnectionGate.decrement(&counts, block) }
        }
    }

    private let limits: SwarmLimits
    private var hostRates: RateTable<IPBlock>
    private var networkRates: RateTable<IPBlock>
    private var allocationRates: RateTable<IPBlock>
    private var pendingByOrigin = Tally()
    private var byOrigin = Tally()
    private var byPeer: [PeerID: Int] = [:]
    /// How many of those that are being made are from addresses that are not proven.
    private var pendingUnproven = 0
    /// Inbound connections that are being made.
    private(set) var pending = 0
    /// Connections that are there.
    private(set) var established = 0
    /// Those of them that this side is closing, which are there until they have said goodbye.
    private(set) var closing = 0

    init(_ limits: SwarmLimits) {
        self.limits = limits
        hostRates = RateTable(limits.addressRate, remembering: limits.rememberedSources)
        networkRates = RateTable(limits.networkRate, remembering: limits.rememberedSources)
        allocationRates = RateTable(limits.allocationRate, remembering: limits.rememberedSources)
    }

    /// Connections whose places nobody else can have.
    private var seated: Int { established - min(closing, limits.closingConnections) }

    /// Decides about one who knocks from `address`. `nil` as an address is one that is none of IP's: a relay's.
    mutating func admit(from address: IPAddress?, isProven: Bool = true, at now: Instant) -> Answer {
        guard seated + pending < limits.connectionsForInbound else { return .refused(.connections) }
        guard let address else {
            guard pending < limits.pendingInbound else { return .refused(.pendingInbound) }
            pending += 1
            return .admitted
        }
        let origin = Origin(address)
        guard isProven else { return admitUnproven(origin, at: now) }
        if let refusal = crowding(origin) ?? fullness(origin) { return .refused(refusal) }
        guard hostRates.take(origin.host, at: now) else { return .refused(.addressRate) }
        guard networkRates.take(origin.network, at: now) else { return .refused(.networkRate) }
        if let allocation = origin.allocation, !allocationRates.take(allocation, at: now) {
            return .refused(.networkRate)
        }
        pending += 1
        pendingByOrigin.add(origin)
        return .admitted
    }

    /// Which of the bounds on connections that are being made keeps out one more from a proven address.
    private func crowding(_ origin: Origin) -> Refusal? {
        let left = limits.pendingInbound - pending
        guard left > 0 else { return .pendingInbound }
        let ofHost = pendingByOrigin[origin.host]
        let ofNetwork = pendingByOrigin[origin.network]
        guard ofHost < limits.pendingPerAddress else { return .pendingPerAddress }
        guard pending >= limits.pendingInbound / 2 else { return nil }
        if ofHost > 0, ofHost >= left / 4 { return .pendingPerAddress }
        if ofNetwork > 0, ofNetwork >= left { return .pendingPerNetwork }
        guard let allocation = origin.allocation else { return nil }
        return pendingByOrigin[allocation] >= 2 * left ? .pendingPerNetwork : nil
    }

    /// Which of the bounds on connections in all keeps out one more.
    private func fullness(_ origin: Origin) -> Refusal? {
        func count(_ block: IPBlock) -> Int { pendingByOrigin[block] + byOrigin[block] }
        guard count(origin.host) < limits.connectionsPerAddress else { return .connectionsPerAddress }
        guard count(origin.network) < limits.connectionsPerNetwork else { return .connectionsPerNetwork }
        guard let allocation = origin.allocation else { return nil }
        return count(allocation) < limits.connectionsPerAllocation ? nil : .connectionsPerNetwork
    }

    private mutating func admitUnproven(_ origin: Origin, at now: Instant) -> Answer {
        if let refusal = fullness(origin) { return .refused(refusal) }
        guard pendingUnproven < limits.pendingUnproven, crowding(origin) == nil,
            hostRates.allows(origin.host, at: now), networkRates.allows(origin.network, at: now),
            origin.allocation.map({ allocationRates.allows($0, at: now) }) ?? true
        else { return .mustProve }
        pending += 1
        pendingUnproven += 1
        return .admitted
    }

    /// What was admitted from `address` is no longer being made.
    mutating func leave(from address: IPAddress?, isProven: Bool = true) {
        pending -= 1
        guard let address else { return }
        guard isProven else {
            pendingUnproven -= 1
            return
        }
        pendingByOrigin.remove(Origin(address))
    }

    /// Counts against its rates what came from `address` when that was not proven, now that it is.
    mutating func charge(_ address: IPAddress?, at now: Instant) {
        guard let address else { return }
        let origin = Origin(address)
        hostRates.charge(origin.host, at: now)
        networkRates.charge(origin.network, at: now)
        if let allocation = origin.allocation { allocationRates.charge(allocation, at: now) }
    }

    /// Gives a place to a connection with `peer`, or says why not. One that was admitted has left before.
    mutating func establish(_ peer: PeerID, by entrance: Entrance) -> Refusal? {
        guard byPeer[peer, default: 0] < limits.connectionsPerPeer else { return .connectionsPerPeer }
        guard hasRoom else { return .connections }
        if case .admitted(let address?) = entrance {
            let origin = Origin(address)
            // One whose address was not proven held no place of that address.
            if let refusal = fullness(origin) { return refusal }
            byOrigin.add(origin)
        }
        byPeer[peer, default: 0] += 1
        established += 1
        return nil
    }

    /// This side begins to close a connection, whose place others may have from now on.
    mutating func beginsToClose() { closing += 1 }

    /// Takes back the place of a connection with `peer`, which this side was closing or not.
    mutating func close(_ peer: PeerID, by entrance: Entrance, wasClosing: Bool = false) {
        established -= 1
        if wasClosing { closing -= 1 }
        Self.decrement(&byPeer, peer)
        if case .admitted(let address?) = entrance { byOrigin.remove(Origin(address)) }
    }

    /// Whether there is room for one more dial's connection.
    var hasRoom: Bool { seated < limits.connections }

    fileprivate static func decrement<Key>(_ counts: inout [Key: Int], _ key: Key) {
        guard let count = counts[key] else { return }
        counts[key] = count > 1 ? count - 1 : nil
    }
}
