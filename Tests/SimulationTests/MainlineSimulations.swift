import CSeededRandom
import MainlineWorlds
import MartletRuntime
import Testing

/// The DHT in its full size by `make simulate`, which prints the figures, and in a small one by `make test`.
@Suite("The Mainline DHT at full size", .serialized)
struct MainlineSimulations {
    private let isFull = environmentText("MARTLET_TIER") != nil

    private func full() -> LookupScenario {
        var scenario = LookupScenario()
        scenario.medianSession = .seconds(3600)
        guard isFull else {
            scenario.nodes = 60
            scenario.lookups = 30
            return scenario
        }
        scenario.nodes = environmentText("MARTLET_NODES").flatMap { Int($0) } ?? 10_000
        scenario.startsWithin = .seconds(300)
        scenario.topics = 100
        scenario.lookups = 1000
        scenario.lookupsWithin = .seconds(600)
        return scenario
    }

    @Test("10,000 nodes with loss and churn find at least 99 in 100 topics")
    func ordinary() throws {
        let figures = try full().run(seed: 1)
        print("dht, ordinary: \(figures.summary)")
        #expect(figures.share >= (isFull ? 0.99 : 0.9))
    }

    @Test("so they do when half of them are behind NATs and only ask")
    func behindNATs() throws {
        var scenario = full()
        scenario.natShare = 0.5
        let figures = try scenario.run(seed: 2)
        print("dht, half behind NATs: \(figures.summary)")
        #expect(figures.share >= (isFull ? 0.99 : 0.9))
    }

    @Test("and when 30 in 100 have just died")
    func dead() throws {
        var scenario = full()
        scenario.deadShare = 0.3
        let figures = try scenario.run(seed: 3)
        print("dht, 30 % dead: \(figures.summary)")
        #expect(figures.share >= (isFull ? 0.99 : 0.9))
    }

    @Test("a flood of forged ids around a topic hides it less where ids are bound and networks counted")
    func sybil() throws {
        var shares: [Double] = []
        for (bindsIDs, countsNetworks) in [(true, true), (true, false), (false, true), (false, false)] {
            var scenario = full()
            scenario.nodes = min(scenario.nodes, 2000)
            scenario.medianSession = nil
            scenario.topics = 1
            scenario.lookups = isFull ? 200 : 20
            scenario.attackers = isFull ? 1000 : 50
            scenario.bindsIDs = bindsIDs
            scenario.countsNetworks = countsNetworks
            let figures = try scenario.run(seed: 4)
            print("dht, 1000 forged ids, BEP 42 \(bindsIDs), networks counted \(countsNetworks): \(figures.summary)")
            shares.append(figures.share)
        }
        #expect(shares[0] >= 0.9 && shares[0] >= shares[3] - 0.1)
    }
}
