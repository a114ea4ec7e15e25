import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@testable import MartletSwarm
@testable import MartletTransport

@Suite("Peers that would aim a node's dials")
struct AimedDialTests {
    /// What a peer says that claims to be at `addresses`, as a push carries it.
    private static func push(_ addresses: [Multiaddr], key: PublicKey) -> Bytes {
        var info = PeerInfo()
        info.listenAddresses = addresses
        info.protocols = ["/echo"]
        let message = IdentifyMessage.write(info, key: key)
        var writer = Writer()
        writer.varint(UInt64(message.count))
        writer.bytes(message)
        return writer.finish()
    }

    /// A node, to which a peer comes that claims to be at `addresses` and drains its connection. Then `body` runs.
    private func drained(
        claiming addresses: [Multiaddr], _ body: nonisolated(nonsending) @escaping (Member) async throws -> Void
    ) throws -> [IPAddress] {
        var dialled: [IPAddress] = []
        var isDone = false
        let (world, hosts) = SwarmTests.world { member in
            member.swarm.onDial = { dialled.append($0) }
            member.swarm.loop.spawn {
                try? await member.swarm.loop.sleep(for: .seconds(2))
                #expect(member.swarm.isConnected(to: peer(2)) && !member.swarm.takesStreams(peer(2)))
                do { try await body(member) } catch { Issue.record("\(error)") }
                isDone = true
            }
        }
        hosts[0].start { environment in
            let attacker = try await HandDrivenPeer(environment)
            try await attacker.shakeHands(as: 2)
            attacker.attend()
            let push = Self.push(addresses, key: key(2).publicKey)
            try await attacker.open(1, IdentifyState.pushName, push)
            try await attacker.send([
                (YamuxHeader(.data, .fin, stream: 1, length: 0), Bytes()), (YamuxHeader(.goAway), Bytes()),
            ])
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(60))
        #expect(isDone)
        return dialled
    }

    private static let victims = (1...40).map { Multiaddr.tcp(SocketAddress(IPAddress(70, 7, 7, $0), port: 22)) }

    @Test("a peer that claims a victim's addresses and drains its connection has nobody dialled there")
    func draining() throws {
        let dialled = try drained(claiming: Self.victims) { member in
            #expect(member.swarm.addresses(of: peer(2)) == Array(Self.victims.prefix(2)))
            for _ in 0..<4 {
                await #expect(throws: SwarmError.dial(.noAddresses)) {
                    _ = try await member.swarm.openStream(to: peer(2), "/echo")
                }
                await #expect(throws: SwarmError.dial(.noAddresses)) {
                    _ = try await member.swarm.openStream(to: peer(2), oneOf: ["/echo", "/other"])
                }
                await #expect(throws: SwarmError.dial(.noAddresses)) { _ = try await member.swarm.pinger(to: peer(2)) }
                await #expect(throws: SwarmError.notConnected) {
                    _ = try await member.swarm.pinger(to: peer(2), onlyConnected: true)
                }
            }
        }
        #expect(dialled.isEmpty)
    }

    @Test("a caller who names the peer itself has it dialled where it claims to be, within the bounds on claims")
    func wanted() throws {
        let elsewhere = (1...40).map { Multiaddr.tcp(SocketAddress(IPAddress(71, $0, 1, 1), port: 22)) }
        let near = [address("/ip4/127.0.0.1/tcp/22"), address("/dns4/localhost/tcp/22")]
        let dialled = try drained(claiming: near + Self.victims + elsewhere) { member in
            await #expect(throws: ConnectError.self) { _ = try await member.swarm.connect(to: peer(2)) }
        }
        #expect(dialled.count == SwarmLimits().claimedAddressesPerPeer)
        #expect(dialled.count { $0.prefix(24) == IPAddress(70, 7, 7, 0) } == 2)
        #expect(!dialled.contains(.loopbackV4))
    }

    @Test("a stream for which nobody is to be dialled goes over a connection that is there, or nowhere")
    func onlyConnected() throws {
        let world = World(seed: 1)
        var isDone = false
        world.host("host", IPAddress(192, 0, 2, 254)).start { environment in
            var connections: [FakeConnection] = []
            let transport = FakeTransport { address, _ in
                let connection = FakeConnection(environment.loop, key(2).publicKey, at: address)
                connections.append(connection)
                return connection
            }
            let swarm = Swarm(environment, over: transport)
            swarm.add(addresses: [tcp(2)], of: peer(2))
            await #expect(throws: SwarmError.notConnected) {
                _ = try await swarm.openStream(to: peer(2), "/a", onlyConnected: true)
            }
            #expect(transport.dials == 0)
            try await swarm.connect(to: peer(2))
            let stream = try await swarm.openStream(to: peer(2), "/a", onlyConnected: true)
            // It turns out only now that the connection can carry no more.
            connections[0].openError = .noMoreStreams
            await #expect(throws: SwarmError.notConnected) {
                _ = try await swarm.openStream(to: peer(2), "/a", onlyConnected: true)
            }
            #expect(transport.dials == 1 && !swarm.takesStreams(peer(2)))
            let other = try await swarm.openStream(to: peer(2), "/a")
            #expect(transport.dials == 2, "where it was reached before it may be dialled")
            stream.reset()
            other.reset()
            isDone = true
        }
        try world.run(for: .seconds(60))
        #expect(isDone)
    }
}
