import CSeededRandom
import MainlineWorlds
import MartletRuntime
import Testing

/// The DHT in its full size by `make simulate`, which prints the figures, and in a small one by `make test`.
@Suite("Worlds of Mainline nodes", .serialized)
struct MainlineSimulations {
    /// How many nodes there are in the full size.
    private static let nodes = 10_000

    /// The ordinary world: 5 % loss, 100 ± 50 ms, and nodes that stay for an hour in the median.
    private func world(of nodes: Int) -> LookupScenario {
        var scenario = LookupScenario()
        scenario.nodes = Tier.size(nodes, Self.nodes)
        scenario.medianSession = .seconds(3600)
        scenario.startsWithin = .seconds(Int64(Tier.size(60, 300)))
        scenario.topics = Tier.size(20, 100)
        scenario.lookups = Tier.size(nodes / 3, 1000)
        scenario.lookupsWithin = .seconds(Int64(Tier.size(300, 600)))
        return scenario
    }

    private func run(_ name: String, _ scenario: LookupScenario, seed: UInt64) throws -> LookupScenario.Figures {
        let figures = try scenario.run(seed: seed)
        print("dht, \(scenario.nodes) nodes, \(name), seed \(seed): \(figures.summary)")
        // A lookup ends in time, whatever it meets: all that were begun did.
        #expect(figures.lookups >= scenario.lookups * 95 / 100)
        #expect(figures.durations.allSatisfy { $0 <= .seconds(60) })
        return figures
    }

    @Test("nodes with loss and churn find at least 99 in 100 topics")
    func ordinary() throws {
        #expect(try run("ordinary", world(of: 300), seed: 1).share >= 0.99)
    }

    @Test("so they do when half of them are behind NATs and only ask")
    func behindNATs() throws {
        var scenario = world(of: 100)
        scenario.natShare = 0.5
        #expect(try run("half behind NATs", scenario, seed: 2).share >= 0.99)
    }

    @Test("and when 30 in 100 have just died")
    func dead() throws {
        var scenario = world(of: 100)
        scenario.deadShare = 0.3
        #expect(try run("30 % dead", scenario, seed: 3).share >= 0.99)
    }

    @Test("a flood of ids forged close to a topic does not hide it where ids are bound to addresses")
    func sybil() throws {
        for (bindsIDs, countsNetworks) in [(true, true), (true, false), (false, true), (false, false)] {
            var scenario = world(of: 60)
            scenario.medianSession = nil
            scenario.topics = 1
            scenario.lookups = Tier.size(20, 300)
            scenario.attack = .sybil(addresses: Tier.size(50, 1000), networks: 10)
            scenario.bindsIDs = bindsIDs
            scenario.countsNetworks = countsNetworks
            let name = "sybil, BEP 42 \(bindsIDs ? "on" : "off"), subnet rule \(countsNetworks ? "on" : "off")"
            let figures = try run(name, scenario, seed: 4)
            if bindsIDs { #expect(figures.share >= 0.95) }
        }
    }

    @Test("lookups end in time among nodes that name others that do not exist, and find 90 in 100 topics")
    func poisoned() throws {
        var scenario = world(of: 60)
        scenario.attack = .poison(addresses: Tier.size(15, 1000))
        #expect(try run("poisoned", scenario, seed: 5).share >= 0.9)
    }
}
