import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletSwarm
@testable import MartletTransport
import MartletWire
import TestSupport
import Testing

@Suite("Peers that break the rules of their connection")
struct HostileFrameTests {
    // MARK: Handshakes

    @Test("a handshake whose static key is signed by another than who it claims to be ends, and is counted")
    func forgedSignature() throws {
        var attempts = 0
        let server = try attacked { environment in
            for claimed: UInt8 in [1, 3, 9] {
                let attacker = try await HandDrivenPeer(environment)
                try await attacker.shakeHands { staticKey in
                    var payload = NoisePayload(identity: key(2), staticKey: staticKey.publicKey, muxers: [])
                    payload.identityKey = key(claimed).publicKey
                    return payload.encoded
                }
                attacker.attend()
                attempts += 1
            }
            try await environment.loop.sleep(until: .never)
        } afterwards: { swarm in
            #expect(swarm.connectedPeers == [peer(3)], "the honest peer alone")
        }
        #expect(attempts == 3)
        #expect(server.metrics.value("martlet_swarm_inbound_failures", "handshake") == 3)
    }

    @Test("one who proves who it is and then does not say how to go on is let go, and counted")
    func silentAboutMuxer() throws {
        let server = try attacked { environment in
            let attacker = try await HandDrivenPeer(environment)
            try await attacker.shakeHands(as: 2, muxers: [])
            try await environment.loop.sleep(until: .never)
        } afterwards: { swarm in
            #expect(swarm.pendingCount == 0)
        }
        #expect(server.metrics.value("martlet_swarm_inbound_failures", "timed_out_negotiating") == 1)
    }

    @Test("one who goes silent when it is connected is taken for gone, and counted")
    func silentAfterwards() throws {
        let server = try attacked { environment in
            let attacker = try await HandDrivenPeer(environment)
            try await attacker.shakeHands(as: 2)
            try await environment.loop.sleep(until: .never)
        } afterwards: { swarm in
            #expect(swarm.connectedPeers == [peer(3)])
        }
        #expect(server.metrics.value("martlet_swarm_connections_ended", "unanswered") == 1)
    }

    // MARK: Frames

    private static let table: [(what: String, counted: Violation, frames: [(YamuxHeader, Bytes)])] = [
        (
            "data for a stream that nobody opened", .yamuxUnknownStream,
            [(YamuxHeader(.data, stream: 77, length: 3), Bytes([1, 2, 3]))]
        ),
        (
            "a window for a stream of the server's that it never opened", .yamuxUnknownStream,
            [(YamuxHeader(.windowUpdate, stream: 4000, length: 3), Bytes())]
        ),
        ("a frame of 1 MiB", .yamuxOversize, [(YamuxHeader(.data, .syn, stream: 1, length: 1 << 20), Bytes())]),
        ("a frame of 4 GiB", .yamuxOversize, [(YamuxHeader(.data, .syn, stream: 1, length: .max), Bytes())]),
        (
            "a window of 4 GiB", .yamuxWindow,
            [(YamuxHeader(.windowUpdate, .syn, stream: 1, length: .max), Bytes())]
        ),
        (
            "a stream opened twice", .yamuxStreamNumber,
            [1, 1].map { (YamuxHeader(.windowUpdate, .syn, stream: $0), Bytes()) }
        ),
        (
            "pings without end", .yamuxPings,
            (0..<1000).map { (YamuxHeader(.ping, .syn, length: $0), Bytes()) }
        ),
        (
            "a storm of farewells", .yamuxFarewells,
            (0..<1000).map { _ in (YamuxHeader(.goAway), Bytes()) }
        ),
        (
            "100,000 streams at once, and no answer taken", .yamuxAnswers,
            (0..<100_000).map { (YamuxHeader(.windowUpdate, .syn, stream: 2 * $0 + 1), Bytes()) }
        ),
    ]

    @Test(
        "a frame that breaks the rules ends the connection it came on with a farewell that says so, and is counted",
        arguments: 0..<9)
    func frames(_ index: Int) throws {
        let (what, counted, frames) = Self.table[index]
        var attacker: HandDrivenPeer?
        let server = try attacked(for: .seconds(15)) { environment in
            let peer = try await HandDrivenPeer(environment)
            attacker = peer
            try await peer.shakeHands(as: 2)
            if counted != .yamuxAnswers { peer.attend() }
            try await peer.send(frames)
            try await environment.loop.sleep(until: .never)
        } afterwards: { swarm in
            #expect(swarm.connectedPeers == [peer(3)], "\(what)")
        }
        #expect(server.metrics.value("martlet_swarm_violations", counted.rawValue) == 1, "\(what)")
        #expect(server.metrics.value("martlet_swarm_connections_ended", "violation") == 1, "\(what)")
        if counted != .yamuxAnswers {
            #expect(attacker?.farewells == [YamuxHeader.protocolError], "\(what)")
            #expect(attacker?.stream.failure == .reset, "\(what): it is owed nothing else")
            #expect(attacker?.isClosed == true, "\(what)")
        }
    }

    @Test("one who breaks the rules and takes nothing is reset at once, with all that is queued for it")
    func resetAtOnce() throws {
        var stream: ByteStream?
        var took: Duration?
        let server = try attacked(for: .seconds(25), { $0.servesPerf = true }) { environment in
            let attacker = try await HandDrivenPeer(environment)
            stream = attacker.stream
            try await attacker.shakeHands(as: 2)
            var wanted = Writer()
            wanted.integer(UInt64(1) << 40)
            try await attacker.open(1, "/perf/1.0.0", wanted.finish(), window: 1 << 30)
            try await attacker.send([(YamuxHeader(.data, .fin, stream: 1), Bytes())])
            try await environment.loop.sleep(for: .seconds(5))
            let begin = environment.loop.now
            try await attacker.send([(YamuxHeader(.data, stream: 77, length: 3), Bytes([1, 2, 3]))])
            while stream?.failure == nil { try await environment.loop.sleep(for: .milliseconds(100)) }
            took = environment.loop.now - begin
            try await environment.loop.sleep(until: .never)
        }
        #expect(server.metrics.value("martlet_swarm_violations", Violation.yamuxUnknownStream.rawValue) == 1)
        #expect(stream?.failure == .reset)
        #expect(try #require(took) < .seconds(1))
    }

    @Test("a record that nobody sealed ends the connection, and is counted")
    func forgedRecord() throws {
        let server = try attacked(for: .seconds(15)) { environment in
            let attacker = try await HandDrivenPeer(environment)
            try await attacker.shakeHands(as: 2)
            attacker.stream.write(Bytes([0, 40] + [UInt8](repeating: 7, count: 40)))
            try await environment.loop.sleep(until: .never)
        }
        #expect(server.metrics.value("martlet_swarm_violations", "noise_record") == 1)
    }

    // MARK: Streams

    @Test("who opens 100,000 streams and waits for none gets each beyond the bound refused and counted")
    func streamFlood() throws {
        let count = Sanitizer.amount(100_000, reduced: 20_000)
        var attacker: HandDrivenPeer?
        let server = try attacked { environment in
            let peer = try await HandDrivenPeer(environment)
            attacker = peer
            try await peer.shakeHands(as: 2)
            peer.attend()
            for start in stride(from: UInt32(0), to: UInt32(count), by: 1000) {
                try await peer.send(
                    (start..<start + 1000).map { (YamuxHeader(.windowUpdate, .syn, stream: 2 * $0 + 1), Bytes()) })
                try await environment.loop.sleep(for: .milliseconds(50))
            }
        }
        let refused = server.refused(.streamBacklog) + server.refused(.streamsPerConnection)
        #expect(refused >= count - 1000, "all but those that were silent for their time")
        #expect(server.refused(.negotiationTimeout) >= 400)
        #expect(try #require(attacker).resets.count >= count - 1000)
    }

    @Test("who opens streams and resets them at once is disconnected when it does so too often, and counted")
    func rapidReset() throws {
        let server = try attacked { environment in
            let attacker = try await HandDrivenPeer(environment)
            try await attacker.shakeHands(as: 2)
            attacker.attend()
            for start in stride(from: UInt32(0), to: 100_000, by: 100) {
                try await attacker.send(
                    (start..<start + 100).flatMap { index in
                        [YamuxHeader.Flags.syn, .rst].map {
                            (YamuxHeader(.windowUpdate, $0, stream: 2 * index + 1), Bytes())
                        }
                    })
                // Half of them in two steps, so that the server has begun with them.
                try await attacker.send(
                    (start..<start + 100).map { (YamuxHeader(.windowUpdate, .syn, stream: 300_001 + 2 * $0), Bytes()) })
                try await environment.loop.sleep(for: .milliseconds(20))
                try await attacker.send(
                    (start..<start + 100).map { (YamuxHeader(.windowUpdate, .rst, stream: 300_001 + 2 * $0), Bytes()) })
                try await environment.loop.sleep(for: .milliseconds(20))
            }
        }
        #expect(server.refused(.wastedStreams) == 1)
        #expect(server.disconnected.first == .refused(.wastedStreams))
    }

    @Test("who asks for a lot and never grants a window loses the stream after a while, and is counted")
    func noWindow() throws {
        var attacker: HandDrivenPeer?
        let server = try attacked(for: .seconds(180), { $0.servesPerf = true }) { environment in
            let peer = try await HandDrivenPeer(environment)
            attacker = peer
            try await peer.shakeHands(as: 2)
            peer.attend()
            var wanted = Writer()
            wanted.integer(UInt64(1) << 40)
            try await peer.open(1, "/perf/1.0.0", wanted.finish())
            try await peer.send([(YamuxHeader(.data, .fin, stream: 1), Bytes())])
            try await environment.loop.sleep(until: .never)
        } afterwards: { swarm in
            #expect(swarm.memory.used < 1 << 20)
            #expect(swarm.isConnected(to: peer(2)), "a stream is no reason to lose the connection")
        }
        #expect(server.refused(.stalled) == 1)
        let stopped = try #require(attacker)
        #expect(stopped.resets.contains(1))
        #expect((200_000...300_000).contains(stopped.received[1] ?? 0), "the first window, and no more")
    }

    @Test("who reads nothing and makes answers necessary without end is read no more, and its memory is counted")
    func noReadingOfAnswers() throws {
        var sent = 0
        let server = try attacked(for: .seconds(120), { $0.servesPerf = true }) { environment in
            let attacker = try await HandDrivenPeer(environment)
            try await attacker.shakeHands(as: 2)
            var wanted = Writer()
            wanted.integer(UInt64(1) << 40)
            try await attacker.open(1, "/perf/1.0.0", wanted.finish(), window: 1 << 30)
            try await attacker.send([(YamuxHeader(.data, .fin, stream: 1), Bytes())])
            try await environment.loop.sleep(for: .seconds(3))
            // Nothing can go out by now. Each stream more is refused.
            while true {
                try await attacker.send(
                    (0..<1000).map {
                        (YamuxHeader(.windowUpdate, .syn, stream: 3 + 2 * UInt32(sent + $0)), Bytes())
                    })
                sent += 1000
                try await environment.loop.sleep(for: .milliseconds(1))
            }
        } afterwards: { swarm in
            #expect(swarm.connectedPeers == [peer(3)])
            #expect(swarm.memory.peak < 2 << 20)
        }
        #expect(sent > 100_000)
        #expect(server.metrics.value("martlet_swarm_connections_ended", "unanswered") == 1)
        // What it sent beyond that waits on its own side.
        #expect(server.refused(.streamBacklog) + server.refused(.streamsPerConnection) < 4000)
    }

    @Test("who asks for a lot and stops reading altogether is taken for gone, and counted")
    func noReading() throws {
        let server = try attacked(for: .seconds(180), { $0.servesPerf = true }) { environment in
            let attacker = try await HandDrivenPeer(environment)
            try await attacker.shakeHands(as: 2)
            var wanted = Writer()
            wanted.integer(UInt64(1) << 40)
            try await attacker.open(1, "/perf/1.0.0", wanted.finish(), window: 1 << 30)
            try await attacker.send([(YamuxHeader(.data, .fin, stream: 1), Bytes())])
            try await environment.loop.sleep(until: .never)
        } afterwards: { swarm in
            #expect(swarm.connectedPeers == [peer(3)])
            #expect(swarm.memory.used < 1 << 20)
        }
        #expect(server.metrics.value("martlet_swarm_connections_ended", "unanswered") == 1)
    }
}
