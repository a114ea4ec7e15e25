internal import MartletIdentity
internal import MartletWire

/// Why a peer is taken to be at an address, from the least reason to the best.
package enum AddressOrigin: Int, Comparable, Sendable {
    /// The peer says so of itself. It may name whomever it wants to see dialled.
    case claimed
    /// A caller says so: a user, or whoever else answers for it.
    case given
    /// A connection that this side dialled led to the peer there.
    case proven

    package static func < (left: AddressOrigin, right: AddressOrigin) -> Bool { left.rawValue < right.rawValue }
}

/// Where peers are reachable, and why that is believed: a machine that remembers a bounded number of peers.
///
/// What a peer claims never takes a place of what was proven or given, neither among the addresses of one peer nor among
/// the peers. Beyond that the peer is forgotten first that was written about least recently.
struct AddressBook: Sendable {
    private struct Page {
        var proven: [Multiaddr] = []
        var given: [Multiaddr] = []
        var claimed: [Multiaddr] = []
        var turn: UInt64 = 0

        var trusted: [Multiaddr] { proven + given }
        var isTrusted: Bool { !proven.isEmpty || !given.isEmpty }
    }

    private let limits: SwarmLimits
    private var pages: [PeerID: Page] = [:]
    private var turn: UInt64 = 0

    init(_ limits: SwarmLimits) {
        self.limits = limits
    }

    private var capacity: Int { max(1, limits.rememberedPeers) }

    var count: Int { pages.count }

    /// The addresses of `peer` for which there is at least the reason `least`, without the peer itself at their ends: the
    /// best known first, and of each origin the newest.
    func addresses(of peer: PeerID, from least: AddressOrigin = .claimed) -> [Multiaddr] {
        guard let page = pages[peer] else { return [] }
        switch least {
        case .claimed: return page.trusted + page.claimed
        case .given: return page.trusted
        case .proven: return page.proven
        }
    }

    /// A caller says that `peer` is at `addresses`. What ends with another peer is left out.
    mutating func give(_ addresses: [Multiaddr], of peer: PeerID) {
        let plain = Self.plain(addresses, of: peer)
        guard !plain.isEmpty, var page = page(for: peer, isTrusted: true) else { return }
        page.given = plain.filter { !page.proven.contains($0) } + page.given
        write(page, of: peer)
    }

    /// `peer` was reached at `address`.
    mutating func prove(_ address: Multiaddr, of peer: PeerID) {
        let plain = Self.plain([address], of: peer)
        guard !plain.isEmpty, var page = page(for: peer, isTrusted: true) else { return }
        page.proven = Array(Self.unique(plain + page.proven).prefix(max(1, limits.addressesPerPeer / 2)))
        write(page, of: peer)
    }

    /// `peer`, which is heard in `scope`, says that it is at `addresses`. That takes the place of what it said before.
    mutating func claim(_ addresses: [Multiaddr], of peer: PeerID, heardIn scope: AddressScope) {
        let trusted = pages[peer]?.trusted ?? []
        var networks: [IPBlock?: Int] = [:]
        var claimed: [Multiaddr] = []
        for address in Self.unique(Self.plain(addresses, of: peer)) {
            guard claimed.count < limits.claimedAddressesPerPeer else { break }
            let network = address.ipAddress.map(IPBlock.neighbourhood)
            guard scope.mayName(address), !trusted.contains(address),
                networks[network, default: 0] < limits.claimedAddressesPerNetwork
            else { continue }
            networks[network, default: 0] += 1
            claimed.append(address)
        }
        if claimed.isEmpty, trusted.isEmpty { return pages[peer] = nil }
        guard var page = page(for: peer, isTrusted: false) else { return }
        page.claimed = claimed
        write(page, of: peer)
    }

    /// The ones of `addresses` that lead to `peer` or to nobody by name, without a name at their ends.
    private static func plain(_ addresses: [Multiaddr], of peer: PeerID) -> [Multiaddr] {
        addresses.compactMap { address in
            guard let end = address.peerID else { return address.compacted() }
            return end == peer ? address.withoutPeerID?.compacted() : nil
        }
    }

    private static func unique(_ addresses: [Multiaddr]) -> [Multiaddr] {
        var seen: Set<Multiaddr> = []
        return addresses.filter { seen.insert($0).inserted }
    }

    /// Writes down `page` within the bounds: the best known is kept.
    private mutating func write(_ page: Page, of peer: PeerID) {
        var seen: Set<Multiaddr> = []
        var size = 0
        func fitting(_ addresses: [Multiaddr]) -> [Multiaddr] {
            addresses.filter { address in
                guard seen.count < limits.addressesPerPeer, size + address.bytes.count <= limits.addressBytesPerPeer,
                    seen.insert(address).inserted
                else { return false }
                size += address.bytes.count
                return true
            }
        }
        var page = page
        page.proven = fitting(page.proven)
        page.given = fitting(page.given)
        page.claimed = fitting(page.claimed)
        turn += 1
        page.turn = turn
        pages[peer] = page
    }

    /// The page of `peer`, or a new one if there is room. Only what is trusted pushes out what is.
    private mutating func page(for peer: PeerID, isTrusted: Bool) -> Page? {
        if let page = pages[peer] { return page }
        if pages.count >= capacity {
            let claims = pages.filter { !$0.value.isTrusted }
            guard isTrusted || !claims.isEmpty else { return nil }
            let oldest = (claims.isEmpty ? pages : claims).sorted { $0.value.turn < $1.value.turn }
            for (peer, _) in oldest.prefix(max(1, capacity / 8)) { pages[peer] = nil }
        }
        return Page()
    }
}
