import MartletMainline
import MartletRouting
import MartletRuntime
import MartletSimulator
import MartletWire

/// One run of a scenario.
final class LookupPlay {
    private let scenario: LookupScenario
    private let net: SimulatedDHT
    private var figures = LookupScenario.Figures()
    private var announcers: [Int] = []
    private var attackers: Attackers?

    init(_ scenario: LookupScenario, _ net: SimulatedDHT) {
        self.scenario = scenario
        self.net = net
    }

    private var world: World { net.world }

    private func draw(_ bound: Int) -> Int { Int(world.draw() % UInt64(max(1, bound))) }

    private func chance(_ share: Double) -> Bool { Double(world.draw() >> 11) / Double(1 << 53) < share }

    private func topic(_ number: Int) -> Topic { Topic("topic \(number)") }

    func run() throws -> LookupScenario.Figures {
        // Half of the way belongs to each of the two hosts' lines.
        net.line = LinkConditions(
            latency: scenario.latency / 2, jitter: scenario.jitter / 2, loss: 1 - (1 - scenario.loss).squareRoot())
        net.line.reordering = 1
        net.startsWithin = scenario.startsWithin
        let scenario = scenario
        net.change = { configuration in
            configuration.bindsIDs = scenario.bindsIDs
            if !scenario.countsNetworks {
                configuration.limits.routing.nodesPerNetwork = .max
                configuration.limits.lookup.nodesPerNetwork = .max
            }
        }
        makeNodes()
        try world.run(for: scenario.startsWithin + .seconds(60))
        if let attack = scenario.attack {
            attackers = Attackers(net, attack, around: topic(0))
            try world.run(for: .seconds(180))
        }
        while announcers.count < scenario.topics {
            let number = draw(scenario.nodes - 1) + 1
            if world.hosts[number].state == .up, net.join(number) == .joined { announcers.append(number) }
        }
        for (number, announcer) in announcers.enumerated() {
            net.announce(topic(number), isBehindNAT(announcer) ? .implied : .number(4001), by: announcer)
        }
        try world.run(for: .seconds(60))
        if scenario.deadShare > 0 {
            let living = Set(announcers + [0])
            for number in 1..<scenario.nodes where !living.contains(number) && chance(scenario.deadShare) {
                world.hosts[number].kill()
            }
        }
        for _ in 0..<scenario.lookups {
            let time = world.now + .nanoseconds(Int64(world.draw() % UInt64(scenario.lookupsWithin.nanoseconds)))
            // The world runs nothing once its test has let go of this object.
            world.at(time) { [unowned self] in lookUp() }
        }
        try world.run(for: scenario.lookupsWithin + .seconds(61))
        figures.joins = net.joinTimes
        figures.digest = "\(world.digest)"
        return figures
    }

    private func isBehindNAT(_ number: Int) -> Bool { world.hosts[number].network !== world.internet }

    /// NATs as they are met: most filter by port, some translate anew for each destination.
    private static let nats: [NATBehavior] = [
        .portRestrictedCone, .portRestrictedCone, .portRestrictedCone, .portRestrictedCone, .portRestrictedCone,
        .restrictedCone, .restrictedCone, .fullCone, .symmetric, .symmetric,
    ]

    private func makeNodes() {
        for number in 0..<scenario.nodes {
            let address = SimulatedDHT.address(number)
            guard number > 0, chance(scenario.natShare) else {
                keep(net.add(address), number)
                continue
            }
            let home = world.network("home\(number)", behind: .nat(Self.nats[number % 10]), address)
            keep(net.add(IPAddress(10, 0, 0, 2), in: home, readOnly: true), number)
        }
    }

    /// Lets a host die when its session is over, and come back a minute later.
    private func keep(_ host: Host, _ number: Int) {
        guard let median = scenario.medianSession, number > 0 else { return }
        // The world runs nothing once its test has let go of this object.
        world.at(world.now + session(median)) { [unowned self] in
            // Those that are looked for stay, or not finding them would be right.
            guard !announcers.contains(number) else { return keep(host, number) }
            host.kill()
            // The world runs nothing once its test has let go of this object.
            world.at(world.now + .seconds(60)) { [unowned self] in
                host.restart()
                keep(host, number)
            }
        }
    }

    /// A session's length: the exponential distribution, by the logarithm of what was drawn.
    private func session(_ median: Duration) -> Duration {
        // Halves until chance says stop, and a linear rest: within a percent of the exponential.
        var halvings = 0.0
        while chance(0.5) { halvings += 1 }
        let rest = Double(world.draw() >> 11) / Double(1 << 53)
        return median * (halvings + rest)
    }

    private func lookUp() {
        let number = draw(scenario.topics)
        var seeker = draw(scenario.nodes)
        while announcers.contains(seeker) || world.hosts[seeker].state != .up || net.join(seeker) != .joined {
            seeker = draw(scenario.nodes)
        }
        let host = world.hosts[announcers[number]]
        let address = host.network?.gateway?.address ?? host.address
        let topic = topic(number)
        // The world runs nothing once its test has let go of this object.
        net.on(seeker) { [unowned self] dht in
            let began = dht.environment.loop.now
            let search = dht.peers(of: topic)
            var first: Duration?
            while let peer = try await search.next() {
                if peer.ip == address, first == nil { first = dht.environment.loop.now - began }
            }
            figures.lookups += 1
            if let first {
                figures.found += 1
                figures.latencies.append(first)
            }
            figures.durations.append(dht.environment.loop.now - began)
            figures.asked.append(search.reports.first?.asked ?? 0)
        }
    }
}
