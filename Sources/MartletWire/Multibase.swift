/// Text that says by its first character how it is encoded (multiformats' multibase).
///
/// These are the bases that peer ids, addresses and content ids are seen in; the raw values are the characters.
public enum Multibase: UInt8, CaseIterable, Hashable, Sendable {
    /// `f`, hexadecimal.
    case base16 = 0x66
    /// `F`, hexadecimal with capital letters.
    case base16Upper = 0x46
    /// `b`, RFC 4648 without padding: the usual base of a CIDv1.
    case base32 = 0x62
    /// `B`, the same with capital letters.
    case base32Upper = 0x42
    /// `c`, RFC 4648 with padding.
    case base32Padded = 0x63
    /// `C`, the same with capital letters.
    case base32PaddedUpper = 0x43
    /// `k`, digits and letters.
    case base36 = 0x6B
    /// `K`, the same with capital letters.
    case base36Upper = 0x4B
    /// `z`, Bitcoin's alphabet.
    case base58 = 0x7A
    /// `m`, RFC 4648 without padding.
    case base64 = 0x6D
    /// `M`, the same with padding.
    case base64Padded = 0x4D
    /// `u`, the alphabet for URLs, without padding.
    case base64URL = 0x75
    /// `U`, the same with padding.
    case base64URLPadded = 0x55

    /// `bytes` as text in this base, its character first.
    public func encode(_ bytes: RawSpan) -> String {
        String(UnicodeScalar(rawValue)) + encodeBody(bytes)
    }

    /// The base and the bytes of `text`. Throws `truncated` for an empty text, `unexpected` with the first character
    /// for a base that is not known here, and what the base throws, with offsets in `text`.
    public static func decode(_ text: String) throws(WireError) -> (base: Multibase, bytes: Bytes) {
        try text.withUTF8Bytes { utf8 throws(WireError) in try decode(utf8: utf8) }
    }

    /// The base and the bytes of text that stands in `utf8`.
    public static func decode(utf8: RawSpan) throws(WireError) -> (base: Multibase, bytes: Bytes) {
        guard utf8.byteCount > 0 else { throw WireError(.truncated, at: 0) }
        guard let base = Multibase(rawValue: utf8[0]) else { throw WireError(.unexpected(UInt64(utf8[0])), at: 0) }
        return (base, try base.decodeBody(utf8.extracting(droppingFirst: 1)))
    }

    private func encodeBody(_ bytes: RawSpan) -> String {
        switch self {
        case .base16: Base16.encode(bytes)
        case .base16Upper: Base16.encode(bytes, uppercase: true)
        case .base32: Base32.encode(bytes)
        case .base32Upper: Base32.encode(bytes, uppercase: true)
        case .base32Padded: Base32.encode(bytes, padded: true)
        case .base32PaddedUpper: Base32.encode(bytes, uppercase: true, padded: true)
        case .base36: Base36.encode(bytes)
        case .base36Upper: Base36.encode(bytes, uppercase: true)
        case .base58: Base58.encode(bytes)
        case .base64: Base64.encode(bytes)
        case .base64Padded: Base64.encode(bytes, padded: true)
        case .base64URL: Base64.encode(bytes, alphabet: .url)
        case .base64URLPadded: Base64.encode(bytes, alphabet: .url, padded: true)
        }
    }

    private func decodeBody(_ text: RawSpan) throws(WireError) -> Bytes {
        switch self {
        case .base16, .base16Upper: try Base16.decode(utf8: text, origin: 1)
        case .base32, .base32Upper: try Base32.decode(utf8: text, origin: 1)
        case .base32Padded, .base32PaddedUpper: try Base32.decode(utf8: text, origin: 1, padded: true)
        case .base36, .base36Upper: try Base36.decode(utf8: text, origin: 1)
        case .base58: try Base58.decode(utf8: text, origin: 1)
        case .base64: try Base64.decode(utf8: text, origin: 1)
        case .base64Padded: try Base64.decode(utf8: text, origin: 1, padded: true)
        case .base64URL: try Base64.decode(utf8: text, origin: 1, alphabet: .url)
        case .base64URLPadded: try Base64.decode(utf8: text, origin: 1, alphabet: .url, padded: true)
        }
    }
}
