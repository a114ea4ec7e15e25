internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

/// Counts connections and says which may come in: a machine.
///
/// A connection that comes in is first `admit`ted, when no more is known than the address it comes from. Then either
/// `abandon` says that nothing became of it, or `establish` asks for the place that it needs when its peer is known.
/// Each that has one gives it back by `close`.
struct ConnectionGate: Sendable {
    /// How a connection came to be.
    enum Entrance: Hashable, Sendable {
        /// This side dialled.
        case dialled
        /// The other side did, from this address, where it is one of IP's.
        case admitted(IPAddress?)
    }

    private let limits: SwarmLimits
    private var addressRates: RateTable<IPAddress>
    private var networkRates: RateTable<IPBlock>
    private var pendingByAddress: [IPAddress: Int] = [:]
    private var byAddress: [IPAddress: Int] = [:]
    private var byNetwork: [IPBlock: Int] = [:]
    private var byPeer: [PeerID: Int] = [:]
    /// Inbound connections that are being made.
    private(set) var pending = 0
    /// Connections that are there.
    private(set) var established = 0

    init(_ limits: SwarmLimits) {
        self.limits = limits
        addressRates = RateTable(limits.addressRate, remembering: limits.rememberedSources)
        networkRates = RateTable(limits.networkRate, remembering: limits.rememberedSources)
    }

    /// Lets someone knock from `address`, or says why not. `nil` as an address is one that is none of IP's: a relay's.
    mutating func admit(from address: IPAddress?, at now: Instant) -> Refusal? {
        guard pending < limits.pendingInbound else { return .pendingInbound }
        guard established + pending < limits.connectionsForInbound else { return .connections }
        guard let address = address?.unmapped else {
            pending += 1
            return nil
        }
        let network = IPBlock.neighbourhood(of: address)
        let pendingHere = pendingByAddress[address, default: 0]
        guard pendingHere < limits.pendingPerAddress else { return .pendingPerAddress }
        guard pendingHere + byAddress[address, default: 0] < limits.connectionsPerAddress else {
            return .connectionsPerAddress
        }
        guard byNetwork[network, default: 0] < limits.connectionsPerNetwork else { return .connectionsPerNetwork }
        guard addressRates.take(address, at: now) else { return .addressRate }
        guard networkRates.take(network, at: now) else { return .networkRate }
        pending += 1
        pendingByAddress[address, default: 0] += 1
        byNetwork[network, default: 0] += 1
        return nil
    }

    /// What was admitted from `address` came to nothing.
    mutating func abandon(from address: IPAddress?) {
        pending -= 1
        guard let address = address?.unmapped else { return }
        Self.decrement(&pendingByAddress, address)
        Self.decrement(&byNetwork, IPBlock.neighbourhood(of: address))
    }

    /// Gives a place to a connection with `peer`, or says why not. What was admitted is no longer pending either way.
    mutating func establish(_ peer: PeerID, by entrance: Entrance) -> Refusal? {
        let refusal: Refusal? =
            if byPeer[peer, default: 0] >= limits.connectionsPerPeer {
                .connectionsPerPeer
            } else if established >= limits.connections {
                .connections
            } else {
                nil
            }
        if case .admitted(let address) = entrance {
            abandon(from: address)
            if refusal == nil, let address = address?.unmapped {
                byAddress[address, default: 0] += 1
                byNetwork[IPBlock.neighbourhood(of: address), default: 0] += 1
            }
        }
        guard refusal == nil else { return refusal }
        byPeer[peer, default: 0] += 1
        established += 1
        return nil
    }

    /// Takes back the place of a connection with `peer`.
    mutating func close(_ peer: PeerID, by entrance: Entrance) {
        established -= 1
        Self.decrement(&byPeer, peer)
        guard case .admitted(let origin?) = entrance else { return }
        let address = origin.unmapped
        Self.decrement(&byAddress, address)
        Self.decrement(&byNetwork, IPBlock.neighbourhood(of: address))
    }

    /// Whether there is room for one more dial's connection.
    var hasRoom: Bool { established < limits.connections }

    private static func decrement<Key>(_ counts: inout [Key: Int], _ key: Key) {
        guard let count = counts[key] else { return }
        counts[key] = count > 1 ? count - 1 : nil
    }
}
