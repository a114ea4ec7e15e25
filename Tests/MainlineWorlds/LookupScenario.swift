import MartletMainline
import MartletRouting
import MartletRuntime
import MartletSimulator
import MartletWire

/// A world in which many nodes look for each other's topics: what it is like, and what came of it.
public struct LookupScenario: Sendable {
    /// How many nodes there are.
    public var nodes = 300
    /// How long they take to start.
    public var startsWithin = Duration.seconds(60)
    /// How many topics are announced, each by one node.
    public var topics = 20
    /// How many lookups are made, of topics drawn at random by nodes drawn at random.
    public var lookups = 100
    /// How long lookups go on.
    public var lookupsWithin = Duration.seconds(300)
    /// The share of packets that is lost.
    public var loss = 0.05
    /// The latency from host to host, at the least.
    public var latency = Duration.milliseconds(50)
    /// How much longer it may be.
    public var jitter = Duration.milliseconds(100)
    /// The median of how long a node stays; `nil` for ever.
    public var medianSession: Duration?
    /// The share of nodes that is behind NATs and read-only.
    public var natShare = 0.0
    /// The share of nodes that dies at once when the topics are announced.
    public var deadShare = 0.0
    /// Addresses under an attacker, in so many networks.
    public var attackers = 0
    /// The networks of those.
    public var attackerNetworks = 10
    /// Whether ids must follow from addresses (BEP 42).
    public var bindsIDs = true
    /// Whether networks are counted.
    public var countsNetworks = true

    /// A world of 300 nodes, without churn.
    public init() {}

    /// What came of it.
    public struct Figures: Sendable, Equatable {
        /// Lookups that ended, of nodes that lived as long.
        public var lookups = 0
        /// Those that found whom they looked for.
        public var found = 0
        /// How long each took until it found the first peer.
        public var latencies: [Duration] = []
        /// How long each took in all.
        public var durations: [Duration] = []
        /// How many nodes each asked.
        public var asked: [Int] = []
        /// How long the nodes took to join.
        public var joins: [Duration] = []
        /// The world's fingerprint.
        public var digest = ""

        /// The share that found whom they looked for.
        public var share: Double { lookups == 0 ? 0 : Double(found) / Double(lookups) }

        /// All of it in one line.
        public var summary: String {
            func at(_ part: Double, _ values: [Duration]) -> String {
                guard !values.isEmpty else { return "-" }
                let value = values.sorted()[min(values.count - 1, Int(Double(values.count) * part))]
                return "\(value.nanoseconds / 1_000_000) ms"
            }
            let messages = asked.isEmpty ? 0 : asked.reduce(0, +) / asked.count
            return "found \(found) of \(lookups); first peer median \(at(0.5, latencies)), p95 \(at(0.95, latencies)); "
                + "whole lookup median \(at(0.5, durations)), p95 \(at(0.95, durations)); "
                + "queries per lookup \(messages); join median \(at(0.5, joins)), p95 \(at(0.95, joins))"
        }
    }

    /// Plays it from `seed`.
    public func run(seed: UInt64) throws -> Figures {
        let net = SimulatedDHT(seed: seed)
        let play = Play(self, net)
        return try play.run()
    }
}

/// One run of a scenario.
private final class Play {
    let scenario: LookupScenario
    let net: SimulatedDHT
    var figures = LookupScenario.Figures()
    var announcers: [Int] = []
    var attack: SybilAttack?

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
        if scenario.attackers > 0 {
            attack = SybilAttack(
                net, around: topic(0), addresses: scenario.attackers, networks: scenario.attackerNetworks)
            try world.run(for: .seconds(180))
        }
        announcers = (0..<scenario.topics).map { _ in draw(scenario.nodes - 1) + 1 }
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
        let number = attack == nil ? draw(scenario.topics) : 0
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
