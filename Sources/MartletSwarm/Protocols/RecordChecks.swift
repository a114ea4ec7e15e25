internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

/// Which signed records of peers are checked, and which need not be: a machine.
///
/// To check a signature is the dearest thing that a message of identify can cause, up to a millisecond for the longest keys
/// of RSA. A peer that connects again begins anew with everything else, so the rates are those of hosts and networks, and
/// outlive all connections. A peer whose record is left unchecked loses little: what it says without a signature still
/// counts, and its next push is another try.
struct RecordChecks {
    /// The largest record that is remembered, so that all of them together stay small.
    static let largestRemembered = 2048

    private let capacity: Int
    private var hosts: RateTable<IPBlock?>
    private var networks: RateTable<IPBlock?>
    private var records: [PeerID: SignedPeerRecord] = [:]
    /// Whose records are remembered, and the place of the one that makes room for the next.
    private var order: [PeerID] = []
    private var oldest = 0

    /// Nothing is known yet, and nobody has used up anything.
    init(_ limits: SwarmLimits) {
        capacity = limits.rememberedRecords
        hosts = RateTable(limits.recordRate, remembering: limits.rememberedSources)
        networks = RateTable(limits.recordNetworkRate, remembering: limits.rememberedSources)
    }

    /// How many records are remembered.
    var count: Int { records.count }

    /// The record of `peer` in `envelope`, if it has been checked before.
    func known(_ envelope: Bytes, of peer: PeerID) -> SignedPeerRecord? {
        guard let record = records[peer], record.envelope.bytes == envelope else { return nil }
        return record
    }

    /// Whether a record that comes from `address` may be checked at `now`; counts it if so. `nil` is for all that come
    /// through others.
    mutating func mayCheck(from address: IPAddress?, at now: Instant) -> Bool {
        hosts.take(address.map(IPBlock.host), at: now) && networks.take(address.map(IPBlock.neighbourhood), at: now)
    }

    /// Takes note of a record that has been checked, in place of an older one of its peer, or of the one that has been
    /// remembered for the longest time.
    mutating func remember(_ record: SignedPeerRecord) {
        let peer = record.record.peerID
        guard capacity > 0, record.envelope.bytes.count <= Self.largestRemembered else { return }
        if records.updateValue(record, forKey: peer) != nil { return }
        guard order.count >= capacity else { return order.append(peer) }
        records[order[oldest]] = nil
        order[oldest] = peer
        oldest = (oldest + 1) % capacity
    }
}
