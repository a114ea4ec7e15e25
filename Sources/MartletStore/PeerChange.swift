public import MartletIdentity
public import MartletWire

/// Something that was learnt of a peer. The store stamps it with the time at which it is recorded.
public enum PeerChange: Hashable, Sendable {
    /// The peer was heard of.
    case seen(PeerID)
    /// The peer is said to be reached there, by `source`.
    case addresses(PeerID, [Multiaddr], AddressSource)
    /// The peer was connected: it proved to be itself at that address, which was dialled or from which it came.
    case connected(PeerID, Multiaddr?)
    /// The peer came from, or was reached in, that network: an IPv4 /24 or IPv6 /48 in its own words. Of one network, at
    /// most `StoreLimits.strangersOfNetwork` strangers are remembered.
    case met(PeerID, network: String)
    /// A connection has proven that the peer is on these topics, each by this node's own name for it.
    case proved(PeerID, topics: [Bytes])
    /// The peer says by identify that it runs this program. It is refused when the peer is unknown.
    case identified(PeerID, agent: String)
    /// Dialling the peer at that address failed, for a reason in a word or two.
    case failed(PeerID, Multiaddr, String)
    /// The peer's own metadata, whose signature has been checked. One that is not newer than what is known is refused.
    case metadata(PeerMetadata)
    /// Somebody said something about a peer, or about this node.
    case evidence(Evidence)
    /// What was measured of the connection since the last sample.
    case quality(PeerID, QualitySample)
    /// The peer behaved well or badly, by so many points. A later judgement takes the place of one for the same reason.
    case judged(PeerID, reason: String, points: Int)
    /// Whether the peer is kept however old it gets, as those are that an operator named.
    case kept(PeerID, Bool)
    /// All about the peer is forgotten.
    case forgotten(PeerID)
}

/// How an address became known.
public enum AddressSource: String, Hashable, Sendable, CaseIterable {
    /// An operator named it.
    case configured
    /// The peer signed that it has it.
    case signed
    /// The peer said so in identify.
    case identify
    /// A DHT.
    case dht
    /// Another peer.
    case peer
    /// The local network.
    case local
    /// A connection came from there, or was made to there.
    case connection
}

/// What a peer says of itself: a signed record, and of its content what is asked for by a database.
public struct PeerMetadata: Hashable, Sendable {
    /// The peer that signed the record.
    public var peer: PeerID
    /// The record's number: a higher one takes the place of a lower. Above `Int64.max` it is refused.
    public var sequence: UInt64
    /// The record as it was signed, to be passed on.
    public var record: Bytes
    /// The name that the peer gives itself.
    public var name: String
    /// The version of its program.
    public var version: String
    /// What kind of node it is.
    public var type: String
    /// Behind what kind of NAT it is.
    public var nat: String
    /// What it can do.
    public var capabilities: [String]
    /// The keyed names of its topics; never the names themselves.
    public var topics: [Bytes]
    /// Those of this node's topics that the record names, each by this node's own name for it: `PeerQuery.topic`.
    public var members: [Bytes]
    /// What it offers.
    public var services: [PeerService]

    /// Metadata with all its parts.
    public init(
        peer: PeerID, sequence: UInt64, record: Bytes, name: String = "", version: String = "", type: String = "",
        nat: String = "", capabilities: [String] = [], topics: [Bytes] = [], members: [Bytes] = [],
        services: [PeerService] = []
    ) {
        self.peer = peer
        self.sequence = sequence
        self.record = record
        self.name = name
        self.version = version
        self.type = type
        self.nat = nat
        self.capabilities = capabilities
        self.topics = topics
        self.members = members
        self.services = services
    }
}

/// A service that a peer offers.
public struct PeerService: Hashable, Sendable {
    /// Its name.
    public var name: String
    /// The port that it has; 0 where it has none.
    public var port: UInt16
    /// What it is, in the peer's words.
    public var description: String

    /// A service with all its parts.
    public init(name: String, port: UInt16 = 0, description: String = "") {
        self.name = name
        self.port = port
        self.description = description
    }
}

/// Who said what, of whom.
public struct Evidence: Hashable, Sendable {
    /// The peer that it is about; `nil` for this node.
    public var about: PeerID?
    /// What kind of thing was said: `observed-address`, `inbound`, `interface`.
    public var kind: String
    /// What was said.
    public var value: String
    /// Who said it: a peer's id, a DHT node's address, the name of an interface.
    public var witness: String

    /// Evidence with all its parts.
    public init(about: PeerID? = nil, kind: String, value: String, witness: String) {
        self.about = about
        self.kind = kind
        self.value = value
        self.witness = witness
    }
}

/// What was measured of a connection since the last sample.
public struct QualitySample: Hashable, Sendable {
    /// How long a packet took there and back, where that was measured.
    public var roundTrip: Duration?
    /// By how much that varies.
    public var jitter: Duration
    /// How many packets were sent.
    public var packets: Int
    /// How many of them were lost.
    public var lost: Int
    /// How many bytes came in.
    public var bytesIn: Int
    /// How many bytes went out.
    public var bytesOut: Int
    /// For how long the peer was connected.
    public var connected: Duration

    /// A sample with its parts.
    public init(
        roundTrip: Duration? = nil, jitter: Duration = .zero, packets: Int = 0, lost: Int = 0, bytesIn: Int = 0,
        bytesOut: Int = 0, connected: Duration = .zero
    ) {
        self.roundTrip = roundTrip
        self.jitter = jitter
        self.packets = packets
        self.lost = lost
        self.bytesIn = bytesIn
        self.bytesOut = bytesOut
        self.connected = connected
    }
}
