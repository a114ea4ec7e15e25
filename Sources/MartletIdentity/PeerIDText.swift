public import MartletWire

extension PeerID: LosslessStringConvertible {
    /// The most characters that are looked at. The longest form of an id, a CID in base16, has 93.
    public static let maximumTextSize = 128

    /// The id that `text` writes, or `nil`; `init(parsing:)` tells why.
    public init?(_ text: String) {
        do throws(WireError) {
            try self.init(parsing: text)
        } catch {
            return nil
        }
    }

    /// The id that the whole of `text` writes: base58 (`12D3KooW…`, `Qm…`) or a CIDv1 in any multibase (`bafz…`).
    public init(parsing text: String) throws(WireError) {
        try self.init(parsing: text.utf8.span.bytes)
    }

    /// The id that the whole of `text` writes, in UTF-8. Offsets in errors of what the text encodes count decoded
    /// bytes.
    public init(parsing text: RawSpan) throws(WireError) {
        self = try PeerID.parse(text)
    }

    private static func parse(_ text: RawSpan) throws(WireError) -> PeerID {
        guard text.byteCount > 0 else { throw WireError(.truncated, at: 0) }
        guard text.byteCount <= maximumTextSize else { throw WireError(.tooLarge, at: 0) }
        let isHashed = text.byteCount > 1 && text[0] == UInt8(ascii: "Q") && text[1] == UInt8(ascii: "m")
        if isHashed || text[0] == UInt8(ascii: "1") {
            let decoded = try Base58.decode(utf8: text)
            return try PeerID(bytes: decoded.span)
        }
        let decoded = try Multibase.decode(utf8: text).bytes
        let cid = try CID(decoded)
        guard cid.codec == .libp2pKey else { throw WireError(.unexpected(cid.codec.rawValue), at: 1) }
        return try PeerID(bytes: cid.multihash.encoded.span)
    }

    /// The id in base58, the form that is shown everywhere.
    public var description: String { Base58.encode(span) }

    /// The id as a CIDv1 in base32 (RFC 0001 of libp2p), for where upper and lower case are one.
    public var cid: String {
        var writer = Writer(capacity: PeerID.maximumSize + 2)
        writer.varint(1)
        writer.varint(CID.Codec.libp2pKey.rawValue)
        writer.peerID(self)
        return Multibase.base32.encode(writer.span)
    }
}
