public import MartletRuntime

/// Why a connection, a dial or a stream was refused. Each is counted, under its name.
public enum Refusal: String, MetricLabels, Error {
    /// The peer or its network is on the block list.
    case blocked
    /// There is an allow list, and the peer is not on it.
    case notAllowed = "not_allowed"
    /// It is this node itself.
    case isSelf = "self"
    /// The connection was over before it was taken in.
    case ended
    /// There are as many connections as there may be.
    case connections
    /// The peer has as many connections as one may have.
    case connectionsPerPeer = "connections_per_peer"
    /// The IP address has as many connections as one may have.
    case connectionsPerAddress = "connections_per_address"
    /// The network, or the allocation that it is part of, has as many connections as one may have.
    case connectionsPerNetwork = "connections_per_network"
    /// As many inbound connections are being made as may be.
    case pendingInbound = "pending_inbound"
    /// The IP address has as many connections being made as one may have.
    case pendingPerAddress = "pending_per_address"
    /// The network, or the allocation that it is part of, has as many connections being made as one may have, which
    /// depends on how many places are left.
    case pendingPerNetwork = "pending_per_network"
    /// As many dials are under way as may be.
    case pendingOutbound = "pending_outbound"
    /// The IP address connects too often.
    case addressRate = "address_rate"
    /// The network, or the allocation that it is part of, connects too often.
    case networkRate = "network_rate"
    /// The buffers hold as much as they may: in all, or those of this peer.
    case memory
    /// There are as many streams as there may be, in all or of this peer.
    case streams
    /// The peer has as many streams open on the connection as it may.
    case streamsPerConnection = "streams_per_connection"
    /// The peer has as many streams of the protocol open as it may.
    case streamsPerProtocol = "streams_per_protocol"
    /// The muxer has as many streams of the peer as it may.
    case streamBacklog = "stream_backlog"
    /// The peer opens streams too often.
    case streamRate = "stream_rate"
    /// The peer opens too many streams that come to nothing; the connection is closed.
    case wastedStreams = "wasted_streams"
    /// The peer did not say in time which protocol a stream is for.
    case negotiationTimeout = "negotiation_timeout"
    /// What the peer said about protocols makes no sense.
    case negotiation
    /// Nobody here speaks any of the protocols that the peer proposed.
    case unknownProtocol = "unknown_protocol"
    /// What the peer sent breaks the rules of its protocol.
    case protocolViolation = "protocol_violation"
    /// The peer does not take in time what it has asked for.
    case stalled
    /// The peer asks a protocol too often.
    case protocolRate = "protocol_rate"

    /// The label that the counters bear.
    public static let names = ["reason"]
}
