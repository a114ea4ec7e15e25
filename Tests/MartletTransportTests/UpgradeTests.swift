import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletTransport
import MartletWire
import Testing

@Suite("Upgrade")
struct UpgradeTests {
    /// A world with a server that accepts connections at port 7, and a client.
    private func world(_ seed: UInt64 = 1) -> (World, server: Host, client: Host) {
        let world = World(seed: seed)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        client.line.latency = .milliseconds(50)
        return (world, server, client)
    }

    private static func serve(_ environment: SimulatedEnvironment, _ limits: UpgradeLimits = UpgradeLimits()) throws {
        _ = try Node(environment, limits: limits).listen(port: 7) { connection in
            connection.onStream = { stream in environment.loop.spawn { try? await echo(stream) } }
        }
    }

    @Test("the first answered byte costs three round trips, TCP's own included")
    func roundTrips() throws {
        let (world, server, client) = world()
        server.start { try Self.serve($0) }
        var took: Duration?
        client.start { environment in
            let begin = environment.loop.now
            let stream = try await Node(environment).dial(server.address, port: 7).openStream()
            try await stream.write(Bytes([1]))
            _ = try await stream.read()
            took = environment.loop.now - begin
        }
        try world.run(within: .seconds(5)) { took != nil }
        #expect(took.map { $0 < .milliseconds(310) } == true, "\(String(describing: took))")
    }

    @Test("a connection is made inside a stream of another one")
    func nested() throws {
        let (world, server, client) = world()
        server.start { environment in
            let node = Node(environment)
            _ = try node.listen(port: 7) { outer in
                outer.onStream = { stream in
                    environment.loop.spawn {
                        let request = UpgradeRequest(
                            direction: .inbound, localAddress: outer.localAddress, remoteAddress: outer.remoteAddress,
                            transport: "nested", deadline: environment.loop.now + .seconds(10))
                        guard let inner = try? await node.upgrader.upgrade(NestedStream(stream), request) else {
                            return
                        }
                        inner.onStream = { stream in environment.loop.spawn { try? await echo(stream) } }
                    }
                }
            }
        }
        let sent = pattern(600_000)
        var received: [UInt8] = []
        client.start { environment in
            let node = Node(environment)
            let outer = try await node.dial(server.address, port: 7)
            var request = UpgradeRequest(
                direction: .outbound, expectedPeer: outer.remotePeer, localAddress: outer.localAddress,
                remoteAddress: outer.remoteAddress, transport: "nested",
                deadline: environment.loop.now + .seconds(10))
            request.isRelayed = true
            let inner = try await node.upgrader.upgrade(NestedStream(try outer.openStream()), request)
            #expect(inner.nature.isRelayed)
            #expect(inner.remotePeer == outer.remotePeer)
            let stream = try inner.openStream()
            environment.loop.spawn {
                try? await stream.write(Bytes(sent))
                stream.closeWrite()
            }
            while let bytes = try await stream.read() { received += Array(bytes) }
        }
        try world.run(within: .seconds(60)) { received.count == sent.count }
        #expect(received == sent)
    }

    @Test("a dial that expects another peer fails, and says who was there")
    func wrongPeer() throws {
        let (world, server, client) = world()
        server.start { try Self.serve($0) }
        var failure: TransportError?
        var other: PeerID?
        client.start { environment in
            let node = Node(environment)
            other = node.peerID
            do throws(TransportError) {
                _ = try await node.transport.dial(
                    .tcp(SocketAddress(server.address, port: 7)), expecting: node.peerID,
                    deadline: environment.loop.now + .seconds(5))
            } catch {
                failure = error
            }
        }
        try world.run(within: .seconds(10)) { failure != nil }
        guard case .wrongPeer(let expected, let actual) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(expected == other)
        #expect(actual != other)
    }

    @Test("one who falls silent, says nonsense or goes away at any byte of the upgrade is let go, with the reason")
    func badDialers() throws {
        // What an honest dialer says until it waits for the first time: 20 + 8 bytes of negotiation, 34 of Noise.
        let header = Array("\u{13}/multistream/1.0.0\n\u{7}/noise\n".utf8)
        let ephemeral: [UInt8] = [0, 32] + pattern(32)
        let table: [(String, [UInt8], Bool)] =
            (0..<header.count + ephemeral.count).map { ("silent at \($0)", Array((header + ephemeral)[..<$0]), false) }
            + (0..<header.count).map { ("gone at \($0)", Array(header[..<$0]), true) }
            + [
                ("silent in the middle of Noise", header + ephemeral, false),
                ("a forged last message", header + ephemeral + [0, 64] + pattern(64), false),
                ("nonsense", pattern(4000), false),
                ("negotiation without end", header[..<20] + (0..<100).flatMap { _ in [3] + Array("zz\n".utf8) }, false),
            ]
        let (world, server, client) = world(2)
        var failures: [TransportError] = []
        var connected = 0
        server.start { environment in
            let node = Node(environment)
            let inbound = Inbound(failed: { _, error in failures.append(error) }) { _ in connected += 1 }
            _ = try node.transport.listen(on: .tcp(SocketAddress(.anyV4, port: 7)), inbound)
        }
        client.start { environment in
            for (_, bytes, leaves) in table {
                let stream = try await environment.connectTCP(
                    SocketAddress(server.address, port: 7), from: nil, options: TCPOptions(), deadline: .never)
                stream.write(Bytes(bytes))
                if leaves { stream.close() }
            }
        }
        try world.run(within: .seconds(60)) { failures.count == table.count }
        #expect(connected == 0)
        #expect(failures.count { $0 == .timedOut(.securityNegotiation) } == header.count)
        #expect(failures.count { $0 == .timedOut(.handshake) } == ephemeral.count + 1)
        #expect(failures.count { $0 == .ended(.securityNegotiation) } == header.count)
        #expect(failures.count { $0 == .negotiation(.tooManyProposals) } == 1)
    }

    @Test("what is tampered with on the way ends the connection, and its streams hear of it")
    func tampering() throws {
        let (world, server, client) = world()
        server.start { try Self.serve($0) }
        var reason: ConnectionError?
        var failure: StreamError?
        client.start { environment in
            let tcp = try await environment.connectTCP(
                SocketAddress(server.address, port: 7), from: nil, options: TCPOptions(), deadline: .never)
            let address = Multiaddr.tcp(SocketAddress(server.address, port: 7))
            let connection = try await Node(environment).upgrader.upgrade(
                tcp,
                UpgradeRequest(
                    direction: .outbound, localAddress: address, remoteAddress: address, transport: "tcp",
                    deadline: environment.loop.now + .seconds(5)))
            connection.onClosed = { reason = $0 }
            let stream = try connection.openStream()
            try await stream.write(Bytes([1]))
            _ = try await stream.read()
            // A record of our own making, which nobody sealed: the server closes.
            tcp.write(Bytes([0, 20] + pattern(20)))
            do throws(StreamError) { _ = try await stream.read() } catch { failure = error }
        }
        try world.run(within: .seconds(5)) { failure != nil }
        #expect(reason == .closedByPeer(code: 1))
        #expect(failure == .connection(.closedByPeer(code: 1)))
    }

    @Test("the same seed gives the same trace")
    func deterministic() throws {
        func digest() throws -> String {
            let (world, server, client) = world(9)
            server.start { try Self.serve($0) }
            var isDone = false
            client.start { environment in
                let stream = try await Node(environment).dial(server.address, port: 7).openStream()
                try await stream.write(Bytes(pattern(50_000)))
                _ = try await stream.read(exactly: 50_000)
                isDone = true
            }
            try world.run(within: .seconds(20)) { isDone }
            return "\(world.digest)"
        }
        #expect(try digest() == digest())
    }
}
