import CSeededRandom
import MainlineWorlds
import MartletCrypto
import MartletMainline
import MartletRuntime
import MartletSimulator
import MartletWire
import TestSupport
import Testing

@Suite("Nodes in a simulated world")
struct MainlineWorldTests {
    @Test("two nodes join; one announces a topic, and the other finds it")
    func two() throws {
        let net = SimulatedDHT(seed: 1)
        net.add()
        net.add { dht in
            let announcement = dht.announce(Topic("chess"), .number(4001))
            try await dht.environment.loop.sleep(until: .never)
            announcement.stop()
        }
        try net.world.run(for: .seconds(30))
        #expect(net.join(1) == .joined)
        var found: [SocketAddress] = []
        var reports: [SearchReport] = []
        net.on(0) { dht in
            let search = dht.peers(of: Topic("chess"))
            while let peer = try await search.next() { found.append(peer) }
            reports = search.reports
        }
        try net.world.run(for: .seconds(10))
        #expect(found == [SocketAddress(SimulatedDHT.address(1), port: 4001)])
        #expect(reports.count == 1)
    }

    @Test("300 nodes with loss find each other's topics, and the same seed makes the same world")
    func slice() throws {
        var scenario = LookupScenario()
        scenario.nodes = 300
        scenario.medianSession = .seconds(3600)
        let figures = try scenario.run(seed: 5)
        print("dht, 300 nodes: \(figures.summary)")
        #expect(figures.share >= 0.98 && figures.lookups >= 95)
        scenario.nodes = 60
        scenario.lookups = 20
        let once = try scenario.run(seed: 6)
        let again = try scenario.run(seed: 6)
        #expect(once == again)
    }

    @Test("nodes behind NATs that only ask find and are found")
    func behindNATs() throws {
        var scenario = LookupScenario()
        scenario.nodes = 100
        scenario.natShare = 0.5
        scenario.lookups = 50
        let figures = try scenario.run(seed: 7)
        #expect(figures.share >= 0.98)
    }

    @Test("lookups succeed when three in ten nodes have just died")
    func dead() throws {
        var scenario = LookupScenario()
        scenario.nodes = 150
        scenario.deadShare = 0.3
        scenario.lookups = 50
        let figures = try scenario.run(seed: 8)
        #expect(figures.share >= 0.98)
    }

    @Test("forged ids around a topic, from many addresses of few networks, do not hide it")
    func sybil() throws {
        var scenario = LookupScenario()
        scenario.nodes = 100
        scenario.topics = 1
        scenario.attackers = 100
        scenario.lookups = 30
        let figures = try scenario.run(seed: 9)
        #expect(figures.share >= 0.9)
        #expect(figures.durations.allSatisfy { $0 <= .seconds(60) })
    }

    @Test("what one node puts, another gets; a restart joins without bootstrap nodes")
    func items() throws {
        let net = SimulatedDHT(seed: 10)
        for _ in 0..<20 { net.add() }
        try net.world.run(for: .seconds(60))
        var generator = SeededGenerator(seed: 1)
        let key = PrivateKey.ed25519(using: &generator)
        let item = try MainlineItem(mutable: Bytes(utf8: "5:hello"), sequence: 1, salt: [1], signedBy: key)
        var stored = 0
        net.on(3) { dht in stored = try await dht.put(item).end().first?.stored ?? 0 }
        try net.world.run(for: .seconds(10))
        #expect(stored == 8)
        var found: MainlineItem?
        net.on(15) { dht in
            let search = dht.item(item.target, salt: [1])
            try await search.end()
            found = search.item
        }
        try net.world.run(for: .seconds(10))
        #expect(found == item)

        try net.world.run(for: .seconds(300))
        net.world.hosts[0].kill()
        net.world.hosts[7].restart()
        net.bootstrap = [BootstrapNode("203.0.113.9", port: 1)]
        try net.world.run(for: .seconds(20))
        #expect(net.join(7) == .joined)
    }

    @Test("an IPv6 network works as an IPv4 one does")
    func v6() throws {
        let net = SimulatedDHT(seed: 11)
        for number in 0..<20 { net.add(IPAddress(v6: 0x2a00_0000 << 96 | UInt128(number) << 80 | 1)) }
        net.announce(Topic("six"), by: 4)
        try net.world.run(for: .seconds(60))
        var found: [SocketAddress] = []
        net.on(9) { dht in
            let search = dht.peers(of: Topic("six"))
            while let peer = try await search.next() { found.append(peer) }
        }
        try net.world.run(for: .seconds(10))
        #expect(found.map(\.port) == [4001])
    }

    @Test("a node takes an id that follows from the address that others see, and its neighbours know it by that")
    func boundIDs() throws {
        let net = SimulatedDHT(seed: 12)
        for _ in 0..<30 { net.add() }
        try net.world.run(for: .seconds(120))
        for number in 0..<30 {
            let status = net.nodes[number]?.status.first
            #expect(status?.id.isBound(to: SimulatedDHT.address(number)) == true)
            #expect(status?.outsideAddress?.ip == SimulatedDHT.address(number))
        }
    }

    @Test("names that nobody knows are a state that is shown; when one is known again, the node joins")
    func names() throws {
        let net = SimulatedDHT(seed: 13)
        net.bootstrap = [BootstrapNode("router.example", port: 6881)]
        net.add()
        net.add()
        try net.world.run(for: .seconds(100))
        guard case .unreachable = net.join(1) else { throw WireError(.missing, at: 0) }
        net.world.names.add("router.example", SimulatedDHT.address(0))
        try net.world.run(for: .seconds(400))
        #expect(net.join(0) == .joined && net.join(1) == .joined)
    }
}
