import MartletCrypto
public import MartletRouting
public import MartletRuntime
public import MartletWire

extension SocketAddress: RoutingContact {
    /// The host of a global address, which has a /64 over IPv6; others are not counted together.
    public var host: IPAddress? { ip.isGlobal ? ip.counted : nil }

    /// The IPv4 /24 or IPv6 /64 of a global address; others are not counted together.
    public var network: IPAddress? { ip.isGlobal ? ip.prefix(ip.isV4 ? 24 : 64) : nil }
}

/// A lookup that runs, by the number that its node knows it by.
public struct SearchID: Hashable, Comparable, Sendable {
    let number: UInt64

    /// By age.
    public static func < (left: SearchID, right: SearchID) -> Bool { left.number < right.number }
}

/// How a lookup went.
public struct SearchReport: Hashable, Sendable {
    /// What was looked for.
    public var target: NodeID
    /// Where: over IPv4 or over IPv6.
    public var family: IPAddress.Family
    /// How many nodes were asked.
    public var asked: Int
    /// How many answered.
    public var answered: Int
    /// The closest that answered.
    public var closest: [SocketAddress]
    /// How many leading bits the closest has in common with the target.
    public var closeness: Int
    /// How many nodes stored what was to be stored.
    public var stored: Int
    /// How many would not.
    public var refused: Int
    /// How long it took.
    public var duration: Duration
}

/// A lookup with all that is wanted of it.
struct Search {
    enum Purpose {
        /// Our own neighbours: how a node joins.
        case join
        /// The nodes around a key.
        case nodes
        /// The peers of an infohash; with a port, they are told of us afterwards.
        case peers(announcing: AnnouncedPort?)
        /// An item; `put` is stored afterwards.
        case item(Wanted)
        /// What nodes store, on the way to a key (BEP 51).
        case sample
    }

    /// An item that is looked for.
    struct Wanted {
        /// What is to be put afterwards, if anything.
        var put: MainlineItem?
        /// The version that it is to replace.
        var expected: Int64?
        /// Whether `put` is only kept alive: a newer version is put in its place, and nothing where others do it.
        var isKept = false
        /// The salt that belongs to the target.
        var salt = Bytes()
        /// The newest that was found.
        var best: MainlineItem?

        /// What is to be stored, if anything.
        var stored: MainlineItem? {
            guard isKept, let put, let best, let found = best.author, let ours = put.author else { return put }
            return found.sequence > ours.sequence ? best : put
        }
    }

    let id: SearchID
    let family: IPAddress.Family
    var purpose: Purpose
    var lookup: Lookup<NodeID, SocketAddress>
    /// The tokens that the nodes gave us.
    var tokens: [SocketAddress: Bytes] = [:]
    /// Who has the item that is looked for, and which version; 0 of one that is immutable.
    var versions: [SocketAddress: Int64] = [:]
    /// What was handed out.
    var peers: Set<SocketAddress> = []
    var infohashes: Set<NodeID> = []
    /// How many answers to what is being stored are still to come.
    var storing = 0
    var isStoring = false
    var stored = 0
    var refused = 0
    /// Whether there is something to ask for which there is no allowance.
    var isHeldUp = false

    /// Whether others keep `item` alive, so that we need not (BEP 44, "Expiration"): all of the closest nodes have it, and
    /// one more at least, as they only do where several put it.
    func isKeptByOthers(_ item: MainlineItem) -> Bool {
        let sequence = item.author?.sequence ?? 0
        let closest = lookup.closest
        return closest.count == lookup.limits.closest && versions.count { $0.value == sequence } > closest.count
            && closest.allSatisfy { versions[$0.contact] == sequence }
    }

    func report(at now: Instant) -> SearchReport {
        let closest = lookup.closest
        return SearchReport(
            target: lookup.target, family: family, asked: lookup.askedCount, answered: lookup.answeredCount,
            closest: closest.map(\.contact),
            closeness: closest.first?.key.map { lookup.target.commonPrefixLength(with: $0) } ?? 0, stored: stored,
            refused: refused, duration: now - lookup.began)
    }
}

/// The port under which we are announced.
public enum AnnouncedPort: Hashable, Sendable {
    /// The one that the DHT's own datagrams come from, whatever a NAT makes of it. Nodes that know nothing of implied
    /// ports are told the number that others see.
    case implied
    /// This one.
    case number(UInt16)
}

/// How far a node has come in joining the DHT.
public enum JoinState: Hashable, Sendable {
    /// It has not begun.
    case idle
    /// It looks for its neighbours.
    case joining
    /// It knows them.
    case joined
    /// Nobody answered; it tries again at this time.
    case unreachable(retryAt: Instant)
}

/// What a node has to tell.
public enum MainlineEvent: Sendable {
    /// Peers of an infohash, which this lookup had not found before.
    case peers(SearchID, [SocketAddress])
    /// An item; a newer one may follow.
    case item(SearchID, MainlineItem)
    /// Infohashes that others store, which this lookup had not found before.
    case infohashes(SearchID, [NodeID])
    /// A lookup has ended, and what was to be stored is stored.
    case ended(SearchID, SearchReport)
    /// Our address as others see it, which is new.
    case outsideAddress(SocketAddress)
    /// How far it has come in joining.
    case join(IPAddress.Family, JoinState)
    /// Whether anybody answers: told once when somebody does, and once when nobody does any more, however often it is
    /// tried in between.
    case reached(IPAddress.Family, Bool)
    /// It knows too few nodes to join: `bootstrap` should be called with addresses.
    case needsBootstrap(IPAddress.Family)
}
