internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletSwarm
internal import MartletWire

/// What was dialled because somebody said so: a machine that keeps a node from being aimed at others.
///
/// Each address is dialled a few times, each network at a rate, and each teller has credit for a few words that lead
/// nowhere. None of it counts for addresses at which a peer has proven to be.
struct HearsayLedger {
    private struct Tally {
        var dials = 0
        var since: Instant
    }

    private let limits: DiscoveryLimits
    private var addresses: LeastUsedTable<SocketAddress, Tally>
    private var networks: LeastUsedTable<IPAddress, RateMeter>
    private var tellers: LeastUsedTable<PeerID, RateMeter>
    /// The same for each network of tellers, since identities cost nothing.
    private var tellerNetworks: LeastUsedTable<IPAddress, RateMeter>

    init(_ limits: DiscoveryLimits) {
        self.limits = limits
        addresses = LeastUsedTable(limits.hearsay)
        networks = LeastUsedTable(limits.hearsay)
        tellers = LeastUsedTable(limits.hearsay)
        tellerNetworks = LeastUsedTable(limits.hearsay)
    }

    /// How many entries it has.
    var count: Int { addresses.count + networks.count + tellers.count + tellerNetworks.count }

    // MARK: Addresses

    /// Whether `address` may be dialled at `now`.
    func admits(_ address: SocketAddress, at now: Instant) -> Bool {
        if let tally = addresses[address], now - tally.since < limits.hearsayMemory, tally.dials >= limits.hearsayDials
        {
            return false
        }
        var meter = networks[address.ip.site] ?? RateMeter()
        return meter.take(limits.networkDials, at: now)
    }

    /// `address` is dialled at `now`.
    mutating func dials(_ address: SocketAddress, at now: Instant) {
        var tally = addresses[address] ?? Tally(since: now)
        if now - tally.since >= limits.hearsayMemory { tally = Tally(since: now) }
        tally.dials += 1
        addresses.set(address, to: tally, usedUntil: tally.since + limits.hearsayMemory * tally.dials)
        var meter = networks[address.ip.site] ?? RateMeter()
        _ = meter.take(limits.networkDials, at: now)
        networks.set(address.ip.site, to: meter, usedUntil: meter.restedAt)
    }

    /// How often `address` was dialled not long before `now`.
    func dials(of address: SocketAddress, at now: Instant) -> Int {
        guard let tally = addresses[address], now - tally.since < limits.hearsayMemory else { return 0 }
        return tally.dials
    }

    /// The peer that was named is at `address`, so that to dial it there was no harm.
    mutating func wasThere(_ address: SocketAddress, at now: Instant) {
        addresses.remove(address)
        guard var meter = networks[address.ip.site] else { return }
        meter.refund(limits.networkDials, at: now)
        networks.set(address.ip.site, to: meter, usedUntil: meter.restedAt)
    }

    /// This host is on another network: what could not be reached before may be reached now.
    mutating func forgetAddresses() {
        addresses = LeastUsedTable(limits.hearsay)
    }

    // MARK: Tellers

    /// Whether `teller` is still believed at `now`.
    func believes(_ teller: Teller, at now: Instant) -> Bool {
        var meter = tellers[teller.peer] ?? RateMeter()
        guard meter.take(limits.tellerFailures, at: now) else { return false }
        var shared = teller.network.flatMap { tellerNetworks[$0] } ?? RateMeter()
        return shared.take(limits.tellerNetworkFailures, at: now)
    }

    /// Nobody was where `teller` said.
    mutating func misled(by teller: Teller, at now: Instant) {
        var meter = tellers[teller.peer] ?? RateMeter()
        _ = meter.take(limits.tellerFailures, at: now)
        tellers.set(teller.peer, to: meter, usedUntil: meter.restedAt)
        guard let network = teller.network else { return }
        var shared = tellerNetworks[network] ?? RateMeter()
        _ = shared.take(limits.tellerNetworkFailures, at: now)
        tellerNetworks.set(network, to: shared, usedUntil: shared.restedAt)
    }

    /// Somebody was where `teller` said, which makes up for one word that led nowhere.
    mutating func wasRight(_ teller: Teller, at now: Instant) {
        if var meter = tellers[teller.peer] {
            meter.refund(limits.tellerFailures, at: now)
            tellers.set(teller.peer, to: meter, usedUntil: meter.restedAt)
        }
        guard let network = teller.network, var shared = tellerNetworks[network] else { return }
        shared.refund(limits.tellerNetworkFailures, at: now)
        tellerNetworks.set(network, to: shared, usedUntil: shared.restedAt)
    }
}
