/// What an address is for, by the special-purpose registries of IANA (RFC 6890, as of 2025).
extension IPAddress {
    /// Whether it is 0.0.0.0 or `::`.
    @inlinable
    public var isUnspecified: Bool { high == 0 && low == 0 }

    /// Whether it stays inside this host: 127.0.0.0/8 or `::1`, mapped or not.
    public var isLoopback: Bool {
        let address = unmapped
        return address.isV4 ? address.low >> 24 == 127 : address.high == 0 && address.low == 1
    }

    /// Whether it stays on one link: 169.254.0.0/16 (RFC 3927) or `fe80::/10`, mapped or not.
    public var isLinkLocal: Bool {
        let address = unmapped
        return address.isV4 ? address.low >> 16 == 0xA9FE : address.high >> 54 == 0xFE80 >> 6
    }

    /// Whether it stays inside one site: the networks of RFC 1918 or `fc00::/7` (RFC 4193), mapped or not.
    public var isPrivate: Bool {
        let address = unmapped
        guard address.isV4 else { return address.high >> 57 == 0xFC >> 1 }
        return address.low >> 24 == 10 || address.low >> 20 == 0xAC1 || address.low >> 16 == 0xC0A8
    }

    /// Whether it is behind a provider's translator: 100.64.0.0/10 (RFC 6598), mapped or not.
    public var isShared: Bool {
        let address = unmapped
        return address.isV4 && address.low >> 22 == 0x6440 >> 6
    }

    /// Whether it stands for a group: 224.0.0.0/4 or `ff00::/8`, mapped or not.
    public var isMulticast: Bool {
        let address = unmapped
        return address.isV4 ? address.low >> 28 == 0xE : address.high >> 56 == 0xFF
    }

    /// Whether one host anywhere on the Internet may have it.
    ///
    /// Groups, IPv4-mapped forms and what IANA has not given out yet are not global. Neither are the prefixes of
    /// 6to4 and Teredo, which no longer lead anywhere, nor a NAT64 address (RFC 6052) of an IPv4 address that is not.
    public var isGlobal: Bool {
        if isV4 {
            return IPAddress.reachableV4.contains { isInside($0.network, prefix: $0.length) }
                || !IPAddress.specialV4.contains { isInside($0.network, prefix: $0.length) }
        }
        if isInside(IPAddress.nat64, prefix: 96) {
            return IPAddress(v4: UInt32(truncatingIfNeeded: low)).isGlobal
        }
        // Of IPv6, only 2000::/3 has been given out.
        guard high >> 61 == 1 else { return false }
        return IPAddress.reachableV6.contains { isInside($0.network, prefix: $0.length) }
            || !IPAddress.specialV6.contains { isInside($0.network, prefix: $0.length) }
    }

    private static let nat64 = IPAddress(v6: 0x64_ff9b << 96)

    private typealias Block = (network: IPAddress, length: Int)

    private static func block(_ address: (UInt8, UInt8, UInt8, UInt8), _ length: Int) -> Block {
        (IPAddress(address.0, address.1, address.2, address.3), length)
    }

    private static func block(_ high: UInt64, _ length: Int) -> Block {
        (IPAddress(high: high, low: 0, family: .v6), length)
    }

    /// What is not globally reachable, from the IPv4 registry.
    private static let specialV4 = [
        block((0, 0, 0, 0), 8),  // this network
        block((10, 0, 0, 0), 8),  // private
        block((100, 64, 0, 0), 10),  // shared
        block((127, 0, 0, 0), 8),  // loopback
        block((169, 254, 0, 0), 16),  // link-local
        block((172, 16, 0, 0), 12),  // private
        block((192, 0, 0, 0), 24),  // protocol assignments
        block((192, 0, 2, 0), 24),  // documentation
        block((192, 88, 99, 0), 24),  // 6to4 relays, withdrawn
        block((192, 168, 0, 0), 16),  // private
        block((198, 18, 0, 0), 15),  // benchmarks
        block((198, 51, 100, 0), 24),  // documentation
        block((203, 0, 113, 0), 24),  // documentation
        block((224, 0, 0, 0), 4),  // groups
        block((240, 0, 0, 0), 4),  // reserved, and the limited broadcast
    ]

    /// What is globally reachable although a wider block of the IPv4 registry is not.
    private static let reachableV4 = [
        block((192, 0, 0, 9), 32),  // port control anycast
        block((192, 0, 0, 10), 32),  // TURN anycast
    ]

    /// What is not globally reachable inside 2000::/3, from the IPv6 registry.
    private static let specialV6 = [
        block(0x2001_0000 << 32, 23),  // protocol assignments, Teredo and benchmarks among them
        block(0x2001_0db8 << 32, 32),  // documentation
        block(0x2002_0000 << 32, 16),  // 6to4
        block(0x3fff_0000 << 32, 20),  // documentation
    ]

    /// What is globally reachable although a wider block of the IPv6 registry is not.
    private static let reachableV6: [Block] = [
        (IPAddress(v6: 0x2001_0001 << 96 | 1), 128),  // port control anycast
        (IPAddress(v6: 0x2001_0001 << 96 | 2), 128),  // TURN anycast
        (IPAddress(v6: 0x2001_0001 << 96 | 3), 128),  // DNS-SD registration anycast
        block(0x2001_0003 << 32, 32),  // multicast tunnels
        block(0x2001_0004_0112_0000, 48),  // AS112
        block(0x2001_0020 << 32, 28),  // ORCHIDv2
        block(0x2001_0030 << 32, 28),  // drone identities
    ]
}
