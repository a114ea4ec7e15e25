import CSeededRandom
import Martlet
import MartletRuntime
import MartletSimulator
import NodeWorlds
import Testing

@Suite("The memory of worlds", .serialized)
struct WorldMemoryTests {
    /// What must be gone when a world is over.
    private struct Traces {
        weak var world: World?
        var hosts: [Weak<Host>] = []
        var environments: [Weak<SimulatedEnvironment>] = []
        var loops: [Weak<EventLoop>] = []
        var nodes: [Weak<Node>] = []

        init(of play: NodeWorld) {
            world = play.world
            hosts = play.world.hosts.map { Weak($0) }
            environments = play.world.hosts.map { Weak($0.environment) }
            loops = play.world.hosts.map { Weak($0.environment.loop) }
            nodes = play.members.compactMap { $0.node.map { Weak($0) } }
        }

        /// What is still there, in words; empty when nothing is.
        var left: String {
            var left: [String] = world == nil ? [] : ["the world"]
            func count(_ name: String, _ number: Int) { if number > 0 { left.append("\(number) \(name)") } }
            count("hosts", hosts.count { $0.value != nil })
            count("environments", environments.count { $0.value != nil })
            count("loops", loops.count { $0.value != nil })
            count("nodes", nodes.count { $0.value != nil })
            return left.joined(separator: ", ")
        }
    }

    private struct Weak<Value: AnyObject> {
        weak var value: Value?
        init(_ value: Value) { self.value = value }
    }

    /// Plays `count` nodes on a topic for `duration`, and returns what remembers them without keeping them.
    private func play(_ count: Int, seed: UInt64, for duration: Duration) throws -> Traces {
        let play = NodeWorld(seed: seed)
        play.keepsEvents = false
        let first = play.add(NodeWorld.configuration(topics: []))
        for number in 0..<count {
            let configuration = NodeWorld.configuration(topics: ["chess"], bootstrap: [first])
            play.add(configuration, after: .seconds(1) + .milliseconds(10_000 / count * number))
        }
        try play.world.run(for: duration)
        return Traces(of: play)
    }

    @Test("a world that is over leaves no host, no loop and no node behind", arguments: [5, 90])
    func everythingGoes(seconds: Int) throws {
        let traces = try play(8, seed: 61, for: .seconds(seconds))
        #expect(!traces.nodes.isEmpty)
        #expect(traces.left == "")
    }

    @Test("worlds one after the other take no more memory than one")
    func memoryComesBack() throws {
        let count = Tier.size(12, 200)
        var sizes: [Int] = []
        for seed in 0..<UInt64(Tier.size(4, 3)) {
            let traces = try play(count, seed: 70 + seed, for: .seconds(60))
            #expect(traces.left == "")
            sizes.append(residentBytes() >> 20)
        }
        print("after worlds of \(count) nodes, one after the other, this process has MiB: \(sizes)")
        // Each world of the first tier would leave some 15 MiB behind if its nodes stayed; other tests may run beside
        // this one, and the allocator keeps a little.
        #expect(sizes[sizes.count - 1] <= sizes[0] + 24)
        // `Scripts/simulate` runs this alone, so that nothing else counts.
        if Tier.current == .simulate { #expect(sizes[sizes.count - 1] < 200) }
    }
}
