/// Reads values one after the other from bytes that it borrows, and never beyond them.
///
/// Nothing is copied: what it hands out are spans into the same memory. Every failure is a `WireError` with the
/// offset at which it happened, counted from the start of the outermost input. A failed read moves nothing.
public struct Reader: ~Escapable {
    @usableFromInline let bytes: RawSpan
    @usableFromInline var cursor: Int
    /// Where this reader's input begins in the outermost input.
    @usableFromInline let origin: Int

    /// A reader of all of `bytes`. `origin` is where they begin in a larger input, for the offsets in errors.
    @inlinable
    @_lifetime(copy bytes)
    public init(_ bytes: RawSpan, origin: Int = 0) {
        self.bytes = bytes
        self.cursor = 0
        self.origin = origin
    }

    /// How many bytes of this reader's own input have been read.
    @inlinable
    public var position: Int { cursor }

    /// How many bytes are left.
    @inlinable
    public var remaining: Int { bytes.byteCount &- position }

    /// Whether everything has been read.
    @inlinable
    public var isAtEnd: Bool { position == bytes.byteCount }

    /// The offset of the next byte in the outermost input.
    @inlinable
    public var offset: Int { origin + position }

    /// The error `reason`, at the next byte or at `position`.
    @inlinable
    public func error(_ reason: WireError.Reason, at position: Int? = nil) -> WireError {
        WireError(reason, at: origin + (position ?? self.position))
    }

    /// Fails with `trailingBytes` unless everything has been read.
    @inlinable
    public func expectEnd() throws(WireError) {
        if !isAtEnd { throw error(.trailingBytes) }
    }

    /// The next byte, left where it is, or `nil` at the end.
    @inlinable
    public func peek() -> UInt8? {
        isAtEnd ? nil : bytes[position]
    }

    /// The next byte.
    @inlinable
    public mutating func byte() throws(WireError) -> UInt8 {
        guard position < bytes.byteCount else { throw error(.truncated) }
        defer { cursor &+= 1 }
        return bytes[position]
    }

    /// The next `count` bytes, where they stand.
    @inlinable
    @_lifetime(copy self)
    public mutating func span(_ count: Int) throws(WireError) -> RawSpan {
        guard count >= 0, count <= remaining else { throw error(.truncated) }
        let start = position
        cursor = start &+ count
        return bytes.extracting(unchecked: start..<position)
    }

    /// All that is left, where it stands.
    @inlinable
    @_lifetime(copy self)
    public mutating func rest() -> RawSpan {
        defer { cursor = bytes.byteCount }
        return bytes.extracting(unchecked: position..<bytes.byteCount)
    }

    /// A reader of the next `count` bytes alone, whose errors tell offsets in the same outermost input.
    @inlinable
    @_lifetime(copy self)
    public mutating func reader(_ count: Int) throws(WireError) -> Reader {
        let start = offset
        return Reader(try span(count), origin: start)
    }

    /// Passes over the next `count` bytes.
    @inlinable
    public mutating func skip(_ count: Int) throws(WireError) {
        guard count >= 0, count <= remaining else { throw error(.truncated) }
        cursor &+= count
    }

    /// The bytes of this reader's input in `range`, read or not.
    @inlinable
    @_lifetime(copy self)
    public func span(in range: Range<Int>) -> RawSpan {
        bytes.extracting(range)
    }

    /// The next fixed-width number, most significant byte first.
    @inlinable
    public mutating func integer<Number: FixedWidthInteger & BitwiseCopyable>(
        _: Number.Type = Number.self
    ) throws(WireError) -> Number {
        Number(bigEndian: try raw())
    }

    /// The next fixed-width number, least significant byte first.
    @inlinable
    public mutating func littleEndian<Number: FixedWidthInteger & BitwiseCopyable>(
        _: Number.Type = Number.self
    ) throws(WireError) -> Number {
        Number(littleEndian: try raw())
    }

    @inlinable
    mutating func raw<Number: FixedWidthInteger & BitwiseCopyable>() throws(WireError) -> Number {
        let size = MemoryLayout<Number>.size
        guard remaining >= size else { throw error(.truncated) }
        defer { cursor &+= size }
        return bytes.unsafeLoadUnaligned(fromByteOffset: position, as: Number.self)
    }
}
