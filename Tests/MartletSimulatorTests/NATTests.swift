import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

/// One home behind a NAT, and two servers outside of which the first has two sockets.
private struct Home {
    let world: World
    let network: Network
    let inside: Probe
    let other: Probe
    let server: Probe
    let serverToo: Probe
    let far: Probe
    let outside = IPAddress(198, 51, 100, 1)

    init(_ behavior: NATBehavior, seed: UInt64 = 1) throws {
        world = World(seed: seed)
        network = world.network("home", behind: .nat(behavior), outside)
        inside = Probe(on: world.host("inside", IPAddress(10, 0, 0, 2), in: network))
        other = Probe(on: world.host("other", IPAddress(10, 0, 0, 3), in: network))
        let near = world.host("server", IPAddress(192, 0, 2, 1))
        server = Probe(on: near, port: 1000)
        serverToo = Probe(on: near, port: 1001)
        far = Probe(on: world.host("far", IPAddress(192, 0, 2, 2)), port: 1000)
        world.addCheckers()
        try world.run(for: .zero)
    }

    func run(_ duration: Duration = .seconds(1)) throws { try world.run(for: duration) }
}

@Suite("NAT")
struct NATTests {
    static let behaviors: [NATBehavior] = NATBehavior.Mapping.allCases.flatMap { mapping in
        Filtering.allCases.flatMap { filtering in
            NATBehavior.PortAllocation.allCases.flatMap { allocation in
                [false, true].map { hairpins in
                    var behavior = NATBehavior(mapping: mapping, filtering: filtering, allocation: allocation)
                    behavior.hairpins = hairpins
                    return behavior
                }
            }
        }
    }

    @Test("a socket's packets seem to come from the ports that mapping and allocation say", arguments: behaviors)
    func mapping(_ behavior: NATBehavior) throws {
        let home = try Home(behavior)
        for target in [home.server, home.serverToo, home.far, home.server] {
            home.inside.send("hello", to: target)
            try home.run()
        }
        let near = try #require(home.server.received.first?.source)
        let nearToo = try #require(home.serverToo.received.first?.source)
        let far = try #require(home.far.received.first?.source)
        #expect(home.server.received.map(\.source) == [near, near], "a mapping lasts")
        #expect([near, nearToo, far].allSatisfy { $0.ip == home.outside && $0.port >= 1024 })
        #expect((near == nearToo) == (behavior.mapping != .addressAndPortDependent))
        #expect((near == far) == (behavior.mapping == .endpointIndependent))
        switch behavior.allocation {
        case .preserving: #expect(near.port == 4000)
        case .sequential:
            if behavior.mapping == .addressDependent { #expect(far.port == near.port + 1) }
            if behavior.mapping == .addressAndPortDependent { #expect(nearToo.port == near.port + 1) }
        case .random: #expect(near.port != 4000, "with this seed")
        }
    }

    @Test("two inside sockets of the same port never share a mapping", arguments: behaviors)
    func collision(_ behavior: NATBehavior) throws {
        let home = try Home(behavior)
        home.inside.send("one", to: home.server)
        home.other.send("two", to: home.server)
        try home.run()
        let sources = home.server.received.map(\.source)
        #expect(Set(sources).count == 2)
        for (text, source, _) in home.server.received { home.server.send("to \(text)", to: source) }
        try home.run()
        #expect(home.inside.texts == ["to one"])
        #expect(home.other.texts == ["to two"])
    }

    @Test("packets are let in from those that filtering says", arguments: behaviors)
    func filtering(_ behavior: NATBehavior) throws {
        let home = try Home(behavior)
        home.inside.send("hello", to: home.server)
        try home.run()
        let mapped = try #require(home.server.received.first?.source)
        home.server.send("same", to: mapped)
        home.serverToo.send("port", to: mapped)
        home.far.send("address", to: mapped)
        try home.run()
        var expected: Set = ["same"]
        if behavior.filtering != .addressAndPortDependent { expected.insert("port") }
        if behavior.filtering == .endpointIndependent { expected.insert("address") }
        #expect(Set(home.inside.texts) == expected)
        #expect(home.world.statistics.dropped[.filtered] == 3 - expected.count)
    }

    @Test("inside hosts reach each other by outside addresses where there is hairpinning", arguments: behaviors)
    func hairpin(_ behavior: NATBehavior) throws {
        let home = try Home(behavior)
        home.inside.send("one", to: home.server)
        home.other.send("two", to: home.server)
        try home.run()
        let mapped = Dictionary(uniqueKeysWithValues: home.server.received.map { ($0.text, $0.source) })
        let one = try #require(mapped["one"])
        let two = try #require(mapped["two"])
        for round in 0..<2 {
            home.inside.send("\(round)", to: two)
            home.other.send("\(round)", to: one)
        }
        try home.run()
        guard behavior.hairpins else {
            #expect(home.inside.texts.isEmpty && home.other.texts.isEmpty)
            return
        }
        if behavior.filtering == .endpointIndependent {
            #expect(home.inside.texts == ["0", "1"] && home.other.texts == ["0", "1"])
        } else if behavior.mapping == .endpointIndependent {
            // The first one comes before the way for it has been opened.
            #expect(home.inside.texts.count + home.other.texts.count >= 3)
        } else {
            #expect(home.inside.texts.isEmpty && home.other.texts.isEmpty)
        }
        #expect((home.inside.received + home.other.received).allSatisfy { $0.source.ip == home.outside })
    }

    @Test("a mapping ends when nothing has gone out for its lifetime")
    func lifetime() throws {
        var behavior = NATBehavior()
        behavior.lifetime = .seconds(30)
        let home = try Home(behavior)
        home.inside.send("hello", to: home.server)
        try home.run(.seconds(29))
        let mapped = try #require(home.server.received.first?.source)
        home.server.send("in time", to: mapped)
        home.inside.send("again", to: home.server)
        try home.run(.seconds(29))
        home.server.send("in time again", to: mapped)
        try home.run(.seconds(2))
        home.server.send("late", to: mapped)
        try home.run()
        #expect(home.inside.texts == ["in time", "in time again"])
    }

    @Test("what comes in keeps a mapping alive where the NAT says so", arguments: [false, true])
    func inboundRefresh(_ refreshes: Bool) throws {
        var behavior = NATBehavior()
        behavior.lifetime = .seconds(30)
        behavior.refreshesInbound = refreshes
        let home = try Home(behavior)
        home.inside.send("hello", to: home.server)
        try home.run(.seconds(20))
        let mapped = try #require(home.server.received.first?.source)
        for _ in 0..<4 {
            home.server.send("still there?", to: mapped)
            try home.run(.seconds(20))
        }
        #expect(home.inside.texts.count == (refreshes ? 4 : 1))
    }

    @Test("a NAT that was restarted lets nothing in, and maps anew what goes out")
    func restart() throws {
        var behavior = NATBehavior.fullCone
        behavior.allocation = .sequential
        let home = try Home(behavior)
        home.inside.send("hello", to: home.server)
        try home.run()
        let mapped = try #require(home.server.received.first?.source)
        home.network.gateway?.restart()
        home.server.send("lost", to: mapped)
        home.inside.send("again", to: home.server)
        try home.run()
        #expect(home.inside.texts.isEmpty)
        let remapped = try #require(home.server.received.last?.source)
        #expect(remapped != mapped)
        home.server.send("found", to: remapped)
        try home.run()
        #expect(home.inside.texts == ["found"])
    }

    @Test("a network that blocks UDP lets TCP through")
    func blocked() throws {
        var behavior = NATBehavior()
        behavior.blocksUDP = true
        let home = try Home(behavior)
        home.inside.send("hello", to: home.server)
        serve(home.server.host, echo)
        var answer: Bytes?
        home.inside.host.start { environment in
            let stream = try await environment.connect(home.server.host)
            let conversation = StreamConversation(stream)
            try await conversation.send(Bytes(utf8: "over TCP"))
            answer = try await conversation.receive()
        }
        try home.run()
        #expect(home.server.texts.isEmpty)
        #expect(home.world.statistics.dropped[.udpBlocked] == 1)
        #expect(answer?.utf8 == "over TCP")
    }

    @Test("a NAT without a port left drops what would need one, until a mapping ends")
    func exhaustion() throws {
        var behavior = NATBehavior(
            mapping: .addressAndPortDependent, filtering: .endpointIndependent, allocation: .sequential)
        behavior.lifetime = .seconds(600)
        let home = try Home(behavior)
        let ports = 65_536 - 1024
        for number in 0..<ports {
            let target = IPAddress(203, 0, 113, UInt8(number >> 15))
            home.inside.send("", to: SocketAddress(target, port: UInt16(number & 0x7FFF) + 1))
        }
        try home.run()
        #expect(home.world.statistics.dropped[.portsExhausted] == 0)
        home.inside.send("one too many", to: home.server)
        try home.run()
        #expect(home.world.statistics.dropped[.portsExhausted] == 1)
        try home.run(.seconds(600))
        home.inside.send("now", to: home.server)
        try home.run()
        #expect(home.server.texts == ["now"])
    }

    @Test("behind two NATs a host seems to have the outer one's address, and is answered")
    func nested() throws {
        let world = World(seed: 3)
        let carrier = world.network("carrier", behind: .nat(.symmetric), IPAddress(198, 51, 100, 1))
        let homes = (1...2).map { home in
            world.network(
                "home\(home)", behind: .nat(.portRestrictedCone), IPAddress(100, 64, 0, UInt8(home)), of: carrier)
        }
        let inside = homes.map { Probe(on: world.host($0.name, IPAddress(10, 0, 0, 2), in: $0)) }
        let server = Probe(on: world.host("server", IPAddress(192, 0, 2, 1)))
        server.echoes = true
        world.addCheckers()
        try world.run(for: .zero)
        inside[0].send("one", to: server)
        inside[1].send("two", to: server)
        try world.run(for: .seconds(1))
        #expect(server.received.allSatisfy { $0.source.ip == IPAddress(198, 51, 100, 1) })
        #expect(inside.map(\.texts) == [["one"], ["two"]])
        // By the carrier's own addresses the homes reach each other, once each has opened its NAT.
        for (from, to) in [(0, 1), (1, 0), (0, 1)] {
            inside[from].send("neighbour", to: SocketAddress(IPAddress(100, 64, 0, UInt8(to + 1)), port: 4000))
            try world.run(for: .seconds(1))
        }
        #expect(inside[1].texts.contains("neighbour") && inside[0].texts.contains("neighbour"))
    }
}

/// A kind of NAT with the name that people give it.
struct NamedNAT: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let behavior: NATBehavior

    static let all = [
        NamedNAT(testDescription: "full cone", behavior: .fullCone),
        NamedNAT(testDescription: "restricted cone", behavior: .restrictedCone),
        NamedNAT(testDescription: "port-restricted cone", behavior: .portRestrictedCone),
        NamedNAT(testDescription: "symmetric", behavior: .symmetric),
    ]
}

@Suite("Hole punching through two NATs")
struct HolePunchingTests {
    @Test(
        "two clients that send to each other's mapped addresses meet, but for symmetric before port-restricted",
        arguments: NamedNAT.all, NamedNAT.all)
    func punch(_ left: NamedNAT, _ right: NamedNAT) throws {
        let world = World(seed: 5)
        let kinds = [left.behavior, right.behavior]
        let clients = kinds.enumerated().map { number, behavior in
            let home = world.network(
                "home\(number)", behind: .nat(behavior), IPAddress(198, 51, 100, UInt8(number + 1)))
            return Probe(on: world.host("client\(number)", IPAddress(10, 0, UInt8(number), 2), in: home))
        }
        let server = Probe(on: world.host("server", IPAddress(192, 0, 2, 1)))
        world.addCheckers()
        try world.run(for: .zero)
        clients[0].send("0", to: server)
        clients[1].send("1", to: server)
        try world.run(for: .seconds(1))
        var mapped = [SocketAddress](repeating: SocketAddress(.anyV4, port: 0), count: 2)
        for (text, source, _) in server.received { mapped[try #require(Int(text))] = source }
        for _ in 0..<3 {
            for (client, target) in [(0, 1), (1, 0)] {
                // Who was heard from is answered at the address that this came from.
                clients[client].send("punch", to: clients[client].received.last?.source ?? mapped[target])
            }
            try world.run(for: .seconds(1))
        }
        let symmetric = kinds.map { $0.mapping == .addressAndPortDependent }
        let strict = kinds.map { $0.filtering == .addressAndPortDependent }
        let cannot = symmetric[0] && strict[1] || symmetric[1] && strict[0]
        #expect(clients.map { $0.received.isEmpty } == [cannot, cannot])
    }
}
