import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Partitions and paths")
struct PartitionTests {
    private func world() throws -> (World, [Probe]) {
        let world = World(seed: 1)
        let probes = (0..<4).map { Probe(on: world.host("host\($0)", IPAddress(192, 0, 2, UInt8($0 + 1)))) }
        world.addCheckers()
        try world.run(for: .zero)
        return (world, probes)
    }

    /// Which pairs can talk: each host sends its number to all others.
    private func reach(_ world: World, _ probes: [Probe]) throws -> Set<[Int]> {
        let before = probes.map(\.received.count)
        for (sender, probe) in probes.enumerated() {
            for other in probes where other !== probe { probe.send(String(sender), to: other) }
        }
        try world.run(for: .seconds(1))
        var pairs: Set<[Int]> = []
        for (receiver, probe) in probes.enumerated() {
            for number in probe.numbers[before[receiver]...] { pairs.insert([number, receiver]) }
        }
        return pairs
    }

    private let all = Set((0..<4).flatMap { one in (0..<4).filter { $0 != one }.map { [one, $0] } })

    @Test("a partition keeps apart those it names, until it is healed")
    func partition() throws {
        let (world, probes) = try world()
        #expect(try reach(world, probes) == all)
        let partition = world.separate(probes[..<2].map(\.host), from: [probes[2].host])
        #expect(try reach(world, probes) == all.subtracting([[0, 2], [2, 0], [1, 2], [2, 1]]))
        world.heal(partition)
        #expect(try reach(world, probes) == all)
    }

    @Test("a one-way partition lets the other way through")
    func oneWay() throws {
        let (world, probes) = try world()
        world.separate([probes[0].host], from: probes[1...].map(\.host), oneWay: true)
        #expect(try reach(world, probes) == all.subtracting([[0, 1], [0, 2], [0, 3]]))
    }

    @Test("partitions overlap, and healing one leaves the others")
    func overlapping() throws {
        let (world, probes) = try world()
        let first = world.separate([probes[0].host], from: [probes[1].host])
        world.separate([probes[0].host], from: [probes[1].host, probes[2].host], oneWay: true)
        world.heal(first)
        #expect(try reach(world, probes) == all.subtracting([[0, 1], [0, 2]]))
        world.separate([probes[3].host], from: [probes[0].host])
        world.healAll()
        #expect(try reach(world, probes) == all)
    }

    @Test("a partition holds behind NATs, where addresses don't say who sent a packet")
    func behindNAT() throws {
        let world = World(seed: 1)
        let home = world.network("home", behind: .nat(.fullCone), IPAddress(198, 51, 100, 1))
        let inside = [2, 3].map { Probe(on: world.host("inside\($0)", IPAddress(10, 0, 0, $0), in: home)) }
        let server = Probe(on: world.host("server", IPAddress(192, 0, 2, 1)))
        try world.run(for: .zero)
        world.separate([inside[0].host], from: [server.host])
        inside[0].send("cut off", to: server)
        inside[1].send("there", to: server)
        try world.run(for: .seconds(1))
        #expect(server.texts == ["there"])
    }

    @Test("a path adds its conditions in one direction between two hosts, until it is taken away")
    func path() throws {
        let (world, probes) = try world()
        probes[1].echoes = true
        world.setPath(from: probes[0].host, to: probes[1].host, LinkConditions(latency: .milliseconds(500)))
        probes[0].send("x", to: probes[1])
        try world.run(for: .seconds(2))
        #expect(probes[1].received.first?.at == .start + .milliseconds(502))
        #expect(probes[0].received.first?.at == .start + .milliseconds(504), "the way back is as before")
        world.setPath(from: probes[0].host, to: probes[1].host, LinkConditions(latency: .zero, loss: 1))
        probes[0].send("y", to: probes[1])
        try world.run(for: .seconds(1))
        #expect(probes[1].texts == ["x"])
        world.setPath(from: probes[0].host, to: probes[1].host, nil)
        probes[0].send("z", to: probes[1])
        try world.run(for: .seconds(1))
        #expect(probes[1].texts == ["x", "z"])
    }
}
