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
/// flood pushes out itself, and what it finds in place stays. What goes next is known at any time, at a cost that hardly
/// grows with the number of tellers.
package struct TellerShelves<Item: Hashable & Sendable>: Sendable {
    private struct Shelf {
        var network: IPAddress?
        var items: [Item] = []
    }

    private struct Place {
        var teller: PeerID
        var index: Int
        var weight: Int
    }

    private var shelves: [PeerID: Shelf] = [:]
    /// How much was told in each network.
    private var networks = WeightRanking<IPAddress?>()
    /// How much was told by each teller of a network.
    private var tellers: [IPAddress?: WeightRanking<PeerID>] = [:]
    private var places: [Item: Place] = [:]
    /// How much all items weigh.
    package private(set) var weight = 0

    /// Shelves with nothing on them.
    package init() {}

    /// How many items there are.
    package var count: Int { places.count }

    /// How many items `teller` told.
    package func count(of teller: Teller) -> Int { shelves[teller.peer]?.items.count ?? 0 }

    /// Puts `item`, which has some `weight`, on the shelf of `teller`, if it stands on none.
    package mutating func insert(_ item: Item, from teller: Teller, weight: Int = 1) {
        guard places[item] == nil else { return }
        places[item] = Place(teller: teller.peer, index: count(of: teller), weight: weight)
        self.weight += weight
        // A teller that has moved keeps the network that it filled first.
        let network = shelves[teller.peer]?.network ?? teller.network
        shelves[teller.peer, default: Shelf(network: network)].items.append(item)
        weigh(weight, of: teller.peer, in: network)
    }

    /// Takes `item` away, if it is there.
    package mutating func remove(_ item: Item) {
        guard let place = places.removeValue(forKey: item) else { return }
        let network = shelves[place.teller]?.network
        if let last = shelves[place.teller]?.items.popLast(), last != item {
            shelves[place.teller]?.items[place.index] = last
            places[last]?.index = place.index
        }
        if shelves[place.teller]?.items.isEmpty ?? false { shelves[place.teller] = nil }
        weight -= place.weight
        weigh(-place.weight, of: place.teller, in: network)
    }

    private mutating func weigh(_ weight: Int, of teller: PeerID, in network: IPAddress?) {
        networks.add(weight, to: network)
        tellers[network, default: WeightRanking()].add(weight, to: teller)
        if networks[network] == 0 { tellers[network] = nil }
    }

    /// What has to go first of all.
    package var heaviest: Item? { heaviestTeller.flatMap { shelves[$0]?.items.last } }

    /// What has to go for something that `teller` tells; `nil` if nobody has told more than `teller` itself.
    package func victim(for teller: Teller) -> Item? {
        guard let peer = heaviestTeller, let shelf = shelves[peer] else { return nil }
        let network = shelves[teller.peer]?.network ?? teller.network
        if shelf.network == network {
            let weights = tellers[network]
            guard peer != teller.peer, weights?[peer] ?? 0 > weights?[teller.peer] ?? 0 else { return nil }
        } else {
            guard networks[shelf.network] > networks[network] else { return nil }
        }
        return shelf.items.last
    }

    private var heaviestTeller: PeerID? {
        guard let network = networks.heaviest else { return nil }
        return tellers[network]?.heaviest
    }
}
