import MartletWire

/// A node by which others find their way into the DHT: a name or an address, and a port.
public struct BootstrapNode: Hashable, Sendable, CustomStringConvertible {
    /// The host, by name or by address.
    public var host: String
    /// The port.
    public var port: UInt16

    /// The node at `host` and `port`.
    public init(_ host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// The node that `text` writes as `host:port`, or `nil`. An IPv6 address stands in brackets.
    public init?(_ text: String) {
        if let address = SocketAddress(text) {
            self.init(address.ip.description, port: address.port)
            return
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, let port = UInt16(parts[1]), port != 0 else { return nil }
        self.init(String(parts[0]), port: port)
    }

    /// `host:port`.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// How a node of the DHT is to behave.
public struct MainlineConfiguration: Hashable, Sendable {
    /// The nodes that everybody in the public DHT begins with.
    public static let publicBootstrap = [
        BootstrapNode("router.bittorrent.com", port: 6881), BootstrapNode("dht.transmissionbt.com", port: 6881),
        BootstrapNode("dht.libtorrent.org", port: 25401), BootstrapNode("router.utorrent.com", port: 6881),
    ]

    /// The bounds.
    public var limits = MainlineLimits()
    /// The nodes to begin with where none is remembered.
    public var bootstrap: [BootstrapNode]
    /// Whether this is a DHT apart from the public one. In it, local and reserved addresses are as good as any, and are
    /// exempt from the rules that rest on who owns an address; all others are treated as in the public one.
    public var isPrivate: Bool
    /// Whether the node only asks and never answers (BEP 43): for one that cannot be reached, or must not work for others.
    public var isReadOnly = false
    /// Whether ids must follow from addresses to be used first (BEP 42).
    public var bindsIDs = true
    /// Whether it takes part in the DHT over IPv4.
    public var usesV4 = true
    /// Whether it takes part in the DHT over IPv6 (BEP 32).
    public var usesV6 = false
    /// The name of the file in which the nodes that it knows are kept; `nil` for none.
    public var file: String? = "mainline.nodes"

    /// A node of the public DHT.
    public init() {
        bootstrap = Self.publicBootstrap
        isPrivate = false
    }

    /// A node of a DHT of one's own, which begins with `bootstrap`.
    public init(privateWith bootstrap: [BootstrapNode]) {
        self.bootstrap = bootstrap
        isPrivate = true
    }
}
