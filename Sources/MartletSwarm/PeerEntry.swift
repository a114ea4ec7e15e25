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
    /// Whether it was found to carry no more streams of this side, although it does not say so.
    var isSpent = false

    init(number: UInt64, _ connection: Connection, _ entrance: ConnectionGate.Entrance, at now: Instant) {
        self.number = number
        self.connection = connection
        self.entrance = entrance
        madeAt = now
        idleSince = now
    }

    /// Whether this side gets no more streams on it.
    var isDraining: Bool { isSpent || connection.isDraining }

    /// Streams of this side that are not over.
    var outboundStreams: Int { streams - inboundStreams }

    var info: ConnectionInfo {
        ConnectionInfo(
            number: number, peer: connection.remotePeer, localAddress: connection.localAddress,
            remoteAddress: connection.remoteAddress, nature: connection.nature, madeAt: madeAt)
    }

    /// The address of the other end; `nil` if it is reached through others.
    var remoteIP: IPAddress? { connection.nature.isRelayed ? nil : connection.remoteAddress.ipAddress }

    /// How many bytes of streams went over it.
    var traffic: UInt64 {
        let statistics = connection.statistics
        return statistics.bytesReceived &+ statistics.bytesSent
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
    /// Its identify pushes, what applies those that wait, and what that draws from the node's memory.
    var pushes: PushBox<ConnectionInfo>
    var pushTimer: LoopTimer?
    var pushSize = 0
    /// What it did beyond the rates of protocols.
    var excessMeter = RateMeter()
    /// Closes connections that are not used any more, where there are any.
    var review: LoopTimer?
    var roundTrips = PingStatistics()

    init(_ peer: PeerID, _ limits: SwarmLimits) {
        self.peer = peer
        pushes = PushBox(limits.identifyPushRate)
    }

    /// Whether nothing is worth remembering.
    var isForgettable: Bool { connections.isEmpty && tags.isEmpty && protections.isEmpty }

    /// It with the connections that are there to stay; `nil` if there are none.
    var trimCandidate: TrimPlan.Candidate? {
        let staying = connections.filter { $0.closing == nil }
        guard let oldest = staying.first else { return nil }
        let isOutbound = staying.contains { $0.connection.nature.direction == .outbound }
        return TrimPlan.Candidate(
            peer: peer, value: tags.values.reduce(0, +), isProtected: !protections.isEmpty,
            isBusy: staying.contains { $0.streams > 0 }, isOutbound: isOutbound, address: oldest.remoteIP,
            since: oldest.madeAt, traffic: staying.reduce(0) { $0 &+ $1.traffic }, connections: staying.count)
    }
}
