import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletTLS
import MartletTransport
import MartletWire
import Testing

// Without this module GnuTLS draws other bytes in each run.
import CSeededRandom

@Suite("TCP, Noise, TLS and Yamux on a long way")
struct TCPSimulations {
    /// The bits a second that one stream carries over `line`, counted for `duration` after `beginning`.
    private func measureStream(
        over line: LinkConditions, _ security: SecurityProtocol, after beginning: Duration, for duration: Duration
    ) throws -> Double {
        let world = World(seed: 71)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        client.line = line
        server.line.latency = .zero
        // As a kernel's own windows grow; it is Yamux's that are to be seen here.
        server.tcpReceiveBuffer = 8 << 20
        client.tcpReceiveBuffer = 8 << 20
        var received = 0
        let address = Multiaddr.tcp(SocketAddress(server.address, port: 7))
        func transport(_ environment: SimulatedEnvironment) -> TCPTransport {
            var random = environment.random
            let upgrader = Upgrader(
                environment: environment, identity: .ed25519(using: &random), security: [security],
                certificateKey: .ed25519)
            return TCPTransport(environment: environment, upgrader: upgrader)
        }
        server.start { environment in
            let inbound = Inbound { connection in
                connection.onStream = { stream in
                    environment.loop.spawn {
                        while let bytes = try? await stream.read() { received += bytes.count }
                    }
                }
            }
            let listener = try transport(environment).listen(on: .tcp(SocketAddress(.anyV4, port: 7)), inbound)
            try await environment.loop.sleep(until: .never)
            listener.close()
        }
        client.start { environment in
            let connection = try await transport(environment).dial(
                address, expecting: nil, deadline: environment.loop.now + .seconds(10))
            let stream = try connection.openStream()
            let piece = Bytes(count: 128 << 10) { $0.initializeMemory(as: UInt8.self, repeating: 0x6D) }
            while true { try await stream.write(piece) }
        }
        try world.run(for: beginning)
        let before = received
        try world.run(for: duration)
        return Double((received - before) * 8) / (duration / .seconds(1))
    }

    @Test("one stream fills a way of 1 Gbit/s and 20 ms, since its window grows", arguments: SecurityProtocol.allCases)
    func filled(security: SecurityProtocol) throws {
        var line = LinkConditions(latency: .milliseconds(10), rate: 1_000_000_000)
        // More than Yamux lets one stream have under way: what is lost is another matter.
        line.queueBound = 32 << 20
        let rate = try measureStream(
            over: line, security, after: .seconds(1), for: .milliseconds(Tier.size(300, 5000)))
        print("\(security.rawValue), 1 Gbit/s and 20 ms: \(Int(rate / 1e6)) Mbit/s in one stream")
        #expect(rate >= 0.85e9)
    }
}
