import Martlet
import Testing

/// go-libp2p 0.32 at the other end of real sockets.
@Suite("go-libp2p", .serialized)
struct GoLibP2PTests {
    typealias Road = ConfinedPeer.Road

    private static let script = "go_libp2p_peer.py"

    @Test("it is dialled, says what it is, answers pings, and 1 MB comes back", arguments: Road.allCases)
    func dialled(_ road: Road) async throws {
        let peer = try ConfinedPeer(Self.script)
        let address = try await peer.listening(road)
        let (about, answered, isUnharmed) = try await peer.withSwarm(road) { swarm in
            let connection = try await swarm.connect(to: address)
            let about = try await swarm.identified(connection.peer)
            let pinger = try await swarm.pinger(to: connection.peer)
            for _ in 0..<5 { _ = try await pinger.ping() }
            return (about, pinger.statistics.answered, try await swarm.echoes(connection.peer, "/echo"))
        }
        #expect(about.protocols.contains("/ipfs/ping/1.0.0") && about.protocols.contains("/echo"))
        #expect(about.observedAddress?.description.contains(road.mark) == true)
        #expect(about.observedAddress?.ipAddress == .loopbackV4)
        #expect(about.listenAddresses.contains { $0 == address.withoutPeerID })
        #expect(about.record != nil, "its addresses are signed")
        #expect(answered == 5)
        #expect(isUnharmed)
    }

    @Test("it dials, and finds what it expects of a peer", arguments: Road.allCases)
    func dials(_ road: Road) async throws {
        let peer = try ConfinedPeer(Self.script)
        _ = try await peer.greeting()
        let (identify, ping, echo) = try await peer.withSwarm(road) { swarm in
            let address = try swarm.listen(on: try Multiaddr(parsing: road.address)).appending(.p2p(swarm.localPeer))
            _ = try await peer.ask("connect", address)
            return (
                try await peer.ask("identify \(swarm.localPeer)"), try await peer.ask("ping \(swarm.localPeer)"),
                try await peer.ask("echo \(swarm.localPeer) 1000000")
            )
        }
        #expect(identify["agent"] as? String == "martlet")
        #expect(identify["version"] as? String == "ipfs/0.1.0")
        #expect((identify["protocols"] as? [String])?.contains("/echo") == true)
        #expect((identify["observed"] as? String)?.hasPrefix("/ip4/127.0.0.1/") == true)
        #expect((identify["observed"] as? String)?.contains(road.mark) == true)
        #expect(identify["signed"] as? Int ?? 0 > 0)
        #expect(ping["answered"] as? Int == 5)
        #expect(echo["unharmed"] as? Bool == true)
    }

    @Test("it refuses this node when it wants another", arguments: Road.allCases)
    func refuses(_ road: Road) async throws {
        let peer = try ConfinedPeer(Self.script)
        _ = try await peer.greeting()
        let failure = await #expect(throws: ConfinedPeer.Failure.self) {
            try await peer.withSwarm(road) { swarm in
                var random = swarm.environment.random
                let stranger = PeerID(PrivateKey.ed25519(using: &random).publicKey)
                let address = try swarm.listen(on: try Multiaddr(parsing: road.address))
                _ = try await peer.ask("connect", address.appending(.p2p(stranger)))
            }
        }
        #expect(failure?.reason.contains("peer id mismatch") == true)
    }

    // go-yamux acts on a frame's flags before the frame's data is in its buffer: of 300 answers whose end comes in the
    // frame of the data, about one is lost.
    @Test("no answer is lost when its stream ends with it", arguments: [Road.noise, .tls])
    func answersThatEnd(_ road: Road) async throws {
        let peer = try ConfinedPeer(Self.script)
        _ = try await peer.greeting()
        let answer = try await peer.withSwarm(road) { swarm in
            let address = try swarm.listen(on: try Multiaddr(parsing: road.address)).appending(.p2p(swarm.localPeer))
            _ = try await peer.ask("connect", address)
            return try await peer.ask("lost \(swarm.localPeer) 3000")
        }
        #expect(answer["lost"] as? Int == 0)
    }
}
