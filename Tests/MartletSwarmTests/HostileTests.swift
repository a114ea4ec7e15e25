import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTransport
import MartletWire
import TestSupport
import Testing

@Suite("Bad peers")
struct HostileTests {
    @Test("5,000 connections from one address that say nothing hold a bounded number of places, and lose them")
    func flood() throws {
        var streams: [ByteStream] = []
        let server = try attacked { environment in
            for _ in 0..<5000 {
                environment.loop.spawn {
                    if let stream = try? await rawTCP(environment) { streams.append(stream) }
                }
                try await environment.loop.sleep(for: .milliseconds(2))
            }
        } afterwards: { swarm in
            #expect(swarm.pendingCount == 0)
            #expect(swarm.connectionCount == 1)
        }
        #expect(server.refused(.pendingPerAddress) + server.refused(.addressRate) > 4000)
        #expect(server.metrics.value("martlet_swarm_inbound_failures", "timed_out_negotiating") >= 32)
        #expect(streams.count == 5000)
    }

    @Test(
        "one who says something and then nothing, or nonsense, is let go at each stage of the upgrade",
        arguments: [
            ("silence", "timed_out_negotiating"), ("half a line", "timed_out_negotiating"),
            ("the header", "timed_out_negotiating"), ("noise agreed on", "timed_out_in_handshake"),
            ("half a handshake", "timed_out_in_handshake"), ("garbage", "negotiation"),
            ("an endless line", "negotiation"), ("goodbye", "ended"),
        ])
    func loris(_ stage: String, _ counted: String) throws {
        let server = try attacked { environment in
            let stream = try await rawTCP(environment)
            var writer = Writer()
            let header = { (writer: inout Writer) in
                for line in ["/multistream/1.0.0\n", "/noise\n"] { writer.lengthPrefixed(line.utf8.span.bytes) }
            }
            switch stage {
            case "half a line": writer.bytes(Bytes([19, 47, 109]))
            case "the header": writer.lengthPrefixed("/multistream/1.0.0\n".utf8.span.bytes)
            case "noise agreed on": header(&writer)
            case "half a handshake":
                header(&writer)
                writer.bytes(Bytes([0, 32] + [UInt8](repeating: 9, count: 20)))
            case "garbage": writer.bytes(Bytes([UInt8](repeating: 0x33, count: 5000)))
            case "an endless line": writer.bytes(Bytes([0xFF, 0xFF, 0xFF, 0x7F] + [UInt8](repeating: 65, count: 9000)))
            default: break
            }
            stream.write(writer.finish())
            if stage == "goodbye" { stream.close() }
            try await environment.loop.sleep(until: .never)
            stream.close()
        }
        #expect(server.metrics.value("martlet_swarm_inbound_failures", counted) == 1)
        #expect(server.swarm.pendingCount == 0)
    }

    @Test("streams that never say what they are for are reset after their time, and counted")
    func silentStreams() throws {
        var streams: [MartletTransport.Stream] = []
        var resets = 0
        let server = try attacked { environment in
            let connection = try await RudePeer(environment, 2).dial()
            for _ in 0..<50 {
                let stream = try connection.openStream()
                try await stream.write(Bytes([19]))
                streams.append(stream)
            }
            for stream in streams {
                do throws(StreamError) { _ = try await stream.read() } catch { resets += 1 }
            }
        }
        #expect(server.refused(.negotiationTimeout) == 50)
        #expect(resets == 50)
    }

    @Test("one who opens 100,000 streams gets no more than the bounds, and nobody else notices")
    func streamFlood() throws {
        let count = Sanitizer.amount(100_000, reduced: 20_000)
        var opened = 0
        let server = try attacked { environment in
            var limits = UpgradeLimits()
            limits.yamux.outboundStreams = 100_000
            limits.yamux.unacknowledgedStreams = 100_000
            let connection = try await RudePeer(environment, 2, limits).dial()
            var kept: [MartletTransport.Stream] = []
            while opened < count {
                let stream = try await connection.openStream(by: environment.loop.now + .seconds(20))
                try stream.propose("/echo")
                try await stream.write(Bytes(utf8: "x"))
                opened += 1
                kept.append(stream)
                if kept.count == 2000 { kept.removeAll() }
                if opened.isMultiple(of: 500) { try await environment.loop.sleep(for: .milliseconds(5)) }
            }
        }
        #expect(opened == count)
        #expect(server.refused(.streamsPerConnection) + server.refused(.streamsPerProtocol) > 1000)
    }

    @Test("an identify of 10 MB ends that stream, is counted, and costs no memory")
    func hugeIdentify() throws {
        let server = try attacked { environment in
            let connection = try await RudePeer(environment, 2).dial()
            connection.onStream = { stream in
                environment.loop.spawn {
                    _ = try? await stream.answerProposals(all: []) { _ in true }
                    try? await stream.writeMessage(Bytes([UInt8](repeating: 0x0A, count: 10 << 20)))
                    stream.closeWrite()
                }
            }
            try await environment.loop.sleep(until: .never)
        } afterwards: { swarm in
            #expect(swarm.info(of: peer(2)) == nil)
            #expect(swarm.memory.used < 1 << 20)
        }
        #expect(server.refused(.protocolViolation) == 1)
    }

    @Test("an identify that is small and endless ends too")
    func endlessIdentify() throws {
        let server = try attacked { environment in
            let connection = try await RudePeer(environment, 2).dial()
            connection.onStream = { stream in
                environment.loop.spawn {
                    _ = try? await stream.answerProposals(all: []) { _ in true }
                    while (try? await stream.writeMessage(Bytes([0x32, 1, 65]))) != nil {}
                }
            }
            try await environment.loop.sleep(until: .never)
        }
        #expect(server.refused(.protocolViolation) == 1)
    }

    @Test("pings without end are ended when they are too many")
    func pingFlood() throws {
        let server = try attacked { environment in
            let stream = try await RudePeer(environment, 2).dial().openStream()
            try stream.propose("/ipfs/ping/1.0.0")
            environment.loop.spawn { while (try? await stream.read()) != nil {} }
            while true { try await stream.write(Bytes([UInt8](repeating: 1, count: 3200))) }
        }
        #expect(server.refused(.protocolRate) == 1)
    }

    @Test("identify pushes without end are taken a few at a time, and then their sender is disconnected")
    func pushFlood() throws {
        var pushed = 0
        let server = try attacked { environment in
            let connection = try await RudePeer(environment, 2).dial()
            let message = Bytes([0x32, 1, 65])
            while connection.closeReason == nil, pushed < 20_000 {
                let stream = try await connection.openStream(by: environment.loop.now + .seconds(20))
                try stream.propose("/ipfs/id/push/1.0.0")
                try await stream.writeMessage(message)
                stream.closeWrite()
                _ = try? await stream.read()
                pushed += 1
            }
        } afterwards: { swarm in
            #expect(!swarm.isConnected(to: peer(2)))
        }
        #expect(server.refused(.protocolRate) >= 64 && server.refused(.protocolRate) < 200)
        #expect(server.metrics.value("martlet_swarm_connections_ended", "refused") == 1)
    }

    @Test("a peer that connects anew with a new record each time has a few of them checked, and the same one no more")
    func recordFlood() throws {
        var pushed = 0
        let server = try attacked {
            $0.limits.recordRate = Rate(burst: 5, perSecond: 0.001)
        } by: { environment in
            // The last ones are the one that was checked last.
            for sequence in Array(1...40) + Array(repeating: 5, count: 20) {
                let connection = try await RudePeer(environment, 2).dial()
                let stream = try await connection.openStream(by: environment.loop.now + .seconds(20))
                try stream.propose("/ipfs/id/push/1.0.0")
                let record = SignedPeerRecord(addresses: [tcp(2)], sequence: UInt64(sequence), signedWith: key(2))
                var message = Writer()
                message.field(8, bytes: record.envelope.bytes)
                try await stream.writeMessage(message.finish())
                stream.closeWrite()
                _ = try? await stream.read()
                connection.close()
                try await environment.loop.sleep(for: .milliseconds(200))
                pushed += 1
            }
        }
        #expect(pushed == 60)
        #expect(server.refused(.protocolRate) == 35)
    }

    @Test("what many streams send to readers that do not read stays within the memory of the node")
    func memory() throws {
        var kept: [MartletTransport.Stream] = []
        let budget = 8 << 20
        let server = try attacked(
            for: .seconds(30),
            { $0.limits.memory = budget },
            serve: { swarm in swarm.handle("/sink") { stream, _ in kept.append(stream) } },
            by: { environment in
                let connection = try await RudePeer(environment, 2).dial()
                for _ in 0..<Sanitizer.amount(200, reduced: 60) {
                    let stream = try connection.openStream()
                    try stream.propose("/sink")
                    environment.loop.spawn {
                        while (try? await stream.write(Bytes([UInt8](repeating: 1, count: 65_536)))) != nil {}
                    }
                }
                try await environment.loop.sleep(until: .never)
            })
        // The half of what one peer may hold at most: the attack has reached something.
        #expect(server.swarm.memory.peak > budget / 8)
        // And no more than what comes in one turn beyond what it may.
        #expect(server.swarm.memory.peak < budget / 4 + 3 << 19)
        #expect(server.refused(.memory) > 0)
        #expect(kept.count > 5)
        kept = []
        #expect(server.swarm.memory.used < budget / 8)
    }

    /// What became of those who did no harm.
    private struct Siege {
        let server: Member
        /// How many of ten connections that were made meanwhile got an answer.
        var answered = 0
        /// Whether a stream whose reader was slow has lost nothing.
        var isWhole = false
    }

    /// Lets `connections` dial the server, each as the peer of its number, and fill what they can on as many `streams`, whose
    /// readers do not read.
    private func besiege(
        _ budget: Int, connections: [UInt8], streams: Int, slack: Int = 1 << 20
    ) throws -> Siege {
        let sent = Bytes((0..<200 << 10).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        var kept: [MartletTransport.Stream] = []
        var answered = 0
        var isWhole = false
        let server = try attacked(
            for: .seconds(40), slack: slack,
            { $0.limits.memory = budget },
            serve: { swarm in
                swarm.handle("/sink") { stream, _ in kept.append(stream) }
                swarm.handle("/slow") { stream, _ in
                    swarm.loop.spawn {
                        try? await swarm.loop.sleep(for: .seconds(30))
                        isWhole = (try? await stream.read(exactly: sent.count)) == sent
                    }
                }
                swarm.serveEcho()
            },
            by: { environment in
                let loop = environment.loop
                let slow = try await RudePeer(environment, 4).dial().openStream()
                try slow.propose("/slow")
                try await slow.write(sent)
                try await loop.sleep(for: .seconds(1))
                for number in connections {
                    let connection = try await RudePeer(environment, number).dial()
                    for _ in 0..<streams {
                        let stream = try connection.openStream()
                        try stream.propose("/sink")
                        loop.spawn {
                            while (try? await stream.write(Bytes([UInt8](repeating: 1, count: 65_536)))) != nil {}
                        }
                    }
                }
                for number: UInt8 in 10..<20 {
                    try await loop.sleep(for: .seconds(2))
                    let stream = try await RudePeer(environment, number).dial().openStream()
                    try stream.propose("/echo")
                    try await stream.write(Bytes([number]))
                    if try await stream.read(exactly: 1) == Bytes([number]) { answered += 1 }
                }
                try await loop.sleep(until: .never)
                _ = slow
            })
        return Siege(server: server, answered: answered, isWhole: isWhole)
    }

    @Test("one identity that fills all it can on four connections costs no honest stream and no new connection")
    func oneIdentity() throws {
        let budget = 8 << 20
        let siege = try besiege(budget, connections: [2, 2, 2, 2], streams: Sanitizer.amount(200, reduced: 60))
        #expect(siege.answered == 10)
        #expect(siege.isWhole)
        #expect(siege.server.swarm.memory.peak > budget / 8)
        #expect(siege.server.swarm.memory.peak < budget / 2)
        #expect(siege.server.refused(.memory) > 0)
    }

    @Test("when many identities fill the node together, those that hold most pay, and nobody within a fair share")
    func manyIdentities() throws {
        let budget = 8 << 20
        let siege = try besiege(budget, connections: Array(30..<42), streams: 50, slack: 2 << 20)
        #expect(siege.answered == 10)
        #expect(siege.isWhole)
        #expect(siege.server.swarm.memory.peak > budget * 3 / 4)
        #expect(siege.server.refused(.memory) > 0)
    }

    @Test("a peer has at most its share of all streams, those that it opens and those that are opened to it")
    func shareOfStreams() throws {
        var opened: [MartletTransport.Stream] = []
        var refusal: SwarmError?
        let server = try attacked(
            for: .seconds(20),
            {
                $0.limits.inboundStreams = 16
                $0.limits.outboundStreams = 16
                $0.identifiesPeers = false
            },
            serve: { swarm in
                swarm.serveEcho()
                swarm.loop.spawn {
                    try? await swarm.loop.sleep(for: .seconds(5))
                    do throws(SwarmError) {
                        while true { opened.append(try await swarm.openStream(to: peer(2), "/x")) }
                    } catch {
                        refusal = error
                    }
                }
            },
            by: { environment in
                let connection = try await RudePeer(environment, 2).dial()
                var streams: [MartletTransport.Stream] = []
                connection.onStream = { streams.append($0) }
                for _ in 0..<7 {
                    let stream = try connection.openStream()
                    try stream.propose("/echo")
                    try await stream.write(Bytes(utf8: "x"))
                    streams.append(stream)
                }
                try await environment.loop.sleep(until: .never)
                streams = []
            },
            afterwards: { swarm in
                #expect(swarm.memory(of: peer(2)).streams(.inbound) == 4)
                #expect(swarm.memory(of: peer(2)).streams(.outbound) == 4)
            })
        #expect(server.refused(.streams) == 3)
        #expect(opened.count == 4)
        #expect(refusal == .connection(.tooManyStreams))
    }

    @Test("when there are too many connections, the least valuable go and those with tags or protection stay")
    func trims() throws {
        var server: Member?
        let world = World(seed: 1)
        let host = world.host("server", IPAddress(192, 0, 2, 1))
        host.start { environment in
            let member = Member(environment, key(1)) {
                $0.limits.highMark = 20
                $0.limits.lowMark = 15
                $0.limits.trimGrace = .seconds(1)
            }
            server = member
            member.swarm.protect(peer(11), for: "friend")
            member.swarm.tag(peer(12), "useful", value: 5)
            try member.swarm.listen(on: tcp(1))
            try await environment.loop.sleep(until: .never)
        }
        for number in 11...33 {
            let client = world.host("client\(number)", IPAddress(198, 51, 100, UInt8(number)))
            client.start { environment in
                try await environment.loop.sleep(for: .seconds(number))
                let member = Member(environment, key(UInt8(number)))
                try await member.swarm.connect(to: peer(1), at: [tcp(1)])
                try await environment.loop.sleep(until: .never)
            }
        }
        try world.run(for: .seconds(60))
        let member = try #require(server)
        #expect(member.metrics.value("martlet_swarm_trimmed") == 6)
        #expect(member.swarm.connectionCount == 17)
        #expect(member.swarm.isConnected(to: peer(11)) && member.swarm.isConnected(to: peer(12)))
        #expect(member.disconnected == Array(repeating: .trimmed, count: 6))
    }

    @Test("lists that change while peers are connected disconnect those who no longer may be, and keep them out")
    func lists() throws {
        var server: Member?
        let (world, hosts) = SwarmTests.world(clients: 2) { member in
            server = member
            member.swarm.loop.spawn {
                try? await member.swarm.loop.sleep(for: .seconds(5))
                member.swarm.access.blockedPeers = [peer(2)]
            }
        }
        for (index, host) in hosts.enumerated() {
            host.start { environment in
                let member = Member(environment, key(UInt8(index + 2)))
                try await member.swarm.connect(to: peer(1), at: [tcp(1)])
                try await environment.loop.sleep(for: .seconds(10))
                _ = try? await member.swarm.connect(to: peer(1), at: [tcp(1)])
                try await environment.loop.sleep(until: .never)
            }
        }
        try world.run(for: .seconds(20))
        let member = try #require(server)
        #expect(member.disconnected == [.refused(.blocked)])
        #expect(member.swarm.connectedPeers == [peer(3)])
        #expect(member.refused(.blocked) == 2)
    }
}
