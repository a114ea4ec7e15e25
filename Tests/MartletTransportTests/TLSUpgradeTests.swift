import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletTLS
@testable import MartletTransport
import MartletWire
import TestSupport
import Testing

/// A world with a server at port 7, and a client 50 ms away.
private struct Pair {
    let world: World
    let server: Host
    let client: Host

    init(_ seed: UInt64 = 1) {
        world = World(seed: seed)
        server = world.host("server", IPAddress(192, 0, 2, 1))
        client = world.host("client", IPAddress(192, 0, 2, 2))
        client.line.latency = .milliseconds(50)
    }

    /// Has the server echo what comes over streams of connections that any of `security` secures.
    func serve(_ security: [SecurityProtocol], failed: @escaping (TransportError) -> Void = { _ in }) {
        server.start { environment in
            let inbound = Inbound(failed: { failed($1) }) { connection in
                connection.onStream = { stream in environment.loop.spawn { try? await echo(stream) } }
            }
            _ = try Node(environment, security: security).transport.listen(
                on: .tcp(SocketAddress(.anyV4, port: 7)), inbound)
        }
    }
}

@Suite("TLS beside Noise")
struct TLSUpgradeTests {
    @Test("two sides connect by the best that both speak, and fail where they speak nothing in common")
    func choices() throws {
        let table: [([SecurityProtocol], [SecurityProtocol], SecurityProtocol?)] = [
            ([.noise], [.noise], .noise), ([.tls], [.tls], .tls), ([.noise, .tls], [.noise, .tls], .noise),
            ([.noise, .tls], [.tls, .noise], .tls), ([.noise], [.noise, .tls], .noise),
            ([.tls], [.noise, .tls], .tls), ([.noise, .tls], [.tls], .tls), ([.noise, .tls], [.noise], .noise),
            ([.noise], [.tls], nil), ([.tls], [.noise], nil),
        ]
        for (listener, dialer, expected) in table {
            let pair = Pair()
            pair.serve(listener)
            let sent = pattern(100_000)
            var received: Bytes?
            var security: String?
            var failure: (any Error)?
            pair.client.start { environment in
                do {
                    let connection = try await Node(environment, security: dialer).dial(pair.server.address, port: 7)
                    security = connection.nature.security
                    let stream = try connection.openStream()
                    try await stream.write(Bytes(sent))
                    received = try await stream.read(exactly: sent.count)
                } catch {
                    failure = error
                }
            }
            try pair.world.run(within: .seconds(20)) { received != nil || failure != nil }
            #expect(security == expected?.rawValue, "\(listener), \(dialer)")
            #expect(received == (expected == nil ? nil : Bytes(sent)), "\(listener), \(dialer)")
            if expected == nil { #expect(failure as? TransportError == .negotiation(.noneInCommon)) }
        }
    }

    @Test("inside a stream, which cannot be dialled again, a choice is agreed on before anything else is said")
    func nested() throws {
        let pair = Pair()
        let address = Multiaddr.tcp(SocketAddress(pair.server.address, port: 7))
        pair.server.start { environment in
            let inner = Node(environment, security: [.tls])
            _ = try Node(environment).listen(port: 7) { outer in
                outer.onStream = { stream in
                    environment.loop.spawn {
                        let request = UpgradeRequest(
                            direction: .inbound, localAddress: address, remoteAddress: address, transport: "nested",
                            deadline: environment.loop.now + .seconds(10))
                        let connection = try? await inner.upgrader.upgrade(NestedStream(stream), request)
                        connection?.onStream = { stream in environment.loop.spawn { try? await echo(stream) } }
                    }
                }
            }
        }
        var security: String?
        var received: Bytes?
        pair.client.start { environment in
            let node = Node(environment)
            let outer = try await node.dial(pair.server.address, port: 7)
            let request = UpgradeRequest(
                direction: .outbound, localAddress: address, remoteAddress: address, transport: "nested",
                deadline: environment.loop.now + .seconds(10))
            let inner = try await node.upgrader.upgrade(NestedStream(try outer.openStream()), request)
            security = inner.nature.security
            let stream = try inner.openStream()
            try await stream.write(Bytes([1, 2, 3]))
            received = try await stream.read(exactly: 3)
        }
        try pair.world.run(within: .seconds(10)) { received != nil }
        #expect(security == "/tls/1.0.0")
        #expect(received == [1, 2, 3])
    }

    @Test("the first answered byte costs three round trips by TLS as well, TCP's own included")
    func roundTrips() throws {
        let pair = Pair()
        pair.serve([.noise, .tls])
        var took: Duration?
        pair.client.start { environment in
            let begin = environment.loop.now
            let stream = try await Node(environment, security: [.tls]).dial(pair.server.address, port: 7).openStream()
            try await stream.write(Bytes([1]))
            _ = try await stream.read()
            took = environment.loop.now - begin
        }
        try pair.world.run(within: .seconds(5)) { took != nil }
        #expect(took.map { $0 < .milliseconds(310) } == true, "\(String(describing: took))")
    }

    @Test("a dial by TLS that expects another peer fails, and says who was there")
    func wrongPeer() throws {
        let pair = Pair()
        var refused: [TransportError] = []
        pair.serve([.tls]) { refused.append($0) }
        var failure: TransportError?
        var other: PeerID?
        pair.client.start { environment in
            let node = Node(environment, security: [.tls])
            other = node.peerID
            do throws(TransportError) {
                _ = try await node.transport.dial(
                    .tcp(SocketAddress(pair.server.address, port: 7)), expecting: node.peerID,
                    deadline: environment.loop.now + .seconds(5))
            } catch {
                failure = error
            }
        }
        try pair.world.run(within: .seconds(10)) { failure != nil && !refused.isEmpty }
        guard case .wrongPeer(let expected, let actual) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(expected == other)
        #expect(actual != other)
        guard case .handshake = refused.first else {
            Issue.record("\(refused)")
            return
        }
    }

    @Test("one who falls silent, says nonsense or goes away after choosing TLS is let go, with the reason")
    func badDialers() throws {
        let header = Array("\u{13}/multistream/1.0.0\n\u{B}/tls/1.0.0\n".utf8)
        let pair = Pair(3)
        var failures: [TransportError] = []
        pair.serve([.noise, .tls]) { failures.append($0) }
        pair.client.start { environment in
            var random = environment.random
            let credentials = TLSCredentials(
                hostKey: Node(environment).identity, certificateKey: .ed25519, at: environment.wallTime.seconds,
                using: &random)
            let session = TLSSession(
                .client, credentials: credentials, protocols: ["libp2p"], at: environment.wallTime.seconds)
            try session.start()
            let hello = Array(try #require(session.nextTransmit()))
            let table: [([UInt8], Bool)] = [
                (header, false), (header, true), (header + pattern(4000), false), (header + hello, false),
                (header + hello.prefix(100), false), (header + hello.prefix(100), true),
            ]
            for (bytes, leaves) in table {
                let stream = try await environment.connectTCP(
                    SocketAddress(pair.server.address, port: 7), from: nil, options: TCPOptions(), deadline: .never)
                stream.write(Bytes(bytes))
                if leaves { stream.close() }
            }
        }
        try pair.world.run(within: .seconds(60)) { failures.count == 6 }
        #expect(failures.count { $0 == .timedOut(.handshake) } == 3)
        #expect(failures.count { $0 == .ended(.handshake) } == 2)
        #expect(failures.count { if case .handshake = $0 { true } else { false } } == 1)
    }

    @Test("the same seed gives the same trace with TLS")
    func deterministic() throws {
        func digest() throws -> String {
            let pair = Pair(9)
            pair.serve([.tls])
            var isDone = false
            pair.client.start { environment in
                let stream = try await Node(environment).dial(pair.server.address, port: 7).openStream()
                try await stream.write(Bytes(pattern(50_000)))
                _ = try await stream.read(exactly: 50_000)
                isDone = true
            }
            try pair.world.run(within: .seconds(20)) { isDone }
            return "\(pair.world.digest)"
        }
        #expect(try digest() == digest())
    }

    @Test("four megabytes come back over TLS between two threads", .timeLimit(.minutes(1)))
    func system() async throws {
        let pair = try LoopbackPair(security: [.tls])
        let stream = try await pair.open { try await echo($0) }[0]
        let sent = Bytes(pattern(Sanitizer.amount(4 << 20, reduced: 1 << 20)))
        let writer = Task.detached {
            try await stream.write(sent)
            stream.closeWrite()
        }
        var received: [UInt8] = []
        while let bytes = try await stream.read() { received += Array(bytes) }
        try await writer.value
        #expect(Bytes(received) == sent)
        await pair.close()
    }
}
