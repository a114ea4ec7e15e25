public import MartletRuntime

/// Why a datagram, or what it asked for, was dropped.
public enum MainlineDrop: String, MetricLabels {
    /// It is not bencode, or not of this protocol.
    case malformed
    /// It came from an address that nobody can have, or of a family that is not used.
    case address
    /// This node answers nobody.
    case readOnly = "read_only"
    /// It answers a query that was never sent, or to somebody else, or too late.
    case unexpectedAnswer = "unexpected_answer"
    /// The source asks too often.
    case sourceRate = "source_rate"
    /// The source has not proven that it receives what is sent to it, and has been sent enough.
    case sourceBytes = "source_bytes"
    /// So have all of its network.
    case networkBytes = "network_bytes"
    /// The announcement's or item's token is not valid.
    case badToken = "bad_token"
    /// There is no room for what is to be stored.
    case full
    /// An answer's item is not what was asked for, or its signature is wrong.
    case badItem = "bad_item"

    /// The label's name.
    public static var names: [String] { ["reason"] }
}

/// The queries by name.
public enum MainlineQueryKind: String, MetricLabels {
    /// See BEP 5.
    case ping, findNode = "find_node", getPeers = "get_peers", announcePeer = "announce_peer"
    /// See BEP 44.
    case get, put
    /// See BEP 51.
    case sampleInfohashes = "sample_infohashes"
    /// None that is known.
    case unknown

    /// The label's name.
    public static var names: [String] { ["query"] }
}

/// What a DHT node counts.
public struct MainlineMetrics {
    /// What was dropped, by reason.
    public let dropped: Labelled<MainlineDrop, Counter>
    /// Queries that came in, by name.
    public let received: Labelled<MainlineQueryKind, Counter>
    /// The same by method, the unknown ones last: looked up once.
    let receivedByMethod: [Counter]
    /// Answers that were sent.
    public let answered: Counter
    /// Errors that were sent.
    public let errors: Counter
    /// Queries that were sent.
    public let sent: Counter
    /// Queries that were answered.
    public let successes: Counter
    /// Queries that were answered by an error.
    public let refusals: Counter
    /// Queries that were not answered.
    public let timeouts: Counter
    /// Bytes that came in.
    public let bytesIn: Counter
    /// Bytes that went out.
    public let bytesOut: Counter
    /// How long answers took.
    public let roundTrip: Histogram
    /// Nodes in the tables.
    public let nodes: Gauge
    /// Announcements that are stored.
    public let announcements: Gauge
    /// Items that are stored.
    public let items: Gauge

    /// The metrics, in `registry`.
    public init(in registry: MetricsRegistry = MetricsRegistry()) {
        dropped = registry.counters("dht_dropped", help: "What the DHT dropped, by reason", by: MainlineDrop.self)
        received = registry.counters(
            "dht_queries_received", help: "Queries that came in, by name", by: MainlineQueryKind.self)
        receivedByMethod = MainlineQueryKind.allCases.map { [received] in received[$0] }
        answered = registry.counter("dht_answers_sent", help: "Answers that were sent")
        errors = registry.counter("dht_errors_sent", help: "Errors that were sent")
        sent = registry.counter("dht_queries_sent", help: "Queries that were sent")
        successes = registry.counter("dht_queries_answered", help: "Queries of ours that were answered")
        refusals = registry.counter("dht_queries_refused", help: "Queries of ours that were answered by an error")
        timeouts = registry.counter("dht_queries_timed_out", help: "Queries of ours that were not answered")
        bytesIn = registry.counter("dht_received", help: "Bytes of datagrams that came in", unit: .bytes)
        bytesOut = registry.counter("dht_sent", help: "Bytes of datagrams that went out", unit: .bytes)
        roundTrip = registry.histogram(
            "dht_round_trip", help: "How long answers took", unit: .nanoseconds, bounds: .latency)
        nodes = registry.gauge("dht_nodes", help: "Nodes in the routing tables")
        announcements = registry.gauge("dht_announcements", help: "Announcements that are stored")
        items = registry.gauge("dht_items", help: "Items that are stored")
    }
}
