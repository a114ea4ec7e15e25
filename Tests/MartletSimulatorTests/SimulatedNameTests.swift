import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Names")
struct NameTests {
    /// What `name` is found to be, as text, and when.
    private func lookUp(
        _ world: World, _ host: Host, _ name: String, _ type: RecordType, within limit: Duration = .seconds(5)
    ) throws -> (String, Duration) {
        var outcome: (String, Duration)?
        let begun = world.now
        host.start { environment in
            do {
                let found = try await environment.lookUp(name, type, deadline: begun + limit)
                outcome = ("\(found)", environment.loop.now - begun)
            } catch {
                outcome = ("\(error)", environment.loop.now - begun)
            }
        }
        try world.run(within: .seconds(100)) { outcome != nil }
        return try #require(outcome)
    }

    private func world() -> (World, Host) {
        let world = World(seed: 1)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        host.line.latency = .milliseconds(10)
        world.names.latency = .milliseconds(30)
        world.names.add("Both.example", IPAddress(192, 0, 2, 7))
        world.names.add("both.example", .address(.loopbackV6))
        world.names.add("both.example", .text(Bytes(utf8: "dnsaddr=/ip4/192.0.2.7")))
        world.names.add("both.example", .service(target: "other.example", port: 4001, priority: 1, weight: 2))
        world.names.add("four.example", IPAddress(192, 0, 2, 8))
        return (world, host)
    }

    @Test("each type of record is found, in any case of letters, after line and server have taken their time")
    func records() throws {
        let (world, host) = world()
        let expected: [(RecordType, [NameRecord])] = [
            (.a, [.address(IPAddress(192, 0, 2, 7))]), (.aaaa, [.address(.loopbackV6)]),
            (.txt, [.text(Bytes(utf8: "dnsaddr=/ip4/192.0.2.7"))]),
            (.srv, [.service(target: "other.example", port: 4001, priority: 1, weight: 2)]),
        ]
        for (type, records) in expected {
            let (found, took) = try lookUp(world, host, "BOTH.example", type)
            #expect(found == "\(records)")
            #expect(took == .milliseconds(50))
        }
    }

    @Test("a name that is not there and a name without such records are different errors")
    func absent() throws {
        let (world, host) = world()
        #expect(try lookUp(world, host, "none.example", .a).0 == "\(NameError.notFound)")
        #expect(try lookUp(world, host, "four.example", .aaaa).0 == "\(NameError.noRecords)")
    }

    @Test("a lost question is asked again")
    func retry() throws {
        let (world, host) = world()
        host.line.loss = 0.5
        var took: [Duration] = []
        for _ in 0..<20 {
            let (found, duration) = try lookUp(world, host, "four.example", .a, within: .seconds(90))
            #expect(found == "\([NameRecord.address(IPAddress(192, 0, 2, 8))])")
            took.append(duration)
        }
        #expect(took.contains(.milliseconds(50)) && took.contains { $0 > .seconds(1) })
    }

    @Test("an answer that takes longer than a question is waited for is still an answer")
    func slow() throws {
        let (world, host) = world()
        host.line.latency = .seconds(1)
        let (found, took) = try lookUp(world, host, "four.example", .a)
        #expect(found == "\([NameRecord.address(IPAddress(192, 0, 2, 8))])")
        #expect(took == .milliseconds(2030))
    }

    @Test("where nobody answers, a look-up ends at its deadline")
    func silent() throws {
        let (world, host) = world()
        world.names.isSilent = true
        let (found, took) = try lookUp(world, host, "four.example", .a, within: .milliseconds(3500))
        #expect(found == "\(NameError.timedOut)")
        #expect(took == .milliseconds(3500))
    }
}
