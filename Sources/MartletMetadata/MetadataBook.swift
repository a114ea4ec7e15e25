public import MartletIdentity
public import MartletRuntime
internal import MartletWire

/// The newest record of each peer on this node's topics: a machine that takes records and says what others miss.
///
/// It holds a bounded number of records and of bytes. Room goes to neighbours first, then to peers that this node has
/// dialled, then to those of whom others tell. If there is none, a record makes room for one of a better standing; among
/// those that were told, for one of a teller that has told less. A peer that leaves the topics is remembered for as long as
/// its old records are of use, so that none comes back.
public struct MetadataBook {
    /// How much it holds, and for how long.
    public struct Limits: Hashable, Sendable {
        /// The most peers.
        public var peers = 10_000
        /// The most bytes of all their records. A record of less than an even part, which is `bytes` by `peers`, counts as
        /// that much, so that many small ones push out no more than a few large ones do.
        public var bytes = 16 << 20
        /// How many of them may be peers that this node dialled and that are not connected any more: half, so that the
        /// other half is left to those of whom others tell.
        public var dialled = 5_000
        /// How many peers that have left the topics are remembered.
        public var departed = 4096
        /// How long after it was made a record is of use.
        public var lifetime = Duration.seconds(2 * 3600)
        /// How far ahead another node's clock may be.
        public var skew = Duration.seconds(600)
        /// The most bytes of records in one answer.
        public var answerSize = 48 << 10

        /// The defaults.
        public init() {}

        /// The least that a record counts, in bytes.
        fileprivate var unit: Int { max(1, bytes / max(1, peers)) }
    }

    /// What a peer is to this node, the best first.
    private enum Standing {
        case neighbour, dialled, told, departed
    }

    private struct Entry {
        /// The newest record; `nil` once the peer has left the topics.
        var record: SignedMetadata?
        /// The number of the newest record.
        var sequence: UInt64
        var place: UInt64
        /// How much of the room in the book it takes.
        var weight: Int
        /// Which of `topics` the peer is on, or was on.
        var topics: Set<TopicKey>
        var standing = Standing.told
        /// Who told of the peer first.
        var teller: Teller
        /// When the entry is of no more use, by the time since the machine was started.
        var expiresAt: Instant
    }

    /// The bounds.
    public let limits: Limits
    /// The topics that this node is on.
    public private(set) var topics: [TopicKey]
    private let own: PeerID
    private var entries: [PeerID: Entry] = [:]
    /// All peers by their place on the circle.
    private var circle: [(place: UInt64, peer: PeerID)] = []
    private var neighbours: [PeerID: Teller] = [:]
    private var dialled = TellerShelves<PeerID>()
    private var told = TellerShelves<PeerID>()
    private var departed = TellerShelves<PeerID>()
    /// How much of the room all records take.
    private var weight = 0
    /// When to look again for what has expired, if there is no room.
    private var nextExpiry = Instant.start

    /// An empty book of the node `own`, which is on `topics`.
    public init(of own: PeerID, topics: [TopicKey], limits: Limits = Limits()) {
        self.own = own
        self.topics = topics
        self.limits = limits
    }

    /// How many peers there is a record of.
    public var count: Int { entries.count - departed.count }

    /// How many peers are remembered that have left the topics.
    public var departedCount: Int { departed.count }

    /// The newest record of `peer`.
    public func record(of peer: PeerID) -> SignedMetadata? { entries[peer]?.record }

    /// Which of this node's topics `peer` has said it is on.
    public func topics(of peer: PeerID) -> Set<TopicKey> {
        entries[peer].map { $0.record == nil ? [] : $0.topics } ?? []
    }

    /// Everyone who is on one of `topics`, in the order of the circle.
    public func peers(on topics: Set<TopicKey>) -> [PeerID] {
        circle.lazy.map(\.peer).filter { !self.topics(of: $0).isDisjoint(with: topics) }
    }

    // MARK: Neighbours

    /// `neighbour` is connected and has proven to be on a topic.
    package mutating func met(_ neighbour: Teller) {
        neighbours[neighbour.peer] = neighbour
        if entries[neighbour.peer]?.record != nil { move(neighbour.peer, to: .neighbour, from: neighbour) }
    }

    /// `peer` is no neighbour any more. Its record keeps a better standing if this node `dialled` it, which others cannot
    /// make happen as often as they like.
    package mutating func parted(from peer: PeerID, dialled isDialled: Bool) {
        guard let teller = neighbours.removeValue(forKey: peer), entries[peer]?.record != nil else { return }
        move(peer, to: isDialled ? .dialled : .told, from: teller)
        while dialled.weight > limits.unit * limits.dialled, let heaviest = dialled.heaviest,
            let entry = entries[heaviest]
        {
            move(heaviest, to: .told, from: entry.teller)
        }
    }

    // MARK: Taking

    /// Throws why a record that makes this `claim` is not taken from `teller`, by all that can be said before its signature
    /// is checked.
    package mutating func check(
        _ claim: MetadataClaim, from teller: Teller, at moment: Moment
    ) throws(MetadataRefusal) {
        guard claim.peer != own else { throw .own }
        guard claim.time <= moment.wall + limits.skew else { throw .fromTheFuture }
        guard claim.time >= moment.wall - limits.lifetime else { throw .expired }
        let known = entries[claim.peer]
        if let known, known.sequence >= claim.sequence { throw .notNewer }
        // That a peer has left is to be believed only if it is signed.
        guard !shared(by: claim).isEmpty else {
            if known?.record != nil { return }
            throw .noCommonTopic
        }
        guard surplus(of: claim) > 0 else { return }
        // Looking at all of them for each record would cost more than checking a signature.
        if moment.boot >= nextExpiry {
            nextExpiry = moment.boot + .seconds(1)
            expire(at: moment.boot)
        }
        guard surplus(of: claim) <= 0 || victim(for: claim.peer, from: teller) != nil else { throw .full }
    }

    /// By how much the records would be too many with the one that makes this `claim`.
    private func surplus(of claim: MetadataClaim) -> Int {
        weight - (entries[claim.peer]?.weight ?? 0) + weight(of: claim) - limits.unit * limits.peers
    }

    private func weight(of claim: MetadataClaim) -> Int { max(limits.unit, claim.size) }

    /// Takes a record that came from `teller`. Throws why it is not taken.
    package mutating func take(
        _ record: SignedMetadata, from teller: Teller, at moment: Moment
    ) throws(MetadataRefusal) {
        let claim = MetadataClaim(record)
        try check(claim, from: teller, at: moment)
        let shared = shared(by: claim)
        guard !shared.isEmpty else {
            // A peer that has left the topics says so by a newer record.
            leave(claim, at: moment)
            throw .noCommonTopic
        }
        let age = max(.zero, moment.wall - claim.time)
        let expiresAt = moment.boot + (limits.lifetime - age)
        while surplus(of: claim) > 0 {
            guard let victim = victim(for: claim.peer, from: teller), victim != claim.peer else { throw .full }
            remove(victim)
        }
        let weight = weight(of: claim)
        if var entry = entries[claim.peer], entry.record != nil {
            let before = entry.weight
            (entry.record, entry.sequence, entry.topics, entry.expiresAt) = (record, claim.sequence, shared, expiresAt)
            entry.weight = weight
            self.weight += weight - before
            entries[claim.peer] = entry
            if weight != before { move(claim.peer, to: entry.standing, from: entry.teller) }
            return
        }
        remove(claim.peer)
        let place = MetadataSummary.place(of: claim.peer)
        entries[claim.peer] = Entry(
            record: record, sequence: claim.sequence, place: place, weight: weight, topics: shared, teller: teller,
            expiresAt: expiresAt)
        self.weight += weight
        circle.insert((place, claim.peer), at: index(of: place))
        if let neighbour = neighbours[claim.peer] {
            move(claim.peer, to: .neighbour, from: neighbour)
        } else {
            move(claim.peer, to: .told, from: teller)
        }
    }

    /// Which of this node's topics whoever makes `claim` is on.
    private func shared(by claim: MetadataClaim) -> Set<TopicKey> {
        Set(topics.filter { claim.topicMarks.contains($0.mark(of: claim.peer)) })
    }

    /// Whose record makes room for one of `peer` that `teller` tells; `nil` if nobody's. For one that is known already,
    /// the teller that told of it first pays.
    private func victim(for peer: PeerID, from teller: Teller) -> PeerID? {
        guard neighbours[peer] == nil else { return told.heaviest ?? dialled.heaviest }
        return told.victim(for: entries[peer]?.teller ?? teller)
    }

    /// A peer that is known has left the topics. What it said before may come back by others until it has expired, if made
    /// as late as its clock may have been ahead.
    private mutating func leave(_ claim: MetadataClaim, at moment: Moment) {
        guard var entry = entries[claim.peer] else { return }
        entry.record = nil
        weight -= entry.weight
        entry.weight = 0
        entry.sequence = claim.sequence
        entry.expiresAt = moment.boot + limits.lifetime + limits.skew
        entries[claim.peer] = entry
        move(claim.peer, to: .departed, from: entry.teller)
        if departed.count > limits.departed, let heaviest = departed.heaviest { remove(heaviest) }
    }

    private mutating func move(_ peer: PeerID, to standing: Standing, from teller: Teller) {
        unshelve(peer)
        switch standing {
        case .neighbour: break
        case .dialled: dialled.insert(peer, from: teller, weight: entries[peer]?.weight ?? 0)
        case .told: told.insert(peer, from: teller, weight: entries[peer]?.weight ?? 0)
        case .departed: departed.insert(peer, from: teller)
        }
        entries[peer]?.standing = standing
        entries[peer]?.teller = teller
    }

    private mutating func unshelve(_ peer: PeerID) {
        switch entries[peer]?.standing {
        case .dialled: dialled.remove(peer)
        case .told: told.remove(peer)
        case .departed: departed.remove(peer)
        case .neighbour, nil: break
        }
    }

    /// Forgets what is of no more use at `boot`, by the time since the machine was started. Returns whose records they were.
    @discardableResult
    public mutating func expire(at boot: Instant) -> [PeerID] {
        let old = circle.map(\.peer).filter { entries[$0].map { $0.expiresAt < boot } ?? false }
        guard !old.isEmpty else { return [] }
        let known = old.filter { entries[$0]?.record != nil }
        for peer in old { drop(peer) }
        circle.removeAll { entries[$0.peer] == nil }
        return known
    }

    /// Forgets `peer`.
    public mutating func remove(_ peer: PeerID) {
        guard let entry = drop(peer) else { return }
        var index = index(of: entry.place)
        while index < circle.count, circle[index].peer != peer { index += 1 }
        circle.remove(at: index)
    }

    /// Forgets `peer`, but for its place on the circle.
    @discardableResult
    private mutating func drop(_ peer: PeerID) -> Entry? {
        unshelve(peer)
        guard let entry = entries.removeValue(forKey: peer) else { return nil }
        weight -= entry.weight
        return entry
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

    /// What is known of those on `shared` topics from `first` to `last`, which is all around the circle if it is `nil`, as
    /// far as one summary goes; but for `other`, whom it is for, who has no record of itself. A peer that has left is known
    /// as well, so that nobody sends what it said before; and so is what `other` has sent in vain, which is `declined`: the
    /// numbers of records by the places of their peers.
    public func summary(
        from first: UInt64, to last: UInt64? = nil, on shared: Set<TopicKey>, except other: PeerID,
        declined: [UInt64: UInt64] = [:]
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
            summary.entries.append(.init(place: place, sequence: entry.sequence))
        }
        if !declined.isEmpty { summary.add(declined) }
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
            guard let record = entry.record else { continue }
            if let sequence = known[place], sequence >= entry.sequence { continue }
            room -= record.envelope.bytes.count
            guard room >= 0, missing.count < MetadataMessage.maximumRecords else { break }
            missing.append(record)
        }
        return missing
    }
}
