internal import MartletRuntime

/// What an HTTP server takes from its clients.
struct HTTPLimits: Sendable, Hashable {
    /// Connections at one time. Who comes then is turned away.
    var connections = 64
    /// Connections of one address (IPv6: of one network of 64 bits) at one time. On a Unix socket nobody has one.
    var connectionsPerAddress = 16
    /// Bytes of memory for a connection: a request's line and fields must fit into about half of them.
    var connectionBytes = 32 << 10
    /// Bytes of a request's body.
    var bodyBytes = 64 << 10
    /// Words of a query that are looked at.
    var queryWords = 16
    /// How long a whole request may take to arrive.
    var requestTime = Duration.seconds(10)
    /// How long a connection may stand between two requests.
    var idleTime = Duration.seconds(30)
    /// How long an answer may take to be taken; for one that goes on and on, how long it may stand still.
    var answerTime = Duration.seconds(60)
    /// Answers that go on and on at one time.
    var streams = 8
    /// Bytes that wait for a slow reader of such an answer.
    var streamBytes = 256 << 10
}

/// Why a client was refused, or cut off.
enum HTTPRefusal: String, MetricLabels {
    /// There are too many connections.
    case connections
    /// There are too many of this address.
    case address
    /// Nothing that is HTTP ever came.
    case silent
    /// A request's head never came to an end, is too large, or is wrong.
    case head
    /// A request's body is too large.
    case body
    /// A request, or the taking of its answer, took too long.
    case slow
    /// The token is missing or wrong.
    case token
    /// A name is asked for that is not this host's.
    case host
    /// There are too many answers that go on and on.
    case streams
    /// There is no such thing here.
    case path
    /// It is there, but not by this method.
    case method
    /// The request's content makes no sense.
    case content

    static let names = ["reason"]
}

/// What an HTTP server counts.
struct HTTPMetrics {
    /// How an answer's status begins.
    enum Class: String, MetricLabels {
        case success = "2xx"
        case redirection = "3xx"
        case client = "4xx"
        case server = "5xx"
        static let names = ["status"]

        init(status: Int) {
            switch status {
            case ..<300: self = .success
            case ..<400: self = .redirection
            case ..<500: self = .client
            default: self = .server
            }
        }
    }

    let refused: Labelled<HTTPRefusal, Counter>
    let answers: Labelled<Class, Counter>
    let connections: Gauge
    let streams: Gauge

    /// The metrics of the server called `name`, which is part of a metric's name.
    init(_ registry: MetricsRegistry, name: String) {
        refused = registry.counters(
            "martlet_\(name)_refused", help: "Clients of the \(name) server that were refused or cut off.",
            by: HTTPRefusal.self)
        answers = registry.counters(
            "martlet_\(name)_answers", help: "Answers of the \(name) server.", by: Class.self)
        connections = registry.gauge(
            "martlet_\(name)_connections", help: "Connections of the \(name) server that are there.")
        streams = registry.gauge(
            "martlet_\(name)_streams", help: "Answers of the \(name) server that go on and on.")
    }
}
