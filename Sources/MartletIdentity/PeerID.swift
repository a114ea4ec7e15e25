public import MartletCrypto
public import MartletWire

/// The name of a peer: a multihash of its public key (libp2p's peer id specification).
///
/// A key whose encoding has at most 42 bytes (Ed25519, secp256k1) stands in the id itself, a longer one (ECDSA, RSA)
/// as its SHA-256. The id is a plain value of 48 bytes without heap memory, made to be the key of a dictionary.
///
/// An id from elsewhere is checked to be a multihash of one of these kinds with a length that fits. Whether the bytes
/// of an identity hash are a key is not asked until `publicKey()`: the Go and Rust implementations make and carry
/// ids where they are not, and nobody can prove to own such an id.
public struct PeerID: Sendable, BitwiseCopyable {
    /// The longest key encoding that stands in the id itself.
    public static let maximumInlineKeySize = 42

    /// The most bytes that an id may have.
    public static let maximumSize = 44

    /// The multihash, zeros, and its number of bytes in the last byte: 48 bytes in the order of memory, so that
    /// equality is six comparisons.
    @usableFromInline var storage: InlineArray<6, UInt64>

    private init(_ function: Multihash.Function, digest: RawSpan) {
        precondition(digest.byteCount <= PeerID.maximumInlineKeySize, "longer than a peer id can be")
        storage = InlineArray(repeating: 0)
        var words = storage.mutableSpan
        words.withUnsafeMutableBytes { target in
            target[0] = UInt8(function.rawValue)
            target[1] = UInt8(digest.byteCount)
            digest.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: target[2...]).copyMemory(from: $0) }
            target[47] = UInt8(digest.byteCount + 2)
        }
    }

    /// The id of the peer whose public key this is.
    public init(_ key: PublicKey) {
        let encoded = key.protobuf
        if encoded.count <= PeerID.maximumInlineKeySize {
            self.init(.identity, digest: encoded.span)
        } else {
            self.init(.sha256, digest: HashAlgorithm.sha256.digest(of: encoded.span).span)
        }
    }

    /// The id with these bytes: a multihash and nothing else.
    ///
    /// Throws what `Reader.multihash()` throws, and `tooLarge` or `missing` for a key that can't stand in an id.
    public init(bytes: RawSpan) throws(WireError) {
        var reader = Reader(bytes)
        let hash = try reader.multihash()
        try reader.expectEnd()
        guard hash.digest.byteCount > 0 else { throw WireError(.missing, at: 1) }
        guard hash.digest.byteCount <= PeerID.maximumInlineKeySize else { throw WireError(.tooLarge, at: 1) }
        self.init(hash.function, digest: hash.digest)
    }

    /// How many bytes the id has: 34 for a hashed key, 38 for an Ed25519 key.
    @inlinable
    public var count: Int { Int(span48[47]) }

    /// The bytes: a multihash.
    @inlinable
    public var span: RawSpan {
        @_lifetime(borrow self)
        get { span48.extracting(first: count) }
    }

    @inlinable
    var span48: RawSpan {
        @_lifetime(borrow self)
        get { storage.span.bytes }
    }

    /// A copy of the bytes, in one allocation.
    public var bytes: Bytes { Bytes(copying: span) }

    /// The peer's public key, or `nil` where the id holds only its hash. Throws where what it holds is not a key.
    public func publicKey() throws(KeyError) -> PublicKey? {
        guard span[0] == Multihash.Function.identity.rawValue else { return nil }
        return try PublicKey(protobuf: span.extracting(droppingFirst: 2))
    }
}

extension PeerID: Hashable, Comparable {
    /// Whether both are the same bytes.
    @inlinable
    public static func == (left: PeerID, right: PeerID) -> Bool {
        var difference: UInt64 = 0
        for index in 0..<6 { difference |= left.storage[index] ^ right.storage[index] }
        return difference == 0
    }

    /// Feeds the bytes and their number to `hasher`.
    @inlinable
    public func hash(into hasher: inout Hasher) {
        for index in 0..<6 { hasher.combine(storage[index]) }
    }

    /// By the bytes; a prefix stands before what it begins.
    @inlinable
    public static func < (left: PeerID, right: PeerID) -> Bool {
        for index in 0..<6 where left.storage[index] != right.storage[index] {
            return left.storage[index].bigEndian < right.storage[index].bigEndian
        }
        return false
    }
}

extension Writer {
    /// Appends the bytes of `peer`: a multihash.
    @inlinable
    public mutating func peerID(_ peer: PeerID) {
        bytes(peer.span)
    }
}
