public import MartletIdentity
public import MartletMetadata
public import MartletRuntime
public import MartletStore
public import MartletTransport
internal import MartletWire

/// A peer as a list shows it: connected, or known from before or from others.
public struct NodePeer: Hashable, Sendable {
    /// The connection to a peer that is used for new streams.
    public struct Link: Hashable, Sendable {
        /// Which transport carries it: `tcp`, `quic-v1`.
        public var transport: String
        /// Who dialled whom.
        public var direction: ConnectionNature.Direction
        /// Whether a third peer passes it on.
        public var isRelayed: Bool
        /// Where the other end is.
        public var address: Multiaddr
        /// When it was made.
        public var since: WallTime
        /// How long the last answer took, where that was measured.
        public var roundTrip: Duration?
        /// How far that varies.
        public var jitter: Duration?
    }

    /// Which peers are asked for. All conditions hold at once.
    public struct Filter: Hashable, Sendable {
        /// A topic of this node that the peer is on.
        public var topic: String?
        /// Whether it must be connected.
        public var connectedOnly: Bool
        /// Something that it can do.
        public var capability: String?
        /// Where the page before ended: its last peer's `cursor`; `nil` for the first page.
        public var after: Cursor?
        /// At most this many; no more than 10,000.
        public var limit: Int

        /// A filter with its parts.
        public init(
            topic: String? = nil, connectedOnly: Bool = false, capability: String? = nil, after: Cursor? = nil,
            limit: Int = 1000
        ) {
            self.topic = topic
            self.after = after
            self.connectedOnly = connectedOnly
            self.capability = capability
            self.limit = limit
        }

        /// Everyone who is known.
        public static let all = Filter()
        /// Those who are connected.
        public static let connected = Filter(connectedOnly: true)
    }

    /// A place in the list of peers, behind one of them.
    ///
    /// A peer that is connected or disconnected, or whose score changes, between two pages may be listed twice or not at
    /// all; no other is.
    public struct Cursor: Hashable, Sendable, LosslessStringConvertible {
        let isConnected: Bool
        let score: Double
        let id: PeerID

        init(isConnected: Bool, score: Double, id: PeerID) {
            self.isConnected = isConnected
            self.score = score
            self.id = id
        }

        /// The cursor that `description` wrote; `nil` if it is none.
        public init?(_ description: String) {
            let parts = description.split(separator: "_", omittingEmptySubsequences: false)
            guard parts.count == 3, parts[0] == "c" || parts[0] == "k", let score = Double(parts[1]),
                score.isFinite, let id = PeerID(String(parts[2]))
            else { return nil }
            self.init(isConnected: parts[0] == "c", score: score, id: id)
        }

        /// The cursor as text that fits into a URL as it is.
        public var description: String { "\(isConnected ? "c" : "k")_\(score)_\(id)" }
    }

    /// The place behind this peer.
    public var cursor: Cursor { Cursor(isConnected: link != nil, score: score, id: id) }

    /// Who it is.
    public var id: PeerID
    /// What it calls itself.
    public var name: String
    /// The program that it runs.
    public var version: String
    /// Whether it can be reached, as it says.
    public var type: NodeMetadata.NodeType
    /// What its NAT does, as it says.
    public var nat: NodeMetadata.NATKind
    /// Which of this node's topics it is on, in ascending order.
    public var topics: [String]
    /// Its connection, where it is connected.
    public var link: Link?
    /// How good it is to be connected to, from 0 to 100.
    public var score: Double
    /// When it was last heard of.
    public var lastSeen: WallTime
    /// How many addresses of it are known.
    public var addresses: Int
}

/// All that is known of a peer.
public struct NodePeerDetails: Hashable, Sendable {
    /// What a list shows.
    public var peer: NodePeer
    /// What it last said of itself, and signed.
    public var metadata: NodeMetadata?
    /// Its addresses and how each fared, those to dial first at the front.
    public var addresses: [KnownAddress]
    /// What was said about it, the newest first.
    public var evidence: [KnownEvidence]
    /// How its connections did, the newest first.
    public var quality: [QualityPeriod]
    /// What its score is made of, beside the 50 that every peer begins with.
    public var reasons: [ScoreReason]
}

extension NodeMetadata.NodeType {
    /// As the database has it.
    var text: String {
        switch self {
        case .unknown: "unknown"
        case .public: "public"
        case .private: "private"
        }
    }

    init(text: String) {
        self = [.public, .private].first { $0.text == text } ?? .unknown
    }
}

extension NodeMetadata.NATKind {
    /// As the database has it.
    var text: String {
        switch self {
        case .unknown: "unknown"
        case .none: "none"
        case .endpointIndependent: "endpoint-independent"
        case .addressDependent: "address-dependent"
        case .addressAndPortDependent: "address-and-port-dependent"
        }
    }

    init(text: String) {
        let known: [NodeMetadata.NATKind] = [
            .none, .endpointIndependent, .addressDependent, .addressAndPortDependent,
        ]
        self = known.first { $0.text == text } ?? .unknown
    }
}
