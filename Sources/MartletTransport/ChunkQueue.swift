internal import MartletWire

/// Bytes in a row, put in at the end and taken from the front.
///
/// Large pieces are kept as the slices that they are; small ones are copied together, so that what is kept pins little
/// more memory than its size, and a thousand small pieces are few.
struct ChunkQueue {
    /// A piece of at least this size is kept as a slice even of a larger slab, where the caller allows it.
    static let sliceSize = 16 << 10
    /// A reader keeps up that is behind by less than so many pieces of the size of the next.
    static let unreadSlices = 8
    /// A piece smaller than this is copied.
    private static let largestTail = 4 << 10
    /// The largest slab that small pieces are copied together in, for a queue that is long already.
    private static let longTail = 16 << 10
    /// A piece of at least this size begins a slab of a ring, where there is one.
    private static let ringPiece = 8 << 10

    private var chunks: [Bytes] = []
    private var head = 0
    /// How many bytes are in it.
    private(set) var count = 0 {
        didSet { memory?.draw(count - oldValue) }
    }
    /// How much memory is kept with them: the slabs in which they stand.
    private(set) var pinned = 0
    /// What the bytes in it are drawn from. To be set while it is empty, and emptied before it goes.
    var memory: ResourceAccount?
    /// Where small pieces go; the last chunk ends where it is filled to.
    private var tail: Slab?
    private var tailUsed = 0

    var isEmpty: Bool { count == 0 }

    /// Whether `bytes`, which come in for a reader, may stay in their slab: where the reader keeps up, and else as long as
    /// no more than twice as much is pinned as is unread.
    func mayPin(_ bytes: Bytes) -> Bool {
        count < Self.unreadSlices * bytes.count || pinned + bytes.pinnedSize <= 2 * count
    }

    /// Puts `bytes` at the end: as a slice of whatever slab where it is large and `mayPin` allows it, else so that little
    /// more is kept than its size.
    mutating func append(_ bytes: Bytes, mayPin: Bool) {
        guard bytes.count >= Self.largestTail else {
            return bytes.withUnsafeBytes { append(copying: $0) }
        }
        tail = nil
        push(mayPin && bytes.count >= Self.sliceSize ? bytes : bytes.compacted())
        count += bytes.count
    }

    private mutating func push(_ chunk: Bytes) {
        if head == chunks.count || !chunks[chunks.count - 1].isPinnedWith(chunk) { pinned += chunk.pinnedSize }
        chunks.append(chunk)
    }

    /// Puts a copy of `bytes` at the end, in slabs of `ring` where they are large.
    mutating func append(copying bytes: UnsafeRawBufferPointer, in ring: SlabRing? = nil) {
        var rest = bytes
        while !rest.isEmpty {
            if tail == nil || tailUsed == tail.unsafelyUnwrapped.size { startTail(for: rest.count, ring) }
            let slab = tail.unsafelyUnwrapped
            let size = min(rest.count, slab.size - tailUsed)
            (slab.base + tailUsed).copyMemory(from: rest.baseAddress.unsafelyUnwrapped, byteCount: size)
            if tailUsed > tailStart {
                chunks[chunks.count - 1] = Bytes(slab: slab, offset: tailStart, count: tailUsed + size - tailStart)
            } else {
                push(Bytes(slab: slab, offset: tailStart, count: size))
            }
            tailUsed += size
            count += size
            rest = UnsafeRawBufferPointer(rebasing: rest[size...])
        }
    }

    /// Where the last chunk begins in the tail.
    private var tailStart = 0

    private mutating func startTail(for size: Int, _ ring: SlabRing?) {
        if let ring, size >= Self.ringPiece {
            tail = ring.next()
        } else {
            // As large as what is there already, so that a long queue of small pieces costs few allocations.
            tail = Slab.make(capacity: max(size, min(Self.longTail, 2 * count), 64))
        }
        tailStart = 0
        tailUsed = 0
    }

    /// Takes the next piece, at most `maximum` bytes, without a copy.
    mutating func take(upTo maximum: Int) -> Bytes {
        guard head < chunks.count, maximum > 0 else { return Bytes() }
        let chunk = chunks[head]
        guard chunk.count > maximum else {
            count -= chunk.count
            dropHead()
            return chunk
        }
        chunks[head] = chunk.slice(maximum..<chunk.count)
        // The tail's last chunk no longer begins where it did.
        if head == chunks.count - 1, tail != nil { tailStart += maximum }
        count -= maximum
        return chunk.slice(0..<maximum)
    }

    /// Takes exactly `size` bytes, which must be there: without a copy where they stand together.
    mutating func take(exactly size: Int) -> Bytes {
        precondition(size <= count, "more than there is")
        guard size > 0 else { return Bytes() }
        if chunks[head].count >= size { return take(upTo: size) }
        return Bytes(count: size) { _ = take(into: $0) }
    }

    /// Copies as much as there is and fits to `buffer`, and takes it out.
    mutating func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var filled = 0
        while filled < buffer.count, count > 0 {
            let piece = take(upTo: buffer.count - filled)
            piece.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]).copyMemory(from: $0)
            }
            filled += piece.count
        }
        return filled
    }

    /// The byte at `position` from the front, which must be there; only for the first few.
    func byte(at position: Int) -> UInt8 {
        var index = head
        var rest = position
        while rest >= chunks[index].count {
            rest -= chunks[index].count
            index += 1
        }
        return chunks[index][rest]
    }

    /// The first piece, if there is any.
    var first: Bytes? { head < chunks.count ? chunks[head] : nil }

    /// Whether the bytes at the front are these.
    func begins(with bytes: Bytes) -> Bool {
        guard count >= bytes.count else { return false }
        var index = head
        var compared = 0
        while compared < bytes.count {
            let size = min(chunks[index].count, bytes.count - compared)
            guard chunks[index].slice(0..<size) == bytes.slice(compared..<compared + size) else { return false }
            compared += size
            index += 1
        }
        return true
    }

    mutating func removeAll() {
        count = 0
        pinned = 0
        chunks = []
        head = 0
        tail = nil
    }

    private mutating func dropHead() {
        let isLast = head + 1 == chunks.count
        if isLast || !chunks[head].isPinnedWith(chunks[head + 1]) { pinned -= chunks[head].pinnedSize }
        head += 1
        if isLast {
            chunks.removeAll(keepingCapacity: chunks.capacity <= 64)
            head = 0
            tail = nil
        } else if head >= 64, head * 2 >= chunks.count {
            chunks.removeFirst(head)
            head = 0
        } else {
            chunks[head - 1] = Bytes()
        }
    }
}
