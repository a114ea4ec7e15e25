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

@Suite("Peers dialled by name")
struct NameTests {
    private static let v6: IPAddress = {
        guard let ip = IPAddress("2001:db8::1") else { preconditionFailure("an address") }
        return ip
    }()
    private static let silentV6: IPAddress = {
        guard let ip = IPAddress("2001:db8::66") else { preconditionFailure("an address") }
        return ip
    }()

    /// What came of one dial.
    private struct Outcome {
        var info: ConnectionInfo?
        var error: ConnectError?
        var took = Duration.zero
    }

    /// Dials peer 1 at `addresses` from a host 10 ms away, in a world with `names`, whose servers answer in 40 ms; peer 1
    /// is at 192.0.2.1 and 2001:db8::1, and a host that says nothing is at 192.0.2.200 and 2001:db8::66.
    private func dial(
        _ addresses: [String], names: [(String, IPAddress)],
        _ configure: @escaping (Swarm) -> Void = { _ in }
    ) throws -> Outcome {
        let world = World(seed: 4)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        server.attach(to: world.internet, as: Self.v6)
        let silent = world.host("silent", IPAddress(192, 0, 2, 200))
        silent.attach(to: world.internet, as: Self.silentV6)
        silent.pause()
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        guard let home = IPAddress("2001:db8::2") else { preconditionFailure("an address") }
        client.attach(to: world.internet, as: home)
        server.line.latency = .zero
        client.line.latency = .milliseconds(10)
        for (name, ip) in names { world.names.add(name, ip) }
        func member(_ environment: SimulatedEnvironment, _ number: UInt8) -> Member {
            var transports = TransportConfiguration()
            transports.certificateKey = .ed25519
            return Member(environment, key(number), transports: transports)
        }
        server.start { environment in
            let member = member(environment, 1)
            for any in ["/ip4/0.0.0.0", "/ip6/::"] {
                try member.swarm.listen(on: address("\(any)/tcp/4001"))
                try member.swarm.listen(on: address("\(any)/udp/4001/quic-v1"))
            }
            try await environment.loop.sleep(until: .never)
        }
        var outcome: Outcome?
        client.start { environment in
            let member = member(environment, 2)
            configure(member.swarm)
            var result = Outcome()
            let begin = environment.loop.now
            do throws(ConnectError) {
                result.info = try await member.swarm.connect(to: peer(1), at: addresses.map(address))
            } catch {
                result.error = error
            }
            result.took = environment.loop.now - begin
            outcome = result
            try await environment.loop.sleep(until: .never)
        }
        try world.run(within: .seconds(60)) { outcome != nil }
        return try #require(outcome)
    }

    @Test(
        "of a name's several addresses, silent ones cost a quarter of a second each and not the dial",
        arguments: ["tcp/4001", "udp/4001/quic-v1"])
    func races(_ rest: String) throws {
        let silent = IPAddress(192, 0, 2, 200), good = IPAddress(192, 0, 2, 1)
        let table: [(kind: String, names: [IPAddress], late: Int64)] = [
            ("dns4", [silent, good], 1), ("dns6", [Self.silentV6, Self.v6], 1), ("dns", [good, Self.silentV6], 1),
            ("dns", [silent, Self.v6], 0), ("dns4", [good, silent], 0), ("dns", [silent, Self.silentV6, Self.v6], 2),
        ]
        for (kind, addresses, late) in table {
            let outcome = try dial(["/\(kind)/peer.example/\(rest)"], names: addresses.map { ("peer.example", $0) })
            let info = try #require(outcome.info, "\(kind): \(String(describing: outcome.error))")
            #expect(info.peer == peer(1))
            let ip = try #require(info.remoteAddress.ipAddress)
            #expect([good, Self.v6].contains(ip))
            // The look-up, then the addresses that are silent, then at most three round trips.
            let least = Duration.milliseconds(60 + 250 * late)
            #expect(outcome.took >= least && outcome.took <= least + .milliseconds(50), "\(kind): \(outcome.took)")
        }
    }

    @Test("QUIC and TCP of one name are raced like those of an address: TCP is a quarter of a second behind")
    func bothTransports() throws {
        let both = ["/dns4/peer.example/tcp/4001", "/dns4/peer.example/udp/4001/quic-v1"]
        let quick = try dial(both, names: [("peer.example", IPAddress(192, 0, 2, 1))])
        #expect(quick.info?.nature.transport == "quic-v1")
        #expect(quick.took < .milliseconds(130))
        let blocked = try dial(
            ["/dns4/peer.example/tcp/4001", "/ip4/192.0.2.200/udp/4001/quic-v1"],
            names: [("peer.example", IPAddress(192, 0, 2, 1))])
        #expect(blocked.info?.nature.transport == "tcp")
        #expect(blocked.took >= .milliseconds(290) && blocked.took < .milliseconds(330), "\(blocked.took)")
    }

    @Test("a name that does not exist is told as such, and is no obstacle beside an address")
    func missing() throws {
        let outcome = try dial(["/dns4/nobody.example/tcp/4001"], names: [])
        let attempt = ConnectError.Attempt(
            address: address("/dns4/nobody.example/tcp/4001"), error: .name(.notFound))
        #expect(outcome.error == .failed([attempt]))
        let beside = try dial(["/dns4/nobody.example/tcp/4001", "/ip4/192.0.2.1/tcp/4001"], names: [])
        #expect(beside.info?.peer == peer(1))
    }

    @Test("what a name leads to passes the same lists as any address")
    func blocked() throws {
        let outcome = try dial(["/dns4/peer.example/tcp/4001"], names: [("peer.example", IPAddress(192, 0, 2, 1))]) {
            $0.access.blockedNetworks = [IPBlock(IPAddress(192, 0, 2, 1))]
        }
        #expect(outcome.error == .refused(.blocked))
    }
}
