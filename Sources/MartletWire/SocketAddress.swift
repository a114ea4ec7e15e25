/// Where a datagram or a connection comes from or goes to: an IP address, a port and, for IPv6 addresses of one
/// link, the interface. A plain value of 24 bytes without heap memory.
public struct SocketAddress: Sendable, BitwiseCopyable {
    /// The host.
    public var ip: IPAddress
    /// The port.
    public var port: UInt16
    /// The number of the interface that an IPv6 address is meant for (RFC 4007), or 0 for none.
    public var scope: UInt32

    /// The address with all its parts.
    @inlinable
    public init(_ ip: IPAddress, port: UInt16, scope: UInt32 = 0) {
        self.ip = ip
        self.port = port
        self.scope = scope
    }

    /// The same with an IPv4-mapped address as the IPv4 address it stands for.
    @inlinable
    public var unmapped: SocketAddress { SocketAddress(ip.unmapped, port: port, scope: scope) }
}

extension SocketAddress: Hashable, Comparable {
    /// Whether all parts are the same.
    @inlinable
    public static func == (left: SocketAddress, right: SocketAddress) -> Bool {
        left.ip == right.ip && left.port == right.port && left.scope == right.scope
    }

    /// Feeds all parts to `hasher`.
    @inlinable
    public func hash(into hasher: inout Hasher) {
        hasher.combine(ip.high)
        hasher.combine(ip.low)
        hasher.combine(UInt64(ip.family.rawValue) << 48 | UInt64(port) << 32 | UInt64(scope))
    }

    /// By host, then interface, then port.
    @inlinable
    public static func < (left: SocketAddress, right: SocketAddress) -> Bool {
        if left.ip != right.ip { return left.ip < right.ip }
        return (left.scope, left.port) < (right.scope, right.port)
    }
}

extension SocketAddress: LosslessStringConvertible {
    /// The address that the whole of `text` writes, or `nil`; `init(parsing:)` tells why.
    public init?(_ text: String) {
        do throws(WireError) {
            try self.init(parsing: text)
        } catch {
            return nil
        }
    }

    /// The address that the whole of `text` writes: `1.2.3.4:80`, `[::1]:80` or `[fe80::1%2]:80`.
    public init(parsing text: String) throws(WireError) {
        var reader = Reader(text.utf8.span.bytes)
        let isBracketed = reader.peek() == UInt8(ascii: "[")
        if isBracketed { try reader.skip(1) }
        let start = reader.position
        ip = try reader.addressText()
        // The colons of a bare IPv6 address can't be told from the port's; IPv4 has no brackets.
        guard ip.isV6 == isBracketed else { throw reader.error(.unexpected(UInt64(UInt8(ascii: ":"))), at: start) }
        scope = 0
        if isBracketed {
            if reader.peek() == UInt8(ascii: "%") {
                try reader.skip(1)
                scope = UInt32(truncatingIfNeeded: try reader.decimal(maximum: UInt64(UInt32.max)))
            }
            try reader.expect(UInt8(ascii: "]"))
        }
        try reader.expect(UInt8(ascii: ":"))
        port = UInt16(truncatingIfNeeded: try reader.decimal(maximum: UInt64(UInt16.max)))
        try reader.expectEnd()
    }

    /// The canonical text: `1.2.3.4:80`, `[::1]:80`, and `[fe80::1%2]:80` with an interface.
    public var description: String {
        var writer = Writer(capacity: 64)
        if ip.isV6 { writer.byte(UInt8(ascii: "[")) }
        writer.text(of: ip)
        if ip.isV6, scope != 0 {
            writer.byte(UInt8(ascii: "%"))
            writer.decimal(UInt64(scope))
        }
        if ip.isV6 { writer.byte(UInt8(ascii: "]")) }
        writer.byte(UInt8(ascii: ":"))
        writer.decimal(UInt64(port))
        return writer.asciiText
    }
}
