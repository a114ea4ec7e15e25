public import MartletCrypto
public import MartletIdentity
public import MartletMainline
public import MartletMetadata
public import MartletStore
public import MartletSwarm
internal import MartletWire

/// How a node is to behave. What is not set is as most nodes want it.
public struct NodeConfiguration: Sendable {
    /// What a node is there for.
    public enum Role: String, Hashable, Sendable, CaseIterable {
        /// To be one of those on its topics.
        case peer
        /// To be where others begin: it takes whoever comes, and looks for nobody on its topics itself.
        case bootstrap
        /// To pass on what others cannot send each other directly. Nothing does that yet; it is a peer meanwhile.
        case relay
        /// To do work for others. Nothing does that yet; it is a peer meanwhile.
        case worker
    }

    /// QUIC and TCP on all of this host's addresses, on a port that is free in all of them where there is one.
    public static let everywhere = [
        Multiaddr(.ip(.anyV4), .udp(0), .quicV1), Multiaddr(.ip(.anyV6), .udp(0), .quicV1),
        Multiaddr(.ip(.anyV4), .tcp(0)), Multiaddr(.ip(.anyV6), .tcp(0)),
    ]

    /// What people call it; at most 64 bytes of it are told to others.
    public var name = ""
    /// What it is there for.
    public var role = Role.peer
    /// The names of the topics that it is on; at most 32.
    public var topics: [String] = []
    /// Where it listens. Where the port is 0, all take the same one that is free, as far as that can be.
    public var listen = NodeConfiguration.everywhere
    /// Where it begins to look for others.
    public var bootstrap: [BootstrapAddress] = []
    /// Its key. Where it is `nil`, that is kept in the file `identity` of `dataDirectory`, or made anew each time where
    /// there is no such directory or the node is given an environment.
    public var identity: PrivateKey?
    /// Where its files are; `nil` for a node that keeps nothing on disk. A node that is given an environment keeps its
    /// files there, unless `keepsFiles` is off, and does not look at this.
    public var dataDirectory: String?
    /// Whether the peer database and the DHT's nodes are kept in files at all.
    public var keepsFiles = true
    /// How it takes part in the DHT; `nil` for not at all.
    public var dht: MainlineConfiguration? = MainlineConfiguration()
    /// To how many peers on its topics it connects. The rest it learns of from these.
    public var targetConnections = 32
    /// How many connections it has at the most.
    public var maximumConnections = 256
    /// How often connections are measured.
    public var heartbeat = Duration.seconds(15)
    /// How long connecting to a peer may take.
    public var connectionTimeout = Duration.seconds(10)
    /// What identify says of the network that it belongs to.
    public var protocolVersion = "martlet/1"
    /// What it can do, by name; at most 32.
    public var capabilities: [String] = []
    /// What it offers; at most 32.
    public var services: [NodeMetadata.Service] = []
    /// Whether those on its topics are told its addresses on its own network.
    public var sharesPrivateAddresses = true
    /// Who may be connected.
    public var access = AccessLists()
    /// The bounds of its connections. `maximumConnections` and `connectionTimeout` go before what stands here.
    public var limits = SwarmLimits()
    /// The bounds of its peer database.
    public var store = StoreLimits()
    /// The bounds of its search for peers. `targetConnections` goes before what stands here.
    public var discovery = DiscoveryLimits()
    /// How long connections are kept that nobody has named.
    public var leases = LeaseLimits()
    /// How records are exchanged.
    public var metadata = MetadataConfiguration()
    /// How its transports are made.
    public var transports = TransportConfiguration()

    /// A node as most are.
    public init() {}

    /// A node on `topics`.
    public init(topics: [String], name: String = "") {
        self.topics = topics
        self.name = name
    }

    /// The bounds of the swarm, with what goes before them.
    var swarmLimits: SwarmLimits {
        var limits = limits
        let most = max(4, maximumConnections)
        limits.connections = most
        limits.highMark = min(limits.highMark, most - most / 8)
        limits.lowMark = min(limits.lowMark, most - most / 4)
        limits.dialTimeout = connectionTimeout
        return limits
    }

    /// The bounds of discovery, with what goes before them.
    var discoveryLimits: DiscoveryLimits {
        var limits = discovery
        limits.target = max(1, min(targetConnections, maximumConnections / 2))
        return limits
    }

    /// Throws what makes no sense.
    func check() throws(MartletError) {
        func refuse(_ words: String) -> MartletError { MartletError(.invalidConfiguration, words) }
        guard topics.count <= 32 else { throw refuse("there are \(topics.count) topics; a node may be on 32") }
        guard Set(topics).count == topics.count else { throw refuse("a topic stands twice in the configuration") }
        guard !topics.contains("") else { throw refuse("a topic has no name") }
        guard targetConnections > 0, maximumConnections > 3 else {
            throw refuse("targetConnections is to be above 0 and maximumConnections above 3")
        }
        guard heartbeat >= .seconds(1), connectionTimeout >= .milliseconds(100) else {
            throw refuse("heartbeat is to be a second at least, and connectionTimeout 100 milliseconds")
        }
        for address in listen where address.socketAddress == nil {
            throw MartletError(
                .invalidConfiguration, "\(address) is nothing to listen on; write it like /ip4/0.0.0.0/tcp/4001",
                address: address)
        }
    }
}
