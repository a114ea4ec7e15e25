internal import MartletWire

/// Memory that the connections of one loop fill in turns, front to back, so that an idle one holds none.
///
/// What has been filled may be kept as slices, which keep the slab; another is then filled next. A few of those that
/// have been filled are remembered, and filled again once nobody keeps a slice of them: fresh memory costs the kernel
/// as much as the copy that fills it.
final class SharedSlab {
    /// How many slabs are remembered at most.
    private static let remembered = 32
    /// So often one that was not needed is let go.
    private static let turnsPerRelease = 256

    private let size: Int
    private var slab: Slab
    private var others: [Slab] = []
    private var turns = 0
    /// How far it is filled.
    private(set) var used = 0

    init(size: Int) {
        self.size = size
        slab = Slab.make(capacity: size)
    }

    /// A slab, and where in it at least `minimum` bytes are free.
    func room(_ minimum: Int) -> (slab: Slab, start: Int) {
        if size - used < minimum { turnOver() }
        return (slab, used)
    }

    private func turnOver() {
        used = 0
        guard !isKnownUniquelyReferenced(&slab) else { return }
        turns += 1
        if turns % Self.turnsPerRelease == 0, others.count > 1, isKnownUniquelyReferenced(&others[1]) {
            others.removeFirst()
        }
        // The one that was filled longest ago stands first, and is the likeliest to be free.
        for index in others.indices where isKnownUniquelyReferenced(&others[index]) {
            let free = others.remove(at: index)
            others.append(slab)
            slab = free
            return
        }
        if others.count == Self.remembered { others.removeFirst() }
        others.append(slab)
        slab = Slab.make(capacity: size)
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
    /// Where what a TLS session is to open is read to, each time from the start.
    private(set) lazy var sealed = SharedSlab(size: Self.sealedSize)
    /// How much of it is read at once.
    static let sealedSize = 64 << 10
}
