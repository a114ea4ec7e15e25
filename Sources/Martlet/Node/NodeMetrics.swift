internal import MartletRuntime
internal import MartletStore
internal import MartletTransport

/// What a node counts beside what its rooms count.
struct NodeMetrics {
    /// Which kind of connection.
    struct Kind: MetricLabels {
        static let names = ["transport", "direction"]
        static let allCases = ["quic-v1", "tcp", "other"].flatMap { transport in
            ["inbound", "outbound"].map { Kind(transport: transport, direction: $0) }
        }
        var transport: String
        var direction: String
        var values: [String] { [transport, direction] }
    }

    /// Which way bytes went.
    enum Way: String, MetricLabels {
        case `in`, out
        static let names = ["direction"]
    }

    let neighbours: Gauge
    let known: Gauge
    let searches: Counter
    private let connected: Labelled<Kind, Gauge>
    private let bytes: Labelled<Way, Counter>
    /// The peer database.
    let store: StoreFigures

    init(_ registry: MetricsRegistry) {
        neighbours = registry.gauge("martlet_node_neighbours", help: "Connected peers that proved to be on a topic.")
        known = registry.gauge("martlet_node_known", help: "Peers on the topics of whom there is a record.")
        searches = registry.counter("martlet_node_searches", help: "Searches for topics in the DHT that have ended.")
        connected = registry.gauges(
            "martlet_node_peers", help: "Connected peers, by the transport and direction of their connection.",
            by: Kind.self)
        bytes = registry.counters(
            "martlet_node_transferred", help: "Bytes on connections to peers, counted at each heartbeat.", unit: .bytes,
            by: Way.self)
        store = StoreFigures(registry)
    }

    /// Connections have carried so many bytes more.
    func transferred(in bytesIn: Int, out bytesOut: Int) {
        bytes[.in].increment(by: UInt64(max(0, bytesIn)))
        bytes[.out].increment(by: UInt64(max(0, bytesOut)))
    }

    /// The connections that are there are of these kinds.
    func count(_ natures: [ConnectionNature]) {
        var counts: [Kind: Int64] = [:]
        for nature in natures {
            let transport = ["quic-v1", "tcp"].contains(nature.transport) ? nature.transport : "other"
            let direction = nature.direction == .inbound ? "inbound" : "outbound"
            counts[Kind(transport: transport, direction: direction), default: 0] += 1
        }
        for kind in Kind.allCases { connected[kind].record(counts[kind] ?? 0) }
    }
}

/// What is counted of the peer database: the growth of what it counts itself.
final class StoreFigures {
    private let written: Counter
    private let lost: Counter
    private let batches: Counter
    private let failures: Counter
    private let writing: Counter
    private let waiting: Gauge
    private var last: StoreStatistics?

    init(_ registry: MetricsRegistry) {
        written = registry.counter("martlet_store_changes_written", help: "Changes written to the peer database.")
        lost = registry.counter("martlet_store_changes_lost", help: "Changes to the peer database that were given up.")
        batches = registry.counter("martlet_store_batches", help: "Batches of changes that were written.")
        failures = registry.counter("martlet_store_failures", help: "Batches of changes that could not be written.")
        writing = registry.counter(
            "martlet_store_writing", help: "How long writing to the peer database has taken, waiting for it included.",
            unit: .nanoseconds)
        waiting = registry.gauge("martlet_store_waiting", help: "Changes that wait to be written.")
    }

    /// The database counts this now.
    func update(_ statistics: StoreStatistics) {
        written.increment(by: UInt64(max(0, statistics.written - (last?.written ?? 0))))
        lost.increment(by: UInt64(max(0, statistics.lost - (last?.lost ?? 0))))
        batches.increment(by: UInt64(max(0, statistics.batches - (last?.batches ?? 0))))
        failures.increment(by: UInt64(max(0, statistics.failures - (last?.failures ?? 0))))
        writing.increment(by: UInt64(max(0, (statistics.writing - (last?.writing ?? .zero)).nanoseconds)))
        waiting.record(Int64(statistics.waiting))
        last = statistics
    }
}
