/// Reads bencode (BEP 3) value by value from bytes that it borrows, without allocating.
///
///     var reader = try BencodeReader(bytes.span)
///     try reader.beginDictionary()
///     while let key = try reader.nextKey() {
///         switch key {
///         case "t": transaction = try reader.string(maximum: 16)
///         case "v": version = try reader.raw()
///         default: break
///         }
///     }
///     try reader.expectEnd()
///
/// A value that nobody asks for is skipped, and checked as strictly as if it had been read: lengths and integers in
/// their only form, integers within `Int64`, keys in ascending order of their bytes and each of them once. What a
/// dictionary or list holds must be read to its end (until `nil` or `false`) before what stands behind it; `raw()`
/// gives it whole to whom that does not suit. A call in the wrong place is the error `unexpected`.
///
/// Where a value is of another kind than asked for, the error is `unexpected` with its first byte, and nothing has
/// moved. After any other error the reader is of no use.
public struct BencodeReader: ~Escapable {
    /// How deeply lists and dictionaries may be nested.
    public static let maximumDepth = 32
    /// The most bytes that are read unless the caller sets another bound.
    public static let defaultSize = 1 << 20

    /// What the order of a dictionary's keys must be.
    public enum KeyOrder: Hashable, Sendable {
        /// Ascending, each key once, as BEP 3 wants it and signatures need it.
        case ascending
        /// Any, as some nodes of the DHT send it. A key that comes twice is then handed out twice.
        case any
    }

    /// The kinds of values.
    public enum Kind: Hashable, Sendable {
        /// A whole number.
        case integer
        /// Bytes, text or not.
        case string
        /// Values one after the other.
        case list
        /// Keys with their values.
        case dictionary
    }

    /// A list or dictionary that is being read.
    struct Level {
        var isDictionary = false
        /// Where the last key's bytes stand, once there is one.
        var lastKey: Range<Int32>?
    }

    private var reader: Reader
    // As many as `maximumDepth` allows.
    private var levels = InlineArray<32, Level>(repeating: Level())
    private var depth = 0
    private let keyOrder: KeyOrder
    /// Whether the next thing is a value, and not a key or an end.
    private var isBeforeValue = true

    /// A reader of the value that `bytes` begin with. Throws `tooLarge` for more than `maximumSize` bytes.
    @_lifetime(copy bytes)
    public init(
        _ bytes: RawSpan, keyOrder: KeyOrder = .ascending, maximumSize: Int = defaultSize
    ) throws(WireError) {
        guard bytes.byteCount <= min(maximumSize, Int(Int32.max)) else { throw WireError(.tooLarge, at: 0) }
        reader = Reader(bytes)
        self.keyOrder = keyOrder
    }

    /// How many bytes have been read.
    public var position: Int { reader.position }

    /// The error `reason` at the next byte, for a value that does not fit its message.
    public func error(_ reason: WireError.Reason) -> WireError { reader.error(reason) }

    /// Fails with `trailingBytes` where something follows the value that was read, and where it was not read to its
    /// end.
    public func expectEnd() throws(WireError) {
        guard depth == 0, !isBeforeValue, reader.isAtEnd else { throw reader.error(.trailingBytes) }
    }
}

/// Values.
extension BencodeReader {
    /// The kind of the next value. Throws `truncated` and `unexpected`.
    public func kind() throws(WireError) -> Kind {
        switch reader.peek() {
        case ascii("i"): .integer
        case ascii("l"): .list
        case ascii("d"): .dictionary
        case (ascii("0")...ascii("9"))?: .string
        default: throw reader.unexpected()
        }
    }

    /// The next value, an integer. Throws `notMinimal` for leading zeros and negative zero, `tooLarge` outside `Int64`.
    public mutating func integer() throws(WireError) -> Int64 {
        try expect(.integer)
        let start = reader.position
        try reader.skip(1)
        let isNegative = reader.peek() == ascii("-")
        if isNegative { try reader.skip(1) }
        let magnitude = try reader.decimal(maximum: UInt64(Int64.max) + (isNegative ? 1 : 0))
        if isNegative, magnitude == 0 { throw reader.error(.notMinimal, at: start) }
        try reader.expect(ascii("e"))
        isBeforeValue = false
        return isNegative ? Int64(truncatingIfNeeded: 0 &- magnitude) : Int64(magnitude)
    }

    /// The next value, a string, where it stands. Throws `tooLarge` for more than `maximum` bytes.
    @_lifetime(copy self)
    public mutating func string(maximum: Int = .max) throws(WireError) -> RawSpan {
        try expect(.string)
        let value = try reader.bencodeString(maximum: maximum)
        isBeforeValue = false
        return value
    }

    /// Passes over the next value, whatever it is.
    public mutating func skip() throws(WireError) {
        let floor = depth
        try enterOrPass()
        while depth > floor {
            if try levels[depth - 1].isDictionary ? advanceKey() : advanceElement() { try enterOrPass() }
        }
    }

    /// All bytes of the next value, whatever it is, where they stand: what a signature was made over.
    @_lifetime(copy self)
    public mutating func raw() throws(WireError) -> RawSpan {
        let start = reader.position
        try skip()
        return reader.span(in: start..<reader.position)
    }

    /// Goes into the next value, a dictionary. Throws `tooDeep` beyond `maximumDepth`.
    public mutating func beginDictionary() throws(WireError) {
        try expect(.dictionary)
        try enter(Level(isDictionary: true))
    }

    /// Goes into the next value, a list. Throws `tooDeep` beyond `maximumDepth`.
    public mutating func beginList() throws(WireError) {
        try expect(.list)
        try enter(Level())
    }

    /// The next key of the dictionary, whose value follows, or `nil` at its end, which is left then.
    /// Throws `unsorted` and `duplicateKey`.
    @_lifetime(copy self)
    public mutating func nextKey() throws(WireError) -> BencodeKey? {
        guard depth > 0, levels[depth - 1].isDictionary else { throw reader.unexpected() }
        if isBeforeValue { try skip() }
        guard try advanceKey(), let key = levels[depth - 1].lastKey else { return nil }
        return BencodeKey(reader.span(in: Int(key.lowerBound)..<Int(key.upperBound)))
    }

    /// Whether the list has a further element, which follows then. At the end the list is left.
    public mutating func nextElement() throws(WireError) -> Bool {
        guard depth > 0, !levels[depth - 1].isDictionary else { throw reader.unexpected() }
        if isBeforeValue { try skip() }
        return try advanceElement()
    }
}

/// Steps that do not skip.
extension BencodeReader {
    private func expect(_ kind: Kind) throws(WireError) {
        // A call in the wrong place is no reason to trap: whether the caller left a list early may depend on the input.
        guard isBeforeValue, try self.kind() == kind else { throw reader.unexpected() }
    }

    private mutating func enter(_ level: Level) throws(WireError) {
        guard depth < BencodeReader.maximumDepth else { throw reader.error(.tooDeep) }
        try reader.skip(1)
        levels[depth] = level
        depth += 1
        isBeforeValue = false
    }

    private mutating func enterOrPass() throws(WireError) {
        switch try kind() {
        case .integer: _ = try integer()
        case .string: _ = try string()
        case .list: try beginList()
        case .dictionary: try beginDictionary()
        }
    }

    /// Leaves the list or dictionary if it ends here.
    private mutating func leaveAtEnd() throws(WireError) -> Bool {
        guard reader.peek() == ascii("e") else { return false }
        try reader.skip(1)
        depth -= 1
        return true
    }

    private mutating func advanceElement() throws(WireError) -> Bool {
        if try leaveAtEnd() { return false }
        isBeforeValue = true
        return true
    }

    private mutating func advanceKey() throws(WireError) -> Bool {
        if try leaveAtEnd() { return false }
        let start = reader.position
        let key = try reader.bencodeString(maximum: .max)
        if keyOrder == .ascending, let last = levels[depth - 1].lastKey {
            let order = reader.span(in: Int(last.lowerBound)..<Int(last.upperBound)).compare(to: key)
            guard order < 0 else { throw reader.error(order == 0 ? .duplicateKey : .unsorted, at: start) }
        }
        let end = Int32(reader.position)
        levels[depth - 1].lastKey = (end - Int32(key.byteCount))..<end
        isBeforeValue = true
        return true
    }
}

/// A dictionary's key where it stands, to be compared with text: `case "info_hash":`.
public struct BencodeKey: ~Escapable {
    /// The key's bytes.
    public let bytes: RawSpan

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan) { self.bytes = bytes }

    /// Whether the key's bytes are those of `text`.
    @inlinable
    public static func ~= (text: StaticString, key: BencodeKey) -> Bool {
        let count = text.utf8CodeUnitCount
        guard key.bytes.byteCount == count else { return false }
        return key.bytes.withUnsafeBytes { bytes in
            for index in 0..<count where bytes[index] != text.utf8Start[index] { return false }
            return true
        }
    }
}

@inline(__always)
private func ascii(_ character: UnicodeScalar) -> UInt8 { UInt8(ascii: character) }

extension Reader {
    @_lifetime(copy self)
    fileprivate mutating func bencodeString(maximum: Int) throws(WireError) -> RawSpan {
        let start = position
        let count = try decimal(maximum: UInt64(Int32.max))
        try expect(ascii(":"))
        guard count <= UInt64(remaining) else { throw error(.truncated, at: start) }
        guard count <= UInt64(maximum) else { throw error(.tooLarge, at: start) }
        return try span(Int(count))
    }
}
