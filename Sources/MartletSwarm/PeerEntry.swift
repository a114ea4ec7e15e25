internal import MartletIdentity
internal import MartletRuntime
internal import MartletTransport
internal import MartletWire

/// A connection in the swarm's books.
final class SwarmConnection {
    let number: UInt64
    let connection: Connection
    let entrance: ConnectionGate.Entrance
    let madeAt: Instant
    /// Streams that the peer opened and that are not over.
    var inboundStreams = 0
    /// Streams of both sides that are not over.
    var streams = 0
    /// When the last stream ended.
    var idleSince: Instant?
    /// Why this side is closing it.
    var closing: DisconnectReason?

    init(number: UInt64, _ connection: Connection, _ entrance: ConnectionGate.Entrance, at now: Instant) {
        self.number = number
        self.connection = connection
        self.entrance = entrance
        madeAt = now
        idleSince = now
    }

    var info: ConnectionInfo {
        ConnectionInfo(
            number: number, peer: connection.remotePeer, localAddress: connection.localAddress,
            remoteAddress: connection.remoteAddress, nature: connection.nature, madeAt: madeAt)
    }

    var candidate: DuplicateRule.Candidate {
        DuplicateRule.Candidate(
            number: number, direction: connection.nature.direction, isRelayed: connection.nature.isRelayed,
            madeAt: madeAt, idleSince: streams == 0 ? idleSince : nil)
    }
}

/// What the swarm knows of a peer that is connected, tagged or protected.
final class PeerEntry {
    let peer: PeerID
    /// In the order in which they were made.
    var connections: [SwarmConnection] = []
    /// The connection for new streams.
    var preferred: SwarmConnection?
    var tags: [String: Int] = [:]
    var protections: Set<String> = []
    /// What it last said of itself.
    var info: PeerInfo?
    /// What that draws from the node's memory.
    var infoSize = 0
    /// How many streams that it opened are not over, by protocol.
    var inbound: [String: Int] = [:]
    var streamMeter = RateMeter()
    var wasteMeter = RateMeter()
    /// Closes connections that are not used any more, where there are any.
    var review: LoopTimer?
    var roundTrips = PingStatistics()

    init(_ peer: PeerID) {
        self.peer = peer
    }

    /// Whether nothing is worth remembering.
    var isForgettable: Bool { connections.isEmpty && tags.isEmpty && protections.isEmpty }

    var trimCandidate: TrimPlan.Candidate {
        TrimPlan.Candidate(
            peer: peer, value: tags.values.reduce(0, +), isProtected: !protections.isEmpty,
            isBusy: connections.contains { $0.streams > 0 },
            isOutbound: connections.contains { $0.connection.nature.direction == .outbound },
            newest: connections.last?.madeAt ?? .start, connections: connections.count)
    }
}
