import MartletRuntime
import MartletWire

/// The announcements that others have stored here: which addresses take part in which infohash.
///
/// All is bounded: in all, for each infohash, and for each host that announces. What is full refuses; old announcements
/// make room when they end. An announcement of an IPv4 address costs 8 bytes beside what its infohash costs.
struct PeerStore {
    /// What became of an announcement.
    enum Outcome: Hashable {
        case stored, full, topicIsFull, sourceIsFull
    }

    private struct PeerV4 {
        var ip: UInt32
        var port: UInt16
        /// When it ends, in the store's own minutes.
        var end: UInt16
    }

    private struct PeerV6 {
        var high: UInt64
        var low: UInt64
        var port: UInt16
        var end: UInt16
    }

    private struct Topic {
        var infohash: NodeID
        /// Where the next answer begins, so that all are told of in turn.
        var turn: UInt32 = 0
        var v4: [PeerV4] = []
        var v6: [PeerV6] = []
        var count: Int { v4.count + v6.count }
    }

    private let limits: MainlineLimits
    private let hash: SipHash
    private var topics: [Topic] = []
    private var places: [NodeID: UInt32] = [:]
    /// How many announcements came from the hosts that share a counter.
    private var ofSource: [UInt16]
    /// How many there are.
    private(set) var count = 0

    init(limits: MainlineLimits, hash: SipHash) {
        self.limits = limits
        self.hash = hash
        ofSource = [UInt16](repeating: 0, count: max(1, limits.sourceCounters))
    }

    /// How many infohashes there are.
    var topicCount: Int { topics.count }

    /// Minutes are counted around, which 16 bits hold for 45 days.
    private static func minute(_ time: Instant) -> UInt16 {
        UInt16(truncatingIfNeeded: time.nanoseconds / 60_000_000_000)
    }

    private func source(_ ip: IPAddress) -> Int { Int(hash(ip) % UInt64(ofSource.count)) }

    /// Stores that `peer` takes part in `infohash`, or that it still does.
    mutating func add(_ peer: SocketAddress, to infohash: NodeID, at now: Instant) -> Outcome {
        let end = Self.minute(now + limits.announcementLifetime)
        let place = places[infohash].map(Int.init)
        if let place, renew(peer, at: place, until: end) { return .stored }
        guard count < limits.announcements else { return .full }
        if let place, topics[place].count >= limits.announcementsPerTopic { return .topicIsFull }
        let source = source(peer.ip)
        guard Int(ofSource[source]) < min(limits.announcementsPerSource, Int(UInt16.max)) else { return .sourceIsFull }
        let home = place ?? topics.count
        if place == nil {
            places[infohash] = UInt32(home)
            topics.append(Topic(infohash: infohash))
        }
        if peer.ip.isV4 {
            topics[home].v4.append(PeerV4(ip: UInt32(truncatingIfNeeded: peer.ip.number), port: peer.port, end: end))
        } else {
            topics[home].v6.append(
                PeerV6(
                    high: UInt64(truncatingIfNeeded: peer.ip.number >> 64),
                    low: UInt64(truncatingIfNeeded: peer.ip.number),
                    port: peer.port, end: end))
        }
        ofSource[source] += 1
        count += 1
        return .stored
    }

    private mutating func renew(_ peer: SocketAddress, at place: Int, until end: UInt16) -> Bool {
        if peer.ip.isV4 {
            let ip = UInt32(truncatingIfNeeded: peer.ip.number)
            guard let index = topics[place].v4.firstIndex(where: { $0.ip == ip && $0.port == peer.port }) else {
                return false
            }
            topics[place].v4[index].end = end
        } else {
            let address = peer
            guard let index = topics[place].v6.firstIndex(where: { Self.address($0) == address }) else { return false }
            topics[place].v6[index].end = end
        }
        return true
    }

    private static func address(_ peer: PeerV4) -> SocketAddress {
        SocketAddress(IPAddress(v4: peer.ip), port: peer.port)
    }

    private static func address(_ peer: PeerV6) -> SocketAddress {
        SocketAddress(IPAddress(v6: UInt128(peer.high) << 64 | UInt128(peer.low)), port: peer.port)
    }

    /// Adds peers of `infohash` to `found`, at most `maximum`, others each time where there are more.
    mutating func peers(
        of infohash: NodeID, _ family: IPAddress.Family, maximum: Int, at now: Instant,
        into found: inout [SocketAddress]
    ) {
        guard let place = places[infohash].map(Int.init) else { return }
        let minute = Self.minute(now)
        let all = family == .v4 ? topics[place].v4.count : topics[place].v6.count
        guard all > 0 else { return }
        let first = Int(topics[place].turn) % all
        topics[place].turn = UInt32((first + maximum) % all)
        for step in 0..<min(all, maximum) {
            let index = (first + step) % all
            if family == .v4 {
                let peer = topics[place].v4[index]
                if !Self.isOver(peer.end, at: minute) { found.append(Self.address(peer)) }
            } else {
                let peer = topics[place].v6[index]
                if !Self.isOver(peer.end, at: minute) { found.append(Self.address(peer)) }
            }
        }
    }

    private static func isOver(_ end: UInt16, at minute: UInt16) -> Bool { Int16(bitPattern: end &- minute) <= 0 }

    /// Forgets what has ended.
    mutating func expire(at now: Instant) {
        let minute = Self.minute(now)
        var index = 0
        while index < topics.count {
            for peer in topics[index].v4 where Self.isOver(peer.end, at: minute) { forget(Self.address(peer)) }
            for peer in topics[index].v6 where Self.isOver(peer.end, at: minute) { forget(Self.address(peer)) }
            topics[index].v4.removeAll { Self.isOver($0.end, at: minute) }
            topics[index].v6.removeAll { Self.isOver($0.end, at: minute) }
            guard topics[index].count == 0 else {
                index += 1
                continue
            }
            places[topics[index].infohash] = nil
            let last = topics.removeLast()
            if index < topics.count {
                topics[index] = last
                places[last.infohash] = UInt32(index)
            }
        }
    }

    private mutating func forget(_ peer: SocketAddress) {
        ofSource[source(peer.ip)] -= 1
        count -= 1
    }

    /// Some of the infohashes, at most `maximum`, drawn evenly.
    func sample(_ maximum: Int, using generator: inout some RandomNumberGenerator) -> [NodeID] {
        var found: [NodeID] = []
        // Reservoir sampling: each one has the same chance.
        for (index, topic) in topics.enumerated() {
            if found.count < maximum {
                found.append(topic.infohash)
            } else {
                let place = Int(generator.next(upperBound: UInt64(index + 1)))
                if place < maximum { found[place] = topic.infohash }
            }
        }
        return found
    }
}

/// Some of the infohashes that are stored here (BEP 51).
struct InfohashSample {
    var infohashes: [NodeID]
    /// How many there are in all.
    var total: Int
    /// How long this sample stays the same, in seconds.
    var interval: Int64
}
