import MartletRuntime

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
    /// What an attacker does from the time on at which all have joined.
    public var attack: Attack?
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
        return try LookupPlay(self, net).run()
    }
}
