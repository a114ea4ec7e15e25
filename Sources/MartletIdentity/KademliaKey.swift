import MartletCrypto
import MartletWire

/// A place in the key space of libp2p's DHT: the SHA-256 of a peer id or of a record's key.
///
/// Making one costs a hash, so tables keep it beside the id.
public struct KademliaKey: Hashable, Sendable, BitwiseCopyable {
    /// The hash as a number, most significant word first.
    @usableFromInline let number: Number256

    /// The place of a peer.
    public init(_ peer: PeerID) {
        self.init(hashing: peer.span)
    }

    /// The place of whatever these bytes name.
    public init(hashing bytes: RawSpan) {
        let digest = HashAlgorithm.sha256.digest(of: bytes)
        number = Number256(bigEndian: digest.span)
    }

    /// How far it is to `other`: the exclusive or of both.
    @inlinable
    public func distance(to other: KademliaKey) -> Distance {
        Distance(
            Number256(
                number.first ^ other.number.first, number.second ^ other.number.second,
                number.third ^ other.number.third, number.fourth ^ other.number.fourth))
    }

    /// How many leading bits both have in common: 256 for the same place.
    @inlinable
    public func commonPrefixLength(with other: KademliaKey) -> Int {
        distance(to: other).commonPrefixLength
    }
}

/// How far two places in the key space are apart: 256 bits, ordered as a number.
public struct Distance: Hashable, Comparable, Sendable, BitwiseCopyable {
    @usableFromInline let number: Number256

    @inlinable
    init(_ number: Number256) {
        self.number = number
    }

    /// No distance: the same place.
    public static let zero = Distance(Number256(0, 0, 0, 0))

    /// How many leading bits the two places have in common: 256 for the same place.
    @inlinable
    public var commonPrefixLength: Int {
        if number.first != 0 { return number.first.leadingZeroBitCount }
        if number.second != 0 { return 64 + number.second.leadingZeroBitCount }
        if number.third != 0 { return 128 + number.third.leadingZeroBitCount }
        return 192 + number.fourth.leadingZeroBitCount
    }

    /// Whether `left` is nearer than `right`.
    @inlinable
    public static func < (left: Distance, right: Distance) -> Bool {
        let (left, right) = (left.number, right.number)
        if left.first != right.first { return left.first < right.first }
        if left.second != right.second { return left.second < right.second }
        if left.third != right.third { return left.third < right.third }
        return left.fourth < right.fourth
    }
}

extension PeerID {
    /// How far this peer is from `other` in libp2p's DHT. Hashes both ids: a table keeps `KademliaKey`s instead.
    public func distance(to other: PeerID) -> Distance {
        KademliaKey(self).distance(to: KademliaKey(other))
    }
}

/// 256 bits, most significant word first.
@usableFromInline
struct Number256: Hashable, Sendable, BitwiseCopyable {
    @usableFromInline let first: UInt64
    @usableFromInline let second: UInt64
    @usableFromInline let third: UInt64
    @usableFromInline let fourth: UInt64

    @inlinable
    init(_ first: UInt64, _ second: UInt64, _ third: UInt64, _ fourth: UInt64) {
        self.first = first
        self.second = second
        self.third = third
        self.fourth = fourth
    }

    /// The number in 32 bytes.
    init(bigEndian bytes: RawSpan) {
        precondition(bytes.byteCount == 32, "256 bits are 32 bytes")
        func word(_ index: Int) -> UInt64 {
            UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
        }
        self.init(word(0), word(1), word(2), word(3))
    }
}
