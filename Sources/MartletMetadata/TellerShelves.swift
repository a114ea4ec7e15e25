package import MartletIdentity
package import MartletWire

/// Somebody whose word this node takes: a peer, and the network in which it is.
package struct Teller: Hashable, Sendable {
    /// The peer.
    package var peer: PeerID
    /// The IPv4 /24 or IPv6 /48 from which it is connected. Identities cost nothing and addresses do, so tellers of one
    /// network share what one of them may fill.
    package var network: IPAddress?

    /// The teller `peer`, which is connected from `address`.
    package init(_ peer: PeerID, at address: IPAddress?) {
        self.peer = peer
        network = address?.site
    }
}

extension IPAddress {
    /// The network that one owner is taken to hold: an IPv4 /24, or an IPv6 /48.
    package var site: IPAddress {
        let address = unmapped
        return address.prefix(address.isV4 ? 24 : 48)
    }
}

/// What was told, by those who told it: a machine that says what has to go when there is no room for more.
///
/// The network that told most pays first, and in it the peer that told most, beginning with what it told last. So a
/// flood pushes out itself, and what it finds in place stays.
package struct TellerShelves<Item: Hashable & Sendable>: Sendable {
    private struct Shelf {
        var network: IPAddress?
        var items: [Item] = []
    }

    private var shelves: [PeerID: Shelf] = [:]
    private var networks: [IPAddress?: Int] = [:]
    private var places: [Item: (teller: PeerID, index: Int)] = [:]

    /// Shelves with nothing on them.
    package init() {}

    /// How many items there are.
    package var count: Int { places.count }

    /// How many items `teller` told.
    package func count(of teller: Teller) -> Int { shelves[teller.peer]?.items.count ?? 0 }

    /// Puts `item` on the shelf of `teller`, if it stands on none.
    package mutating func insert(_ item: Item, from teller: Teller) {
        guard places[item] == nil else { return }
        // A teller that has moved keeps the network that it filled first.
        var shelf = shelves[teller.peer] ?? Shelf(network: teller.network)
        places[item] = (teller.peer, shelf.items.count)
        shelf.items.append(item)
        networks[shelf.network, default: 0] += 1
        shelves[teller.peer] = shelf
    }

    /// Takes `item` away, if it is there.
    package mutating func remove(_ item: Item) {
        guard let (teller, index) = places.removeValue(forKey: item), var shelf = shelves[teller] else { return }
        let last = shelf.items.removeLast()
        if index < shelf.items.count {
            shelf.items[index] = last
            places[last]?.index = index
        }
        let left = (networks[shelf.network] ?? 1) - 1
        networks[shelf.network] = left == 0 ? nil : left
        shelves[teller] = shelf.items.isEmpty ? nil : shelf
    }

    /// What has to go first of all.
    package var heaviest: Item? { heaviestShelf?.shelf.items.last }

    /// What has to go for something that `teller` tells; `nil` if nobody has told more than `teller` itself.
    package func victim(for teller: Teller) -> Item? {
        guard let (peer, shelf) = heaviestShelf else { return nil }
        let network = shelves[teller.peer]?.network ?? teller.network
        if shelf.network == network {
            guard peer != teller.peer, shelf.items.count > count(of: teller) else { return nil }
        } else {
            guard networks[shelf.network] ?? 0 > networks[network] ?? 0 else { return nil }
        }
        return shelf.items.last
    }

    private var heaviestShelf: (peer: PeerID, shelf: Shelf)? {
        // The id settles what is equal, so that the order of a dictionary decides nothing.
        let heaviest = shelves.max { left, right in
            let (one, other) = (networks[left.value.network] ?? 0, networks[right.value.network] ?? 0)
            if one != other { return one < other }
            let (few, many) = (left.value.items.count, right.value.items.count)
            return few != many ? few < many : left.key < right.key
        }
        return heaviest.map { ($0.key, $0.value) }
    }
}
