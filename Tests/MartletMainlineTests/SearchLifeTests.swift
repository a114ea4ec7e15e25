import MainlineWorlds
import MartletRuntime
import MartletSimulator
import Testing

@testable import MartletMainline

@Suite("The life of a search")
struct SearchLifeTests {
    @Test("letting go of a search ends it, and nothing more is asked for it")
    func letGo() throws {
        let net = SimulatedDHT(seed: 3)
        for _ in 0..<3 { net.add() }
        try net.world.run(for: .seconds(30))
        var running: [Int] = []
        weak var seen: MainlineSearch?
        net.on(0) { dht in
            running.append(dht.node.searchCount)
            var search: MainlineSearch? = dht.peers(of: Topic("chess"))
            seen = search
            running.append(dht.node.searchCount)
            withExtendedLifetime(search) {}
            search = nil
            running.append(dht.node.searchCount)
        }
        try net.world.run(for: .seconds(1))
        #expect(running == [0, 1, 0])
        #expect(seen == nil)
    }

    @Test("a search that is waited for runs to its end, whoever else has let go of it")
    func waitedFor() throws {
        let net = SimulatedDHT(seed: 4)
        for _ in 0..<3 { net.add() }
        try net.world.run(for: .seconds(30))
        var answered = 0
        net.on(0) { dht in answered = try await dht.peers(of: Topic("chess")).end().first?.answered ?? 0 }
        try net.world.run(for: .seconds(10))
        #expect(answered == 2)
    }
}
