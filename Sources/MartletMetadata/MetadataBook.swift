public import MartletIdentity
public import MartletRuntime
internal import MartletWire

/// The newest record of each peer on this node's topics: a machine that takes records and says what others miss.
public struct MetadataBook {
    /// How much it holds, and for how long.
    public struct Limits: Hashable, Sendable {
        /// The most peers.
        public var peers = 10_000
        /// How long after it was made a record is of use.
        public var lifetime = Duration.seconds(2 * 3600)
        /// How far ahead another node's clock may be.
        public var skew = Duration.seconds(600)
        /// The most bytes of records in one answer.
        public var answerSize = 48 << 10

        /// The defaults.
        public init() {}
    }

    private struct Entry {
        var record: SignedMetadata
        var place: UInt64
        /// Which of `topics` the peer is on.
        var topics: Set<TopicKey>
    }

    /// The bounds.
    public let limits: Limits
    /// The topics that this node is on.
    public private(set) var topics: [TopicKey]
    private let own: PeerID
    private var entries: [PeerID: Entry] = [:]
    /// All peers by their place on the circle.
    private var circle: [(place: UInt64, peer: PeerID)] = []

    /// An empty book of the node `own`, which is on `topics`.
    public init(of own: PeerID, topics: [TopicKey], limits: Limits = Limits()) {
        self.own = own
        self.topics = topics
        self.limits = limits
    }

    /// How many peers there is a record of.
    public var count: Int { entries.count }

    /// The newest record of `peer`.
    public func record(of peer: PeerID) -> SignedMetadata? { entries[peer]?.record }

    /// Which of this node's topics `peer` has said it is on.
    public func topics(of peer: PeerID) -> Set<TopicKey> { entries[peer]?.topics ?? [] }

    /// Everyone who is on one of `topics`, in the order of the circle.
    public func peers(on topics: Set<TopicKey>) -> [PeerID] {
        circle.lazy.map(\.peer).filter { !(entries[$0]?.topics.isDisjoint(with: topics) ?? true) }
    }

    /// Takes a record that came at `time`. Throws why it is not taken.
    public mutating func take(_ record: SignedMetadata, at time: WallTime) throws(MetadataRefusal) {
        guard record.peer != own else { throw .own }
        try check(record.metadata.time, at: time)
        let known = entries[record.peer]
        if let known, known.record.metadata.sequence >= record.metadata.sequence { throw .notNewer }
        let shared = Set(topics.filter { record.metadata.topicMarks.contains($0.mark(of: record.peer)) })
        guard !shared.isEmpty else {
            // A peer that has left the topics says so by a newer record.
            if known != nil { remove(record.peer) }
            throw .noCommonTopic
        }
        if known == nil {
            if entries.count >= limits.peers { expire(at: time) }
            guard entries.count < limits.peers else { throw .full }
        }
        let place = known?.place ?? MetadataSummary.place(of: record.peer)
        entries[record.peer] = Entry(record: record, place: place, topics: shared)
        if known == nil { circle.insert((place, record.peer), at: index(of: place)) }
    }

    private func check(_ made: WallTime, at time: WallTime) throws(MetadataRefusal) {
        guard made.nanoseconds <= time.nanoseconds + limits.skew.nanoseconds else { throw .fromTheFuture }
        guard made.nanoseconds >= time.nanoseconds - limits.lifetime.nanoseconds else { throw .expired }
    }

    /// Forgets records that were made too long ago, and says whose they were.
    @discardableResult
    public mutating func expire(at time: WallTime) -> [PeerID] {
        let old = circle.map(\.peer).filter { peer in
            guard let entry = entries[peer] else { return false }
            return entry.record.metadata.time.nanoseconds < time.nanoseconds - limits.lifetime.nanoseconds
        }
        for peer in old { remove(peer) }
        return old
    }

    /// Forgets `peer`.
    public mutating func remove(_ peer: PeerID) {
        guard let entry = entries.removeValue(forKey: peer) else { return }
        var index = index(of: entry.place)
        while index < circle.count, circle[index].peer != peer { index += 1 }
        circle.remove(at: index)
    }

    /// The first place in `circle` at or after `place`.
    private func index(of place: UInt64) -> Int {
        var low = 0
        var high = circle.count
        while low < high {
            let middle = (low + high) / 2
            if circle[middle].place < place { low = middle + 1 } else { high = middle }
        }
        return low
    }

    // MARK: Comparing

    /// What is known of those on `shared` topics from `first` to `last`, which is all around the circle where it is
    /// `nil`, as far as one summary goes; but for `other`, whom it is for, who has no record of itself.
    public func summary(
        from first: UInt64, to last: UInt64? = nil, on shared: Set<TopicKey>, except other: PeerID
    ) -> MetadataSummary {
        var summary = MetadataSummary(first: first, last: last ?? first &- 1, entries: [])
        let start = index(of: first)
        for offset in 0..<circle.count {
            let (place, peer) = circle[(start + offset) % circle.count]
            guard summary.covers(place) else { break }
            guard let entry = entries[peer], peer != other, !entry.topics.isDisjoint(with: shared) else { continue }
            guard summary.entries.count < MetadataSummary.maximumEntries else {
                summary.last = place &- 1
                break
            }
            summary.entries.append(.init(place: place, sequence: entry.record.metadata.sequence))
        }
        return summary
    }

    /// The records of those on `shared` topics that whoever made `summary` does not have, as many as one answer holds;
    /// the ones before the asker's own stretch is covered come first, so that the next round gets the rest.
    public func missing(
        in summary: MetadataSummary, on shared: Set<TopicKey>, except asker: PeerID
    ) -> [SignedMetadata] {
        let known = Dictionary(summary.entries.map { ($0.place, $0.sequence) }, uniquingKeysWith: max)
        var missing: [SignedMetadata] = []
        var room = limits.answerSize
        let start = index(of: summary.first)
        for offset in 0..<circle.count {
            let (place, peer) = circle[(start + offset) % circle.count]
            guard summary.covers(place) else { break }
            guard let entry = entries[peer], peer != asker, !entry.topics.isDisjoint(with: shared) else { continue }
            if let sequence = known[place], sequence >= entry.record.metadata.sequence { continue }
            room -= entry.record.envelope.bytes.count
            guard room >= 0, missing.count < MetadataMessage.maximumRecords else { break }
            missing.append(entry.record)
        }
        return missing
    }
}
