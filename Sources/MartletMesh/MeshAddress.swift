public import MartletWire

/// Where a node of a mesh listens, as it stands on the wire: `localhost:8001`, `192.168.1.100:8004`, `[fd00::1]:8001`
/// or `printer.example:8001`.
///
/// Every loopback address is the same one, which is written `localhost`.
public enum MeshAddress: Hashable, Sendable {
    /// An IP address and a port.
    case ip(SocketAddress)
    /// A name that has to be looked up, and a port.
    case name(String, port: UInt16)

    /// How many bytes the longest name has (RFC 1035 §3.1).
    private static let longestName = 253

    /// `address`, with every loopback address as 127.0.0.1 and mapped addresses unmapped.
    public init(_ address: SocketAddress) {
        let address = address.unmapped
        self = .ip(address.ip.isLoopback ? SocketAddress(.loopbackV4, port: address.port) : address)
    }

    /// The address that the whole of `text` writes, or `nil`. A port of 0 is none.
    public init?(_ text: String) { self.init(Substring(text)) }

    /// The address that the whole of `text` writes. Throws `noAddress` where it writes none.
    public init(parsing text: String) throws(MeshFailure) {
        guard let address = MeshAddress(text) else { throw .noAddress(text) }
        self = address
    }

    init?(_ text: Substring) {
        guard text.utf8.count <= Self.longestName + 8 else { return nil }
        if let address = SocketAddress(String(text)) {
            guard address.port != 0 else { return nil }
            self.init(address)
            return
        }
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        let digits = text[text.utf8.index(after: colon)...]
        guard digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let port = UInt16(digits), port != 0 else {
            return nil
        }
        let name = text[..<colon]
        guard !name.isEmpty, name.utf8.count <= Self.longestName, name.utf8.allSatisfy(Self.mayStandInName) else {
            return nil
        }
        let lowercased = name.lowercased()
        if lowercased == "localhost" {
            self = .ip(SocketAddress(.loopbackV4, port: port))
        } else if name.utf8.contains(where: { $0 < 0x30 || $0 > 0x39 }), !Self.looksLikeNumbers(name) {
            self = .name(lowercased, port: port)
        } else {
            return nil
        }
    }

    /// The port.
    public var port: UInt16 {
        switch self {
        case .ip(let address): address.port
        case .name(_, let port): port
        }
    }

    /// The IP address, where that is what it has.
    public var ip: IPAddress? {
        if case .ip(let address) = self { address.ip } else { nil }
    }

    private static func mayStandInName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// A wrong IPv4 address is no name: what looks like one and is none would be handed to a name's server.
    private static func looksLikeNumbers(_ name: Substring) -> Bool {
        name.utf8.allSatisfy { $0 == UInt8(ascii: ".") || $0 >= 0x30 && $0 <= 0x39 }
    }
}

extension MeshAddress: CustomStringConvertible, Comparable {
    /// As it stands on the wire.
    public var description: String {
        switch self {
        case .ip(let address) where address.ip.isLoopback: "localhost:\(address.port)"
        case .ip(let address): address.description
        case .name(let name, let port): "\(name):\(port)"
        }
    }

    /// IP addresses by their numbers, then names by their letters.
    public static func < (left: MeshAddress, right: MeshAddress) -> Bool {
        switch (left, right) {
        case (.ip(let left), .ip(let right)): left < right
        case (.ip, .name): true
        case (.name, .ip): false
        case (.name(let left, let leftPort), .name(let right, let rightPort)):
            (left, leftPort) < (right, rightPort)
        }
    }
}

/// What addresses mean from where this node stands: a machine that turns what others write into what this node can
/// dial, and what this node knows into what others can.
///
/// The host's own addresses are read as loopback, so that a neighbour on the same host is the same peer however it
/// was reached.
struct Vantage {
    /// The port on which this node listens.
    var port: UInt16
    /// The addresses of this host.
    var own: Set<IPAddress>

    /// Whether `ip` is this host.
    func isHere(_ ip: IPAddress) -> Bool {
        let ip = ip.unmapped
        return ip.isLoopback || own.contains(ip)
    }

    /// `address` in the one form under which this node knows it.
    func canonical(_ address: MeshAddress) -> MeshAddress {
        guard case .ip(let socket) = address, isHere(socket.ip) else { return address }
        return MeshAddress(SocketAddress(.loopbackV4, port: socket.port))
    }

    /// Whether `address`, in canonical form, is where this node itself listens.
    func isSelf(_ address: MeshAddress) -> Bool {
        guard case .ip(let socket) = address else { return false }
        return socket.ip.isLoopback && socket.port == port
    }

    /// What `address` means that a peer at `teller` has written; `nil` where nothing can be dialled there.
    func read(_ address: MeshAddress, toldBy teller: SocketAddress) -> MeshAddress? {
        guard case .ip(let socket) = address else { return address }
        if socket.ip.isLoopback || socket.ip.isUnspecified {
            // The teller's own host, and so this one where the teller is on it.
            return canonical(MeshAddress(SocketAddress(teller.ip, port: socket.port, scope: teller.scope)))
        }
        guard !isGroup(socket.ip), !(socket.ip.isV6 && socket.ip.isLinkLocal) else { return nil }
        return canonical(address)
    }

    /// `address`, in canonical form, as a reader at `reader` can use it, which sees this node at `local`; `nil` where
    /// it means nothing there.
    func write(_ address: MeshAddress, for reader: SocketAddress, seeingThisAt local: SocketAddress) -> MeshAddress? {
        guard case .ip(let socket) = address else { return address }
        if socket.ip.isV6, socket.ip.isLinkLocal { return nil }
        guard socket.ip.isLoopback, !isHere(reader.ip) else { return address }
        return .ip(SocketAddress(local.ip.unmapped, port: socket.port))
    }

    private func isGroup(_ ip: IPAddress) -> Bool {
        if ip.isV6 { return ip.isInside(IPAddress(v6: 0xFF << 120), prefix: 8) }
        // Multicast, and above it what is reserved and broadcast (RFC 1112 §4).
        return ip.number >= 0xE000_0000
    }
}
