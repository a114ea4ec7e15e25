import MartletRuntime
import MartletWire

/// The announcements that others have stored here: which addresses take part in which infohash.
///
/// All is bounded: in all, for each infohash, and for each host that announces. What is full refuses; old announcements
/// make room when they end. An announcement of an IPv4 address costs 12 bytes, an infohash some 40.
struct PeerStore {
    /// What became of an announcement.
    enum Outcome: Hashable {
        case stored, full, topicIsFull, sourceIsFull
    }

    private struct Topic {
        let infohash: NodeID
        var v4 = PeerRings<UInt32>.empty
        var v6 = PeerRings<UInt128>.empty
        var count: Int32 = 0
    }

    private let limits: MainlineLimits
    private let hash: SipHash
    private var v4 = PeerRings<UInt32>()
    private var v6 = PeerRings<UInt128>()
    private var topics: [Topic] = []
    /// Where each infohash stands among `topics`: at the place that its hash says, or at the next that was free.
    private var places: [UInt32] = Array(repeating: Self.nowhere, count: 16)
    /// How many announcements came from the hosts that share a counter. An IPv6 host is a /64.
    private var ofSource: [UInt16]
    /// How many there are.
    private(set) var count = 0

    private static let nowhere = UInt32.max

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

    private static func isOver(_ end: UInt16, at minute: UInt16) -> Bool { Int16(bitPattern: end &- minute) <= 0 }

    private func source(_ ip: IPAddress) -> Int { Int(hash(ip.counted) % UInt64(ofSource.count)) }

    /// Stores that `peer` takes part in `infohash`, or that it still does.
    mutating func add(_ peer: SocketAddress, to infohash: NodeID, at now: Instant) -> Outcome {
        let end = Self.minute(now + limits.announcementLifetime)
        let known = self.topic(of: infohash)
        if let known, renew(peer, of: topics[known], until: end) { return .stored }
        guard count < limits.announcements else { return .full }
        if let known, topics[known].count >= limits.announcementsPerTopic { return .topicIsFull }
        let source = source(peer.ip)
        guard Int(ofSource[source]) < min(limits.announcementsPerSource, Int(UInt16.max)) else { return .sourceIsFull }
        let topic = known ?? addTopic(infohash)
        if peer.ip.isV4 {
            v4.append(UInt32(truncatingIfNeeded: peer.ip.number), port: peer.port, end: end, to: &topics[topic].v4)
        } else {
            v6.append(peer.ip.number, port: peer.port, end: end, to: &topics[topic].v6)
        }
        topics[topic].count += 1
        ofSource[source] += 1
        count += 1
        return .stored
    }

    private mutating func renew(_ peer: SocketAddress, of topic: Topic, until end: UInt16) -> Bool {
        peer.ip.isV4
            ? v4.renew(UInt32(truncatingIfNeeded: peer.ip.number), port: peer.port, in: topic.v4, until: end)
            : v6.renew(peer.ip.number, port: peer.port, in: topic.v6, until: end)
    }

    /// Adds peers of `infohash` to `found`, at most `maximum`, others each time where there are more.
    mutating func peers(
        of infohash: NodeID, _ family: IPAddress.Family, maximum: Int, at now: Instant,
        into found: inout [SocketAddress]
    ) {
        guard let topic = topic(of: infohash) else { return }
        let minute = Self.minute(now)
        if family == .v4 {
            v4.turn(&topics[topic].v4, maximum: maximum) { peer in
                guard !Self.isOver(peer.end, at: minute) else { return }
                found.append(SocketAddress(IPAddress(v4: peer.host), port: peer.port))
            }
        } else {
            v6.turn(&topics[topic].v6, maximum: maximum) { peer in
                guard !Self.isOver(peer.end, at: minute) else { return }
                found.append(SocketAddress(IPAddress(v6: peer.host), port: peer.port))
            }
        }
    }

    /// Forgets what has ended.
    mutating func expire(at now: Instant) {
        let minute = Self.minute(now)
        var index = 0
        while index < topics.count {
            var over: [IPAddress] = []
            v4.removeAll(in: &topics[index].v4, where: { Self.isOver($0.end, at: minute) }) {
                over.append(IPAddress(v4: $0.host))
            }
            v6.removeAll(in: &topics[index].v6, where: { Self.isOver($0.end, at: minute) }) {
                over.append(IPAddress(v6: $0.host))
            }
            for ip in over { ofSource[source(ip)] -= 1 }
            count -= over.count
            topics[index].count -= Int32(over.count)
            if topics[index].count == 0 { removeTopic(index) } else { index += 1 }
        }
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

// MARK: Where infohashes stand

extension PeerStore {
    private func home(of infohash: NodeID) -> Int {
        // All of it counts, so that nobody finds infohashes that stand in each other's way.
        Int(truncatingIfNeeded: hash(hash(infohash.high, infohash.middle), UInt64(infohash.low))) & (places.count - 1)
    }

    private func topic(of infohash: NodeID) -> Int? {
        let place = place(of: infohash)
        return places[place] == Self.nowhere ? nil : Int(places[place])
    }

    /// Where `infohash` stands in `places`, or would.
    private func place(of infohash: NodeID) -> Int {
        var place = home(of: infohash)
        while places[place] != Self.nowhere, topics[Int(places[place])].infohash != infohash {
            place = (place + 1) & (places.count - 1)
        }
        return place
    }

    private mutating func addTopic(_ infohash: NodeID) -> Int {
        topics.append(Topic(infohash: infohash))
        if 3 * topics.count > 2 * places.count {
            places = Array(repeating: Self.nowhere, count: 2 * places.count)
            for index in topics.indices { places[place(of: topics[index].infohash)] = UInt32(index) }
        } else {
            places[place(of: infohash)] = UInt32(topics.count - 1)
        }
        return topics.count - 1
    }

    private mutating func removeTopic(_ index: Int) {
        var gap = place(of: topics[index].infohash)
        // Those behind the gap move up where it lies on the way from their home.
        let mask = places.count - 1
        var next = (gap + 1) & mask
        while places[next] != Self.nowhere {
            let home = home(of: topics[Int(places[next])].infohash)
            if (next - home) & mask >= (next - gap) & mask {
                places[gap] = places[next]
                gap = next
            }
            next = (next + 1) & mask
        }
        places[gap] = Self.nowhere
        let last = topics.count - 1
        if index < last {
            places[place(of: topics[last].infohash)] = UInt32(index)
            topics[index] = topics[last]
        }
        topics.removeLast()
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
