internal import MartletWire

/// Slabs of one size that a loop fills again, once nobody keeps a slice of what they held.
///
/// Fresh memory costs the kernel as much as the copy that fills it, and the writing loop waits for a reading one that
/// has to pay for it. A few slabs are remembered, and let go of again when they are not needed.
final class SlabRing {
    /// How many bytes each has room for.
    let size: Int
    private let limit: Int
    /// Those that are remembered, the one that was given out longest ago first.
    private var slabs: [Slab] = []
    private var turns = 0
    /// So often one that was not needed is let go.
    private static let turnsPerRelease = 256

    /// A ring of slabs of `size` bytes, `limit` of them at most.
    init(size: Int, limit: Int) {
        self.size = size
        self.limit = limit
    }

    /// A slab of which nobody keeps anything.
    func next() -> Slab {
        turns += 1
        if turns % Self.turnsPerRelease == 0, slabs.count > 2, isFree(0), isFree(1) { slabs.removeFirst() }
        for index in slabs.indices where isFree(index) {
            let slab = slabs.remove(at: index)
            slabs.append(slab)
            return slab
        }
        if slabs.count == limit { slabs.removeFirst() }
        let slab = Slab.make(capacity: size)
        slabs.append(slab)
        return slab
    }

    private func isFree(_ index: Int) -> Bool { isKnownUniquelyReferenced(&slabs[index]) }
}
