/// An IP address of either family (RFC 791, RFC 4291): a plain value without heap memory.
///
/// An IPv4 address and its IPv4-mapped IPv6 form (`::ffff:1.2.3.4`) are two different values; `unmapped` brings
/// them together. IPv4 addresses are ordered before IPv6 addresses, each family by its number.
public struct IPAddress: Sendable, BitwiseCopyable {
    /// The two families.
    public enum Family: UInt8, Sendable, BitwiseCopyable {
        /// IPv4: 4 bytes.
        case v4
        /// IPv6: 16 bytes.
        case v6

        /// How many bytes an address has.
        @inlinable
        public var size: Int { self == .v4 ? 4 : 16 }
    }

    @usableFromInline let high: UInt64
    @usableFromInline let low: UInt64
    /// Which family it is of.
    public let family: Family

    @inlinable
    init(high: UInt64, low: UInt64, family: Family) {
        self.high = high
        self.low = low
        self.family = family
    }

    /// The IPv4 address with this number: `0x7F00_0001` is 127.0.0.1.
    @inlinable
    public init(v4 number: UInt32) {
        self.init(high: 0, low: UInt64(number), family: .v4)
    }

    /// The IPv4 address with these four octets.
    @inlinable
    public init(_ first: UInt8, _ second: UInt8, _ third: UInt8, _ fourth: UInt8) {
        self.init(v4: UInt32(first) << 24 | UInt32(second) << 16 | UInt32(third) << 8 | UInt32(fourth))
    }

    /// The IPv6 address with this number: 1 is `::1`.
    @inlinable
    public init(v6 number: UInt128) {
        self.init(
            high: UInt64(truncatingIfNeeded: number >> 64), low: UInt64(truncatingIfNeeded: number), family: .v6)
    }

    /// The address in network byte order: 4 or 16 bytes, and any other count is an error.
    @inlinable
    public init(bytes: RawSpan) throws(WireError) {
        var reader = Reader(bytes)
        switch bytes.byteCount {
        case 4: self.init(v4: try reader.integer())
        case 16: self.init(high: try reader.integer(), low: try reader.integer(), family: .v6)
        case let count: throw WireError(count < 16 ? .truncated : .trailingBytes, at: min(count, 16))
        }
    }

    /// The address as a number: 32 bits of IPv4, or 128 of IPv6.
    @inlinable
    public var number: UInt128 { UInt128(high) << 64 | UInt128(low) }

    /// Whether it is an IPv4 address.
    @inlinable
    public var isV4: Bool { family == .v4 }

    /// Whether it is an IPv6 address.
    @inlinable
    public var isV6: Bool { family == .v6 }

    /// The IPv4 address in an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2), else the address itself.
    @inlinable
    public var unmapped: IPAddress {
        guard isV6, high == 0, low >> 32 == 0xFFFF else { return self }
        return IPAddress(v4: UInt32(truncatingIfNeeded: low))
    }

    /// The IPv4-mapped IPv6 form of an IPv4 address, else the address itself.
    @inlinable
    public var mapped: IPAddress {
        isV4 ? IPAddress(high: 0, low: 0xFFFF_0000_0000 | low, family: .v6) : self
    }

    /// Its first `length` bits with zeros behind: the network it is in. Longer than the address changes nothing.
    @inlinable
    public func prefix(_ length: Int) -> IPAddress {
        if isV4 {
            return IPAddress(v4: UInt32(truncatingIfNeeded: low) & (UInt32.max << (32 - max(0, min(length, 32)))))
        }
        return IPAddress(v6: number & (UInt128.max << (128 - max(0, min(length, 128)))))
    }

    /// Whether its first `length` bits are those of `network`, and the families agree.
    @inlinable
    public func isInside(_ network: IPAddress, prefix length: Int) -> Bool {
        guard family == network.family else { return false }
        // A shift by all bits leaves none.
        if isV4 { return UInt32(truncatingIfNeeded: low ^ network.low) >> (32 - max(0, min(length, 32))) == 0 }
        return (number ^ network.number) >> (128 - max(0, min(length, 128))) == 0
    }
}

extension IPAddress: Hashable, Comparable {
    /// Whether both are the same address of the same family.
    @inlinable
    public static func == (left: IPAddress, right: IPAddress) -> Bool {
        left.low == right.low && left.high == right.high && left.family == right.family
    }

    /// Feeds the address and its family to `hasher`.
    @inlinable
    public func hash(into hasher: inout Hasher) {
        hasher.combine(high)
        hasher.combine(low)
        hasher.combine(family.rawValue)
    }

    /// IPv4 before IPv6, then by number.
    @inlinable
    public static func < (left: IPAddress, right: IPAddress) -> Bool {
        if left.family != right.family { return left.isV4 }
        return (left.high, left.low) < (right.high, right.low)
    }
}

extension Writer {
    /// Appends `address` in network byte order: 4 or 16 bytes.
    @inlinable
    public mutating func address(_ address: IPAddress) {
        if address.isV4 {
            integer(UInt32(truncatingIfNeeded: address.low))
        } else {
            integer(address.high)
            integer(address.low)
        }
    }
}

extension IPAddress {
    /// 0.0.0.0: any IPv4 address of this host.
    public static let anyV4 = IPAddress(v4: 0)
    /// `::`: any IPv6 address of this host.
    public static let anyV6 = IPAddress(v6: 0)
    /// 127.0.0.1.
    public static let loopbackV4 = IPAddress(127, 0, 0, 1)
    /// `::1`.
    public static let loopbackV6 = IPAddress(v6: 1)
}
