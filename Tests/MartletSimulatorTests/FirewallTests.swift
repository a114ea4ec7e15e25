import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Firewalls, routers and IPv6")
struct FirewallTests {
    static let families = [false, true]

    private func addresses(_ isV6: Bool) throws -> [IPAddress] {
        try
            (isV6
            ? ["2001:db8:1::2", "2001:db8:2::1", "2001:db8:2::2", "2001:db8:1::1"]
            : ["203.0.113.2", "192.0.2.1", "192.0.2.2", "198.51.100.1"]).map { try IPAddress(parsing: $0) }
    }

    @Test(
        "a firewall lets in what answers, by its filtering, and its hosts keep their addresses",
        arguments: Filtering.allCases, families)
    func firewall(_ filtering: Filtering, _ isV6: Bool) throws {
        let world = World(seed: 1)
        let address = try addresses(isV6)
        let network = world.network("office", behind: .firewall(filtering), address[3])
        let inside = Probe(on: world.host("inside", address[0], in: network))
        let near = world.host("near", address[1])
        let server = Probe(on: near)
        let serverToo = Probe(on: near, port: 4001)
        let far = Probe(on: world.host("far", address[2]))
        world.addCheckers()
        try world.run(for: .zero)
        far.send("unasked", to: inside)
        try world.run(for: .seconds(1))
        #expect(inside.texts.isEmpty)
        inside.send("hello", to: server)
        try world.run(for: .seconds(1))
        #expect(server.received.first?.source == SocketAddress(address[0], port: 4000))
        server.send("same", to: inside)
        serverToo.send("port", to: inside)
        far.send("address", to: inside)
        try world.run(for: .seconds(1))
        let count = [Filtering.endpointIndependent: 3, .addressDependent: 2, .addressAndPortDependent: 1]
        #expect(inside.texts.count == count[filtering])
        try world.run(for: .seconds(121))
        server.send("late", to: inside)
        try world.run(for: .seconds(1))
        #expect(!inside.texts.contains("late"))
    }

    @Test("a router lets everything through, both ways", arguments: families)
    func router(_ isV6: Bool) throws {
        let world = World(seed: 1)
        let address = try addresses(isV6)
        let network = world.network("campus", behind: .router, address[3], line: LinkConditions(latency: .seconds(1)))
        let inside = Probe(on: world.host("inside", address[0], in: network))
        let outside = Probe(on: world.host("outside", address[1]))
        inside.echoes = true
        world.addCheckers()
        try world.run(for: .zero)
        outside.send("unasked", to: inside)
        try world.run(for: .seconds(5))
        #expect(outside.texts == ["unasked"])
        #expect(outside.received.first?.at == .start + .milliseconds(2004), "both lines and the router's, both ways")
    }

    @Test("behind a NAT of IPv4 addresses, IPv6 is not translated but guarded")
    func bothFamilies() throws {
        let world = World(seed: 1)
        let home = world.network("home", behind: .nat(.portRestrictedCone), IPAddress(198, 51, 100, 1))
        let host = world.host("inside", IPAddress(10, 0, 0, 2), in: home)
        let address = try IPAddress(parsing: "2001:db8:1::2")
        host.attach(to: home, as: address)
        let four = Probe(on: host, port: 4000)
        let six = Probe(on: host, port: 4000, at: .anyV6)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        server.attach(to: world.internet, as: try IPAddress(parsing: "2001:db8:2::1"))
        let serverFour = Probe(on: server, port: 4000)
        let serverSix = Probe(on: server, port: 4000, at: .anyV6)
        world.addCheckers()
        try world.run(for: .zero)
        serverSix.send("unasked", to: SocketAddress(address, port: 4000))
        try world.run(for: .seconds(1))
        four.send("four", to: SocketAddress(IPAddress(192, 0, 2, 1), port: 4000))
        six.send("six", to: SocketAddress(try IPAddress(parsing: "2001:db8:2::1"), port: 4000))
        try world.run(for: .seconds(1))
        #expect(serverFour.received.first?.source.ip == IPAddress(198, 51, 100, 1))
        #expect(serverSix.received.first?.source == SocketAddress(address, port: 4000))
        serverSix.send("answer", to: SocketAddress(address, port: 4000))
        try world.run(for: .seconds(1))
        #expect(six.texts == ["answer"])
    }

    @Test("a packet to an address that nobody has, and one to a port that nobody has, are counted as such")
    func nobody() throws {
        let world = World(seed: 1)
        let (one, two) = pair(world)
        let probe = Probe(on: one)
        try world.run(for: .zero)
        probe.send("x", to: SocketAddress(IPAddress(192, 0, 2, 77), port: 1))
        probe.send("x", to: SocketAddress(two.address, port: 1))
        try world.run(for: .seconds(1))
        #expect(world.statistics.dropped[.noRoute] == 1)
        #expect(world.statistics.dropped[.noSocket] == 1)
        #expect(world.packetsInFlight == 0)
    }
}
