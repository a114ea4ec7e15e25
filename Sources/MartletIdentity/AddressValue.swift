import MartletWire

/// The kinds of values that stand behind a protocol in a multiaddr: how many bytes each has, which bytes are
/// valid, and how it is written as text.
enum AddressValue: Sendable {
    case none
    case ip4
    case ip6
    /// A number of 16 bits.
    case port
    /// A host name.
    case domain
    case zone
    /// The path of a Unix socket, which goes to the end of the address.
    case path
    case peer
    case multihash

    /// The longest host name (RFC 1035 §2.3.4).
    static let maximumDomain = 253
    /// The longest zone: more than the name of any interface.
    static let maximumZone = 64
    /// The longest path that a Unix socket can have on Linux.
    static let maximumPath = 107

    /// How many bytes the value has, or `nil` where their number is written before it.
    var size: Int? {
        switch self {
        case .none: 0
        case .ip4: 4
        case .ip6: 16
        case .port: 2
        case .domain, .zone, .path, .peer, .multihash: nil
        }
    }

    /// Throws unless `bytes`, of the right size where that is fixed, are a valid value.
    func check(_ bytes: RawSpan) throws(WireError) {
        switch self {
        case .none, .ip4, .ip6, .port: break
        case .domain: try AddressValue.checkText(bytes, maximum: AddressValue.maximumDomain, mayContainSlash: false)
        case .zone: try AddressValue.checkText(bytes, maximum: AddressValue.maximumZone, mayContainSlash: false)
        case .path:
            try AddressValue.checkText(bytes, maximum: AddressValue.maximumPath, mayContainSlash: true)
            // Text that begins otherwise, or ends so, would be read back as another path.
            let slash = UInt8(ascii: "/")
            guard bytes[0] == slash else { throw WireError(.unexpected(UInt64(bytes[0])), at: 0) }
            guard bytes[bytes.byteCount - 1] != slash else {
                throw WireError(.unexpected(UInt64(slash)), at: bytes.byteCount - 1)
            }
        case .peer: _ = try PeerID(bytes: bytes)
        case .multihash:
            // Any function: which ones prove a certificate is for the transport to say.
            var reader = Reader(bytes)
            _ = try reader.varint()
            _ = try reader.lengthPrefixed(maximum: Multihash.maximumDigest)
            try reader.expectEnd()
        }
    }

    /// Appends the value that the whole of `text` writes, behind its number of bytes where that is not fixed.
    func parse(_ text: RawSpan, into writer: inout Writer) throws(WireError) {
        switch self {
        case .none:
            guard text.byteCount == 0 else { throw WireError(.trailingBytes, at: 0) }
        case .ip4, .ip6:
            let address = try IPAddress(parsing: text)
            guard address.family.size == size else { throw WireError(.unexpected(UInt64(text[0])), at: 0) }
            writer.address(address)
        case .port:
            var reader = Reader(text)
            let number = try reader.decimal(maximum: UInt64(UInt16.max))
            try reader.expectEnd()
            writer.integer(UInt16(truncatingIfNeeded: number))
        case .domain, .zone, .path:
            try check(text)
            writer.lengthPrefixed(text)
        case .peer:
            let peer = try PeerID(parsing: text)
            writer.varint(UInt64(peer.count))
            writer.peerID(peer)
        case .multihash:
            let bytes = try Multibase.decode(utf8: text).bytes
            try check(bytes.span)
            writer.lengthPrefixed(bytes.span)
        }
    }

    /// Appends the text of a valid value.
    func print(_ bytes: RawSpan, into writer: inout Writer) {
        switch self {
        case .none: break
        case .ip4, .ip6:
            if let address = try? IPAddress(bytes: bytes) { writer.text(of: address) }
        case .port: writer.decimal(UInt64(bytes[0]) << 8 | UInt64(bytes[1]))
        case .domain, .zone, .path: writer.bytes(bytes)
        case .peer:
            if let peer = try? PeerID(bytes: bytes) { writer.utf8(peer.description) }
        case .multihash: writer.utf8(Multibase.base64URL.encode(bytes))
        }
    }

    /// Text that can stand in a multiaddr: some UTF-8 that a terminal may see as it is.
    private static func checkText(_ bytes: RawSpan, maximum: Int, mayContainSlash: Bool) throws(WireError) {
        guard bytes.byteCount > 0 else { throw WireError(.missing, at: 0) }
        guard bytes.byteCount <= maximum else { throw WireError(.tooLarge, at: 0) }
        var isASCII = true
        for index in 0..<bytes.byteCount {
            let byte = bytes[index]
            if byte < 0x20 || byte == 0x7F || (byte == UInt8(ascii: "/") && !mayContainSlash) {
                throw WireError(.unexpected(UInt64(byte)), at: index)
            }
            if byte >= 0x80 { isASCII = false }
        }
        if isASCII { return }
        guard let text = bytes.withUnsafeBytes({ String(validating: $0, as: UTF8.self) }) else {
            throw WireError(.notUTF8, at: 0)
        }
        var offset = 0
        for scalar in text.unicodeScalars {
            guard TerminalText.isSafe(scalar) else { throw WireError(.unexpected(UInt64(scalar.value)), at: offset) }
            offset += UTF8.width(scalar)
        }
    }
}
