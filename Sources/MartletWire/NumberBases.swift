/// Text encodings that write the bytes as one large number: base58 (Bitcoin's alphabet) and base36.
///
/// Each zero byte at the front is one zero digit at the front, so every value has one text (apart from letter case
/// in base36). The work grows with the square of the length: decoding refuses text over `maximumText` characters
/// with `tooLarge`; whoever encodes knows how much. A character outside the alphabet is `unexpected`, with its
/// offset. Encoding and decoding are one allocation each.
public enum Base58 {
    /// The longest text that is decoded.
    public static let maximumText = 1024

    /// `bytes` as text.
    public static func encode(_ bytes: RawSpan) -> String {
        encodeNumber(
            bytes, radix: 58, digits: 5, chunk: 656_356_768,
            alphabet: "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
    }

    /// The bytes of `text`.
    public static func decode(_ text: String) throws(WireError) -> Bytes {
        try text.withUTF8Bytes { utf8 throws(WireError) in try decode(utf8: utf8) }
    }

    /// The bytes of text that stands in `utf8`. `origin` is where it begins in a larger text, for the error.
    public static func decode(utf8: RawSpan, origin: Int = 0) throws(WireError) -> Bytes {
        guard utf8.byteCount <= maximumText else { throw WireError(.tooLarge, at: origin) }
        return try decodeNumber(utf8, origin: origin, radix: 58, digits: 5, chunk: 656_356_768) { character in
            switch character {
            case 0x31...0x39: character &- 0x31
            // Without I and O, and without l.
            case 0x41...0x48: character &- 0x38
            case 0x4A...0x4E: character &- 0x39
            case 0x50...0x5A: character &- 0x3A
            case 0x61...0x6B: character &- 0x40
            case 0x6D...0x7A: character &- 0x41
            default: nil
            }
        }
    }
}

/// Base36, digits before letters. Its bound and its errors are those of `Base58`.
public enum Base36 {
    /// The longest text that is decoded.
    public static let maximumText = 1024

    /// `bytes` as text.
    public static func encode(_ bytes: RawSpan, uppercase: Bool = false) -> String {
        encodeNumber(
            bytes, radix: 36, digits: 6, chunk: 2_176_782_336,
            alphabet: uppercase ? "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" : "0123456789abcdefghijklmnopqrstuvwxyz")
    }

    /// The bytes of `text`, in either letter case.
    public static func decode(_ text: String) throws(WireError) -> Bytes {
        try text.withUTF8Bytes { utf8 throws(WireError) in try decode(utf8: utf8) }
    }

    /// The bytes of text that stands in `utf8`. `origin` is where it begins in a larger text, for the error.
    public static func decode(utf8: RawSpan, origin: Int = 0) throws(WireError) -> Bytes {
        guard utf8.byteCount <= maximumText else { throw WireError(.tooLarge, at: origin) }
        return try decodeNumber(utf8, origin: origin, radix: 36, digits: 6, chunk: 2_176_782_336) { character in
            switch character {
            case 0x30...0x39: character &- 0x30
            case 0x41...0x5A: character &- 0x37
            case 0x61...0x7A: character &- 0x57
            default: nil
            }
        }
    }
}

// The number is held in limbs of 32 bits and changed by `digits` digits at a time, whose radix to that power is
// `chunk`: all steps fit 64 bits, and inlining makes the divisors constants, which the compiler multiplies by.

/// How many bytes or zero digits stand at the front.
@inline(__always)
private func leadingCount(of byte: UInt8, in bytes: RawSpan) -> Int {
    var count = 0
    while count < bytes.byteCount, bytes[count] == byte { count += 1 }
    return count
}

@inline(__always)
private func encodeNumber(
    _ bytes: RawSpan, radix: UInt32, digits: Int, chunk: UInt64, alphabet: StaticString
) -> String {
    let zeros = leadingCount(of: 0, in: bytes)
    let limbCount = (bytes.byteCount - zeros + 3) / 4
    // A chunk holds 29.3 bits in base58 and 31.02 in base36, so a tenth more chunks than limbs is enough.
    let chunkCapacity = limbCount + limbCount / 6 + 1
    return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: limbCount + chunkCapacity) { scratch in
        // The limbs stand most significant first, the chunks behind them least significant first.
        for limb in 0..<limbCount {
            let end = bytes.byteCount - 4 * (limbCount - 1 - limb)
            var value: UInt32 = 0
            for index in max(end - 4, zeros)..<end { value = value << 8 | UInt32(bytes[index]) }
            scratch[limb] = value
        }
        var chunks = 0
        var top = 0
        while top < limbCount {
            var remainder: UInt64 = 0
            for limb in top..<limbCount {
                let current = remainder << 32 | UInt64(scratch[limb])
                let quotient = current / chunk
                scratch[limb] = UInt32(truncatingIfNeeded: quotient)
                remainder = current &- quotient &* chunk
            }
            scratch[limbCount + chunks] = UInt32(truncatingIfNeeded: remainder)
            chunks += 1
            while top < limbCount, scratch[top] == 0 { top += 1 }
        }
        var size = zeros
        if chunks > 0 {
            size += (chunks - 1) * digits
            var rest = scratch[limbCount + chunks - 1]
            while rest > 0 {
                rest /= radix
                size += 1
            }
        }
        return String(unsafeUninitializedCapacity: size) { target in
            var position = size
            for index in 0..<chunks {
                var rest = scratch[limbCount + index]
                for _ in 0..<min(digits, position - zeros) {
                    position -= 1
                    target[position] = alphabet.utf8Start[Int(rest % radix)]
                    rest /= radix
                }
            }
            for index in 0..<zeros { target[index] = alphabet.utf8Start[0] }
            return size
        }
    }
}

@inline(__always)
private func decodeNumber(
    _ text: RawSpan, origin: Int, radix: UInt64, digits: Int, chunk: UInt64, value: (UInt8) -> UInt8?
) throws(WireError) -> Bytes {
    let zeroDigit: UInt8 = radix == 58 ? 0x31 : 0x30
    let zeros = leadingCount(of: zeroDigit, in: text)
    // A digit takes at most 5.86 bits.
    let capacity = (text.byteCount - zeros) * 733 / 4000 + 2
    return try withTemporaryLimbs(capacity) { limbs throws(WireError) in
        var used = 0
        var index = zeros
        while index < text.byteCount {
            // The first chunk takes what does not fill a whole one, so that all others are whole.
            let size = (text.byteCount - index - 1) % digits + 1
            var carry: UInt64 = 0
            for position in index..<index + size {
                guard let digit = value(text[position]) else {
                    throw WireError(.unexpected(UInt64(text[position])), at: origin + position)
                }
                carry = carry &* radix &+ UInt64(digit)
            }
            index += size
            for limb in 0..<used {
                carry = UInt64(limbs[limb]) &* chunk &+ carry
                limbs[limb] = UInt32(truncatingIfNeeded: carry)
                carry >>= 32
            }
            if carry > 0 {
                limbs[used] = UInt32(truncatingIfNeeded: carry)
                used += 1
            }
        }
        let leading = used > 0 ? limbs[used - 1].leadingZeroBitCount / 8 : 0
        return Bytes(count: zeros + 4 * used - leading) { target in
            for index in 0..<zeros { target[index] = 0 }
            for index in 0..<4 * used - leading {
                let byte = limbs[index / 4] >> UInt32(index % 4 * 8)
                target[target.count - 1 - index] = UInt8(truncatingIfNeeded: byte)
            }
        }
    }
}

/// Scratch memory for `capacity` limbs. The standard library's function has no typed throws, hence the `Result`.
@inline(__always)
private func withTemporaryLimbs(
    _ capacity: Int, _ body: (UnsafeMutableBufferPointer<UInt32>) throws(WireError) -> Bytes
) throws(WireError) -> Bytes {
    let result = withUnsafeTemporaryAllocation(of: UInt32.self, capacity: capacity) { limbs in
        Result { () throws(WireError) in try body(limbs) }
    }
    return try result.get()
}
