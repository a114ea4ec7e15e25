import Martlet
import Testing

/// kubo 0.22, which is IPFS's own node, at the other end of real sockets. Its identity is an RSA key.
@Suite("kubo", .serialized)
struct KuboTests {
    typealias Road = ConfinedPeer.Road

    private static let script = "kubo_peer.py"

    @Test("it is dialled, says what it is, answers pings, and 1 MB comes back", arguments: Road.allCases)
    func dialled(_ road: Road) async throws {
        let peer = try ConfinedPeer(Self.script)
        let address = try await peer.listening(road)
        let (about, answered, isUnharmed) = try await peer.withSwarm(road) { swarm in
            let connection = try await swarm.connect(to: address)
            let about = try await swarm.identified(connection.peer)
            let pinger = try await swarm.pinger(to: connection.peer)
            for _ in 0..<5 { _ = try await pinger.ping() }
            return (about, pinger.statistics.answered, try await swarm.echoes(connection.peer, "/x/echo"))
        }
        #expect(about.agentVersion.hasPrefix("kubo/"))
        // It tells one name for all streams of the user's.
        #expect(about.protocols.contains("/ipfs/bitswap/1.2.0") && about.protocols.contains("/x/"), "\(about)")
        #expect(about.observedAddress?.description.contains(road.mark) == true)
        #expect(about.observedAddress?.ipAddress == .loopbackV4)
        #expect(answered == 5)
        #expect(isUnharmed)
    }

    @Test("it dials, keeps the connection, and 1 MB comes back to it", arguments: Road.allCases)
    func dials(_ road: Road) async throws {
        let peer = try ConfinedPeer(Self.script)
        let own = try #require(try await peer.greeting()["peer"] as? String)
        let (agent, connected, local, echo) = try await peer.withSwarm(road, echo: "/x/echo") { swarm in
            let address = try swarm.listen(on: try Multiaddr(parsing: road.address)).appending(.p2p(swarm.localPeer))
            _ = try await peer.ask("connect", address)
            let agent = try await swarm.identified(try PeerID(parsing: own)).agentVersion
            return (
                agent, try await peer.ask("connected"), swarm.localPeer.description,
                try await peer.ask("echo \(swarm.localPeer) 1000000")
            )
        }
        #expect(agent.hasPrefix("kubo/"))
        #expect((connected["peers"] as? [String])?.contains(local) == true)
        #expect(echo["unharmed"] as? Bool == true)
    }
}
