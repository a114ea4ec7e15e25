public import MartletIdentity
public import MartletRuntime
public import MartletWire

/// Which peers are asked for. All conditions hold at once; what is not set asks for nothing.
public struct PeerQuery: Hashable, Sendable {
    /// In which order they come.
    public enum Order: Int64, Hashable, Sendable {
        /// The highest score first.
        case score
        /// The one heard of last first.
        case lastSeen
        /// The one connected last first; those that never were come last.
        case lastConnected
    }

    /// A topic that the peer is on, by its proof or by its record, under this node's own name for the topic.
    public var topic: Bytes?
    /// Whether the peer has proven over a connection to be on a topic of this node, or to be on `topic` if that is set.
    public var isProven: Bool?
    /// Something that it can do.
    public var capability: String?
    /// Its type.
    public var type: String?
    /// The name of a service that it offers.
    public var service: String?
    /// Whether it is kept however old it gets.
    public var isKept: Bool?
    /// Whether it was connected at some time.
    public var wasConnected: Bool?
    /// The least score.
    public var score: Double?
    /// When it was heard of last, at the earliest.
    public var seenSince: WallTime?
    /// The peers among which it looks; `nil` for all.
    public var among: [PeerID]?
    /// The peers that it leaves out.
    public var excluding: [PeerID]
    /// Where the page before ended, in the same order; `nil` for the first page.
    public var after: PeerCursor?
    /// In which order.
    public var order: Order
    /// At most this many of one network, the first in the order; `nil` for any number. Those of which no network is known
    /// all come.
    public var ofNetwork: Int?
    /// At most this many; no more than 10,000.
    public var limit: Int

    /// A query for all peers, best first, with what is asked of them.
    public init(
        topic: Bytes? = nil, isProven: Bool? = nil, capability: String? = nil, type: String? = nil,
        service: String? = nil, isKept: Bool? = nil, wasConnected: Bool? = nil, score: Double? = nil,
        seenSince: WallTime? = nil,
        among: [PeerID]? = nil, excluding: [PeerID] = [], after: PeerCursor? = nil, order: Order = .score,
        ofNetwork: Int? = nil, limit: Int = 1000
    ) {
        self.topic = topic
        self.isProven = isProven
        self.isKept = isKept
        self.among = among
        self.excluding = excluding
        self.after = after
        self.capability = capability
        self.type = type
        self.service = service
        self.wasConnected = wasConnected
        self.score = score
        self.seenSince = seenSince
        self.order = order
        self.ofNetwork = ofNetwork
        self.limit = limit
    }
}

/// Where a page of a list ends: the last peer's place in its order.
///
/// A peer whose place changes between two pages may be listed twice or not at all; no other is.
public struct PeerCursor: Hashable, Sendable {
    /// What the order goes by; lower values come first.
    var rank: Double
    /// The peer, which tells apart those of the same rank.
    var id: PeerID

    /// The place behind a peer with this score, in the order `.score`.
    public init(score: Double, id: PeerID) {
        rank = -score
        self.id = id
    }

    /// The place behind `summary` in `order`.
    public init(after summary: PeerSummary, in order: PeerQuery.Order) {
        rank =
            switch order {
            case .score: -summary.score
            case .lastSeen: -Double(summary.lastSeen.seconds)
            case .lastConnected: -Double(summary.lastConnected?.seconds ?? 0)
            }
        id = summary.id
    }
}

/// A peer in a list. Times are to the second.
public struct PeerSummary: Hashable, Sendable {
    /// The peer.
    public var id: PeerID
    /// From its newest metadata: its name, and so on; empty where there is none.
    public var name = ""
    /// The version of its program; as identify told it when its metadata does not.
    public var version = ""
    /// What kind of node it is.
    public var type = ""
    /// Behind what kind of NAT it is.
    public var nat = ""
    /// The number of its newest metadata, if it has any.
    public var sequence: UInt64?
    /// How good it is to be connected to, from 0 to 100.
    public var score: Double
    /// When it was first heard of.
    public var firstSeen: WallTime
    /// When it was last heard of.
    public var lastSeen: WallTime
    /// When it was last connected, if ever.
    public var lastConnected: WallTime?
    /// Whether it is kept however old it gets.
    public var isKept: Bool
    /// How many addresses of it are known.
    public var addresses: Int
    /// The network in which it was met last; empty for one that was not.
    public var network = ""
    /// The topics that it is on, by its proof or by its newest metadata, each under this node's own name for it.
    public var topics: [Bytes] = []
    /// Whether it has proven over a connection to be on one of them.
    public var isProven = false
}

/// An address of a peer, and how it fared.
public struct KnownAddress: Hashable, Sendable {
    /// The address.
    public var address: Multiaddr
    /// How it became known first.
    public var source: AddressSource
    /// When it was first named.
    public var firstSeen: WallTime
    /// When it was last named.
    public var lastSeen: WallTime
    /// How often the peer was reached there.
    public var successes: Int
    /// How often it was not.
    public var failures: Int
    /// How often it was not since it was last reached.
    public var failuresInRow: Int
    /// When the peer was last reached there.
    public var lastSuccess: WallTime?
    /// When it was last not.
    public var lastFailure: WallTime?
    /// Why not.
    public var lastError: String?
}

/// Evidence with its times.
public struct KnownEvidence: Hashable, Sendable {
    /// Who said what.
    public var evidence: Evidence
    /// When it was first said.
    public var firstSaid: WallTime
    /// When it was last said.
    public var lastSaid: WallTime
    /// How often it was said.
    public var times: Int
}

/// How a connection did in an hour or a day.
public struct QualityPeriod: Hashable, Sendable {
    /// When the period began.
    public var since: WallTime
    /// How long it is.
    public var length: Duration
    /// How often the time there and back was measured.
    public var samples: Int
    /// Its mean, where it was measured.
    public var roundTrip: Duration?
    /// Its least.
    public var leastRoundTrip: Duration?
    /// Its most.
    public var longestRoundTrip: Duration?
    /// The mean of its variation.
    public var jitter: Duration?
    /// How many packets were sent.
    public var packets: Int
    /// How many of them were lost.
    public var lost: Int
    /// How many bytes came in.
    public var bytesIn: Int
    /// How many bytes went out.
    public var bytesOut: Int
    /// The share of the period for which the peer was connected.
    public var uptime: Double
}

/// What a part of a peer's score comes from.
public struct ScoreReason: Hashable, Sendable {
    /// The reason, in a few words.
    public var reason: String
    /// How many points it gives or takes.
    public var points: Double
}

/// All that is known of a peer.
public struct PeerDetails: Hashable, Sendable {
    /// What a list shows.
    public var summary: PeerSummary
    /// Its addresses, those to dial first at the front.
    public var addresses: [KnownAddress]
    /// Its metadata, the newest first. Topics and services stand with the newest alone.
    public var metadata: [PeerMetadata]
    /// What was said about it, the newest first.
    public var evidence: [KnownEvidence]
    /// How its connections did, the newest first.
    public var quality: [QualityPeriod]
    /// What its score is made of, beside the 50 that every peer begins with.
    public var reasons: [ScoreReason]
}

/// How many rows the tables have.
public struct StoreCounts: Hashable, Sendable {
    /// Peers.
    public var peers = 0
    /// Addresses.
    public var addresses = 0
    /// Metadata records.
    public var metadata = 0
    /// Topics of peers.
    public var topics = 0
    /// Peers on topics of this node, each counted once for a topic.
    public var members = 0
    /// Services of peers.
    public var services = 0
    /// Evidence.
    public var evidence = 0
    /// Hours and days of quality.
    public var quality = 0
    /// Reasons of scores.
    public var reasons = 0
}
