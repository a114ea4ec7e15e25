public import MartletWire

/// What a dialler asks of an address.
extension Multiaddr {
    /// The ways in which an address can be reached, as far as they are known here.
    public enum Transport: Hashable, Sendable {
        /// TCP, with Noise or TLS negotiated inside unless the address names one.
        case tcp
        /// QUIC.
        case quicV1
        /// WebSocket over TCP.
        case webSocket(isSecure: Bool)
        /// WebTransport over QUIC.
        case webTransport
        /// WebRTC to a server without signalling.
        case webRTCDirect
        /// WebRTC, signalled through a relay.
        case webRTC
        /// Through a relay.
        case relayed
        /// A Unix socket.
        case unix
    }

    /// The host that an address begins with.
    public enum Host: Hashable, Sendable {
        /// An address.
        case ip(IPAddress)
        /// A name to look up, in one family or in both.
        case name(String, family: IPAddress.Family?)
    }

    /// The IP address that stands first.
    public var ipAddress: IPAddress? {
        if case .ip(let address) = host { address } else { nil }
    }

    /// The host that stands first, a zone aside. A `dnsaddr` is none: it stands for whole addresses.
    public var host: Host? {
        var walk = AddressWalk(bytes.span)
        while let step = try? walk.next() {
            switch step {
            case .ip6zone: continue
            case .ip4, .ip6: return (try? IPAddress(bytes: walk.valueBytes)).map { .ip($0) }
            case .dns: return .name(walk.valueText, family: nil)
            case .dns4: return .name(walk.valueText, family: .v4)
            case .dns6: return .name(walk.valueText, family: .v6)
            default: return nil
            }
        }
        return nil
    }

    /// The zone of the IPv6 address, which is an interface's name or number.
    public var zone: String? {
        var walk = AddressWalk(bytes.span)
        while let step = try? walk.next() {
            if step == .ip6zone { return walk.valueText }
        }
        return nil
    }

    /// The first TCP or UDP port.
    public var port: UInt16? {
        var walk = AddressWalk(bytes.span)
        while let step = try? walk.next() {
            if step == .tcp || step == .udp { return walk.valuePort }
        }
        return nil
    }

    /// The IP address and the port right behind it that the address begins with. A zone counts where it is a number.
    public var socketAddress: SocketAddress? {
        guard let ip = ipAddress else { return nil }
        var walk = AddressWalk(bytes.span)
        while let step = try? walk.next() {
            switch step {
            case .ip4, .ip6, .ip6zone: continue
            case .tcp, .udp: return SocketAddress(ip, port: walk.valuePort, scope: zone.flatMap { UInt32($0) } ?? 0)
            default: return nil
            }
        }
        return nil
    }

    /// The peer that the address leads to: the one that stands last, if any.
    public var peerID: PeerID? {
        var walk = AddressWalk(bytes.span)
        var last: PeerID?
        while let step = try? walk.next() {
            last = step == .p2p ? try? PeerID(bytes: walk.valueBytes) : nil
        }
        return last
    }

    /// The address without the peer that stands last; `nil` where it is nothing else.
    public var withoutPeerID: Multiaddr? {
        peerID == nil ? self : decapsulating(.p2p)
    }

    /// The address with `peer` last, in place of another that stands there. Throws where that is too long, or behind
    /// a path.
    public func replacingPeerID(_ peer: PeerID) throws(MultiaddrError) -> Multiaddr {
        guard let outer = withoutPeerID else { return Multiaddr(.p2p(peer)) }
        return try outer.appending(.p2p(peer))
    }

    /// Whether it leads through a relay.
    public var isRelayed: Bool { contains(.p2pCircuit) }

    /// The address of the last relay that it leads through, with the relay's id where that is given.
    public var relay: Multiaddr? { isRelayed ? decapsulating(.p2pCircuit) : nil }

    /// The multihashes of the certificates that the last hop may show.
    public var certificateHashes: [Bytes] {
        let start = relay.map { $0.bytes.count } ?? 0
        return Components(bytes.slice(start..<bytes.count)).filter { $0.protocol == .certhash }.map { $0.value }
    }

    /// The server's name in TLS, where it is given.
    public var serverName: String? {
        var walk = AddressWalk(bytes.span)
        while let step = try? walk.next() {
            if step == .sni { return walk.valueText }
        }
        return nil
    }

    /// How the address is reached, or `nil` where its protocols are no way known here: a host alone, or an order
    /// that nobody speaks. A relay on the way must be reachable too, or be named by its id alone.
    public var transport: Transport? {
        var stage = DialStage.start
        var hasPeer = false
        var walk = AddressWalk(bytes.span)
        while let step = try? walk.next() {
            let mayEnd = stage == .start || stage.transport != nil
            switch step {
            case .p2pCircuit where mayEnd:
                stage = .relayed
                hasPeer = false
            case .p2p where mayEnd && !hasPeer:
                hasPeer = true
            default:
                guard !hasPeer, let next = stage.next(step) else { return nil }
                stage = next
            }
        }
        return stage.transport
    }
}

extension AddressScope {
    /// Whether a peer that is heard in this scope may name `address`. Of a name to be looked up nobody can tell where it
    /// leads, so only this host itself may name one.
    package func mayName(_ address: Multiaddr) -> Bool {
        guard let ip = address.ipAddress else { return self == .host }
        return mayName(ip)
    }
}

/// How far the way of an address has been understood.
private enum DialStage: Equatable {
    case start, zone, ip6, host, tcp, tls, noise, webSocket(isSecure: Bool), udp, quic, webTransport, webRTCDirect, unix
    case relayed, webRTC

    /// The stage behind `step`, or `nil` where it can't follow.
    func next(_ step: AddressProtocol) -> DialStage? {
        switch (self, step) {
        case (.start, .ip6zone): .zone
        case (.start, .ip6): .ip6
        case (.ip6, .ip6zone), (.zone, .ip6), (.start, .ip4): .host
        case (.start, .dns), (.start, .dns4), (.start, .dns6): .host
        case (.start, .unix): .unix
        case (.host, .tcp), (.ip6, .tcp): .tcp
        case (.tcp, .tls): .tls
        case (.tls, .sni): .tls
        case (.tcp, .noise): .noise
        case (.tcp, .ws): .webSocket(isSecure: false)
        case (.tcp, .wss), (.tls, .ws): .webSocket(isSecure: true)
        case (.host, .udp), (.ip6, .udp): .udp
        case (.udp, .quicV1): .quic
        case (.quic, .webtransport): .webTransport
        case (.udp, .webrtcDirect): .webRTCDirect
        case (.webTransport, .certhash), (.webRTCDirect, .certhash): self
        case (.relayed, .webrtc): .webRTC
        default: nil
        }
    }

    /// The transport, where the way may end here.
    var transport: Multiaddr.Transport? {
        switch self {
        case .start, .zone, .ip6, .host, .udp: nil
        case .tcp, .tls, .noise: .tcp
        case .webSocket(let isSecure): .webSocket(isSecure: isSecure)
        case .quic: .quicV1
        case .webTransport: .webTransport
        case .webRTCDirect: .webRTCDirect
        case .unix: .unix
        case .relayed: .relayed
        case .webRTC: .webRTC
        }
    }
}

extension AddressWalk {
    /// The value that was read last as text.
    var valueText: String {
        valueBytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    /// The value that was read last as a port.
    var valuePort: UInt16 {
        UInt16(valueBytes[0]) << 8 | UInt16(valueBytes[1])
    }
}
