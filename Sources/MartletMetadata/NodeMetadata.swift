public import MartletIdentity
public import MartletRuntime
public import MartletWire

/// What a node says of itself to those who share a topic with it.
///
/// The schema of the message stands in `Documentation/Metadata.md`. A value proves nothing: `SignedMetadata` is one
/// that its node has signed.
public struct NodeMetadata: Hashable, Sendable {
    /// Whether a node can be reached from the internet without help.
    public enum NodeType: Int, Hashable, Sendable {
        /// Nobody knows yet.
        case unknown = 0
        /// It can.
        case `public` = 1
        /// It stands behind a NAT or a firewall.
        case `private` = 2
    }

    /// What the NAT in front of a node does.
    public enum NATKind: Int, Hashable, Sendable {
        /// Nobody knows yet.
        case unknown = 0
        /// There is none.
        case none = 1
        /// A port inside has one port outside, whomever it sends to.
        case endpointIndependent = 2
        /// A port inside has another port outside for each address that it sends to.
        case addressDependent = 3
        /// A port inside has another port outside for each address and port that it sends to.
        case addressAndPortDependent = 4
    }

    /// Something that a node offers beside what its capabilities say.
    public struct Service: Hashable, Sendable {
        /// What it is called.
        public var name: String
        /// The port that it is at; 0 where it has none.
        public var port: UInt16
        /// A sentence for a person.
        public var description: String

        /// A service with its parts.
        public init(name: String, port: UInt16 = 0, description: String = "") {
            self.name = name
            self.port = port
            self.description = description
        }
    }

    /// How busy a node is.
    public struct Load: Hashable, Sendable {
        /// The share of its processors that is used, in thousandths.
        public var processor: UInt32
        /// The share of its memory that is used, in thousandths.
        public var memory: UInt32
        /// How many peers it is connected to.
        public var connections: UInt32

        /// A load with its parts.
        public init(processor: UInt32 = 0, memory: UInt32 = 0, connections: UInt32 = 0) {
            self.processor = processor
            self.memory = memory
            self.connections = connections
        }
    }

    /// Who says it.
    public var peer: PeerID
    /// The number that grows with each record of the node, beyond its restarts.
    public var sequence: UInt64
    /// When it was said, by the node's own clock.
    public var time: WallTime
    /// What the node is called.
    public var name = ""
    /// The program that it runs.
    public var version = ""
    /// What its topics are to those who know them: see `TopicKey.mark`.
    public var topicMarks: [Bytes] = []
    /// Where it listens.
    public var listenAddresses: [Multiaddr] = []
    /// Where others see it.
    public var observedAddresses: [Multiaddr] = []
    /// Where it can be reached on its own network. Only those on a topic with it ever see a record.
    public var privateAddresses: [Multiaddr] = []
    /// Whether it can be reached.
    public var type = NodeType.unknown
    /// What its NAT does.
    public var nat = NATKind.unknown
    /// What it can do, by name.
    public var capabilities: [String] = []
    /// What it offers.
    public var services: [Service] = []
    /// How busy it is.
    public var load = Load()
    /// For how many seconds it has been running.
    public var uptime: UInt64 = 0
    /// Fields of a later version, as they were written.
    public var unknownFields = Bytes()

    /// A record of `peer` that says nothing yet.
    public init(peer: PeerID, sequence: UInt64, time: WallTime) {
        self.peer = peer
        self.sequence = sequence
        self.time = time
    }
}

/// How much a record may hold. Each is the most of its kind, whoever writes it.
enum MetadataLimits {
    /// Bytes of a signed record, its envelope included.
    static let size = 8192
    static let nameSize = 64
    static let versionSize = 64
    static let topics = 32
    static let addresses = 32
    static let capabilities = 32
    static let capabilitySize = 64
    static let services = 32
    static let descriptionSize = 256
    static let unknownSize = 1024
}
