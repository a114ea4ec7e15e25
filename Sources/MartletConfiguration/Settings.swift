public import MartletIdentity
public import MartletRuntime
public import MartletWire

/// Everything that can be configured, as typed values; each with its default.
///
/// What the keys are called, what they may hold and what they mean stands in `ConfigurationKey.all`.
public struct Settings: Hashable, Sendable {
    /// What a node is for.
    public enum Role: String, CaseIterable, Sendable {
        /// A node among others.
        case peer
        /// One where others begin: it takes whoever comes, and looks for nobody itself.
        case bootstrap
        /// One that passes traffic on for those who cannot be reached.
        case relay
        /// One that works for others.
        case worker
    }

    /// What carries connections.
    public enum Transport: String, CaseIterable, Sendable {
        /// QUIC over UDP.
        case quic
        /// TCP with Noise or TLS, and Yamux.
        case tcp
    }

    /// How lines of log are written.
    public enum LogFormat: String, CaseIterable, Sendable {
        /// Text where a person reads it, JSON elsewhere.
        case auto
        /// Lines for people.
        case text
        /// One JSON object a line.
        case json
    }

    /// A service that the node offers.
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

    /// A host and a port: `bootstrap.example:4001`, `192.0.2.1:4001`, `[2001:db8::1]:4001`.
    public struct HostPort: Hashable, Sendable, CustomStringConvertible {
        /// A name or an IP address, the latter without brackets.
        public var host: String
        /// The port; never 0.
        public var port: UInt16

        /// The host and the port.
        public init(host: String, port: UInt16) {
            self.host = host
            self.port = port
        }

        /// As it is written, an IPv6 address in brackets.
        public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    }

    /// A node to begin with.
    public enum Bootstrap: Hashable, Sendable {
        /// By its address.
        case multiaddr(Multiaddr)
        /// By host and port.
        case hostPort(HostPort)
    }

    /// Somebody who is let in, or is not.
    public enum Access: Hashable, Sendable {
        /// A peer.
        case peer(PeerID)
        /// All addresses that share the first bits of one.
        case network(IPAddress, length: Int)
    }

    /// `node`: what it is and where it listens.
    public struct Node: Hashable, Sendable {
        /// What it is called.
        public var name = ""
        /// What it is for.
        public var role = Role.peer
        /// The port of QUIC and TCP on all interfaces; 0 for any.
        public var listenPort: UInt16 = 0
        /// Where to listen instead.
        public var listen: [Multiaddr] = []
        /// What it can do.
        public var capabilities: [String] = []
        /// What it offers.
        public var services: [Service] = []
        /// The most connections.
        public var maximumConnections = 256
        /// How often connections are measured.
        public var heartbeatInterval = Duration.seconds(15)
        /// Where it keeps what it must not forget; `nil` for the usual place.
        public var dataDirectory: String?
    }

    /// `network`: whom it looks for, and how it talks with them.
    public struct Network: Hashable, Sendable {
        /// What it says of the network that it belongs to.
        public var protocolVersion = "martlet/1"
        /// The name of a network: a topic that is joined beside `topics`.
        public var meshNetwork = ""
        /// The topics that are joined.
        public var topics: [String] = []
        /// Nodes to begin with.
        public var bootstrap: [Bootstrap] = []
        /// How many peers on its topics it connects to.
        public var targetConnections = 32
        /// Whether neighbours on a topic hear of private addresses.
        public var sharesPrivateAddresses = true
        /// Whether peers are looked for by multicast.
        public var usesMDNS = false
        /// Whether it passes traffic on.
        public var usesRelay = false
        /// How long making a connection may take.
        public var connectionTimeout = Duration.seconds(10)
        /// What carries connections.
        public var transports: [Transport] = [.quic, .tcp]
        /// Where it is not empty, nobody else is let in.
        public var allow: [Access] = []
        /// Who is never let in.
        public var block: [Access] = []

        /// Every topic that is joined: those of `topics`, and the network's name.
        public var allTopics: [String] {
            meshNetwork.isEmpty || topics.contains(meshNetwork) ? topics : [meshNetwork] + topics
        }
    }

    /// `dht`: the BitTorrent DHT, in which peers on a topic find each other.
    public struct DHT: Hashable, Sendable {
        /// Whether it takes part.
        public var isEnabled = true
        /// Whether it is one apart from the public one.
        public var isPrivate = false
        /// Nodes to begin with; where there are none, those that everybody begins with, or in a private one nobody.
        public var bootstrap: [HostPort] = []
        /// Whether it only asks and never answers.
        public var isReadOnly = false
    }

    /// `store`: what is remembered of peers.
    public struct Store: Hashable, Sendable {
        /// The most peers.
        public var peers = 20_000
        /// The most megabytes of the database.
        public var megabytes = 128
        /// The most addresses of a peer.
        public var addresses = 32
        /// How long a peer is remembered that was connected once.
        public var peerAge = Duration.seconds(30 * 86_400)
        /// How long a peer is remembered that was never connected.
        public var strangerAge = Duration.seconds(7 * 86_400)
        /// How long a change may wait to be written.
        public var writeInterval = Duration.milliseconds(250)
    }

    /// `operator`: the HTTP endpoint for who watches the node.
    public struct Operator: Hashable, Sendable {
        /// Where it listens; `nil` for nowhere.
        public var http: SocketAddress?
        /// The file with the token that is asked for.
        public var tokenFile: String?
    }

    /// `control`: the socket that `martlet status` and the like talk to.
    public struct Control: Hashable, Sendable {
        /// Its path; `nil` for the one in the data directory.
        public var socket: String?
    }

    /// `log`: what is written about what happens.
    public struct Log: Hashable, Sendable {
        /// From which level on.
        public var level = Logger.Level.info
        /// In which form.
        public var format = LogFormat.auto
        /// From which level on for single subsystems, by name, in their order.
        public var levels: [Subsystem] = []

        /// A subsystem with its level.
        public struct Subsystem: Hashable, Sendable {
            /// Which part of the node.
            public var name: String
            /// From which level on.
            public var level: Logger.Level

            /// A subsystem with its level.
            public init(name: String, level: Logger.Level) {
                self.name = name
                self.level = level
            }
        }
    }

    /// What it is and where it listens.
    public var node = Node()
    /// Whom it looks for, and how it talks with them.
    public var network = Network()
    /// The DHT.
    public var dht = DHT()
    /// What is remembered of peers.
    public var store = Store()
    /// The HTTP endpoint.
    public var `operator` = Operator()
    /// The control socket.
    public var control = Control()
    /// The log.
    public var log = Log()

    /// The defaults.
    public init() {}
}
