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

    let refused: Labelled<Refusal, Counter>
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
