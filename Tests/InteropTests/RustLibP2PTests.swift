import Martlet
import Testing

/// rust-libp2p 0.54 at the other end of real sockets, with Noise over TCP and with QUIC: this build of it has no other.
@Suite("rust-libp2p", .serialized)
struct RustLibP2PTests {
    typealias Road = ConfinedPeer.Road

    private static let script = "rust_libp2p_peer.py"
    /// What it wants of every peer's identify.
    private static let version = "/martlet-interop"
    private static let roads = [Road.noise, .quic]

    @Test("it is dialled, says what it is, answers pings, and gets its own answered", arguments: roads)
    func dialled(_ road: Road) async throws {
        let peer = try ConfinedPeer(Self.script)
        _ = try await peer.greeting()
        let address = try ConfinedPeer.address(in: try await peer.ask("listen"), road)
        let (about, answered, pinged) = try await peer.withSwarm(road, protocolVersion: Self.version) { swarm in
            let connection = try await swarm.connect(to: address)
            let about = try await swarm.identified(connection.peer)
            let pinger = try await swarm.pinger(to: connection.peer)
            for _ in 0..<5 { _ = try await pinger.ping() }
            return (about, pinger.statistics.answered, try await peer.ask("pinged \(swarm.localPeer)"))
        }
        #expect(about.agentVersion.hasPrefix("rust-libp2p/"))
        #expect(about.protocolVersion == Self.version)
        #expect(about.protocols.contains("/ipfs/ping/1.0.0"))
        #expect(about.observedAddress?.description.contains(road.mark) == true)
        #expect(about.observedAddress?.ipAddress == .loopbackV4)
        #expect(answered == 5)
        #expect(pinged["microseconds"] is Int)
    }

    @Test("it dials, and identify and ping work both ways", arguments: roads)
    func dials(_ road: Road) async throws {
        let peer = try ConfinedPeer(Self.script)
        _ = try await peer.greeting()
        let (about, own, answered) = try await peer.withSwarm(road, protocolVersion: Self.version) { swarm in
            let address = try swarm.listen(on: try Multiaddr(parsing: road.address)).appending(.p2p(swarm.localPeer))
            let dialled = try await peer.ask("dial", address)
            let id = try PeerID(parsing: try #require(dialled["peer"] as? String))
            let own = try await swarm.identified(id).agentVersion
            let pinger = try await swarm.pinger(to: id)
            for _ in 0..<5 { _ = try await pinger.ping() }
            _ = try await peer.ask("pinged \(swarm.localPeer)")
            return (try await peer.ask("about \(swarm.localPeer)"), own, pinger.statistics.answered)
        }
        #expect(own.hasPrefix("rust-libp2p/"))
        #expect(answered == 5)
        #expect(about["agent"] as? String == "martlet")
        #expect((about["protocols"] as? [String])?.contains("/ipfs/ping/1.0.0") == true)
        #expect((about["listen"] as? [String])?.contains { $0.contains(road.mark) } == true)
    }
}
