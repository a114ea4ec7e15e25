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

    private let limits: SwarmLimits
    private var addressRates: RateTable<IPAddress>
    private var networkRates: RateTable<IPBlock>
    private var pendingByAddress: [IPAddress: Int] = [:]
    private var pendingByNetwork: [IPBlock: Int] = [:]
    private var byAddress: [IPAddress: Int] = [:]
    private var byNetwork: [IPBlock: Int] = [:]
    private var byPeer: [PeerID: Int] = [:]
    /// How many of those that are being made are from addresses that are not proven.
    private var pendingUnproven = 0
    /// Inbound connections that are being made.
    private(set) var pending = 0
    /// Connections that are there.
    private(set) var established = 0

    init(_ limits: SwarmLimits) {
        self.limits = limits
        addressRates = RateTable(limits.addressRate, remembering: limits.rememberedSources)
        networkRates = RateTable(limits.networkRate, remembering: limits.rememberedSources)
    }

    /// Decides about one who knocks from `address`. `nil` as an address is one that is none of IP's: a relay's.
    mutating func admit(from address: IPAddress?, isProven: Bool = true, at now: Instant) -> Answer {
        guard established + pending < limits.connectionsForInbound else { return .refused(.connections) }
        guard let address else {
            guard pending < limits.pendingInbound else { return .refused(.pendingInbound) }
            pending += 1
            return .admitted
        }
        let host = Self.host(of: address)
        let network = IPBlock.neighbourhood(of: address)
        guard isProven else { return admitUnproven(host, network, at: now) }
        if let refusal = crowding(host, network) ?? fullness(host, network) { return .refused(refusal) }
        guard addressRates.take(host, at: now) else { return .refused(.addressRate) }
        guard networkRates.take(network, at: now) else { return .refused(.networkRate) }
        pending += 1
        pendingByAddress[host, default: 0] += 1
        pendingByNetwork[network, default: 0] += 1
        return .admitted
    }

    /// Which of the bounds on connections that are being made keeps out one more from a proven address.
    private func crowding(_ host: IPAddress, _ network: IPBlock) -> Refusal? {
        let left = limits.pendingInbound - pending
        guard left > 0 else { return .pendingInbound }
        let ofHost = pendingByAddress[host, default: 0]
        let ofNetwork = pendingByNetwork[network, default: 0]
        guard ofHost < limits.pendingPerAddress else { return .pendingPerAddress }
        guard pending >= limits.pendingInbound / 2 else { return nil }
        if ofHost > 0, ofHost >= left / 4 { return .pendingPerAddress }
        return ofNetwork > 0 && ofNetwork >= left ? .pendingPerNetwork : nil
    }

    /// Which of the bounds on connections in all keeps out one more.
    private func fullness(_ host: IPAddress, _ network: IPBlock) -> Refusal? {
        let ofHost = pendingByAddress[host, default: 0] + byAddress[host, default: 0]
        let ofNetwork = pendingByNetwork[network, default: 0] + byNetwork[network, default: 0]
        guard ofHost < limits.connectionsPerAddress else { return .connectionsPerAddress }
        return ofNetwork < limits.connectionsPerNetwork ? nil : .connectionsPerNetwork
    }

    private mutating func admitUnproven(_ host: IPAddress, _ network: IPBlock, at now: Instant) -> Answer {
        if let refusal = fullness(host, network) { return .refused(refusal) }
        guard pendingUnproven < limits.pendingUnproven, crowding(host, network) == nil,
            addressRates.allows(host, at: now), networkRates.allows(network, at: now)
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
        Self.decrement(&pendingByAddress, Self.host(of: address))
        Self.decrement(&pendingByNetwork, IPBlock.neighbourhood(of: address))
    }

    /// Counts against its rates what came from `address` when that was not proven, now that it is.
    mutating func charge(_ address: IPAddress?, at now: Instant) {
        guard let address else { return }
        addressRates.charge(Self.host(of: address), at: now)
        networkRates.charge(IPBlock.neighbourhood(of: address), at: now)
    }

    /// Gives a place to a connection with `peer`, or says why not. One that was admitted has left before.
    mutating func establish(_ peer: PeerID, by entrance: Entrance) -> Refusal? {
        guard byPeer[peer, default: 0] < limits.connectionsPerPeer else { return .connectionsPerPeer }
        guard established < limits.connections else { return .connections }
        if case .admitted(let address?) = entrance {
            let host = Self.host(of: address)
            let network = IPBlock.neighbourhood(of: address)
            // One whose address was not proven held no place of that address.
            if let refusal = fullness(host, network) { return refusal }
            byAddress[host, default: 0] += 1
            byNetwork[network, default: 0] += 1
        }
        byPeer[peer, default: 0] += 1
        established += 1
        return nil
    }

    /// Takes back the place of a connection with `peer`.
    mutating func close(_ peer: PeerID, by entrance: Entrance) {
        established -= 1
        Self.decrement(&byPeer, peer)
        guard case .admitted(let address?) = entrance else { return }
        Self.decrement(&byAddress, Self.host(of: address))
        Self.decrement(&byNetwork, IPBlock.neighbourhood(of: address))
    }

    /// Whether there is room for one more dial's connection.
    var hasRoom: Bool { established < limits.connections }

    /// What the bounds of one address count together: an IPv4 address or an IPv6 /64, which one host has to itself.
    private static func host(of address: IPAddress) -> IPAddress {
        let address = address.unmapped
        return address.isV4 ? address : address.prefix(64)
    }

    private static func decrement<Key>(_ counts: inout [Key: Int], _ key: Key) {
        guard let count = counts[key] else { return }
        counts[key] = count > 1 ? count - 1 : nil
    }
}
