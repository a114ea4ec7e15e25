import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Fault schedules")
struct FaultScheduleTests {
    @Test("runs differ in which faults they have at all, and the same seed has the same")
    func drawing() {
        func schedule(_ seed: UInt64) -> FaultSchedule {
            var random = SeededRandom(seed: seed)
            return FaultSchedule(hosts: 10, networks: 3, duration: .seconds(60), using: &random)
        }
        var kinds: Set<[FaultSchedule.Kind]> = []
        for seed in 1...50 as ClosedRange<UInt64> {
            let drawn = schedule(seed)
            kinds.insert(drawn.kinds)
            #expect(drawn.description == schedule(seed).description)
            #expect(Set(drawn.faults.map(\.kind)).isSubset(of: drawn.kinds))
            #expect(drawn.faults.allSatisfy { $0.begins >= .zero && $0.begins + $0.lasts <= .seconds(60) })
            #expect(drawn.faults.map(\.begins) == drawn.faults.map(\.begins).sorted())
            #expect(drawn.faults.flatMap(\.targets).allSatisfy { $0 < 10 })
        }
        #expect(kinds.count > 40)
    }

    @Test("every kind of fault does its work and is over in the end", arguments: FaultSchedule.Kind.allCases)
    func kinds(_ kind: FaultSchedule.Kind) throws {
        let world = World(seed: 9)
        let home = world.network("home", behind: .nat(.portRestrictedCone), IPAddress(198, 51, 100, 1))
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let clients = (2..<6).map { world.host("client\($0)", IPAddress(10, 0, 0, $0), in: home) }
        for host in world.hosts { host.line = LinkConditions(latency: .milliseconds(5), rate: 10_000_000) }
        let before = world.hosts.map { [$0.upLine, $0.downLine] }
        world.names.add("server.example", server.address)
        world.addCheckers()
        serve(server, echo)
        var answers = 0
        var trouble = 0
        for client in clients {
            client.start { environment in
                while true {
                    do {
                        _ = try await environment.lookUp(
                            "server.example", .a, deadline: environment.loop.now + .seconds(3))
                        try await environment.files.append(Bytes([1]), to: "log")
                        let stream = try await environment.connect(server, within: .seconds(3))
                        let conversation = StreamConversation(stream)
                        try await conversation.send(pattern(500))
                        stream.finish()
                        while try await conversation.receive() != nil {}
                        answers += 1
                    } catch let error where !(error is CancellationError) {
                        trouble += 1
                    }
                    try await environment.loop.sleep(for: .milliseconds(200))
                }
            }
        }
        // The draw whether there is any fault of this kind is repeated until there is.
        var schedule = world.drawFaults(for: .seconds(60), count: 40, from: [kind])
        while schedule.faults.isEmpty { schedule = world.drawFaults(for: .seconds(60), count: 40, from: [kind]) }
        #expect(schedule.description.contains(kind.rawValue))
        world.apply(schedule)
        try world.run(for: .seconds(60))
        #expect(world.hosts.map { [$0.upLine, $0.downLine] } == before)
        #expect(
            world.hosts.allSatisfy { $0.state == .up && $0.disk.writeFailure == nil && $0.wallClockOffset == .zero })
        #expect(!world.names.isSilent)
        switch kind {
        case .loss: #expect(world.statistics.dropped[.loss] > 0)
        case .duplication: #expect(world.statistics.duplicated > 0)
        case .partition, .oneWayPartition: #expect(world.statistics.dropped[.partition] > 0)
        case .crash: #expect(world.statistics.dropped[.hostDown] > 0 || trouble > 0)
        case .silentNames, .diskFailure: #expect(trouble > 0)
        default: break
        }
        // And then everything works again.
        try world.run(for: .seconds(30))
        let (answered, failed) = (answers, trouble)
        try world.run(for: .seconds(10))
        #expect(answers > answered + 50)
        #expect(trouble == failed)
    }

    @Test("faults of one line add up while they overlap")
    func overlap() throws {
        let world = World(seed: 1)
        let (one, two) = pair(world)
        let good = one.line
        var seen: [LinkConditions] = []
        var random = SeededRandom(seed: 4)
        var schedule = FaultSchedule(
            hosts: 2, duration: .seconds(60), count: 60, from: [.loss, .delay, .reordering], using: &random)
        while schedule.kinds.count < 3 {
            schedule = FaultSchedule(
                hosts: 2, duration: .seconds(60), count: 60, from: [.loss, .delay, .reordering], using: &random)
        }
        world.apply(schedule)
        for _ in 0..<60 {
            try world.run(for: .seconds(1))
            seen.append(one.line)
        }
        #expect(seen.contains { $0.loss > 0 && $0.latency > good.latency && $0.reordering > 0 })
        #expect(one.line == good && two.line == good)
    }
}
