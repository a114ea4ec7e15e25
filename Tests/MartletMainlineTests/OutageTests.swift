import MainlineWorlds
import MartletMainline
import MartletRuntime
import MartletSimulator
import MartletWire
import TestSupport
import Testing

@Suite("Outages")
struct OutageTests {
    @Test(
        "a node whose network was away says so meanwhile, keeps what it knows, and is found within a minute of its return",
        arguments: Sanitizer.amount([5, 25, 60, 90], reduced: [25]))
    func away(minutes: Int64) throws {
        let net = SimulatedDHT(seed: 18)
        for _ in 0..<20 { net.add() }
        net.announce(Topic("away"), by: 7)
        try net.world.run(for: .seconds(900))
        let host = net.world.hosts[7]
        let line = host.line
        var told: [MainlineEvent] = []
        net.nodes[7]?.onEvent = { told.append($0) }
        host.line = LinkConditions(latency: .milliseconds(10), loss: 1)
        try net.world.run(for: .seconds(60 * minutes))
        let status = try #require(net.nodes[7]?.status.first)
        if minutes >= 25 {
            // The last announcement before was at most a quarter of an hour old.
            #expect(status.unanswered.map { $0 > .seconds(60 * (minutes - 20)) } == true)
            #expect(status.join != .joined)
            #expect(status.nodes.count >= 10)
        }
        host.line = line
        try net.world.run(for: .seconds(50))
        #expect(net.join(7) == .joined)
        #expect(net.nodes[7]?.status.first?.unanswered == nil)
        var found: [IPAddress] = []
        net.on(3) { dht in
            let search = dht.peers(of: Topic("away"))
            while let peer = try await search.next() { found.append(peer.ip) }
        }
        var reports: [SearchReport] = []
        net.on(7) { dht in reports = try await dht.peers(of: Topic("other")).end() }
        try net.world.run(for: .seconds(10))
        #expect(found == [SimulatedDHT.address(7)])
        #expect((reports.first?.answered ?? 0) >= 8)
        // What a person reads of it is said once, and once when it is over.
        let reached = told.compactMap { if case .reached(_, let isReached) = $0 { isReached } else { nil } }
        #expect(reached == [false, true] || minutes < 25 && reached.isEmpty)
    }

    @Test("a restart during an outage does not write an empty list of nodes over the good one")
    func restart() throws {
        let net = SimulatedDHT(seed: 19)
        for _ in 0..<20 { net.add() }
        try net.world.run(for: .seconds(900))
        net.bootstrap = [BootstrapNode("203.0.113.9", port: 1)]
        let host = net.world.hosts[7]
        let line = host.line
        host.line = LinkConditions(latency: .milliseconds(10), loss: 1)
        try net.world.run(for: .seconds(3600))
        host.restart()
        try net.world.run(for: .seconds(1200))
        host.restart()
        try net.world.run(for: .seconds(1200))
        host.line = line
        try net.world.run(for: .seconds(60))
        #expect(net.join(7) == .joined)
    }
}
