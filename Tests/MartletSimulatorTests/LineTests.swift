import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Lines")
struct LineTests {
    /// A world in which `one` sends to `two`, whose line is perfect and takes no time.
    private func world(_ line: LinkConditions, seed: UInt64 = 1) throws -> (World, Probe, Probe) {
        let world = World(seed: seed)
        let (one, two) = pair(world, LinkConditions(latency: .zero))
        one.line = line
        world.addCheckers()
        let probes = (Probe(on: one), Probe(on: two))
        try world.run(for: .zero)
        return (world, probes.0, probes.1)
    }

    @Test("a line of a rate carries no more, and what does not fit into its queue is lost")
    func rate() throws {
        // 100 bytes of headers and payload, 80,000 bits a second: a hundred a second. Ten are queued, with the one that
        // is being sent.
        var line = LinkConditions(latency: .milliseconds(5), rate: 80_000)
        line.queueBound = 1000
        let (world, one, two) = try world(line)
        one.burst(20, size: 72, to: two)
        try world.run(for: .seconds(10))
        #expect(two.numbers == Array(0..<10))
        #expect(world.statistics.dropped[.queueFull] == 10)
        for (number, packet) in two.received.enumerated() {
            #expect(packet.at == .start + .milliseconds(5 + 10 * (number + 1)))
        }
    }

    @Test("a rate that changes holds for what waits")
    func rateChange() throws {
        let (world, one, two) = try world(LinkConditions(latency: .zero, rate: 8000))
        one.burst(1000, size: 72, to: two)
        try world.run(for: .seconds(1))
        one.host.line.rate = 80_000_000
        one.send("next", to: two)
        try world.run(for: .seconds(1))
        #expect(two.texts.contains("next"), "the line is not busy for ever with what was sent when it was slow")
    }

    @Test("jitter spreads packets and keeps their order")
    func jitter() throws {
        let (world, one, two) = try world(LinkConditions(latency: .milliseconds(10), jitter: .milliseconds(50)))
        for number in 0..<200 {
            one.send(String(number), to: two)
            try world.run(for: .milliseconds(3))
        }
        try world.run(for: .seconds(1))
        #expect(two.numbers == Array(0..<200))
        let times = two.received.enumerated().map { number, packet in
            (packet.at - .start) - .milliseconds(3 * number)
        }
        #expect(times.allSatisfy { $0 >= .milliseconds(10) && $0 <= .milliseconds(60) })
        #expect(Set(times).count > 100)
    }

    @Test("reordering lets some packets be overtaken and loses none")
    func reordering() throws {
        var line = LinkConditions(latency: .milliseconds(10))
        line.reordering = 0.2
        let (world, one, two) = try world(line)
        for number in 0..<200 {
            one.send(String(number), to: two)
            try world.run(for: .milliseconds(1))
        }
        try world.run(for: .seconds(1))
        #expect(two.numbers != Array(0..<200))
        #expect(two.numbers.sorted() == Array(0..<200))
    }

    @Test("loss and duplication take their shares, and other seeds take others", arguments: [1, 2, 3])
    func shares(_ seed: UInt64) throws {
        var line = LinkConditions(latency: .milliseconds(10), loss: 0.25)
        line.duplication = 0.1
        let (world, one, two) = try world(line, seed: seed)
        one.burst(4000, size: 10, to: two)
        try world.run(for: .seconds(1))
        let lost = 4000 - Set(two.numbers).count
        let doubled = two.numbers.count - Set(two.numbers).count
        // Five standard deviations either way.
        #expect((863...1137).contains(lost), "about a quarter is lost, not \(lost)")
        #expect((218...382).contains(doubled), "about a tenth of what is left comes twice, not \(doubled)")
        #expect(world.statistics.duplicated == doubled)
        #expect(world.statistics.dropped[.loss] == lost)
    }

    @Test("what is larger than the line's largest packet is lost, to the byte")
    func mtu() throws {
        var line = LinkConditions(latency: .zero)
        line.mtu = 1300
        let (world, one, two) = try world(line)
        one.burst(1, size: 1300 - 28, to: two)
        one.burst(1, size: 1300 - 27, to: two)
        try world.run(for: .seconds(1))
        #expect(two.received.count == 1)
        #expect(world.statistics.dropped[.tooLarge] == 1)
    }

    @Test("a datagram that no IP packet can carry is refused by the socket")
    func datagramTooLong() throws {
        let (world, one, two) = try world(LinkConditions(latency: .zero))
        let result = one.socket.send(
            pattern(65_508).span, to: SocketAddress(two.host.address, port: 4000))
        guard case .dropped(.system(let number, _)) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(number == 90)
        #expect(world.statistics.sent == 0)
    }

    @Test("conditions that change while the world runs hold for what is sent afterwards")
    func change() throws {
        let (world, one, two) = try world(LinkConditions(latency: .milliseconds(10)))
        one.send("good", to: two)
        try world.run(for: .seconds(1))
        one.host.line.loss = 1
        one.send("lost", to: two)
        try world.run(for: .seconds(1))
        one.host.line = LinkConditions(latency: .milliseconds(300))
        one.send("slow", to: two)
        try world.run(for: .milliseconds(299))
        #expect(two.texts == ["good"])
        try world.run(for: .milliseconds(1))
        #expect(two.texts == ["good", "slow"])
    }

    @Test("both directions of a line have conditions of their own")
    func directions() throws {
        let (world, one, two) = try world(LinkConditions(latency: .milliseconds(10)))
        two.echoes = true
        one.host.downLine.latency = .milliseconds(100)
        one.send("x", to: two)
        try world.run(for: .seconds(1))
        #expect(one.received.first?.at == .start + .milliseconds(110))
        one.host.downLine.loss = 1
        one.send("y", to: two)
        try world.run(for: .seconds(1))
        #expect(two.texts == ["x", "y"])
        #expect(one.texts == ["x"])
    }

    @Test("a gateway's line and a path double packets, too")
    func doubledOnTheWay() throws {
        let world = World(seed: 1)
        var line = LinkConditions()
        line.duplication = 1
        let home = world.network("home", behind: .nat(.fullCone), IPAddress(198, 51, 100, 1), line: line)
        let inside = Probe(on: world.host("inside", IPAddress(10, 0, 0, 2), in: home))
        let server = Probe(on: world.host("server", IPAddress(192, 0, 2, 1)))
        world.addCheckers()
        world.setPath(from: inside.host, to: server.host, line)
        try world.run(for: .zero)
        inside.send("x", to: server)
        try world.run(for: .seconds(1))
        #expect(server.texts == ["x", "x", "x", "x"])
    }
}
