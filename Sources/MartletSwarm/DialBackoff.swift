internal import MartletIdentity
internal import MartletRuntime

/// Which claims about peers are left alone because dialling them failed, and until when: a machine.
///
/// A claim says that a peer is at an address, or that anyone is. Failures count for the claim alone, whatever failed:
/// anyone can say that its own peer is at the address of another, and that must not keep this node from the other. What
/// it costs is one dial more for each false claim about an address where nobody is, and those who tell claims bound that.
///
/// The pause doubles with each failure in a row, from 5 seconds to 5 minutes, and ends with a success. No more than a
/// number of claims are remembered; when there are more, those whose pause ends first are forgotten.
struct DialBackoff: Sendable {
    static let first = Duration.seconds(5)
    static let longest = Duration.seconds(300)

    private struct Claim: Hashable {
        var address: Multiaddr
        var peer: PeerID?
    }

    private struct Failure {
        var until: Instant
        var count: Int
        /// Which failure it was of all, to tell those apart that end together.
        var number: UInt64
    }

    private let capacity: Int
    private var failures: [Claim: Failure] = [:]
    private var nextNumber: UInt64 = 0

    init(remembering capacity: Int) {
        self.capacity = max(1, capacity)
    }

    var count: Int { failures.count }

    /// When `peer` may be dialled at `address` again, or `nil` if it may be now. A peer of `nil` is whoever answers.
    func pause(of address: Multiaddr, for peer: PeerID?, at now: Instant) -> Instant? {
        guard let failure = failures[Claim(address: address, peer: peer)], failure.until > now else { return nil }
        return failure.until
    }

    mutating func failed(_ address: Multiaddr, for peer: PeerID?, at now: Instant) {
        let claim = Claim(address: address.compacted(), peer: peer)
        if failures[claim] == nil, failures.count >= capacity { makeRoom() }
        let count = failures[claim]?.count ?? 0
        let pause = min(Self.longest, Self.first * (1 << min(count, 6)))
        nextNumber += 1
        failures[claim] = Failure(until: now + pause, count: count + 1, number: nextNumber)
    }

    mutating func succeeded(_ address: Multiaddr, for peer: PeerID?) {
        failures[Claim(address: address, peer: peer)] = nil
    }

    /// Forgets a quarter of them, so that this is done seldom.
    private mutating func makeRoom() {
        let oldest = failures.sorted { ($0.value.until, $0.value.number) < ($1.value.until, $1.value.number) }
        for (claim, _) in oldest.prefix(max(1, capacity / 4)) { failures[claim] = nil }
    }
}
