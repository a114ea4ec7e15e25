internal import MartletRuntime
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

    let neighbours: Gauge
    let known: Gauge
    let searches: Counter
    private let connected: Labelled<Kind, Gauge>

    init(_ registry: MetricsRegistry) {
        neighbours = registry.gauge("martlet_node_neighbours", help: "Connected peers that proved to be on a topic.")
        known = registry.gauge("martlet_node_known", help: "Peers on the topics of whom there is a record.")
        searches = registry.counter("martlet_node_searches", help: "Searches for topics in the DHT that have ended.")
        connected = registry.gauges(
            "martlet_node_peers", help: "Connected peers, by the transport and direction of their connection.",
            by: Kind.self)
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
