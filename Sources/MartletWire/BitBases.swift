/// Text encodings whose characters stand for whole bits: base16, base32 and base64 of RFC 4648.
///
/// Decoding is strict, so that every value has one text (apart from letter case in base16 and base32, which
/// multibase wants ignored). It throws a `WireError` with the offset of the character: `unexpected` with the
/// character for one that is not in the alphabet, stands after padding or has bits that should be zero;
/// `truncated` where characters or padding are missing. Decoding is one allocation, and so is encoding.
public enum Base16 {
    /// `bytes` as text, two characters a byte.
    public static func encode(_ bytes: RawSpan, uppercase: Bool = false) -> String {
        encodeBits(4, of: bytes, alphabet: uppercase ? "0123456789ABCDEF" : "0123456789abcdef", padded: false)
    }

    /// The bytes of `text`, in either letter case.
    public static func decode(_ text: String) throws(WireError) -> Bytes {
        try text.withUTF8Bytes { utf8 throws(WireError) in try decode(utf8: utf8) }
    }

    /// The bytes of text that stands in `utf8`, in either letter case.
    public static func decode(utf8: RawSpan, origin: Int = 0) throws(WireError) -> Bytes {
        try decodeBits(4, of: utf8, origin: origin, padded: false) { character in
            switch character {
            case 0x30...0x39: character &- 0x30
            case 0x41...0x46: character &- 0x37
            case 0x61...0x66: character &- 0x57
            default: nil
            }
        }
    }
}

/// Base32 of RFC 4648 §6. Its errors are those of `Base16`.
public enum Base32 {
    /// `bytes` as text, by default lowercase and without padding.
    public static func encode(_ bytes: RawSpan, uppercase: Bool = false, padded: Bool = false) -> String {
        let alphabet: StaticString =
            uppercase ? "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" : "abcdefghijklmnopqrstuvwxyz234567"
        return encodeBits(5, of: bytes, alphabet: alphabet, padded: padded)
    }

    /// The bytes of `text`, in either letter case, with all padding or, unless `padded`, none.
    public static func decode(_ text: String, padded: Bool = false) throws(WireError) -> Bytes {
        try text.withUTF8Bytes { utf8 throws(WireError) in try decode(utf8: utf8, padded: padded) }
    }

    /// The bytes of text that stands in `utf8`.
    public static func decode(utf8: RawSpan, origin: Int = 0, padded: Bool = false) throws(WireError) -> Bytes {
        try decodeBits(5, of: utf8, origin: origin, padded: padded) { character in
            switch character {
            case 0x41...0x5A: character &- 0x41
            case 0x61...0x7A: character &- 0x61
            case 0x32...0x37: character &- 0x18
            default: nil
            }
        }
    }
}

/// Base64 of RFC 4648 §4 and §5. Its errors are those of `Base16`.
public enum Base64 {
    /// Which characters stand for 62 and 63.
    public enum Alphabet: Hashable, Sendable {
        /// `+` and `/`.
        case standard
        /// `-` and `_`, which mean nothing in file names and URLs.
        case url
    }

    /// `bytes` as text.
    public static func encode(_ bytes: RawSpan, alphabet: Alphabet = .standard, padded: Bool = false) -> String {
        let characters: StaticString =
            alphabet == .url
            ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        return encodeBits(6, of: bytes, alphabet: characters, padded: padded)
    }

    /// The bytes of `text`, with all padding or, unless `padded`, none.
    public static func decode(
        _ text: String, alphabet: Alphabet = .standard, padded: Bool = false
    ) throws(WireError) -> Bytes {
        try text.withUTF8Bytes { utf8 throws(WireError) in
            try decode(utf8: utf8, alphabet: alphabet, padded: padded)
        }
    }

    /// The bytes of text that stands in `utf8`.
    public static func decode(
        utf8: RawSpan, origin: Int = 0, alphabet: Alphabet = .standard, padded: Bool = false
    ) throws(WireError) -> Bytes {
        let last: (UInt8, UInt8) = alphabet == .url ? (0x2D, 0x5F) : (0x2B, 0x2F)
        return try decodeBits(6, of: utf8, origin: origin, padded: padded) { character in
            switch character {
            case 0x41...0x5A: character &- 0x41
            case 0x61...0x7A: character &- 0x47
            case 0x30...0x39: character &+ 4
            case last.0: 62
            case last.1: 63
            default: nil
            }
        }
    }
}

private let padding = UInt8(ascii: "=")

/// How many characters make a whole number of bytes.
@inline(__always)
private func groupSize(_ bits: Int) -> Int { bits == 4 ? 2 : bits == 5 ? 8 : 4 }

@inline(__always)
private func encodeBits(_ bits: Int, of bytes: RawSpan, alphabet: StaticString, padded: Bool) -> String {
    let size = (bytes.byteCount * 8 + bits - 1) / bits
    let group = groupSize(bits)
    let total = padded ? (size + group - 1) / group * group : size
    return String(unsafeUninitializedCapacity: total) { target in
        var held: UInt32 = 0
        var heldBits = 0
        var written = 0
        for index in 0..<bytes.byteCount {
            held = held << 8 | UInt32(bytes[index])
            heldBits += 8
            while heldBits >= bits {
                heldBits -= bits
                target[written] = alphabet.utf8Start[Int(held >> UInt32(heldBits)) & (1 << bits - 1)]
                written += 1
            }
        }
        if heldBits > 0 {
            target[written] = alphabet.utf8Start[Int(held << UInt32(bits - heldBits)) & (1 << bits - 1)]
            written += 1
        }
        while written < total {
            target[written] = padding
            written += 1
        }
        return total
    }
}

@inline(__always)
private func decodeBits(
    _ bits: Int, of text: RawSpan, origin: Int, padded: Bool, value: (UInt8) -> UInt8?
) throws(WireError) -> Bytes {
    var size = text.byteCount
    if padded {
        let group = groupSize(bits)
        guard size % group == 0 else { throw WireError(.truncated, at: origin + size) }
        while size > 0, text.byteCount - size < group, text[size - 1] == padding { size -= 1 }
        // What the padding fills must be less than the characters that a byte needs.
        let needed = (size * bits / 8 * 8 + bits - 1) / bits
        guard needed == size, text.byteCount - size < group else {
            throw WireError(.unexpected(UInt64(padding)), at: origin + size)
        }
    }
    let leftover = size * bits % 8
    return try Bytes(count: size * bits / 8) { target throws(WireError) in
        var held: UInt32 = 0
        var heldBits = 0
        var written = 0
        for index in 0..<size {
            let character = text[index]
            guard let digit = value(character) else {
                throw WireError(.unexpected(UInt64(character)), at: origin + index)
            }
            held = held << UInt32(bits) | UInt32(digit)
            heldBits += bits
            if heldBits >= 8 {
                heldBits -= 8
                target[written] = UInt8(truncatingIfNeeded: held >> UInt32(heldBits))
                written += 1
            }
        }
        guard leftover < bits else { throw WireError(.truncated, at: origin + size) }
        if held & (1 << UInt32(leftover) - 1) != 0 {
            throw WireError(.unexpected(UInt64(text[size - 1])), at: origin + size - 1)
        }
    }
}

extension String {
    /// Calls `body` with the text's UTF-8 bytes where they stand.
    func withUTF8Bytes<R>(_ body: (RawSpan) throws(WireError) -> R) throws(WireError) -> R {
        try body(utf8Span.span.bytes)
    }
}
