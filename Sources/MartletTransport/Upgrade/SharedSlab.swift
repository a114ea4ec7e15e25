internal import MartletWire

/// Memory that the connections of one loop fill in turns, front to back, so that an idle one holds none.
///
/// What has been filled may be kept as slices, which keep the slab; the next slab is then a new one. It starts over
/// where nobody does.
final class SharedSlab {
    private let size: Int
    private var slab: Slab
    /// How far it is filled.
    private(set) var used = 0

    init(size: Int) {
        self.size = size
        slab = Slab.make(capacity: size)
    }

    /// A slab, and where in it at least `minimum` bytes are free.
    func room(_ minimum: Int) -> (slab: Slab, start: Int) {
        if size - used < minimum {
            if !isKnownUniquelyReferenced(&slab) { slab = Slab.make(capacity: size) }
            used = 0
        }
        return (slab, used)
    }

    /// Says that it is filled up to `end`.
    func fill(upTo end: Int) {
        used = end
    }

    /// Whether it is filled up to `end` of `other`, and has room for `size` bytes from `start` there.
    func continues(_ other: Slab, from start: Int, to end: Int, room: Int) -> Bool {
        other === slab && end == used && size - start >= room
    }
}

/// What the connections of one loop share.
final class ConnectionBuffers {
    /// Where bytes are read to.
    let incoming = SharedSlab(size: 256 << 10)
    /// Where records are made.
    let outgoing = SharedSlab(size: 256 << 10)
}
