import MartletIdentity
import MartletWire
import Testing

@Suite("What addresses say")
struct MultiaddrReachTests {
    private static let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
    private static let other = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"

    @Test("components come outermost first, and make the same address again")
    func components() throws {
        let address = try Multiaddr(parsing: "/dns4/example.com/tcp/443/tls/ws/p2p/\(Self.peer)")
        let components = Array(address.components)
        #expect(components.map(\.protocol) == [.dns4, .tcp, .tls, .ws, .p2p])
        #expect(components[0].value == Bytes(utf8: "example.com"))
        #expect(components[1].value == [0x01, 0xBB])
        #expect(components[2].value.isEmpty)
        #expect(components.map(\.description).joined() == address.description)
        var rebuilt = Multiaddr(components[0])
        for component in components.dropFirst() { rebuilt = try rebuilt.appending(component) }
        #expect(rebuilt == address)
    }

    @Test("an address is made of typed components")
    func building() throws {
        let peer = try PeerID(parsing: Self.peer)
        #expect(
            Multiaddr(.ip(IPAddress(1, 2, 3, 4)), .udp(4001), .quicV1, .p2p(peer)).description
                == "/ip4/1.2.3.4/udp/4001/quic-v1/p2p/\(Self.peer)")
        #expect(Multiaddr(.ip(.loopbackV6), .tcp(1)).description == "/ip6/::1/tcp/1")
        #expect(Multiaddr.tcp(SocketAddress(IPAddress(1, 2, 3, 4), port: 5)).description == "/ip4/1.2.3.4/tcp/5")
        let linkLocal = try SocketAddress(parsing: "[fe80::1%7]:5")
        #expect(Multiaddr.udp(linkLocal).description == "/ip6zone/7/ip6/fe80::1/udp/5")
        #expect(Multiaddr.udp(linkLocal).socketAddress == linkLocal)
        let name = try Multiaddr.Component(.dns4, parsing: "example.com")
        #expect(try Multiaddr(name, Multiaddr.Component(.tls)).description == "/dns4/example.com/tls")
        #expect(try Multiaddr.Component(.tcp, parsing: "80") == .tcp(80))
        #expect(try Multiaddr.Component(.p2p, parsing: Self.peer) == .p2p(peer))
        #expect(try Multiaddr.Component(.ip4, [1, 2, 3, 4]) == .ip(IPAddress(1, 2, 3, 4)))
    }

    @Test("a component with a value that its protocol can't have is an error")
    func badComponents() {
        #expect(throws: WireError(.truncated, at: 3)) { try Multiaddr.Component(.ip4, [1, 2, 3]) }
        #expect(throws: WireError(.trailingBytes, at: 0)) { try Multiaddr.Component(.tls, [1]) }
        #expect(throws: WireError(.trailingBytes, at: 0)) { try Multiaddr.Component(.tls, parsing: "1") }
        #expect(throws: WireError(.missing, at: 0)) { try Multiaddr.Component(.dns) }
        #expect(throws: WireError(.unexpected(0x2F), at: 1)) { try Multiaddr.Component(.dns, parsing: "a/b") }
        #expect(throws: WireError.self) { try Multiaddr.Component(.tcp, parsing: "65536") }
        #expect(throws: WireError.self) { try Multiaddr.Component(.p2p, [0, 0]) }
    }

    @Test("what was put around an address comes off again")
    func encapsulation() throws {
        let relay = try Multiaddr(parsing: "/ip4/1.2.3.4/tcp/1/p2p/\(Self.other)")
        let inner = try Multiaddr(parsing: "/p2p-circuit/p2p/\(Self.peer)")
        let both = try relay.encapsulating(inner)
        #expect(both.description == "/ip4/1.2.3.4/tcp/1/p2p/\(Self.other)/p2p-circuit/p2p/\(Self.peer)")
        #expect(both.decapsulating(inner) == relay)
        #expect(both.decapsulating(.p2pCircuit) == relay)
        #expect(both.decapsulating(relay) == nil)
        #expect(both.decapsulating(.ip4) == nil)
        #expect(both.decapsulating(.quicV1) == both)
        #expect(try both.decapsulating(Multiaddr(parsing: "/tcp/2")) == both)
        // The last occurrence, and only where a protocol begins: 0x06 is TCP's code and part of an address here.
        let twice = try Multiaddr(parsing: "/ip4/6.0.1.0/tcp/1/ip4/6.0.1.0/tcp/1")
        #expect(try twice.decapsulating(Multiaddr(parsing: "/tcp/1"))?.description == "/ip4/6.0.1.0/tcp/1/ip4/6.0.1.0")
        #expect(try Multiaddr(parsing: "/ip4/6.0.1.0").decapsulating(Multiaddr(.tcp(1)))?.description == "/ip4/6.0.1.0")
    }

    @Test("nothing goes behind a path, and no address grows beyond the bound")
    func limits() throws {
        let path = try Multiaddr(parsing: "/unix/run/node")
        #expect(throws: MultiaddrError.self) { try path.appending(.tls) }
        #expect(throws: MultiaddrError.self) { try path.replacingPeerID(PeerID(parsing: Self.peer)) }
        let long = try Multiaddr(Bytes((0..<511).flatMap { _ in [0xC0, 0x03] as [UInt8] }))
        #expect(try long.appending(.tls).bytes.count == 1024)
        #expect(throws: MultiaddrError(.malformed(.tooLarge), at: 0)) { try long.encapsulating(long) }
    }

    @Test("host, port and socket address are what the address begins with")
    func hosts() throws {
        func address(_ text: String) throws -> Multiaddr { try Multiaddr(parsing: text) }
        let tcp = try address("/ip4/1.2.3.4/tcp/80/ws")
        #expect(tcp.host == .ip(IPAddress(1, 2, 3, 4)))
        #expect(tcp.ipAddress == IPAddress(1, 2, 3, 4))
        #expect(tcp.port == 80)
        #expect(tcp.socketAddress?.description == "1.2.3.4:80")
        #expect(try address("/dns/a.b/udp/1").host == .name("a.b", family: nil))
        #expect(try address("/dns4/a.b/udp/1").host == .name("a.b", family: .v4))
        #expect(try address("/dns6/a.b/udp/1").host == .name("a.b", family: .v6))
        #expect(try address("/dns6/a.b/udp/1").socketAddress == nil)
        #expect(try address("/dnsaddr/a.b").host == nil)
        #expect(try address("/p2p/\(Self.peer)/ip4/1.2.3.4").host == nil)
        for text in ["/ip6zone/3/ip6/fe80::1/udp/9", "/ip6/fe80::1/ip6zone/3/udp/9"] {
            #expect(try address(text).zone == "3")
            #expect(try address(text).socketAddress?.description == "[fe80::1%3]:9")
        }
        #expect(try address("/ip6zone/eth0/ip6/fe80::1/udp/9").socketAddress?.scope == 0)
        #expect(try address("/ip4/1.2.3.4").socketAddress == nil)
        #expect(try address("/ip4/1.2.3.4/tls/tcp/1").socketAddress == nil)
        #expect(try address("/ip4/1.2.3.4/tcp/1/tls/sni/a.b/ws").serverName == "a.b")
    }

    @Test("the peer is the one that stands last")
    func peers() throws {
        let peer = try PeerID(parsing: Self.peer)
        let other = try PeerID(parsing: Self.other)
        let direct = try Multiaddr(parsing: "/ip4/1.2.3.4/tcp/1/p2p/\(Self.peer)")
        #expect(direct.peerID == peer)
        #expect(direct.withoutPeerID?.description == "/ip4/1.2.3.4/tcp/1")
        #expect(direct.withoutPeerID?.withoutPeerID == direct.withoutPeerID)
        #expect(try direct.replacingPeerID(other).peerID == other)
        #expect(Multiaddr(.p2p(peer)).withoutPeerID == nil)
        #expect(try Multiaddr(.p2p(peer)).replacingPeerID(other) == Multiaddr(.p2p(other)))
        let relayed = try Multiaddr(parsing: "/ip4/1.2.3.4/tcp/1/p2p/\(Self.other)/p2p-circuit")
        #expect(relayed.peerID == nil)
        #expect(relayed.isRelayed)
        #expect(relayed.relay?.peerID == other)
        #expect(direct.relay == nil)
    }

    @Test("certificate hashes are those of the last hop")
    func certificates() throws {
        let relay = "/ip4/1.2.3.4/udp/1/quic-v1/webtransport/certhash/uAAEB/p2p/\(Self.other)"
        #expect(try Multiaddr(parsing: relay).certificateHashes == [[0, 1, 1]])
        #expect(try Multiaddr(parsing: relay + "/p2p-circuit").certificateHashes == [])
        let two = "/ip4/1.2.3.4/udp/1/webrtc-direct/certhash/uAAEB/certhash/uAAEC"
        #expect(try Multiaddr(parsing: two).certificateHashes == [[0, 1, 1], [0, 1, 2]])
    }

    @Test(
        "the transport is recognised, and nothing else is taken for one",
        arguments: [
            ("/ip4/1.2.3.4/tcp/1", .tcp), ("/ip6/::1/tcp/1/p2p/\(peer)", .tcp), ("/dns/a/tcp/1/tls", .tcp),
            ("/ip6zone/e/ip6/fe80::1/tcp/1", .tcp), ("/ip6/fe80::1/ip6zone/e/tcp/1", .tcp),
            ("/ip4/1.2.3.4/tcp/1/noise", .tcp),
            ("/ip4/1.2.3.4/udp/1/quic-v1", .quicV1), ("/ip4/1.2.3.4/udp/1/quic-v1/p2p/\(peer)", .quicV1),
            ("/ip4/1.2.3.4/tcp/1/ws", .webSocket(isSecure: false)), ("/dns/a/tcp/1/wss", .webSocket(isSecure: true)),
            ("/dns/a/tcp/1/tls/ws", .webSocket(isSecure: true)),
            ("/dns/a/tcp/1/tls/sni/a/ws", .webSocket(isSecure: true)),
            ("/ip4/1.2.3.4/udp/1/quic-v1/webtransport/certhash/uAAEB/certhash/uAAEC", .webTransport),
            ("/ip4/1.2.3.4/udp/1/webrtc-direct/certhash/uAAEB/p2p/\(peer)", .webRTCDirect),
            ("/ip4/1.2.3.4/tcp/1/p2p/\(other)/p2p-circuit", .relayed), ("/p2p-circuit/p2p/\(peer)", .relayed),
            ("/ip4/1.2.3.4/tcp/1/p2p/\(other)/p2p-circuit/webrtc/p2p/\(peer)", .webRTC), ("/unix/a", .unix),
            ("/ip4/1.2.3.4", nil), ("/ip4/1.2.3.4/udp/1", nil), ("/ip4/1.2.3.4/udp/1/quic", nil), ("/p2p/\(peer)", nil),
            ("/ip4/1.2.3.4/tcp/1/quic-v1", nil), ("/ip4/1.2.3.4/udp/1/ws", nil), ("/tcp/1", nil),
            ("/ip4/1.2.3.4/tcp/1/http", nil), ("/ip4/1.2.3.4/udp/1/quic-v1/certhash/uAAEB", nil),
            ("/ip4/1.2.3.4/p2p/\(peer)", nil), ("/ip4/1.2.3.4/tcp/1/p2p/\(peer)/p2p/\(peer)", nil),
            ("/ip4/1.2.3.4/tcp/1/p2p/\(other)/p2p-circuit/ip4/1.2.3.4", nil), ("/ip4/1.2.3.4/ip4/1.2.3.4/tcp/1", nil),
            ("/ip6zone/e/ip4/1.2.3.4/tcp/1", nil), ("/dnsaddr/a.b/p2p/\(peer)", nil),
        ] as [(String, Multiaddr.Transport?)])
    func transports(text: String, transport: Multiaddr.Transport?) throws {
        #expect(try Multiaddr(parsing: text).transport == transport)
    }
}
