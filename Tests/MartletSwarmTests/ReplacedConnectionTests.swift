import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@testable import MartletSwarm
@testable import MartletTransport

@Suite("Connections of no more use")
struct ReplacedConnectionTests {
    /// Runs `body` on a host of its own.
    private func run(for duration: Duration = .seconds(60), _ body: @escaping Host.Program) throws {
        let world = World(seed: 1)
        var isDone = false
        world.host("host", IPAddress(192, 0, 2, 254)).start { environment in
            try await body(environment)
            isDone = true
        }
        try world.run(for: duration)
        #expect(isDone)
    }

    @Test("connections that ended before they were taken in hold no places, however many there are")
    func endedBefore() throws {
        try run { environment in
            let metrics = MetricsRegistry()
            var isDead = true
            var next = 0
            let transport = FakeTransport { address, _ in
                next += 1
                let connection = FakeConnection(environment.loop, numberedKey(next).publicKey, at: address)
                if isDead { connection.ended(.network(.reset)) }
                return connection
            }
            let swarm = Swarm(environment, over: transport, metrics: metrics)
            let count = swarm.limits.connections
            for port in 1...count {
                let place = tcp(7, port: UInt16(port))
                let attempt = ConnectError.Attempt(address: place, error: .ended(.handshake))
                await #expect(throws: ConnectError.failed([attempt])) { try await swarm.connect(to: place) }
            }
            #expect(transport.dials == count && swarm.connectionCount == 0 && swarm.connectedPeers.isEmpty)
            isDead = false
            let peer = try await swarm.connect(to: tcp(8)).peer
            #expect(swarm.connectedPeers == [peer])
            let late = FakeConnection(environment.loop, numberedKey(9999).publicKey, at: tcp(9), .inbound)
            late.ended(.network(.reset))
            #expect(throws: Refusal.ended) { try swarm.adopt(late, by: .dialled) }
            #expect(swarm.connectionCount == 1 && metrics.value("martlet_swarm_refused", "ended") == 1)
        }
    }

    @Test("a dial that another peer answers fails for all who wait for it, although the transport did not notice")
    func anotherPeer() throws {
        try run { environment in
            let transport = FakeTransport { address, _ in
                FakeConnection(environment.loop, key(3).publicKey, at: address)
            }
            let swarm = Swarm(environment, over: transport)
            let attempt = ConnectError.Attempt(
                address: tcp(2), error: .wrongPeer(expected: peer(2), actual: peer(3)))
            await #expect(throws: ConnectError.failed([attempt])) {
                try await swarm.connect(to: peer(2), at: [tcp(2)])
            }
            #expect(swarm.connectionCount == 0)
        }
    }

    @Test("a connection that drains goes on with what is open, and the next stream is worth a new one")
    func draining() throws {
        try run { environment in
            var connections: [FakeConnection] = []
            let transport = FakeTransport { address, _ in
                let connection = FakeConnection(environment.loop, key(2).publicKey, at: address)
                connections.append(connection)
                return connection
            }
            let swarm = Swarm(environment, over: transport)
            try await swarm.connect(to: peer(2), at: [tcp(2)])
            let old = try await swarm.openStream(to: peer(2), "/a")
            connections[0].beginsToDrain()
            try await environment.loop.sleep(for: .seconds(1))
            #expect(transport.dials == 1 && swarm.isConnected(to: peer(2)), "nobody wants a stream yet")
            let new = try await swarm.openStream(to: peer(2), "/b")
            #expect(transport.dials == 2 && connections.map(\.opened) == [1, 1])
            try await environment.loop.sleep(for: .seconds(20))
            #expect(swarm.connections(to: peer(2)).count == 2, "a stream is open on the old one")
            old.reset()
            try await environment.loop.sleep(for: .seconds(20))
            #expect(connections.map { $0.closeReason != nil } == [true, false])
            new.reset()
        }
    }

    @Test("a connection that says too late that it can carry no more streams is replaced within the same call")
    func spent() throws {
        try run { environment in
            var connections: [FakeConnection] = []
            let transport = FakeTransport { address, _ in
                let connection = FakeConnection(environment.loop, key(2).publicKey, at: address)
                connections.append(connection)
                return connection
            }
            let swarm = Swarm(environment, over: transport)
            try await swarm.connect(to: peer(2), at: [tcp(2)])
            connections[0].openError = .noMoreStreams
            _ = try await swarm.openStream(to: peer(2), "/a")
            #expect(transport.dials == 2 && connections.map(\.opened) == [0, 1])
            // This one has none open and allows none, for longer than a peer may take.
            connections[1].openError = .tooManyStreams
            try await environment.loop.sleep(for: .seconds(1))
            let deadline = environment.loop.now + .seconds(6)
            await #expect(throws: SwarmError.timedOut) {
                _ = try await swarm.openStream(to: peer(2), "/b", by: deadline)
            }
            _ = try await swarm.openStream(to: peer(2), "/b")
            #expect(transport.dials == 3 && connections.map(\.opened) == [0, 1, 1])
        }
    }

    @Test("a push goes over a connection that is there, and dials nobody who was just let go")
    func pushDialsNobody() throws {
        try run { environment in
            var connections: [FakeConnection] = []
            let transport = FakeTransport { address, _ in
                let connection = FakeConnection(environment.loop, key(2).publicKey, at: address)
                connection.openError = .tooManyStreams
                connection.staysAfterClose = true
                connections.append(connection)
                return connection
            }
            let swarm = Swarm(environment, over: transport) { $0.identifiesPeers = true }
            try await swarm.connect(to: peer(2), at: [tcp(2)])
            var info = PeerInfo()
            info.protocols = [IdentifyState.pushName]
            swarm.peers[peer(2)]?.info = info
            swarm.handle("/new") { stream, _ in stream.reset() }
            swarm.disconnect(peer(2))
            try await environment.loop.sleep(for: .seconds(20))
            #expect(transport.dials == 1)
            connections.forEach { $0.abort() }
        }
    }

    @Test("over Yamux, numbers that run out cost a connection and no stream")
    func yamux() throws {
        var server: Member?
        let (world, hosts) = SwarmTests.world {
            server = $0
            $0.swarm.serveEcho()
        }
        var echoed = 0
        hosts[0].start { environment in
            var transports = TransportConfiguration()
            transports.usesQUIC = false
            transports.upgrade.yamux.highestNumber = 41
            let member = Member(environment, key(2), transports: transports)
            try await member.swarm.connect(to: peer(1), at: [tcp(1)])
            for _ in 0..<100 {
                let stream = try await member.swarm.openStream(to: peer(1), "/echo")
                try await stream.write(Bytes([7]))
                stream.closeWrite()
                if try await stream.read(exactly: 1) == Bytes([7]) { echoed += 1 }
                // A peer may have four connections, so numbers must not run out sooner than the old ones close.
                try await environment.loop.sleep(for: .milliseconds(500))
            }
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(90))
        #expect(echoed == 100)
        #expect(try #require(server).swarm.connectionCount == 1, "the old ones are closed when they are idle")
        #expect(try #require(server).metrics.value("martlet_swarm_connections_opened", "inbound") >= 5)
    }

    @Test("a peer that says farewell and stays is dialled for the next stream")
    func farewell() throws {
        var server: Member?
        var answered = false
        let (world, hosts) = SwarmTests.world { member in
            server = member
            member.swarm.loop.spawn {
                try? await member.swarm.loop.sleep(for: .seconds(2))
                member.swarm.add(addresses: [tcp(2)], of: peer(2))
                let stream = try? await member.swarm.openStream(to: peer(2), "/echo")
                try? await stream?.write(Bytes([7]))
                answered = (try? await stream?.read(exactly: 1)) == Bytes([7])
            }
        }
        hosts[0].start { environment in
            let other = Member(environment, key(2))
            other.swarm.serveEcho()
            try other.swarm.listen(on: tcp(2))
            let attacker = try await HandDrivenPeer(environment)
            try await attacker.shakeHands(as: 2)
            attacker.attend()
            try await attacker.send([(YamuxHeader(.goAway), Bytes())])
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(10))
        #expect(answered)
        #expect(try #require(server).metrics.value("martlet_swarm_connections_opened", "outbound") == 1)
    }
}
