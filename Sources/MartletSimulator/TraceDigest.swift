public import MartletWire

/// A fingerprint of all that happened in a world, in order: two runs with equal digests did the same.
///
/// A fast mixing function of 64 bits, not a cryptographic hash: it finds accidents, not attacks.
public struct TraceDigest: Hashable, Sendable {
    /// The fingerprint.
    public private(set) var value: UInt64 = 0x9AE1_6A3B_2F90_404F

    /// The digest of nothing.
    public init() {}

    /// Takes in a number.
    @inlinable
    public mutating func mix(_ word: UInt64) {
        let product = (value ^ word).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        set(product.high ^ product.low &+ 0x2545_F491_4F6C_DD1D)
    }

    /// Takes in bytes and how many they are.
    @inlinable
    public mutating func mix(_ bytes: RawSpan) {
        mix(UInt64(bytes.byteCount))
        var position = 0
        while position &+ 8 <= bytes.byteCount {
            mix(bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self))
            position &+= 8
        }
        while position < bytes.byteCount {
            mix(UInt64(bytes[position]))
            position &+= 1
        }
    }

    @usableFromInline
    mutating func set(_ value: UInt64) { self.value = value }
}

extension TraceDigest: CustomStringConvertible {
    /// Sixteen hexadecimal digits.
    public var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
