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

    @Test("a node stops while lookups run, which end")
    func stops() throws {
        let net = SimulatedDHT(seed: 2)
        for _ in 0..<3 { net.add() }
        try net.world.run(for: .seconds(30))
        var hasStopped = false
        net.on(0) { dht in
            let searches = ["chess", "go"].map { dht.peers(of: Topic($0)) }
            await dht.stop()
            hasStopped = searches.allSatisfy(\.isEnded)
        }
        try net.world.run(for: .seconds(10))
        #expect(hasStopped)
    }

    @Test("the same seed makes the same world")
    func repeated() throws {
        var scenario = LookupScenario()
        scenario.nodes = Sanitizer.amount(40, reduced: 20)
        scenario.lookups = Sanitizer.amount(10, reduced: 5)
        scenario.medianSession = .seconds(600)
        scenario.natShare = 0.3
        let once = try scenario.run(seed: 6)
        let again = try scenario.run(seed: 6)
        #expect(once == again && once.lookups > 0)
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

    @Test("what is kept outlives its two hours, in its newest version, until it is no longer kept")
    func kept() throws {
        let net = SimulatedDHT(seed: 14)
        for _ in 0..<Sanitizer.amount(20, reduced: 16) { net.add() }
        try net.world.run(for: .seconds(60))
        var generator = SeededGenerator(seed: 1)
        let key = PrivateKey.ed25519(using: &generator)
        let letter = try MainlineItem(immutable: Bytes(utf8: "6:letter"))
        let first = try MainlineItem(mutable: Bytes(utf8: "3:one"), sequence: 1, signedBy: key)
        let second = try MainlineItem(mutable: Bytes(utf8: "3:two"), sequence: 2, signedBy: key)
        var kept: [MainlineRepetition] = []
        net.on(3) { dht in kept = [letter, first].map { dht.keep($0) } }
        // Somebody else puts the next version once, and forgets about it.
        try net.world.run(for: .seconds(1800))
        net.on(4) { dht in try await dht.put(second).end() }

        func find(_ target: NodeID) throws -> MainlineItem? {
            var found: MainlineItem?
            net.on(15) { dht in
                let search = dht.item(target)
                try await search.end()
                found = search.item
            }
            try net.world.run(for: .seconds(10))
            return found
        }
        try net.world.run(for: .seconds(4 * 3600))
        #expect(try find(letter.target) == letter)
        #expect(try find(first.target) == second)
        for repetition in kept { repetition.stop() }
        try net.world.run(for: .seconds(2 * 3600 + 120))
        #expect(try find(letter.target) == nil)
        #expect(try find(first.target) == nil)
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

    @Test("a host with two addresses answers from the one that was asked")
    func twoAddresses() throws {
        let net = SimulatedDHT(seed: 15)
        let host = net.add()
        let other = IPAddress(70, 1, 1, 1)
        host.attach(to: net.world.internet, as: other)
        var sources: [IPAddress] = []
        net.world.host("asker", IPAddress(71, 1, 1, 1)).start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 1), options: UDPOptions())
            socket.onDatagram = { sources.append($0.source.ip) }
            let ping = Bytes(utf8: "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")
            for address in [SimulatedDHT.address(0), other] {
                _ = socket.send(ping.span, to: SocketAddress(address, port: 6881))
                try await environment.loop.sleep(for: .milliseconds(100))
            }
        }
        try net.world.run(for: .milliseconds(500))
        #expect(sources == [SimulatedDHT.address(0), other])
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
