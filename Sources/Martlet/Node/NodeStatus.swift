public import MartletIdentity
public import MartletMainline
public import MartletMetadata
public import MartletRuntime
public import MartletStore
public import MartletWire

/// How a node is doing.
public struct NodeStatus: Sendable {
    /// A topic that the node is on.
    public struct Topic: Hashable, Sendable {
        /// What people call it.
        public var name: String
        /// How many are connected who have proven to be on it.
        public var neighbours: Int
        /// How many are known to be on it, neighbours included.
        public var known: Int
    }

    /// The node's connections.
    public struct Connections: Hashable, Sendable {
        /// All of them.
        public var total = 0
        /// Those that others dialled.
        public var inbound = 0
        /// Those that this node dialled.
        public var outbound = 0
        /// How many each transport carries, in the order of their names.
        public var byTransport: [TransportCount] = []
    }

    /// How many connections a transport carries.
    public struct TransportCount: Hashable, Sendable {
        /// Its name.
        public var transport: String
        /// How many.
        public var count: Int
    }

    /// The node's part in the DHT, in one family of addresses.
    public struct DHT: Hashable, Sendable {
        /// The family.
        public var family: IPAddress.Family
        /// How far it has come in joining.
        public var state: JoinState
        /// How long nobody in the DHT has answered; `nil` while somebody does.
        public var unanswered: Duration?
        /// How many nodes it knows.
        public var nodes: Int
        /// This node's address as others see it, where enough agree.
        public var outsideAddress: SocketAddress?
    }

    /// The peer database.
    public struct Store: Hashable, Sendable {
        /// Its file; `nil` where it is in memory alone.
        public var path: String?
        /// How many changes wait to be written.
        public var waiting: Int
        /// What keeps it from writing to the disk, while something does.
        public var trouble: StoreError?
    }

    /// What the buffers of connections hold.
    public struct Memory: Hashable, Sendable {
        /// How many bytes.
        public var used: Int
        /// How many there may be.
        public var limit: Int
    }

    /// Who it is.
    public var id: PeerID
    /// What people call it.
    public var name: String
    /// The program that it runs.
    public var version: String
    /// What it is there for.
    public var role: NodeConfiguration.Role
    /// When it was started.
    public var startedAt: WallTime
    /// For how long it has been running.
    public var uptime: Duration
    /// Whether it can be reached from the internet.
    public var type: NodeMetadata.NodeType
    /// What its NAT does. `unknown` until there is a way to find out.
    public var nat: NodeMetadata.NATKind
    /// Why its type is what it is, in sentences: who said what, and when.
    public var typeReasons: [String]
    /// Where it listens, with its id.
    public var listening: [Multiaddr]
    /// Where others see it, as far as enough of them agree.
    public var observed: [Multiaddr]
    /// Its topics, in the order of the configuration.
    public var topics: [Topic]
    /// Its connections.
    public var connections: Connections
    /// Of how many peers on its topics it has a record.
    public var known: Int
    /// Its part in the DHT; empty where it takes none.
    public var dht: [DHT]
    /// The peer database.
    public var store: Store
    /// What the buffers of connections hold.
    public var memory: Memory
    /// What may need attention, the newest last.
    public var warnings: [String]
}

/// Something that a node checks of itself.
public struct HealthCheck: Hashable, Sendable {
    /// Its name: `listening`.
    public var name: String
    /// Whether it is as it should be.
    public var isOK: Bool
    /// Whether the node is of no use where it is not.
    public var isRequired: Bool
    /// What was found, in a sentence.
    public var detail: String
}
