import MartletCrypto
public import MartletRouting
public import MartletWire

/// A point of the DHT's space of 160 bits (BEP 5): a node's id, an infohash, or the target of an item.
public struct NodeID: RoutingKey, BitwiseCopyable {
    /// How many bytes an id has.
    public static let size = 20
    /// How many bits an id has.
    public static let bitCount = 160

    let high: UInt64
    let middle: UInt64
    let low: UInt32

    init(high: UInt64, middle: UInt64, low: UInt32) {
        self.high = high
        self.middle = middle
        self.low = low
    }

    /// The id in `bytes`, of which there must be exactly 20.
    public init(bytes: RawSpan) throws(WireError) {
        var reader = Reader(bytes)
        high = try reader.integer()
        middle = try reader.integer()
        low = try reader.integer()
        try reader.expectEnd()
    }

    /// The SHA-1 of `message`.
    public init(hashing message: RawSpan) {
        var reader = Reader(HashAlgorithm.sha1.digest(of: message).span)
        // A digest of SHA-1 has 20 bytes.
        high = (try? reader.integer()) ?? 0
        middle = (try? reader.integer()) ?? 0
        low = (try? reader.integer()) ?? 0
    }

    /// The id that 40 digits of base16 write, or `nil`.
    public init?(_ text: some StringProtocol) {
        let digits = Array(text.utf8)
        guard digits.count == 40,
            digits.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x66) })
        else { return nil }
        guard let high = UInt64(text.prefix(16), radix: 16),
            let middle = UInt64(text.dropFirst(16).prefix(16), radix: 16),
            let low = UInt32(text.dropFirst(32), radix: 16)
        else { return nil }
        self.init(high: high, middle: middle, low: low)
    }

    /// An id drawn evenly from all.
    public init(using generator: inout some RandomNumberGenerator) {
        self.init(high: generator.next(), middle: generator.next(), low: generator.next())
    }

    /// How many leading bits both have in common.
    public func commonPrefixLength(with other: NodeID) -> Int {
        if high != other.high { return (high ^ other.high).leadingZeroBitCount }
        if middle != other.middle { return 64 + (middle ^ other.middle).leadingZeroBitCount }
        return 128 + (low ^ other.low).leadingZeroBitCount
    }

    /// Whether this id's distance to `target` is less than that of `other`.
    public func isCloser(to target: NodeID, than other: NodeID) -> Bool {
        let mine = high ^ target.high
        let theirs = other.high ^ target.high
        if mine != theirs { return mine < theirs }
        if middle != other.middle { return middle ^ target.middle < other.middle ^ target.middle }
        return low ^ target.low < other.low ^ target.low
    }

    /// An id that has exactly `length` leading bits in common with this one and is otherwise drawn evenly.
    public func drawn(sharing length: Int, using generator: inout some RandomNumberGenerator) -> NodeID {
        let other = NodeID(using: &generator)
        func mixed<Word: FixedWidthInteger>(_ mine: Word, _ drawn: Word, from first: Int) -> Word {
            let shared = max(0, min(Word.bitWidth, length - first))
            let mask: Word = shared == Word.bitWidth ? 0 : Word.max >> Word(shared)
            var word = mine & ~mask | drawn & mask
            let turned = length - first
            if turned >= 0, turned < Word.bitWidth {
                let bit: Word = 1 << Word(Word.bitWidth - 1 - turned)
                word = word & ~bit | ~mine & bit
            }
            return word
        }
        return NodeID(
            high: mixed(high, other.high, from: 0), middle: mixed(middle, other.middle, from: 64),
            low: mixed(low, other.low, from: 128))
    }

    /// By number.
    public static func < (left: NodeID, right: NodeID) -> Bool {
        (left.high, left.middle, left.low) < (right.high, right.middle, right.low)
    }

    /// The 20 bytes, in one allocation.
    public var bytes: Bytes {
        var writer = Writer(capacity: NodeID.size)
        writer.nodeID(self)
        return writer.finish()
    }
}

extension NodeID: CustomStringConvertible {
    /// The id in base16, 40 digits.
    public var description: String {
        func digits(_ number: some FixedWidthInteger) -> String {
            let text = String(number, radix: 16)
            return String(repeating: "0", count: number.bitWidth / 4 - text.utf8.count) + text
        }
        return digits(high) + digits(middle) + digits(low)
    }
}

extension Writer {
    /// Appends the 20 bytes of `id`.
    mutating func nodeID(_ id: NodeID) {
        integer(id.high)
        integer(id.middle)
        integer(id.low)
    }
}

extension NodeID {
    /// Calls `body` with the 20 bytes.
    func withBytes<Result>(_ body: (RawSpan) -> Result) -> Result {
        var words = InlineArray<5, UInt32>(repeating: 0)
        words[0] = UInt32(truncatingIfNeeded: high >> 32).bigEndian
        words[1] = UInt32(truncatingIfNeeded: high).bigEndian
        words[2] = UInt32(truncatingIfNeeded: middle >> 32).bigEndian
        words[3] = UInt32(truncatingIfNeeded: middle).bigEndian
        words[4] = low.bigEndian
        return body(words.span.bytes)
    }
}
