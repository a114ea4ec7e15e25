import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTLS
import MartletTransport
import MartletWire
import Testing

// Without this module GnuTLS draws other bytes in each run.
import CSeededRandom

@Suite("Swarm over QUIC and TCP")
struct BothTransportsTests {
    private static func member(_ environment: SimulatedEnvironment, _ number: UInt8) -> Member {
        var transports = TransportConfiguration()
        transports.certificateKey = .ed25519
        return Member(environment, key(number), transports: transports)
    }

    private static func quic(_ octet: UInt8, port: UInt16 = 4001) -> Multiaddr {
        address("/ip4/192.0.2.\(octet)/udp/\(port)/quic-v1")
    }

    /// The transport over which host 2 reaches host 1, 100 ms away, and how long it takes from the dial until the first
    /// answer on a stream is there, whose protocol is agreed on by then.
    private func reached(listening: [Multiaddr], dialling: [Multiaddr]) throws -> (String, Duration) {
        let world = World(seed: 1)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        server.line.latency = .zero
        client.line.latency = .milliseconds(100)
        server.start { environment in
            let member = Self.member(environment, 1)
            for address in listening { try member.swarm.listen(on: address) }
            try await environment.loop.sleep(until: .never)
        }
        var result: (String, Duration)?
        client.start { environment in
            let member = Self.member(environment, 2)
            let start = environment.loop.now
            let info = try await member.swarm.connect(to: peer(1), at: dialling)
            let pinger = try await member.swarm.pinger(to: peer(1))
            _ = try await pinger.ping()
            result = (info.nature.transport, environment.loop.now - start)
        }
        try world.run(for: .seconds(20))
        return try #require(result)
    }

    @Test("QUIC is preferred, and its first stream has its answer within two round trips: handshake, and all the rest")
    func prefersQUIC() throws {
        let both = [tcp(1), Self.quic(1)]
        let (transport, took) = try reached(listening: both, dialling: both)
        #expect(transport == "quic-v1")
        #expect(took >= .milliseconds(400) && took <= .milliseconds(405), "\(took)")
    }

    @Test("where QUIC does not answer, TCP follows a quarter of a second behind and is up in three round trips more")
    func fallsBack() throws {
        let (transport, took) = try reached(
            listening: [tcp(1)], dialling: [tcp(1), Self.quic(1)])
        #expect(transport == "tcp")
        #expect(took >= .milliseconds(850) && took <= .milliseconds(855), "\(took)")
    }

    @Test("over TCP alone the first stream has its answer within three round trips: TCP, Noise, and all the rest")
    func roundTripsOfTCP() throws {
        let (transport, took) = try reached(listening: [tcp(1)], dialling: [tcp(1)])
        #expect(transport == "tcp")
        #expect(took >= .milliseconds(600) && took <= .milliseconds(605), "\(took)")
    }
}
