/// A hash that says by which function it was made (multiformats' multihash): code, length, digest.
///
/// Only the functions that peer ids and certificate hashes use are known. Nothing is hashed here.
public struct Multihash: Hashable, Sendable {
    /// The longest digest that is accepted: what an identity hash may hold.
    public static let maximumDigest = 128

    /// A hash function, by its code in multiformats' table.
    public enum Function: UInt64, Hashable, Sendable {
        /// The digest is what was "hashed", unchanged.
        case identity = 0x00
        /// SHA-256, whose digests have 32 bytes.
        case sha256 = 0x12
    }

    /// The function that made the digest.
    public let function: Function
    /// The multihash as it is sent: code, length and digest.
    public let encoded: Bytes

    /// A multihash of `digest`, which must have the length that `function` gives, `maximumDigest` at most.
    public init(_ function: Function, digest: RawSpan) {
        precondition(Multihash.allows(digest.byteCount, for: function), "not a digest of this function")
        self.function = function
        var writer = Writer(capacity: digest.byteCount + 3)
        writer.varint(function.rawValue)
        writer.lengthPrefixed(digest)
        encoded = writer.finish()
    }

    /// The multihash that all of `encoded` is, without a copy. Throws `unexpected` with the code of an unknown
    /// function or with a length that does not fit the function, `tooLarge`, `trailingBytes` and what varints throw.
    public init(_ encoded: Bytes) throws(WireError) {
        var reader = Reader(encoded.span)
        function = try reader.multihash().function
        try reader.expectEnd()
        self.encoded = encoded
    }

    /// What the function made.
    public var digest: Bytes {
        // Code and lengths up to 127 take one byte each.
        encoded.slice((encoded.count > 129 ? 3 : 2)..<encoded.count)
    }

    static func allows(_ count: Int, for function: Function) -> Bool {
        switch function {
        case .identity: count <= maximumDigest
        case .sha256: count == 32
        }
    }
}

extension Multihash: CustomStringConvertible {
    /// The multihash in base58, the text of a peer id.
    public var description: String { Base58.encode(encoded.span) }
}

extension Multihash: Comparable {
    /// Orders by the encoded bytes.
    public static func < (left: Multihash, right: Multihash) -> Bool { left.encoded < right.encoded }
}

/// A multihash where it stands in larger bytes.
public struct MultihashView: ~Escapable {
    /// The function that made the digest.
    public let function: Multihash.Function
    /// What the function made.
    public let digest: RawSpan

    @_lifetime(copy digest)
    init(_ function: Multihash.Function, _ digest: RawSpan) {
        self.function = function
        self.digest = digest
    }
}

extension Reader {
    /// The next multihash, without a copy. Throws what `Multihash.init(_:)` does, and moves nothing then.
    @_lifetime(copy self)
    public mutating func multihash() throws(WireError) -> MultihashView {
        let start = position
        do throws(WireError) {
            let code = try varint()
            guard let function = Multihash.Function(rawValue: code) else {
                throw error(.unexpected(code), at: start)
            }
            let lengthPosition = position
            let digest = try lengthPrefixed(maximum: Multihash.maximumDigest)
            guard Multihash.allows(digest.byteCount, for: function) else {
                throw error(.unexpected(UInt64(digest.byteCount)), at: lengthPosition)
            }
            return MultihashView(function, digest)
        } catch {
            cursor = start
            throw error
        }
    }
}
