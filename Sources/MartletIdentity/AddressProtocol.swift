/// A protocol that a multiaddr names, by its code in the multicodec table.
public enum AddressProtocol: UInt16, CaseIterable, Hashable, Sendable {
    /// An IPv4 address.
    case ip4 = 4
    /// TCP, with its port.
    case tcp = 6
    /// An IPv6 address.
    case ip6 = 41
    /// The zone of an IPv6 address (RFC 4007).
    case ip6zone = 42
    /// A host name, of whichever family it resolves to.
    case dns = 53
    /// A host name that resolves to IPv4.
    case dns4 = 54
    /// A host name that resolves to IPv6.
    case dns6 = 55
    /// A name whose TXT records hold multiaddrs.
    case dnsaddr = 56
    /// UDP, with its port.
    case udp = 273
    /// WebRTC to a server without signalling.
    case webrtcDirect = 280
    /// WebRTC, signalled through a relay.
    case webrtc = 281
    /// What follows is reached through the relay that stands before.
    case p2pCircuit = 290
    /// A Unix socket, with its path.
    case unix = 400
    /// A peer, by its id.
    case p2p = 421
    /// Transport Layer Security.
    case tls = 448
    /// The server's name in TLS (RFC 6066 §3).
    case sni = 449
    /// Noise.
    case noise = 454
    /// QUIC in draft 29, which nobody should use any more.
    case quic = 460
    /// QUIC (RFC 9000).
    case quicV1 = 461
    /// WebTransport.
    case webtransport = 465
    /// The multihash of a certificate that the server may show.
    case certhash = 466
    /// WebSocket.
    case ws = 477
    /// WebSocket over TLS: the old way to write `/tls/ws`.
    case wss = 478
    /// HTTP.
    case http = 480

    /// The table: how each is named in text and what its value is.
    private var row: (name: String, value: AddressValue) {
        switch self {
        case .ip4: ("ip4", .ip4)
        case .tcp: ("tcp", .port)
        case .ip6: ("ip6", .ip6)
        case .ip6zone: ("ip6zone", .zone)
        case .dns: ("dns", .domain)
        case .dns4: ("dns4", .domain)
        case .dns6: ("dns6", .domain)
        case .dnsaddr: ("dnsaddr", .domain)
        case .udp: ("udp", .port)
        case .webrtcDirect: ("webrtc-direct", .none)
        case .webrtc: ("webrtc", .none)
        case .p2pCircuit: ("p2p-circuit", .none)
        case .unix: ("unix", .path)
        case .p2p: ("p2p", .peer)
        case .tls: ("tls", .none)
        case .sni: ("sni", .domain)
        case .noise: ("noise", .none)
        case .quic: ("quic", .none)
        case .quicV1: ("quic-v1", .none)
        case .webtransport: ("webtransport", .none)
        case .certhash: ("certhash", .multihash)
        case .ws: ("ws", .none)
        case .wss: ("wss", .none)
        case .http: ("http", .none)
        }
    }

    /// The name in text: `ip4`, `quic-v1`.
    public var name: String { row.name }

    /// What is written behind it.
    var value: AddressValue { row.value }

    /// The protocol with this name; `ipfs` is an old name of `p2p`.
    public init?(name: String) {
        guard let found = AddressProtocol.byName[name] else { return nil }
        self = found
    }

    private static let byName: [String: AddressProtocol] = {
        var table: [String: AddressProtocol] = ["ipfs": .p2p]
        for known in allCases { table[known.name] = known }
        return table
    }()
}

extension AddressProtocol: CustomStringConvertible {
    /// The name in text.
    public var description: String { name }
}
