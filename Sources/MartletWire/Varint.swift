/// Unsigned varints: seven bits a byte, least significant first.
///
/// The multiformats rules: at most nine bytes (63 bits), and no longer than the number needs.
public enum Varint {
    /// The most bytes a multiformats varint may take.
    public static let maximumSize = 9

    /// The largest number that fits.
    public static let maximum = UInt64(1) << 63 - 1

    /// How many bytes `value` takes.
    @inlinable
    public static func size(_ value: UInt64) -> Int {
        value < 0x80 ? 1 : (70 - (value | 1).leadingZeroBitCount) / 7
    }
}

extension Reader {
    /// The next unsigned varint, by the multiformats rules.
    @inlinable
    public mutating func varint() throws(WireError) -> UInt64 {
        if position < bytes.byteCount {
            let first = bytes[position]
            if first < 0x80 {
                cursor &+= 1
                return UInt64(first)
            }
            // Two bytes are what the length of a usual frame takes.
            if remaining > 1 {
                let second = bytes[position &+ 1]
                if second > 0, second < 0x80 {
                    cursor &+= 2
                    return UInt64(first & 0x7F) | UInt64(second) << 7
                }
            }
        }
        return try longVarint(maximumSize: Varint.maximumSize, minimal: true)
    }

    /// The bytes behind the next varint, which tells how many they are, where they stand. Throws `tooLarge` for more
    /// than `maximum`.
    @inlinable
    @_lifetime(copy self)
    public mutating func lengthPrefixed(maximum: Int = .max) throws(WireError) -> RawSpan {
        let start = position
        let length = try varint()
        do throws(WireError) {
            guard length <= maximum else { throw error(.tooLarge, at: start) }
            return try span(Int(length))
        } catch {
            cursor = start
            throw error
        }
    }

    /// A varint of several bytes. Ten bytes hold 64 bits, of which the tenth may have but one.
    @usableFromInline
    mutating func longVarint(maximumSize: Int, minimal: Bool) throws(WireError) -> UInt64 {
        var value: UInt64 = 0
        var index = 0
        while index < maximumSize {
            guard position + index < bytes.byteCount else { throw error(.truncated, at: position + index) }
            let byte = bytes[position + index]
            if index == 9, byte > 1 { throw error(.tooLarge, at: position + index) }
            value |= UInt64(byte & 0x7F) << (7 * UInt64(index))
            index += 1
            if byte < 0x80 {
                if minimal, byte == 0, index > 1 { throw error(.notMinimal) }
                cursor += index
                return value
            }
        }
        throw error(.tooLarge)
    }
}

extension Writer {
    /// Appends `value` as an unsigned varint: of nine bytes at most up to `Varint.maximum`, else of ten, which
    /// protobuf allows and multiformats does not.
    @inlinable
    public mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            byte(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        byte(UInt8(truncatingIfNeeded: rest))
    }

    /// Appends `span` behind a varint that tells how many bytes it has.
    @inlinable
    public mutating func lengthPrefixed(_ span: RawSpan) {
        varint(UInt64(span.byteCount))
        bytes(span)
    }

    /// Appends what `write` appends, behind a varint that tells how many bytes that was. Where it throws, nothing is
    /// appended.
    @inlinable
    public mutating func lengthPrefixed<E: Error>(_ write: (inout Writer) throws(E) -> Void) throws(E) {
        let start = count
        byte(0)
        do throws(E) {
            try write(&self)
        } catch {
            length = start
            throw error
        }
        let written = count - start - 1
        let size = Varint.size(UInt64(written))
        if size > 1 {
            // The one byte that was kept free is too few: move what was written.
            append(count: size - 1) { $0.initializeMemory(as: UInt8.self, repeating: 0) }
            let base = slab.unsafelyUnwrapped.base + start
            (base + size).copyMemory(from: base + 1, byteCount: written)
        }
        let end = count
        length = start
        varint(UInt64(written))
        length = end
    }
}
