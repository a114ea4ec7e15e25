// What `/v1/…` answers, as JSON with names in snake_case. Times are RFC 3339 in UTC. Programs may count on what stands
// here; what is added later does not change `schema_version`, what is taken away or means something else does.

/// Who the node is: `/v1/id`.
public struct ControlIdentity: Codable, Hashable, Sendable {
    /// The version of this shape.
    public var schemaVersion = 1
    /// The node's id.
    public var id: String
    /// What people call it.
    public var name: String
    /// The program that it runs.
    public var version: String
    /// Where it listens, with its id: what is typed on the other machine.
    public var addresses: [String]
}

/// How the node is doing: `/v1/status`.
public struct ControlStatus: Codable, Hashable, Sendable {
    /// A topic that the node is on.
    public struct Topic: Codable, Hashable, Sendable {
        /// What people call it.
        public var name: String
        /// How many are connected who have proven to be on it.
        public var neighbours: Int
        /// How many are known to be on it.
        public var known: Int
    }

    /// The node's connections.
    public struct Connections: Codable, Hashable, Sendable {
        /// All of them.
        public var total: Int
        /// Those that others dialled.
        public var inbound: Int
        /// Those that this node dialled.
        public var outbound: Int
        /// How many each transport carries.
        public var byTransport: [String: Int]
    }

    /// The node's part in the DHT, in one family of addresses.
    public struct DHT: Codable, Hashable, Sendable {
        /// `ipv4` or `ipv6`.
        public var family: String
        /// How far it has come in joining.
        public var state: String
        /// How many nodes it knows.
        public var nodes: Int
        /// How long nobody in the DHT has answered; `nil` while somebody does.
        public var unansweredSeconds: Double?
        /// This node's address as others see it.
        public var outsideAddress: String?
    }

    /// The peer database.
    public struct Store: Codable, Hashable, Sendable {
        /// Its file, where it has one.
        public var path: String?
        /// How many changes wait to be written.
        public var waiting: Int
        /// What keeps it from writing.
        public var trouble: String?
    }

    /// Memory, in bytes.
    public struct Memory: Codable, Hashable, Sendable {
        /// What the process has in memory.
        public var residentBytes: Int
        /// What the buffers of connections hold.
        public var bufferBytes: Int
        /// What they may hold.
        public var bufferLimitBytes: Int
    }

    /// The version of this shape.
    public var schemaVersion = 1
    /// The node's id.
    public var id: String
    /// What people call it.
    public var name: String
    /// The program that it runs.
    public var version: String
    /// What it is there for.
    public var role: String
    /// The number of its process.
    public var process: Int
    /// Where its files are.
    public var dataDirectory: String?
    /// Where it is controlled.
    public var control: String
    /// Where its operator's endpoint is, where it has one.
    public var http: String?
    /// When it was started.
    public var startedAt: String
    /// For how long it has been running, in seconds.
    public var uptimeSeconds: Double
    /// Whether it can be reached: `public`, `private` or `unknown`.
    public var type: String
    /// What its NAT does.
    public var nat: String
    /// Why its type is what it is: who said what.
    public var typeReasons: [String]
    /// Where it listens, with its id.
    public var listening: [String]
    /// Where others see it.
    public var observed: [String]
    /// Its topics.
    public var topics: [Topic]
    /// Its connections.
    public var connections: Connections
    /// Of how many peers on its topics it has a record.
    public var known: Int
    /// Its part in the DHT.
    public var dht: [DHT]
    /// The peer database.
    public var store: Store
    /// Memory.
    public var memory: Memory
    /// What may need attention.
    public var warnings: [String]
}

/// Peers: `/v1/peers`.
public struct ControlPeers: Codable, Hashable, Sendable {
    /// The version of this shape.
    public var schemaVersion = 1
    /// The peers, those that are connected first.
    public var peers: [ControlPeer]
    /// What to ask for as `after` to get the next page; missing on the last one.
    public var next: String?
}

/// A peer of a list.
public struct ControlPeer: Codable, Hashable, Sendable {
    /// Its connection.
    public struct Link: Codable, Hashable, Sendable {
        /// Which transport carries it.
        public var transport: String
        /// `inbound` or `outbound`.
        public var direction: String
        /// Whether a third peer passes it on.
        public var isRelayed: Bool
        /// Where the other end is.
        public var address: String
        /// When it was made.
        public var since: String
        /// How long an answer takes, in milliseconds.
        public var roundTripMilliseconds: Double?
        /// How far that varies, in milliseconds.
        public var jitterMilliseconds: Double?
    }

    /// Its id.
    public var id: String
    /// What it calls itself.
    public var name: String
    /// The program that it runs.
    public var version: String
    /// Whether it can be reached, as it says.
    public var type: String
    /// What its NAT does, as it says.
    public var nat: String
    /// The topics that it shares with the node.
    public var topics: [String]
    /// Its connection, where it has one.
    public var link: Link?
    /// How good it is to be connected to, from 0 to 100.
    public var score: Double
    /// When it was last heard of.
    public var lastSeen: String
    /// How many addresses of it are known.
    public var addresses: Int
}

/// All that is known of a peer: `/v1/peers/ID`.
public struct ControlPeerDetails: Codable, Hashable, Sendable {
    /// What it says of itself, and signed.
    public struct Metadata: Codable, Hashable, Sendable {
        /// Something that it offers.
        public struct Service: Codable, Hashable, Sendable {
            /// Its name.
            public var name: String
            /// Its port; 0 for none.
            public var port: Int
            /// What it is.
            public var description: String
        }

        /// How often it had said something before.
        public var sequence: UInt64
        /// When it said this, by its own clock.
        public var time: String
        /// Where it listens.
        public var listenAddresses: [String]
        /// Where others see it.
        public var observedAddresses: [String]
        /// Its addresses on its own network.
        public var privateAddresses: [String]
        /// What it can do.
        public var capabilities: [String]
        /// What it offers.
        public var services: [Service]
        /// How many connections it has.
        public var connections: Int
        /// For how long it had been running, in seconds.
        public var uptimeSeconds: UInt64
    }

    /// An address and how it fared.
    public struct Address: Codable, Hashable, Sendable {
        /// The address.
        public var address: String
        /// How it became known.
        public var source: String
        /// How often the peer was reached there.
        public var successes: Int
        /// How often it was not.
        public var failures: Int
        /// When it was last reached there.
        public var lastSuccess: String?
        /// When it was last not.
        public var lastFailure: String?
        /// Why not.
        public var lastError: String?
    }

    /// Something that was said about it.
    public struct Evidence: Codable, Hashable, Sendable {
        /// What kind of thing.
        public var kind: String
        /// What was said.
        public var value: String
        /// Who said it.
        public var witness: String
        /// When it was last said.
        public var lastSaid: String
        /// How often.
        public var times: Int
    }

    /// How its connection did in some period.
    public struct Quality: Codable, Hashable, Sendable {
        /// When the period began.
        public var since: String
        /// How long it is, in seconds.
        public var lengthSeconds: Double
        /// The mean time of an answer in milliseconds, where it was measured.
        public var roundTripMilliseconds: Double?
        /// How far that varied, in milliseconds.
        public var jitterMilliseconds: Double?
        /// How many packets were sent, and how many of them were lost.
        public var packets: Int
        /// Those that were lost.
        public var lost: Int
        /// Bytes that came in.
        public var bytesIn: Int
        /// Bytes that went out.
        public var bytesOut: Int
        /// The share of the period for which it was connected.
        public var uptimeShare: Double
    }

    /// A part of its score.
    public struct Reason: Codable, Hashable, Sendable {
        /// The reason.
        public var reason: String
        /// How many points it gives or takes.
        public var points: Double
    }

    /// The version of this shape.
    public var schemaVersion = 1
    /// What a list shows of it.
    public var peer: ControlPeer
    /// What it says of itself.
    public var metadata: Metadata?
    /// Its addresses, those to dial first at the front.
    public var addresses: [Address]
    /// What was said about it, the newest first.
    public var evidence: [Evidence]
    /// How its connections did, the newest first.
    public var quality: [Quality]
    /// What its score is made of, beside the 50 that every peer begins with.
    public var reasons: [Reason]
}

/// What is asked of `/v1/connect` (an address or a peer) and `/v1/disconnect` (a peer).
public struct ControlOrder: Codable, Hashable, Sendable {
    /// A multiaddress.
    public var address: String?
    /// A peer's id.
    public var peer: String?

    /// An order about one of the two.
    public init(address: String? = nil, peer: String? = nil) {
        self.address = address
        self.peer = peer
    }
}

/// That an order was carried out.
public struct ControlDone: Codable, Hashable, Sendable {
    /// The version of this shape.
    public var schemaVersion = 1
    /// The peer that it was about.
    public var peer: String
}

/// Something that happened: a line of `/v1/events`.
public struct ControlEvent: Codable, Hashable, Sendable {
    /// The version of this shape.
    public var schemaVersion = 1
    /// What happened: `connected`, `joined`, `heartbeat`…
    public var event: String
    /// When.
    public var time: String
    /// The peer that it is about.
    public var peer: String?
    /// The topic.
    public var topic: String?
    /// The address.
    public var address: String?
    /// The transport.
    public var transport: String?
    /// `inbound` or `outbound`.
    public var direction: String?
    /// The peer's name.
    public var name: String?
    /// The number of what a peer says of itself.
    public var sequence: UInt64?
    /// A number: of bytes of a message, of events that were missed.
    public var count: Int?
    /// A sentence or a word: why, what, who.
    public var detail: String?

    /// An event of which nothing but the time is known.
    public init(event: String, time: String) {
        self.event = event
        self.time = time
    }
}

/// Why something was not done.
public struct ControlFailure: Codable, Hashable, Sendable {
    /// The error.
    public struct Failure: Codable, Hashable, Sendable {
        /// What kind of failure it is, for programs.
        public var code: String
        /// A sentence that says what failed and what to do.
        public var message: String
        /// The peer that it is about.
        public var peer: String?
        /// The address that it is about.
        public var address: String?
    }

    /// The version of this shape.
    public var schemaVersion = 1
    /// The error.
    public var error: Failure

    /// An error with its parts.
    public init(code: String, message: String, peer: String? = nil, address: String? = nil) {
        error = Failure(code: code, message: message, peer: peer, address: address)
    }
}
