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
    private var addresses: BoundedTable<SocketAddress, Tally>
    private var networks: BoundedTable<IPAddress, RateMeter>
    private var tellers: BoundedTable<PeerID, RateMeter>

    init(_ limits: DiscoveryLimits) {
        self.limits = limits
        addresses = BoundedTable(limits.hearsay)
        networks = BoundedTable(limits.hearsay)
        tellers = BoundedTable(limits.hearsay)
    }

    /// How many entries it has.
    var count: Int { addresses.count + networks.count + tellers.count }

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
        addresses[address] = tally
        var meter = networks[address.ip.site] ?? RateMeter()
        _ = meter.take(limits.networkDials, at: now)
        networks[address.ip.site] = meter
    }

    /// This host is on another network: what could not be reached before may be reached now.
    mutating func forgetAddresses() {
        addresses = BoundedTable(limits.hearsay)
    }

    // MARK: Tellers

    /// Whether `teller` is still believed at `now`.
    func believes(_ teller: PeerID, at now: Instant) -> Bool {
        guard var meter = tellers[teller] else { return true }
        return meter.take(limits.tellerFailures, at: now)
    }

    /// Nobody was where `teller` said.
    mutating func misled(by teller: PeerID, at now: Instant) {
        var meter = tellers[teller] ?? RateMeter()
        _ = meter.take(limits.tellerFailures, at: now)
        tellers[teller] = meter
    }

    /// Somebody was where `teller` said.
    mutating func wasRight(_ teller: PeerID) {
        tellers[teller] = nil
    }
}
