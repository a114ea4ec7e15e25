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
}
