import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletTransport
import MartletWire
import Testing

@testable import MartletSwarm

@Suite("Swarm")
struct SwarmTests {
    /// A world with a listener at 192.0.2.1 (key 1) and `clients` hosts from 192.0.2.2 on.
    static func world(
        seed: UInt64 = 1, clients: Int = 1, latency: Duration = .milliseconds(10),
        _ configure: @escaping (inout SwarmConfiguration) -> Void = { _ in },
        server serve: @escaping (Member) -> Void
    ) -> (World, [Host]) {
        let world = World(seed: seed)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let hosts = (0..<clients).map { world.host("client\($0)", IPAddress(192, 0, 2, UInt8($0 + 2))) }
        server.line.latency = .zero
        for host in hosts { host.line.latency = latency }
        server.start { environment in
            let member = Member(environment, key(1), configure)
            try member.swarm.listen(on: .tcp(SocketAddress(.anyV4, port: 4001)))
            serve(member)
            try await environment.loop.sleep(until: .never)
        }
        return (world, hosts)
    }

    @Test("a peer is dialled, identified and pinged, and both sides hear of it")
    func meets() throws {
        var server: Member?
        let (world, hosts) = Self.world { server = $0 }
        var client: Member?
        var roundTrip: Duration?
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            client = member
            let info = try await member.swarm.connect(to: peer(1), at: [tcp(1)])
            #expect(info.nature.direction == .outbound)
            let pinger = try await member.swarm.pinger(to: peer(1))
            roundTrip = try await pinger.ping()
            for _ in 0..<4 { _ = try await pinger.ping() }
            #expect(pinger.statistics.answered == 5)
            pinger.close()
            try await environment.loop.sleep(for: .seconds(1))
            #expect(member.swarm.info(of: peer(1))?.agentVersion == "martlet")
            member.swarm.disconnect(peer(1))
            try await environment.loop.sleep(for: .seconds(1))
        }
        try world.run(for: .seconds(10))
        // The first ping waits for the protocol to be agreed on, which costs no round trip of its own.
        #expect(roundTrip == .milliseconds(20))
        let one = try #require(server), two = try #require(client)
        #expect(one.connected == [peer(2)])
        #expect(two.connected == [peer(1)])
        #expect(two.disconnected == [.requested])
        #expect(one.disconnected == [.ended(.closedByPeer(code: 0))])
        #expect(one.events.contains(.listening(tcp(1))))
        let observed = two.events.compactMap { event -> Multiaddr? in
            if case .observedAddress(let address, peer(1)) = event { address } else { nil }
        }
        #expect(observed.map(\.ipAddress) == [hosts[0].address])
        #expect(one.swarm.connectionCount == 0)
    }

    @Test("a swarm in a simulated world does the same from the same seed")
    func repeats() throws {
        let digests = try [7, 7, 8].map { (seed: UInt64) in
            let (world, hosts) = Self.world(seed: seed, clients: 5) { $0.swarm.serveEcho() }
            for (index, host) in hosts.enumerated() {
                host.start { environment in
                    let member = Member(environment, key(UInt8(10 + index)))
                    let stream = try await connectAndOpen(member.swarm, "/echo")
                    try await stream.write(Bytes(utf8: "hello"))
                    #expect(try await stream.read(exactly: 5) == Bytes(utf8: "hello"))
                    try await environment.loop.sleep(for: .seconds(1))
                }
            }
            try world.run(for: .seconds(5))
            return world.digest.description
        }
        #expect(digests[0] == digests[1])
        #expect(digests[0] != digests[2])
    }

    // MARK: Dialling

    @Test("two who want the same peer share one dial")
    func joins() throws {
        var server: Member?
        let (world, hosts) = Self.world { server = $0 }
        var numbers: [UInt64] = []
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            for _ in 0..<3 {
                environment.loop.spawn {
                    guard let info = try? await member.swarm.connect(to: peer(1), at: [tcp(1)]) else { return }
                    numbers.append(info.number)
                }
            }
            try await environment.loop.sleep(for: .seconds(5))
        }
        try world.run(for: .seconds(4))
        #expect(numbers.count == 3 && Set(numbers).count == 1)
        #expect(try #require(server).swarm.connectionCount == 1)
    }

    @Test("an address where nobody answers costs a quarter of a second, not the dial")
    func staggers() throws {
        let (world, hosts) = Self.world { _ in }
        let silent = world.host("silent", IPAddress(192, 0, 2, 200))
        silent.pause()
        var took: Duration?
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            let start = environment.loop.now
            let info = try await member.swarm.connect(to: peer(1), at: [tcp(200), tcp(1)])
            took = environment.loop.now - start
            #expect(info.remoteAddress.withoutPeerID == tcp(1))
        }
        try world.run(for: .seconds(30))
        // A TCP round trip and two of the upgrade behind the stagger.
        #expect(try #require(took) >= .milliseconds(250))
        #expect(try #require(took) <= .milliseconds(320))
    }

    @Test("a refused address is left alone for a while, and a dial whose addresses all are says until when")
    func backsOff() throws {
        let (world, hosts) = Self.world { _ in }
        var errors: [ConnectError] = []
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            for _ in 0..<2 {
                do throws(ConnectError) {
                    _ = try await member.swarm.connect(to: peer(1), at: [tcp(1, port: 9)])
                } catch {
                    errors.append(error)
                }
            }
            try await member.swarm.connect(to: peer(1), at: [tcp(1)])
            do throws(ConnectError) { _ = try await member.swarm.connect(to: peer(3)) } catch { errors.append(error) }
            do throws(ConnectError) { _ = try await member.swarm.connect(to: peer(2), at: [tcp(1)]) } catch {
                errors.append(error)
            }
        }
        try world.run(for: .seconds(30))
        try #require(errors.count == 4)
        guard case .failed(let attempts) = errors[0], case .backingOff(let until) = errors[1] else {
            Issue.record("other errors: \(errors)")
            return
        }
        #expect(attempts.map(\.address) == [tcp(1, port: 9)])
        #expect(until >= .start + .seconds(5))
        #expect(errors[2] == .noAddresses)
        #expect(errors[3] == .refused(.isSelf))
    }

    @Test("a dial fails where another key answers, and one without an id learns who answered")
    func identities() throws {
        let (world, hosts) = Self.world { _ in }
        var wrong: ConnectError?
        var learnt: PeerID?
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            do throws(ConnectError) { _ = try await member.swarm.connect(to: peer(9), at: [tcp(1)]) } catch {
                wrong = error
            }
            // What failed was that another peer is there, which says nothing against the one that is.
            learnt = try await member.swarm.connect(to: tcp(1)).peer
        }
        try world.run(for: .seconds(30))
        let attempt = ConnectError.Attempt(address: tcp(1), error: .wrongPeer(expected: peer(9), actual: peer(1)))
        #expect(wrong == .failed([attempt]))
        #expect(learnt == peer(1))
    }

    @Test("an address that names another peer than the caller wants is not dialled, nor by a dial that is under way")
    func addressesOfOthers() throws {
        let (world, hosts) = Self.world { _ in }
        world.host("silent", IPAddress(192, 0, 2, 200)).pause()
        var errors: [ConnectError] = []
        hosts[0].start { environment in
            let member = Member(environment, key(2)) { $0.limits.dialTimeout = .seconds(5) }
            let misleading = try tcp(1).appending(.p2p(peer(1)))
            do throws(ConnectError) {
                _ = try await member.swarm.connect(to: peer(9), at: [misleading])
            } catch {
                errors.append(error)
            }
            for addresses in [[tcp(200)], [misleading]] {
                environment.loop.spawn {
                    do throws(ConnectError) {
                        _ = try await member.swarm.connect(to: peer(9), at: addresses)
                    } catch {
                        errors.append(error)
                    }
                }
            }
            try await environment.loop.sleep(for: .seconds(10))
            #expect(member.swarm.connectionCount == 0)
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(20))
        let misleading = try tcp(1).appending(.p2p(peer(1)))
        let attempt = ConnectError.Attempt(
            address: misleading, error: .wrongPeer(expected: peer(9), actual: peer(1)))
        #expect(errors.count == 3)
        #expect(errors.first == .failed([attempt]))
    }

    @Test("perf with a peer that does not offer it says so")
    func noPerf() throws {
        let (world, hosts) = Self.world { _ in }
        var failure: SwarmError?
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            try await member.swarm.connect(to: peer(1), at: [tcp(1)])
            do throws(SwarmError) {
                _ = try await member.swarm.perf(to: peer(1), upload: 64 << 20, download: 0)
            } catch {
                failure = error
            }
        }
        try world.run(for: .seconds(30))
        #expect(failure == .stream(.protocolsNotSupported(["/perf/1.0.0"])))
    }

    @Test("identify tells the address of the connection that it was asked on, not of another to the same peer")
    func observesEach() throws {
        let (world, hosts) = Self.world { _ in }
        var told: [Multiaddr?] = []
        var local: [Multiaddr] = []
        hosts[0].start { environment in
            let rude = RudePeer(environment, 2)
            var connections: [Connection] = []
            for _ in 0..<3 { connections.append(try await rude.dial()) }
            local = connections.map(\.localAddress)
            for connection in connections {
                let stream = try connection.openStream()
                try stream.propose(IdentifyState.name)
                stream.closeWrite()
                let message = try await stream.readMessage(upTo: 65_536)
                var info = PeerInfo()
                try IdentifyMessage.read(message ?? Bytes(), from: peer(1), into: &info)
                told.append(info.observedAddress)
            }
            try await environment.loop.sleep(for: .milliseconds(100))
            for connection in connections { connection.close() }
        }
        try world.run(for: .seconds(10))
        #expect(Set(local).count == 3)
        #expect(told == local)
    }

    @Test(
        "two that dial each other at the same moment end with one connection, and streams on the other go on to their end",
        arguments: [0, 1, 3, 7])
    func simultaneous(skewMilliseconds: Int64) throws {
        let world = World(seed: 3)
        let hosts = [1, 2].map { world.host("host\($0)", IPAddress(192, 0, 2, $0)) }
        var members: [Member] = []
        var echoed = 0
        for (index, host) in hosts.enumerated() {
            host.line.latency = .milliseconds(5)
            host.start { environment in
                let member = Member(environment, key(UInt8(index + 1)))
                members.append(member)
                member.swarm.serveEcho()
                try member.swarm.listen(on: tcp(UInt8(index + 1)))
                try await environment.loop.sleep(for: .milliseconds(100 + (index == 0 ? 0 : skewMilliseconds)))
                let other = UInt8(2 - index)
                try await member.swarm.connect(to: peer(other), at: [tcp(other)])
                let stream = try await member.swarm.openStream(to: peer(other), "/echo")
                for _ in 0..<10 {
                    try await stream.write(Bytes(utf8: "hello"))
                    #expect(try await stream.read(exactly: 5) == Bytes(utf8: "hello"))
                    try await environment.loop.sleep(for: .seconds(1))
                }
                stream.closeWrite()
                #expect(try await stream.read() == nil)
                echoed += 1
                try await environment.loop.sleep(until: .never)
            }
        }
        try world.run(for: .seconds(60))
        #expect(echoed == 2)
        for (index, member) in members.enumerated() {
            #expect(member.swarm.connectionCount == 1)
            #expect(member.connected.count == 1)
            #expect(member.disconnected.isEmpty)
            let kept = try #require(member.swarm.connections(to: peer(UInt8(2 - index))).first)
            let other = try #require(members[1 - index].swarm.connections(to: peer(UInt8(index + 1))).first)
            #expect(kept.nature.direction != other.nature.direction)
        }
    }

    @Test("a dial that is under way takes up the addresses that another who wants the peer knows")
    func joinsWithAddresses() throws {
        let (world, hosts) = Self.world { _ in }
        world.host("silent", IPAddress(192, 0, 2, 200)).pause()
        var took: [Duration] = []
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            let start = environment.loop.now
            for addresses in [[tcp(200)], [tcp(1)]] {
                environment.loop.spawn {
                    guard (try? await member.swarm.connect(to: peer(1), at: addresses)) != nil else { return }
                    took.append(environment.loop.now - start)
                }
                try await environment.loop.sleep(for: .milliseconds(100))
            }
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(10))
        #expect(took.count == 2)
        #expect(took.allSatisfy { $0 < .milliseconds(400) }, "\(took)")
    }

    @Test("a connection that is being closed is not handed to whoever connects next")
    func reconnects() throws {
        var server: Member?
        let (world, hosts) = Self.world { server = $0 }
        var numbers: [UInt64] = []
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            for _ in 0..<3 {
                numbers.append(try await member.swarm.connect(to: peer(1), at: [tcp(1)]).number)
                _ = try await member.swarm.pinger(to: peer(1)).ping()
                member.swarm.disconnect(peer(1))
                #expect(!member.swarm.isConnected(to: peer(1)))
            }
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(10))
        #expect(numbers.count == 3 && Set(numbers).count == 3)
        let member = try #require(server)
        #expect(member.metrics.value("martlet_swarm_connections_ended", "closed_by_peer") == 3)
        #expect(member.metrics.value("martlet_swarm_peers") == 0)
    }

    @Test("one that does not know the rule and uses all of its connections keeps them until it has done")
    func stranger() throws {
        var server: Member?
        let (world, hosts) = Self.world {
            server = $0
            $0.swarm.serveEcho()
        }
        var echoed = [0, 0, 0]
        var kept: [Connection] = []
        hosts[0].start { environment in
            let rude = RudePeer(environment, 2)
            for index in 0..<3 {
                let connection = try await rude.dial()
                kept.append(connection)
                environment.loop.spawn {
                    guard let stream = try? connection.openStream() else { return }
                    try? stream.propose("/echo")
                    for _ in 0..<20 {
                        guard (try? await stream.write(Bytes([1]))) != nil else { return }
                        guard (try? await stream.read(exactly: 1)) != nil else { return }
                        echoed[index] += 1
                        try? await environment.loop.sleep(for: .seconds(1))
                    }
                    stream.closeWrite()
                    _ = try? await stream.read()
                }
            }
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(15))
        let member = try #require(server)
        #expect(member.swarm.connectionCount == 3)
        try world.run(for: .seconds(30))
        #expect(echoed == [20, 20, 20])
        #expect(member.swarm.connectionCount == 1)
        #expect(member.metrics.value("martlet_swarm_connections_ended", "replaced") == 2)
        #expect(member.connected == [peer(2)] && member.disconnected.isEmpty)
    }

    // MARK: Streams

    @Test("a stream is opened by the first name in a list that the peer speaks; none in common is an error")
    func preference() throws {
        let (world, hosts) = Self.world {
            $0.swarm.serveEcho()
            $0.swarm.handle(where: { $0.hasPrefix("/family/") }) { stream, _ in stream.closeWrite() }
        }
        var names: [String] = []
        var errors: [SwarmError] = []
        hosts[0].start { environment in
            let member = Member(environment, key(2)) { $0.identifiesPeers = false }
            let swarm = member.swarm
            try await swarm.connect(to: peer(1), at: [tcp(1)])
            names.append(try await swarm.openStream(to: peer(1), oneOf: ["/echo/2", "/echo"]).name)
            names.append(try await swarm.openStream(to: peer(1), oneOf: ["/family/7", "/echo"]).name)
            do throws(SwarmError) {
                _ = try await swarm.openStream(to: peer(1), oneOf: ["/x", "/y"])
            } catch {
                errors.append(error)
            }
            let stream = try await swarm.openStream(to: peer(1), "/x")
            do throws(StreamError) { _ = try await stream.read() } catch { errors.append(.stream(error)) }
            try await environment.loop.sleep(for: .seconds(1))
        }
        try world.run(for: .seconds(20))
        #expect(names == ["/echo", "/family/7"])
        #expect(errors == [.stream(.protocolsNotSupported(["/x", "/y"])), .stream(.protocolsNotSupported(["/x"]))])
    }

    @Test("no more streams of a protocol are open at once than its bound, and one that ends makes room")
    func protocolLimit() throws {
        var server: Member?
        let (world, hosts) = Self.world {
            server = $0
            $0.swarm.serveEcho(limit: 3)
        }
        var answers = 0
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            try await member.swarm.connect(to: peer(1), at: [tcp(1)])
            var streams: [MartletTransport.Stream] = []
            for _ in 0..<5 {
                let stream = try await member.swarm.openStream(to: peer(1), "/echo")
                try await stream.write(Bytes(utf8: "x"))
                if (try? await stream.read(exactly: 1)) != nil { answers += 1 }
                streams.append(stream)
            }
            streams[0].closeWrite()
            #expect(try await streams[0].read() == nil)
            let next = try await member.swarm.openStream(to: peer(1), "/echo")
            try await next.write(Bytes(utf8: "x"))
            #expect(try await next.read(exactly: 1) == Bytes(utf8: "x"))
        }
        try world.run(for: .seconds(20))
        #expect(answers == 3)
        #expect(try #require(server).refused(.streamsPerProtocol) == 2)
    }

    @Test("a changed address is pushed to those who are connected")
    func push() throws {
        var server: Member?
        let (world, hosts) = Self.world {
            server = $0
            let swarm = $0.swarm
            swarm.loop.spawn {
                try? await swarm.loop.sleep(for: .seconds(2))
                _ = try? swarm.listen(on: .tcp(SocketAddress(.anyV4, port: 4002)))
            }
        }
        var client: Member?
        hosts[0].start { environment in
            let member = Member(environment, key(2))
            client = member
            try await member.swarm.connect(to: peer(1), at: [tcp(1)])
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(10))
        #expect(try #require(server).swarm.listenAddresses.contains(tcp(1, port: 4002)))
        #expect(try #require(client).swarm.info(of: peer(1))?.listenAddresses == [tcp(1), tcp(1, port: 4002)])
    }
}

/// Connects to peer 1 at 192.0.2.1 and opens a stream.
nonisolated(nonsending) func connectAndOpen(
    _ swarm: Swarm, _ name: String
) async throws -> MartletTransport.Stream {
    try await swarm.connect(to: peer(1), at: [tcp(1)])
    return try await swarm.openStream(to: peer(1), name)
}
