/// Appends values to memory of its own, which grows, and hands them over as `Bytes` without a copy.
public struct Writer: ~Copyable {
    @usableFromInline var slab: Slab?
    @usableFromInline var length: Int

    /// An empty writer with room for `capacity` bytes before it has to grow.
    @inlinable
    public init(capacity: Int = 0) {
        slab = capacity > 0 ? Slab.make(capacity: capacity) : nil
        length = 0
    }

    /// How many bytes have been written.
    @inlinable
    public var count: Int { length }

    /// How many bytes it can hold before it has to grow.
    @inlinable
    public var capacity: Int { slab?.size ?? 0 }

    /// What has been written, without a copy. The writer is used up.
    @inlinable
    public consuming func finish() -> Bytes {
        guard let slab, count > 0 else { return Bytes() }
        return Bytes(slab: slab, offset: 0, count: count)
    }

    /// What has been written so far, to read where it stands.
    @inlinable
    public var span: RawSpan {
        @_lifetime(borrow self)
        get {
            let start = slab.map { UnsafeRawPointer($0.base) }
            let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: start, count: count))
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// What has been written so far, to change where it stands.
    @inlinable
    public var mutableSpan: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            let start = slab.map { $0.base }
            let buffer = UnsafeMutableRawBufferPointer(start: start, count: count)
            let span = unsafe MutableRawSpan(_unsafeBytes: buffer)
            return unsafe _overrideLifetime(span, mutating: &self)
        }
    }

    /// Sees to it that `extra` more bytes fit without growing.
    @inlinable
    public mutating func reserve(_ extra: Int) {
        if capacity &- count < extra { grow(by: extra) }
    }

    @usableFromInline
    mutating func grow(by extra: Int) {
        let larger = Slab.make(capacity: max(count + extra, min(2 * capacity, Slab.maximumSize), 64))
        if let slab { larger.base.copyMemory(from: slab.base, byteCount: count) }
        slab = larger
    }

    /// Appends `size` bytes that `fill` must initialise.
    @inlinable
    public mutating func append<E: Error>(
        count size: Int, fill: (UnsafeMutableRawBufferPointer) throws(E) -> Void
    ) throws(E) {
        reserve(size)
        // Reserving nothing leaves an unused writer without a slab.
        try fill(UnsafeMutableRawBufferPointer(start: slab.map { $0.base + count }, count: size))
        length &+= size
    }

    /// Offers room for `size` bytes to `fill`, and appends as many of them as it says it has initialised.
    @inlinable
    public mutating func append<E: Error>(
        upTo size: Int, fill: (UnsafeMutableRawBufferPointer) throws(E) -> Int
    ) throws(E) {
        reserve(size)
        let filled = try fill(UnsafeMutableRawBufferPointer(start: slab.map { $0.base + count }, count: size))
        precondition(filled >= 0 && filled <= size, "more than there was room for")
        length &+= filled
    }

    /// Appends one byte.
    @inlinable
    public mutating func byte(_ value: UInt8) {
        reserve(1)
        slab.unsafelyUnwrapped.base.storeBytes(of: value, toByteOffset: count, as: UInt8.self)
        length &+= 1
    }

    /// Appends a copy of `span`.
    @inlinable
    public mutating func bytes(_ span: RawSpan) {
        append(count: span.byteCount) { target in
            span.withUnsafeBytes { target.copyMemory(from: $0) }
        }
    }

    /// Appends a copy of `bytes`.
    @inlinable
    public mutating func bytes(_ bytes: Bytes) {
        self.bytes(bytes.span)
    }

    /// Appends the UTF-8 bytes of `text`.
    @inlinable
    public mutating func utf8(_ text: String) {
        var text = text
        text.withUTF8 { buffer in
            append(count: buffer.count) { $0.copyMemory(from: UnsafeRawBufferPointer(buffer)) }
        }
    }

    /// Appends a fixed-width number, most significant byte first.
    @inlinable
    public mutating func integer<Number: FixedWidthInteger & BitwiseCopyable>(_ value: Number) {
        raw(value.bigEndian)
    }

    /// Appends a fixed-width number, least significant byte first.
    @inlinable
    public mutating func littleEndian<Number: FixedWidthInteger & BitwiseCopyable>(_ value: Number) {
        raw(value.littleEndian)
    }

    @inlinable
    mutating func raw<Number: FixedWidthInteger & BitwiseCopyable>(_ value: Number) {
        let size = MemoryLayout<Number>.size
        reserve(size)
        slab.unsafelyUnwrapped.base.storeBytes(of: value, toByteOffset: count, as: Number.self)
        length &+= size
    }
}
