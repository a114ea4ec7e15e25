/// Bytes that never change: a slice of a shared `Slab`.
///
/// Copying a `Bytes` or taking a part of one costs a reference count and no allocation. A slice keeps its whole
/// slab alive, so what is kept longer than the call that received it should be `compacted()` first.
///
/// It is `@unchecked Sendable` because what a `Bytes` covers is never written again: `Slab` states the rule.
public struct Bytes: @unchecked Sendable {
    @usableFromInline let slab: Slab?
    @usableFromInline let offset: UInt32
    @usableFromInline let length: UInt32

    @inlinable
    init(slab: Slab?, offset: UInt32, length: UInt32) {
        self.slab = slab
        self.offset = offset
        self.length = length
    }

    /// No bytes. Costs nothing.
    @inlinable
    public init() {
        self.init(slab: nil, offset: 0, length: 0)
    }

    /// A view of `count` bytes of `slab` from `offset`. The caller promises that they are initialised and will
    /// not be written as long as the result, or any part of it, lives.
    @inlinable
    public init(slab: Slab, offset: Int, count: Int) {
        precondition(offset >= 0 && count >= 0 && offset <= slab.size - count, "outside the slab")
        self.init(slab: slab, offset: UInt32(truncatingIfNeeded: offset), length: UInt32(truncatingIfNeeded: count))
    }

    /// Exactly `count` bytes, written by `fill`, in one allocation. `fill` must initialise all of them.
    @inlinable
    public init<E: Error>(
        count: Int, fill: (UnsafeMutableRawBufferPointer) throws(E) -> Void
    ) throws(E) {
        guard count > 0 else {
            try fill(UnsafeMutableRawBufferPointer(start: nil, count: 0))
            self.init()
            return
        }
        let slab = Slab.make(capacity: count)
        try fill(UnsafeMutableRawBufferPointer(start: slab.base, count: count))
        self.init(slab: slab, offset: 0, length: UInt32(count))
    }

    /// A copy of `span`, in one allocation.
    @inlinable
    public init(copying span: RawSpan) {
        self.init(count: span.byteCount) { target in
            span.withUnsafeBytes { target.copyMemory(from: $0) }
        }
    }

    /// A copy of `buffer`, in one allocation.
    @inlinable
    public init(copying buffer: UnsafeRawBufferPointer) {
        self.init(count: buffer.count) { $0.copyMemory(from: buffer) }
    }

    /// A copy of `elements`.
    @inlinable
    public init(_ elements: some Sequence<UInt8>) {
        let copied: Bytes? = elements.withContiguousStorageIfAvailable { storage in
            Bytes(copying: UnsafeRawBufferPointer(storage))
        }
        self = copied ?? Array(elements).withUnsafeBytes { Bytes(copying: $0) }
    }

    /// The UTF-8 bytes of `text`.
    @inlinable
    public init(utf8 text: some StringProtocol) {
        self.init(text.utf8)
    }

    /// How many bytes there are.
    @inlinable
    public var count: Int { Int(length) }

    /// The bytes, to read where they stand.
    @inlinable
    public var span: RawSpan {
        @_lifetime(borrow self)
        get {
            let start = slab.map { UnsafeRawPointer($0.base + Int(offset)) }
            let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: start, count: count))
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Calls `body` with the bytes where they stand. The pointer is valid only inside the call.
    @inlinable
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        guard let slab else { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        defer { withExtendedLifetime(slab) {} }
        return try body(UnsafeRawBufferPointer(start: slab.base + Int(offset), count: count))
    }

    /// The bytes in `range`, without copying.
    @inlinable
    public func slice(_ range: Range<Int>) -> Bytes {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "outside the bytes")
        guard !range.isEmpty else { return Bytes() }
        return Bytes(slab: slab, offset: offset &+ UInt32(range.lowerBound), length: UInt32(range.count))
    }

    /// How much memory is kept with them: all of their slab.
    @inlinable
    public var pinnedSize: Int { slab?.size ?? 0 }

    /// Whether they and `other` keep the same memory.
    @inlinable
    public func isPinnedWith(_ other: Bytes) -> Bool { slab === other.slab }

    /// The same bytes, pinning no more memory than about twice their size: itself where the slab is that small,
    /// else a copy.
    @inlinable
    public func compacted() -> Bytes {
        guard let slab, slab.size > 2 * count + 64 else { return self }
        return Bytes(copying: span)
    }

    /// The bytes as text, or `nil` where they are not valid UTF-8.
    public var utf8: String? {
        withUnsafeBytes { String(validating: $0, as: UTF8.self) }
    }
}

extension Bytes: RandomAccessCollection {
    /// Positions count from 0, in a slice as well.
    public typealias Index = Int

    /// Always 0.
    @inlinable
    public var startIndex: Int { 0 }

    /// The same as `count`.
    @inlinable
    public var endIndex: Int { count }

    /// The byte at `position`, which must be inside.
    @inlinable
    public subscript(position: Int) -> UInt8 {
        precondition(position >= 0 && position < count, "outside the bytes")
        // A position inside means that there are bytes, and so a slab.
        return slab.unsafelyUnwrapped.base.load(fromByteOffset: Int(offset) &+ position, as: UInt8.self)
    }

    /// Calls `body` with the bytes where they stand; never `nil`.
    @inlinable
    public func withContiguousStorageIfAvailable<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R? {
        try withUnsafeBytes { try body($0.bindMemory(to: UInt8.self)) }
    }
}

extension Bytes: Hashable, Comparable {
    /// Whether both have the same bytes. Not constant-time: never for secrets.
    @inlinable
    public static func == (left: Bytes, right: Bytes) -> Bool {
        guard left.length == right.length else { return false }
        return left.span.isEqual(to: right.span)
    }

    /// Whether `left` stands before `right`, byte by byte; a prefix stands before what it begins.
    @inlinable
    public static func < (left: Bytes, right: Bytes) -> Bool {
        left.span.compare(to: right.span) < 0
    }

    /// Feeds the bytes and their number to `hasher`.
    @inlinable
    public func hash(into hasher: inout Hasher) {
        withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(length)
    }
}

extension Bytes: ExpressibleByArrayLiteral {
    /// The bytes written out: `[0x12, 0x20]`.
    @inlinable
    public init(arrayLiteral elements: UInt8...) {
        self.init(elements)
    }
}

extension Bytes: CustomStringConvertible {
    /// At most the first 32 bytes in base16, and how many there are.
    public var description: String {
        let shown = prefix(32).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
        return count > 32 ? "\(shown)… (\(count) bytes)" : shown
    }
}

extension RawSpan {
    /// Whether both have the same bytes. Not constant-time: never for secrets.
    @inlinable
    public func isEqual(to other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        return commonPrefix(with: other) == byteCount
    }

    /// Below, at or above zero as these bytes stand before, are the same as, or stand after those of `other`; a prefix
    /// stands before what it begins. Not constant-time: never for secrets.
    @inlinable
    public func compare(to other: RawSpan) -> Int {
        let common = commonPrefix(with: other)
        if common < byteCount, common < other.byteCount { return Int(self[common]) - Int(other[common]) }
        return byteCount - other.byteCount
    }

    /// How many bytes at the front are the same.
    @inlinable
    func commonPrefix(with other: RawSpan) -> Int {
        let shorter = Swift.min(byteCount, other.byteCount)
        var index = 0
        while index &+ 8 <= shorter {
            // Both loads end within the shorter of the two.
            let mine = unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: index, as: UInt64.self)
            let theirs = unsafe other.unsafeLoadUnaligned(fromUncheckedByteOffset: index, as: UInt64.self)
            let difference = UInt64(littleEndian: mine ^ theirs)
            if difference != 0 { return index &+ difference.trailingZeroBitCount / 8 }
            index &+= 8
        }
        while index < shorter, self[index] == other[index] { index &+= 1 }
        return index
    }

    /// The byte at `index`, which must be inside.
    @inlinable
    public subscript(index: Int) -> UInt8 {
        unsafeLoad(fromByteOffset: index, as: UInt8.self)
    }
}
