internal import MartletRuntime
internal import MartletTransport

/// What the swarm counts.
struct SwarmMetrics {
    enum Direction: String, MetricLabels {
        case inbound, outbound
        static let names = ["direction"]

        init(_ direction: ConnectionNature.Direction) {
            self = direction == .inbound ? .inbound : .outbound
        }
    }

    enum Failure: String, MetricLabels {
        case unsupportedAddress = "unsupported_address"
        case network
        case name
        case timedOutConnecting = "timed_out_connecting"
        case timedOutNegotiating = "timed_out_negotiating"
        case timedOutInHandshake = "timed_out_in_handshake"
        case wrongPeer = "wrong_peer"
        case negotiation
        case handshake
        case ended
        case cancelled
        static let names = ["reason"]

        init(_ error: TransportError) {
            switch error {
            case .unsupportedAddress: self = .unsupportedAddress
            case .network: self = .network
            case .name: self = .name
            case .timedOut(.lookUp), .timedOut(.connect): self = .timedOutConnecting
            case .timedOut(.handshake): self = .timedOutInHandshake
            case .timedOut: self = .timedOutNegotiating
            case .wrongPeer: self = .wrongPeer
            case .negotiation: self = .negotiation
            case .handshake: self = .handshake
            case .ended: self = .ended
            case .cancelled: self = .cancelled
            }
        }
    }

    /// How a connection ended.
    enum End: String, MetricLabels {
        case requested
        case trimmed
        case replaced
        case refused
        case shutDown = "shut_down"
        case closed
        case closedByPeer = "closed_by_peer"
        case network
        case unanswered
        case idle
        case violation
        case other
        static let names = ["reason"]

        init(_ reason: DisconnectReason) {
            switch reason {
            case .requested: self = .requested
            case .trimmed: self = .trimmed
            case .replaced: self = .replaced
            case .refused: self = .refused
            case .shutDown: self = .shutDown
            case .ended(.closed): self = .closed
            case .ended(.closedByPeer): self = .closedByPeer
            case .ended(.network): self = .network
            case .ended(.unanswered): self = .unanswered
            case .ended(.idle): self = .idle
            case .ended(.violation): self = .violation
            case .ended: self = .other
            }
        }
    }

    let refused: Labelled<Refusal, Counter>
    let ended: Labelled<End, Counter>
    let violations: Labelled<Violation, Counter>
    let opened: Labelled<Direction, Counter>
    let connections: Gauge
    let peers: Gauge
    let pendingInbound: Gauge
    let dialFailures: Labelled<Failure, Counter>
    let inboundFailures: Labelled<Failure, Counter>
    let streams: Labelled<Direction, Counter>
    let trimmed: Counter
    let roundTrips: Histogram

    init(_ registry: MetricsRegistry) {
        refused = registry.counters(
            "martlet_swarm_refused", help: "Connections, dials and streams that were refused.", by: Refusal.self)
        ended = registry.counters(
            "martlet_swarm_connections_ended", help: "Connections that were there and ended.", by: End.self)
        violations = registry.counters(
            "martlet_swarm_violations", help: "Connections that ended because the other side broke the rules.",
            by: Violation.self)
        opened = registry.counters(
            "martlet_swarm_connections_opened", help: "Connections that were made.", by: Direction.self)
        connections = registry.gauge("martlet_swarm_connections", help: "Connections that are there.")
        peers = registry.gauge("martlet_swarm_peers", help: "Peers that are connected.")
        pendingInbound = registry.gauge("martlet_swarm_pending", help: "Inbound connections that are being made.")
        dialFailures = registry.counters(
            "martlet_swarm_dial_failures", help: "Addresses whose dialling failed.", by: Failure.self)
        inboundFailures = registry.counters(
            "martlet_swarm_inbound_failures", help: "Inbound connections that came to nothing.", by: Failure.self)
        streams = registry.counters("martlet_swarm_streams", help: "Streams that were opened.", by: Direction.self)
        trimmed = registry.counter("martlet_swarm_trimmed", help: "Connections closed because there were too many.")
        roundTrips = registry.histogram("martlet_swarm_ping", help: "Round trips of pings.")
    }
}
