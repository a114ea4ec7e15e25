import MartletRouting
public import MartletWire

/// Ids that follow from the address of their node (BEP 42), so that nobody places nodes where he likes.
extension NodeID {
    private static let maskV4: UInt32 = 0x030f_3fff
    private static let maskV6: UInt64 = 0x0103_070f_1f3f_7fff

    /// An id to which a node at `address` is entitled, otherwise drawn evenly.
    public init(boundTo address: IPAddress, using generator: inout some RandomNumberGenerator) {
        let drawn = NodeID(using: &generator)
        let prefix = NodeID.prefix(for: address, seed: drawn.low)
        let mask: UInt64 = 0xFFFF_F800_0000_0000
        self.init(high: UInt64(prefix) << 32 & mask | drawn.high & ~mask, middle: drawn.middle, low: drawn.low)
    }

    /// Whether a node at `address` is entitled to this id. Addresses that are not global entitle to every id.
    public func isBound(to address: IPAddress) -> Bool {
        guard address.isGlobal else { return true }
        return (UInt32(truncatingIfNeeded: high >> 32) ^ NodeID.prefix(for: address, seed: low)) >> 11 == 0
    }

    /// 32 bits of which the id has the first 21. Of `seed`, the id's last word, three bits count.
    private static func prefix(for address: IPAddress, seed: UInt32) -> UInt32 {
        let address = address.unmapped
        if address.isV4 {
            return crc32c(UInt32(truncatingIfNeeded: address.number) & maskV4 | (seed & 7) << 29)
        }
        return crc32c(UInt64(truncatingIfNeeded: address.number >> 64) & maskV6 | UInt64(seed & 7) << 61)
    }
}

/// The CRC-32C (Castagnoli, RFC 3720) of the bytes of `number`, the most significant first.
func crc32c(_ number: some FixedWidthInteger & UnsignedInteger) -> UInt32 {
    var crc = UInt32.max
    for shift in stride(from: number.bitWidth - 8, through: 0, by: -8) {
        crc = crc32cTable[Int((crc ^ UInt32(truncatingIfNeeded: number >> shift)) & 0xFF)] ^ crc >> 8
    }
    return ~crc
}

private let crc32cTable: InlineArray<256, UInt32> = InlineArray { index in
    (0..<8).reduce(UInt32(index)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
}
