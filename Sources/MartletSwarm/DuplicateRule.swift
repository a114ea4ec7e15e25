internal import MartletIdentity
internal import MartletRuntime
internal import MartletTransport

/// Which of several connections to one peer is used: a machine. The rule is written down in
/// Documentation/Connections.md.
///
/// A relayed connection gives way to a direct one. Of two that were made within `window` of each other, one by either
/// side, the one that the peer with the smaller id dialled is kept: both sides see the same. In all other cases the
/// newer is kept, since who dials has no use for the older. What is not kept gets no new streams from this side; it is
/// closed when it has carried none for a while, and sooner by the side with the smaller id, so that two sides that see it
/// differently never close both.
struct DuplicateRule: Sendable {
    /// How far apart two connections may be made and still count as two dials at the same time: as long as a dial takes.
    static let window = Duration.seconds(15)
    /// How long a connection that is not kept must be without streams before the side with the smaller id closes it.
    static let drain = Duration.seconds(2)
    /// The same for the other side, which gives the first the time to do it.
    static let patience = Duration.seconds(10)

    /// A connection, as far as the rule looks at it.
    struct Candidate: Hashable, Sendable {
        /// Its number in the swarm, which grows.
        var number: UInt64
        var direction: ConnectionNature.Direction
        var isRelayed: Bool
        var madeAt: Instant
        /// Since when it has carried no streams, or `nil` while it carries any.
        var idleSince: Instant?
    }

    private let local: PeerID

    init(local: PeerID) {
        self.local = local
    }

    /// The one of `candidates`, all with `peer`, that is used for new streams.
    func preferred(of candidates: [Candidate], with peer: PeerID) -> Candidate? {
        candidates.dropFirst().reduce(candidates.first) { best, candidate in
            best.map { better($0, candidate, with: peer) }
        }
    }

    private func better(_ one: Candidate, _ other: Candidate, with peer: PeerID) -> Candidate {
        if one.isRelayed != other.isRelayed { return one.isRelayed ? other : one }
        let (older, newer) = one.number < other.number ? (one, other) : (other, one)
        guard older.direction != newer.direction, newer.madeAt - older.madeAt < Self.window else { return newer }
        let keptDirection = local < peer ? ConnectionNature.Direction.outbound : .inbound
        return older.direction == keptDirection ? older : newer
    }

    /// When `candidate`, which is not the one that is used, may be closed; `nil` while it carries streams.
    func closingTime(of candidate: Candidate, with peer: PeerID) -> Instant? {
        candidate.idleSince.map { $0 + (local < peer ? Self.drain : Self.patience) }
    }
}
