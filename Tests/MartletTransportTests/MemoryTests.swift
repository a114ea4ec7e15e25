@testable import MartletTransport
import MartletWire
import Testing

@Suite("Memory for what comes in")
struct MemoryTests {
    @Test("a slab of which something is kept is not given out, and one that is free is given out again")
    func ring() {
        let ring = SlabRing(size: 1024, limit: 3)
        var kept: Slab? = ring.next()
        let first = kept.map { ObjectIdentifier($0) }
        var other: Slab? = ring.next()
        #expect(kept !== other)
        kept = nil
        kept = ring.next()
        #expect(kept.map { ObjectIdentifier($0) } == first)
        other = nil
        #expect(kept !== ring.next())
    }

    @Test("those that are not needed are let go of in time, and too many are not remembered")
    func release() {
        let ring = SlabRing(size: 1024, limit: 4)
        var kept = (0..<6).map { _ in ring.next() }
        weak let forgotten = kept[0]
        weak let unneeded = kept[2]
        #expect(Set(kept.map { ObjectIdentifier($0) }).count == 6)
        kept = []
        #expect(forgotten == nil)
        #expect(unneeded != nil)
        for _ in 0..<1024 { _ = ring.next() }
        let left = Set((0..<8).map { _ in ObjectIdentifier(ring.next()) })
        #expect(left.count == 2)
    }

    @Test("what is lent of a slab is nobody else's until it comes back, and then but for what was filled")
    func lent() {
        let slab = SharedSlab(size: 1000)
        let (first, start) = slab.lend(400)
        let (second, next) = slab.lend(400)
        #expect(first === second && start == 0 && next == 400)
        // Somebody has used what is behind it meanwhile: it stays as it is.
        slab.giveBack(second, from: next, to: next + 400, filled: 100)
        slab.giveBack(first, from: start, to: start + 400, filled: 10)
        #expect(slab.used == 500)
        // What no longer fits comes from another, which the one before doesn't touch.
        let (third, again) = slab.lend(600)
        #expect(third !== first && again == 0)
        slab.giveBack(first, from: 500, to: 600, filled: 7)
        #expect(slab.used == 600)
        slab.giveBack(third, from: 0, to: 600, filled: 600)
        #expect(slab.used == 600)
    }

    @Test("large pieces that are copied stand together in slabs of the ring")
    func copies() {
        let ring = SlabRing(size: 64 << 10, limit: 4)
        var queue = ChunkQueue()
        let piece = pattern(16_000)
        for _ in 0..<6 { piece.withUnsafeBytes { queue.append(copying: $0, in: ring) } }
        #expect(queue.pinned == 2 * 64 << 10)
        #expect(queue.take(upTo: .max).count == 64 << 10)
        #expect(queue.pinned == 64 << 10)
        #expect(queue.take(upTo: .max).count == 96_000 - 64 << 10)
        #expect(queue.pinned == 0 && queue.isEmpty)
    }

    @Test("a reader who is behind pins no more than twice what is unread, and a few slabs")
    func pinned() {
        var queue = ChunkQueue()
        // The rest of each slab belongs to others.
        for _ in 0..<500 {
            let slab = Bytes(count: 256 << 10) { $0.initializeMemory(as: UInt8.self, repeating: 7) }
            let piece = slab.slice(0..<32 << 10)
            queue.append(piece, mayPin: queue.mayPin(piece))
            #expect(queue.pinned <= 2 * queue.count + ChunkQueue.unreadSlices * 256 << 10)
        }
        #expect(queue.count == 500 * 32 << 10)
        while !queue.isEmpty { _ = queue.take(upTo: 10_000) }
        #expect(queue.pinned == 0)
    }

    @Test("a reader who has a stream to himself gets slices, however far he is behind")
    func slices() {
        var queue = ChunkQueue()
        for _ in 0..<64 {
            let slab = Bytes(count: 256 << 10) { $0.initializeMemory(as: UInt8.self, repeating: 7) }
            for part in 0..<4 {
                let piece = slab.slice(part * 65_536 + 12..<(part + 1) * 65_536)
                queue.append(piece, mayPin: queue.mayPin(piece))
            }
        }
        // Copies would be slabs of their own, each as long as its piece.
        #expect(queue.pinned == 64 * 256 << 10)
    }
}
