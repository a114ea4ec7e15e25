internal import MartletWire

/// Memory that the connections of one loop fill in turns, front to back, so that an idle one holds none.
///
/// What has been filled may be kept as slices, which keep the slab; another is then filled next.
final class SharedSlab {
    private let ring: SlabRing
    private var slab: Slab?
    /// How far it is filled.
    private(set) var used = 0

    init(size: Int) {
        ring = SlabRing(size: size, limit: 32)
    }

    /// A slab, and where in it at least `minimum` bytes are free. Whoever asks before they are filled gets the same.
    func room(_ minimum: Int) -> (slab: Slab, start: Int) {
        if let slab, slab.size - used >= minimum { return (slab, used) }
        // Where nobody has kept anything of it, it is the next as well.
        slab = nil
        let next = ring.next()
        slab = next
        used = 0
        return (next, 0)
    }

    /// Says that it is filled up to `end`.
    func fill(upTo end: Int) {
        used = end
    }

    /// Lends out `size` bytes of a slab, which nobody else is given until they are given back by `giveBack`.
    func lend(_ size: Int) -> (slab: Slab, start: Int) {
        let (slab, start) = room(size)
        used = start + size
        return (slab, start)
    }

    /// Takes back what was lent of `other` between `start` and `end`, but for the first `filled` bytes.
    func giveBack(_ other: Slab, from start: Int, to end: Int, filled: Int) {
        // What somebody else was lent behind it stays where it is.
        if other === slab, used == end { used = start + filled }
    }

    /// Whether it is filled up to `end` of `other`, and has room for `size` bytes from `start` there.
    func continues(_ other: Slab, from start: Int, to end: Int, room: Int) -> Bool {
        other === slab && end == used && ring.size - start >= room
    }
}

/// What the connections of one loop share.
final class ConnectionBuffers {
    /// Where bytes are read to.
    let incoming = SharedSlab(size: 256 << 10)
    /// Where records are made.
    let outgoing = SharedSlab(size: 256 << 10)
    /// Where what a TLS session is to open is read to, each time from the start.
    private(set) lazy var sealed = SharedSlab(size: Self.sealedSize)
    /// How much of it is read at once.
    static let sealedSize = 64 << 10
}
