/// Reads a protobuf message field by field from bytes that it borrows: the wire format, without a schema.
///
///     var reader = ProtobufReader(bytes.span)
///     while let field = try reader.next() {
///         switch field.number {
///         case 1: name = try reader.string(maximum: 64)
///         case 2: port = try reader.uint32()
///         default: break
///         }
///     }
///
/// `next()` reads a whole field, so one that nobody asks for is skipped. The typed accessors look at the field that
/// `next()` returned last and may be called more than once. Where a field that is not repeated comes twice, the
/// assignment in the loop lets the last one win, as protobuf wants it.
///
/// The rules are those of protobuf's encoding: varints of up to ten bytes, which may be longer than needed; numbers
/// wider than the field cut off. Groups, which no protocol here has ever used, are refused with `unexpected`.
public struct ProtobufReader: ~Escapable {
    /// How deeply messages may be nested unless the caller sets another bound.
    public static let defaultDepth = 32

    @usableFromInline var reader: Reader
    /// How many levels of messages may still be opened.
    @usableFromInline let depth: Int
    @usableFromInline var wireType: WireType
    /// The number of a varint or fixed-width field.
    @usableFromInline var number: UInt64
    /// Where the field begins, and where the value of a length-delimited one does.
    @usableFromInline var fieldStart: Int
    @usableFromInline var valueStart: Int

    /// How a value is written, from which its end can be told without a schema.
    public enum WireType: UInt8, Hashable, Sendable {
        /// A number in base 128.
        case varint = 0
        /// Eight bytes, least significant first.
        case fixed64 = 1
        /// Bytes behind their number: text, a message, packed numbers.
        case lengthDelimited = 2
        /// Four bytes, least significant first.
        case fixed32 = 5
    }

    /// What stands before a value.
    public struct Field: Hashable, Sendable {
        /// The field's number in its message, 1 to 2²⁹ - 1.
        public let number: Int
        /// How its value is written.
        public let wireType: WireType

        @usableFromInline
        init(number: Int, wireType: WireType) {
            self.number = number
            self.wireType = wireType
        }
    }

    /// A reader of the message that is all of `bytes`. `origin` is where they begin in a larger input, for the
    /// offsets in errors; `maximumDepth` is how many messages may be opened inside each other.
    @inlinable
    @_lifetime(copy bytes)
    public init(_ bytes: RawSpan, origin: Int = 0, maximumDepth: Int = defaultDepth) {
        self.init(Reader(bytes, origin: origin), depth: maximumDepth)
    }

    @inlinable
    @_lifetime(copy reader)
    init(_ reader: Reader, depth: Int) {
        self.reader = reader
        self.depth = depth
        wireType = .varint
        number = 0
        fieldStart = 0
        valueStart = 0
    }

    /// Reads the next field; `nil` at the end of the message. Throws `truncated`, `tooLarge` or, for a field number
    /// or wire type that does not exist, `unexpected`.
    public mutating func next() throws(WireError) -> Field? {
        guard !reader.isAtEnd else { return nil }
        fieldStart = reader.position
        let tag = try reader.protobufVarint()
        guard tag <= UInt32.max else { throw reader.error(.tooLarge, at: fieldStart) }
        guard tag >= 8 else { throw reader.error(.unexpected(0), at: fieldStart) }
        guard let type = WireType(rawValue: UInt8(tag & 7)) else {
            throw reader.error(.unexpected(tag & 7), at: fieldStart)
        }
        wireType = type
        valueStart = reader.position
        switch type {
        case .varint:
            number = try reader.protobufVarint()
        case .fixed64:
            number = try reader.littleEndian(UInt64.self)
        case .fixed32:
            number = UInt64(try reader.littleEndian(UInt32.self))
        case .lengthDelimited:
            let length = try reader.protobufVarint()
            guard length <= UInt64(reader.remaining) else { throw reader.error(.truncated, at: valueStart) }
            valueStart = reader.position
            try reader.skip(Int(length))
        }
        return Field(number: Int(tag >> 3), wireType: type)
    }

    /// The error `reason` at the field that was read last, for a value that does not fit the message's schema.
    @inlinable
    public func error(_ reason: WireError.Reason) -> WireError {
        reader.error(reason, at: fieldStart)
    }

    /// All bytes of the field, its tag included: what to keep of a field that must be carried along unknown.
    @inlinable
    public var rawField: RawSpan {
        @_lifetime(copy self)
        get { reader.span(in: fieldStart..<reader.position) }
    }

    @inlinable
    func expect(_ type: WireType) throws(WireError) {
        guard wireType == type else { throw error(.unexpected(UInt64(wireType.rawValue))) }
    }
}

/// One value. Each throws `unexpected` with the wire type where the field is written in another way.
extension ProtobufReader {
    /// A `uint64`.
    @inlinable
    public func uint64() throws(WireError) -> UInt64 {
        try expect(.varint)
        return number
    }

    /// A `uint32`: the low 32 bits of what is written.
    @inlinable
    public func uint32() throws(WireError) -> UInt32 {
        UInt32(truncatingIfNeeded: try uint64())
    }

    /// An `int64`.
    @inlinable
    public func int64() throws(WireError) -> Int64 {
        Int64(bitPattern: try uint64())
    }

    /// An `int32`: the low 32 bits of what is written.
    @inlinable
    public func int32() throws(WireError) -> Int32 {
        Int32(truncatingIfNeeded: try uint64())
    }

    /// A `sint64`: zigzag, small for small negative numbers.
    @inlinable
    public func sint64() throws(WireError) -> Int64 {
        let written = try uint64()
        return Int64(bitPattern: written >> 1) ^ -Int64(bitPattern: written & 1)
    }

    /// A `sint32`: zigzag, from the low 32 bits of what is written.
    @inlinable
    public func sint32() throws(WireError) -> Int32 {
        let written = try uint32()
        return Int32(bitPattern: written >> 1) ^ -Int32(bitPattern: written & 1)
    }

    /// A `bool`: whatever is not zero is true.
    @inlinable
    public func bool() throws(WireError) -> Bool {
        try uint64() != 0
    }

    /// An enumeration's value, or `nil` for one that `Value` does not have: protobuf leaves it to the message what
    /// that means.
    @inlinable
    public func enumeration<Value: RawRepresentable>(
        _: Value.Type = Value.self
    ) throws(WireError) -> Value? where Value.RawValue: FixedWidthInteger {
        guard let rawValue = Value.RawValue(exactly: try int32()) else { return nil }
        return Value(rawValue: rawValue)
    }

    /// A `fixed64`, or the bits of an `sfixed64` or a `double`.
    @inlinable
    public func fixed64() throws(WireError) -> UInt64 {
        try expect(.fixed64)
        return number
    }

    /// A `fixed32`, or the bits of an `sfixed32` or a `float`.
    @inlinable
    public func fixed32() throws(WireError) -> UInt32 {
        try expect(.fixed32)
        return UInt32(truncatingIfNeeded: number)
    }

    /// A `bytes` value where it stands. Throws `tooLarge` for more than `maximum`.
    @inlinable
    @_lifetime(copy self)
    public func bytes(maximum: Int = .max) throws(WireError) -> RawSpan {
        try expect(.lengthDelimited)
        let range = valueStart..<reader.position
        guard range.count <= maximum else { throw error(.tooLarge) }
        return reader.span(in: range)
    }

    /// Where a `bytes` value stands in the outermost input: what to slice out of a `Bytes` to keep it without a copy.
    /// Throws `tooLarge` for more than `maximum`.
    @inlinable
    public func range(maximum: Int = .max) throws(WireError) -> Range<Int> {
        let count = try bytes(maximum: maximum).byteCount
        return reader.offset - count..<reader.offset
    }

    /// A `string` value. Throws `tooLarge` for more than `maximum` bytes and `notUTF8`.
    public func string(maximum: Int = .max) throws(WireError) -> String {
        let text = try bytes(maximum: maximum).withUnsafeBytes { String(validating: $0, as: UTF8.self) }
        guard let text else { throw reader.error(.notUTF8, at: valueStart) }
        return text
    }

    /// A reader of the message that is the field's value. Throws `tooDeep` where it is nested beyond the bound.
    @inlinable
    @_lifetime(copy self)
    public func message(maximum: Int = .max) throws(WireError) -> ProtobufReader {
        let value = try bytes(maximum: maximum)
        guard depth > 0 else { throw error(.tooDeep) }
        return ProtobufReader(Reader(value, origin: reader.origin + valueStart), depth: depth - 1)
    }
}

/// Repeated numbers, whether they are packed into one field or come in a field each.
extension ProtobufReader {
    /// Calls `body` with each varint of the field: one, or as many as are packed.
    @inlinable
    public func varints(_ body: (UInt64) throws(WireError) -> Void) throws(WireError) {
        guard wireType == .lengthDelimited else { return try body(try uint64()) }
        var packed = Reader(try bytes(), origin: reader.origin + valueStart)
        while !packed.isAtEnd { try body(try packed.protobufVarint()) }
    }

    /// Calls `body` with each `fixed64` of the field: one, or as many as are packed.
    @inlinable
    public func fixed64s(_ body: (UInt64) throws(WireError) -> Void) throws(WireError) {
        guard wireType == .lengthDelimited else { return try body(try fixed64()) }
        var packed = Reader(try bytes(), origin: reader.origin + valueStart)
        while !packed.isAtEnd { try body(try packed.littleEndian()) }
    }

    /// Calls `body` with each `fixed32` of the field: one, or as many as are packed.
    @inlinable
    public func fixed32s(_ body: (UInt32) throws(WireError) -> Void) throws(WireError) {
        guard wireType == .lengthDelimited else { return try body(try fixed32()) }
        var packed = Reader(try bytes(), origin: reader.origin + valueStart)
        while !packed.isAtEnd { try body(try packed.littleEndian()) }
    }
}

extension Reader {
    /// The next varint by protobuf's rules: up to ten bytes, needlessly long ones allowed.
    @inlinable
    public mutating func protobufVarint() throws(WireError) -> UInt64 {
        if let first = peek(), first < 0x80 {
            cursor &+= 1
            return UInt64(first)
        }
        return try longVarint(maximumSize: 10, minimal: false)
    }
}
