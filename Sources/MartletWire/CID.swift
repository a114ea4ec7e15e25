/// A content id, version 1 (multiformats' CID): what the content is, and its hash.
///
/// As far as peer ids need it: their second text form is a CIDv1 in multibase, with the codec `libp2pKey`.
public struct CID: Hashable, Sendable {
    /// What the hash is of, by its code in multiformats' table.
    public enum Codec: UInt64, Hashable, Sendable {
        /// Bytes without a structure.
        case raw = 0x55
        /// A node of IPFS's graphs.
        case dagPB = 0x70
        /// A libp2p public key: the content id of a peer.
        case libp2pKey = 0x72
    }

    /// What the hash is of.
    public let codec: Codec
    /// The content's hash.
    public let multihash: Multihash

    /// A content id with its two parts.
    public init(_ codec: Codec, _ multihash: Multihash) {
        self.codec = codec
        self.multihash = multihash
    }

    /// The content id that all of `bytes` is. Its hash shares their memory. Throws `unexpected` with an unknown
    /// version or codec, and what `Multihash` throws.
    public init(_ bytes: Bytes) throws(WireError) {
        var reader = Reader(bytes.span)
        let version = try reader.varint()
        guard version == 1 else { throw WireError(.unexpected(version), at: 0) }
        let codecPosition = reader.position
        let code = try reader.varint()
        guard let codec = Codec(rawValue: code) else { throw WireError(.unexpected(code), at: codecPosition) }
        let start = reader.position
        // Read here first, so that an error's offset counts from the start of the content id.
        _ = try reader.multihash()
        try reader.expectEnd()
        self.init(codec, try Multihash(bytes.slice(start..<bytes.count)))
    }

    /// The content id whose multibase text `text` is. Throws what `Multibase` throws, with offsets in the text, and
    /// what `init(_:)` throws, with offsets in the bytes that the text stands for.
    public init(text: String) throws(WireError) {
        try self.init(try Multibase.decode(text).bytes)
    }

    /// The content id as it is sent: version, codec and multihash.
    public var encoded: Bytes {
        var writer = Writer(capacity: multihash.encoded.count + 2)
        writer.varint(1)
        writer.varint(codec.rawValue)
        writer.bytes(multihash.encoded)
        return writer.finish()
    }

    /// The content id as text, by default in the base that most use.
    public func text(in base: Multibase = .base32) -> String {
        base.encode(encoded.span)
    }
}

extension CID: CustomStringConvertible {
    /// The content id as base32 text.
    public var description: String { text() }
}
