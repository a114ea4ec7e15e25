internal import MartletIdentity

/// Where peers were said to be reachable: a machine that remembers at most so many peers, and forgets first the one that
/// was written about least recently.
struct AddressBook: Sendable {
    /// The most addresses that are remembered of one peer.
    static let addressesPerPeer = 32
    /// The most bytes that they may have together.
    static let bytesPerPeer = 4 << 10

    private struct Page {
        var addresses: [Multiaddr] = []
        var turn: UInt64 = 0
    }

    private let capacity: Int
    private var pages: [PeerID: Page] = [:]
    private var turn: UInt64 = 0

    init(remembering capacity: Int) {
        self.capacity = max(1, capacity)
    }

    var count: Int { pages.count }

    /// The addresses of `peer`, without the peer itself at their ends, the newest first.
    func addresses(of peer: PeerID) -> [Multiaddr] {
        pages[peer]?.addresses ?? []
    }

    /// Adds `addresses` of `peer`. What ends with another peer is left out.
    mutating func add(_ addresses: [Multiaddr], of peer: PeerID) {
        let plain = addresses.compactMap { address -> Multiaddr? in
            guard let end = address.peerID else { return address.compacted() }
            return end == peer ? address.withoutPeerID?.compacted() : nil
        }
        guard !plain.isEmpty else { return }
        if pages[peer] == nil, pages.count >= capacity { makeRoom() }
        var page = pages[peer] ?? Page()
        turn += 1
        page.turn = turn
        var seen: Set<Multiaddr> = []
        var size = 0
        let all = (plain + page.addresses).filter { seen.insert($0).inserted }
        page.addresses = all.prefix(Self.addressesPerPeer).filter { address in
            size += address.bytes.count
            return size <= Self.bytesPerPeer
        }
        pages[peer] = page
    }

    mutating func remove(_ peer: PeerID) {
        pages[peer] = nil
    }

    private mutating func makeRoom() {
        let oldest = pages.sorted { $0.value.turn < $1.value.turn }
        for (peer, _) in oldest.prefix(max(1, capacity / 8)) { pages[peer] = nil }
    }
}
