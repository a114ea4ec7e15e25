import CSeededRandom
import Martlet
import MartletSimulator
import TestSupport
import Testing

/// A host that speaks QUIC and takes part in the DHT, in both families, each over one UDP port.
private final class SharedHost {
    static let port: UInt16 = 4001

    let host: Host
    let key: PrivateKey
    private let bootstrap: [SocketAddress]
    private(set) var quic: QUICTransport!
    private(set) var dht: MainlineDHT!

    init(_ host: Host, seed: UInt64, bootstrap: [SocketAddress]) {
        self.host = host
        self.bootstrap = bootstrap
        var generator = SeededGenerator(seed: seed)
        key = .ed25519(using: &generator)
    }

    func start(_ body: nonisolated(nonsending) @escaping (SharedHost) async throws -> Void = { _ in }) {
        host.start { [self] environment in
            quic = QUICTransport(environment: environment, hostKey: key)
            let inbound = Inbound(connected: { Self.echo(on: $0) })
            for any in [IPAddress.anyV4, .anyV6] {
                _ = try quic.listen(on: Self.quic(SocketAddress(any, port: Self.port)), inbound)
            }
            var configuration = MainlineConfiguration()
            configuration.bootstrap = bootstrap.map { BootstrapNode($0.ip.description, port: $0.port) }
            configuration.file = nil
            dht = MainlineDHT(
                configuration, environment: environment, ports: quic.ports.map { SharedDatagramPort($0) })
            await dht.start()
            try await body(self)
            try await environment.loop.sleep(until: .never)
        }
    }

    private static func quic(_ address: SocketAddress) throws -> Multiaddr {
        try Multiaddr(parsing: "/\(address.ip.isV4 ? "ip4" : "ip6")/\(address.ip)/udp/\(address.port)/quic-v1")
    }

    private static func echo(on connection: Connection) {
        connection.onStream = { stream in
            connection.loop.spawn {
                do {
                    while let bytes = try await stream.read() { try await stream.write(bytes) }
                    stream.closeWrite()
                } catch {
                    stream.reset(code: 1)
                }
            }
        }
    }

    /// How many bytes of `count` come back from `peer` at `address`.
    nonisolated(nonsending) func ask(_ address: SocketAddress, _ peer: SharedHost, count: Int) async throws -> Int {
        let connection = try await quic.dial(
            Self.quic(address), expecting: PeerID(peer.key.publicKey), deadline: dht.environment.loop.now + .seconds(10)
        )
        let stream = try connection.openStream()
        connection.loop.spawn {
            try? await stream.write(Bytes([UInt8](repeating: UInt8(ascii: "d"), count: count)))
            stream.closeWrite()
        }
        var back = 0
        while let bytes = try await stream.read() { back += bytes.count }
        connection.close()
        return back
    }

    /// The peers of `topic`.
    nonisolated(nonsending) func peers(of topic: Topic) async throws -> [SocketAddress] {
        let search = dht.peers(of: topic)
        var found: [SocketAddress] = []
        while let peer = try await search.next() { found.append(peer) }
        return found
    }

    var unclaimed: Int { quic.ports.reduce(0) { $0 + $1.unclaimed } }
}

@Suite("QUIC and the DHT on one port")
struct SharedPortTests {
    private let topic = Topic("one port")

    private func v4(_ number: Int) -> IPAddress { IPAddress(50, 1, UInt8(number), 1) }
    private func v6(_ number: Int) -> IPAddress { IPAddress(v6: 0x2a00 << 112 | UInt128(number) << 64 | 1) }

    /// Hosts with an address of each family, which know the first one.
    private func hosts(_ count: Int, in world: World) -> [SharedHost] {
        let first = [SocketAddress(v4(0), port: SharedHost.port), SocketAddress(v6(0), port: SharedHost.port)]
        return (0..<count).map { number in
            let host = world.host("host\(number)", v4(number))
            host.attach(to: world.internet, as: v6(number))
            host.line = LinkConditions(latency: .milliseconds(20), loss: 0.02)
            return SharedHost(host, seed: UInt64(number), bootstrap: first)
        }
    }

    @Test("connections and lookups go on at once over one port, in both families")
    func bothFamilies() throws {
        let world = World(seed: 1)
        let hosts = hosts(8, in: world)
        var announcement: MainlineRepetition?
        for (number, host) in hosts.enumerated() {
            host.start { host in if number == 3 { announcement = host.dht.announce(topic, .implied) } }
        }
        try world.run(for: .seconds(90))
        #expect(hosts.allSatisfy { $0.dht.status.map(\.join) == [.joined, .joined] })

        var found: [SocketAddress] = []
        var echoed: [Int] = []
        var lookups = 0
        hosts[6].host.start { [topic] environment in
            found = try await hosts[6].peers(of: topic)
            // What a stream carries looks like KRPC, and lookups go on beside it.
            for peer in found {
                environment.loop.spawn {
                    let count = try? await hosts[6].ask(peer, hosts[3], count: 200_000)
                    echoed.append(count ?? 0)
                }
            }
            while echoed.count < found.count {
                _ = try await hosts[6].peers(of: topic)
                lookups += 1
            }
        }
        try world.run(for: .seconds(60))
        #expect(Set(found) == [SocketAddress(v4(3), port: 4001), SocketAddress(v6(3), port: 4001)])
        #expect(echoed == [200_000, 200_000])
        #expect(lookups >= 1)
        #expect(hosts.allSatisfy { $0.unclaimed == 0 })
        announcement?.stop()
    }

    @Test("the port that the DHT announces behind a NAT is the one on which QUIC is dialled")
    func behindNAT() throws {
        let world = World(seed: 2)
        let hosts = hosts(6, in: world)
        for host in hosts { host.start() }
        let outside = IPAddress(51, 1, 1, 1)
        var behavior = NATBehavior.fullCone
        behavior.allocation = .random
        let home = world.network("home", behind: .nat(behavior), outside)
        let inside = SharedHost(
            world.host("inside", IPAddress(10, 0, 0, 2), in: home), seed: 99,
            bootstrap: [SocketAddress(v4(0), port: SharedHost.port)])
        var announcement: MainlineRepetition?
        inside.start { announcement = $0.dht.announce(topic, .implied) }
        try world.run(for: .seconds(60))

        var found: [SocketAddress] = []
        var echoed = 0
        hosts[4].host.start { [topic] _ in
            found = try await hosts[4].peers(of: topic)
            guard let peer = found.first else { return }
            echoed = try await hosts[4].ask(peer, inside, count: 1000)
        }
        try world.run(for: .seconds(30))
        #expect(found.map(\.ip) == [outside] && found.first?.port != SharedHost.port)
        #expect(echoed == 1000)
        #expect(inside.dht.status.first?.outsideAddress == found.first)
        announcement?.stop()
    }
}
