/// Peers of many infohashes in one piece of memory, so that each costs little: those of one infohash form a ring, which is
/// known by its last one.
struct PeerRings<Host: Hashable & BitwiseCopyable> {
    struct Peer: BitwiseCopyable {
        var host: Host
        var port: UInt16
        /// When it ends, in the store's own minutes.
        var end: UInt16
        fileprivate var next: UInt32
    }

    /// A ring of nobody.
    static var empty: UInt32 { .max }

    private var peers: [Peer] = []
    /// The places that are free, one behind the other.
    private var free = Self.empty

    /// Adds a peer to the ring of `last`, which it becomes.
    mutating func append(_ host: Host, port: UInt16, end: UInt16, to last: inout UInt32) {
        let peer = Peer(host: host, port: port, end: end, next: Self.empty)
        let place: UInt32
        if free == Self.empty {
            place = UInt32(peers.count)
            peers.append(peer)
        } else {
            place = free
            free = peers[Int(place)].next
            peers[Int(place)] = peer
        }
        link(place, to: &last)
    }

    private mutating func link(_ place: UInt32, to last: inout UInt32) {
        if last == Self.empty {
            peers[Int(place)].next = place
        } else {
            peers[Int(place)].next = peers[Int(last)].next
            peers[Int(last)].next = place
        }
        last = place
    }

    /// Lets a peer of the ring of `last` end at `end`. Says whether it is there.
    mutating func renew(_ host: Host, port: UInt16, in last: UInt32, until end: UInt16) -> Bool {
        guard last != Self.empty else { return false }
        var place = last
        repeat {
            if peers[Int(place)].host == host, peers[Int(place)].port == port {
                peers[Int(place)].end = end
                return true
            }
            place = peers[Int(place)].next
        } while place != last
        return false
    }

    /// Calls `body` with the peers of the ring of `last`, at most `maximum`. They are its last ones then, so that others come
    /// first the next time.
    func turn(_ last: inout UInt32, maximum: Int, _ body: (Peer) -> Void) {
        guard last != Self.empty else { return }
        let first = peers[Int(last)].next
        var place = first
        for _ in 0..<maximum {
            body(peers[Int(place)])
            last = place
            place = peers[Int(place)].next
            if place == first { return }
        }
    }

    /// Takes those that are over out of the ring of `last`, and calls `body` with each.
    mutating func removeAll(in last: inout UInt32, where isOver: (Peer) -> Bool, _ body: (Peer) -> Void) {
        guard last != Self.empty else { return }
        let first = peers[Int(last)].next
        var place = first
        last = Self.empty
        repeat {
            let peer = peers[Int(place)]
            if isOver(peer) {
                body(peer)
                peers[Int(place)].next = free
                free = place
            } else {
                link(place, to: &last)
            }
            place = peer.next
        } while place != first
    }
}
