public import MartletIdentity
internal import MartletMainline
internal import MartletWire

/// Where a node begins to look for others: a multiaddress, or a host and a port.
///
/// A host and a port are dialled by QUIC and then by TCP, whoever answers there; and where the node takes part in a DHT,
/// they are asked as a node of it too, for nodes share one UDP port between both.
public enum BootstrapAddress: Hashable, Sendable {
    /// A multiaddress, with or without the id of who is there.
    case multiaddr(Multiaddr)
    /// A name or an IP address, and a port.
    case hostPort(String, UInt16)

    /// The address that `text` writes, `/ip4/192.0.2.1/udp/4001/quic-v1` or `host:port`, or `nil`.
    public init?(_ text: String) {
        if text.hasPrefix("/") {
            guard let address = try? Multiaddr(parsing: text), address.transport != nil else { return nil }
            self = .multiaddr(address)
        } else {
            guard let node = BootstrapNode(text) else { return nil }
            self = .hostPort(node.host, node.port)
        }
    }

    /// What is to be dialled, in this order.
    var dialled: [Multiaddr] {
        switch self {
        case .multiaddr(let address): return [address]
        case .hostPort(let host, let port):
            guard let outer = Self.outer(host) else { return [] }
            return [[.udp(port), .quicV1], [.tcp(port)]].compactMap { (inner: [Multiaddr.Component]) in
                inner.reduce(outer as Multiaddr?) { whole, part in whole.flatMap { try? $0.appending(part) } }
            }
        }
    }

    private static func outer(_ host: String) -> Multiaddr? {
        if let ip = IPAddress(host) { return Multiaddr(.ip(ip)) }
        guard let name = try? Multiaddr.Component(.dns, parsing: host) else { return nil }
        return Multiaddr(name)
    }

    /// The node of the DHT that is there, as far as that can be.
    var node: BootstrapNode? {
        switch self {
        case .hostPort(let host, let port): return BootstrapNode(host, port: port)
        case .multiaddr(let address):
            guard address.transport == .quicV1, let port = address.port, port != 0 else { return nil }
            switch address.host {
            case .ip(let ip): return BootstrapNode(ip.description, port: port)
            case .name(let name, _): return BootstrapNode(name, port: port)
            case nil: return nil
            }
        }
    }
}

extension BootstrapAddress: CustomStringConvertible {
    /// As it is written.
    public var description: String {
        switch self {
        case .multiaddr(let address): address.description
        case .hostPort(let host, let port): BootstrapNode(host, port: port).description
        }
    }
}
