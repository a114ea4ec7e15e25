internal import Martlet
internal import MartletIdentity
internal import MartletMainline
internal import MartletMetadata
internal import MartletRuntime
internal import MartletStore
internal import MartletTransport
internal import MartletWire

// How what a node says of itself is put into the shapes of `/v1/…`.

extension ControlStatus {
    init(_ status: NodeStatus, control: String, folder: String?, http: String?, process: Int, resident: Int) {
        self.init(
            id: "\(status.id)", name: status.name, version: status.version, role: status.role.rawValue,
            process: process, dataDirectory: folder, control: control, http: http, startedAt: "\(status.startedAt)",
            uptimeSeconds: status.uptime / .seconds(1), type: status.type.shown, nat: status.nat.shown,
            typeReasons: status.typeReasons, listening: status.listening.map(\.description),
            observed: status.observed.map(\.description),
            topics: status.topics.map { Topic(name: $0.name, neighbours: $0.neighbours, known: $0.known) },
            connections: Connections(
                total: status.connections.total, inbound: status.connections.inbound,
                outbound: status.connections.outbound,
                byTransport: Dictionary(
                    status.connections.byTransport.map { ($0.transport, $0.count) }, uniquingKeysWith: +)),
            known: status.known,
            dht: status.dht.map {
                DHT(
                    family: $0.family == .v4 ? "ipv4" : "ipv6", state: $0.state.shown, nodes: $0.nodes,
                    unansweredSeconds: $0.unanswered.map { $0 / .seconds(1) },
                    outsideAddress: $0.outsideAddress?.description)
            },
            store: Store(
                path: status.store.path.map { path in
                    folder.map { path.hasPrefix("/") ? path : $0 + "/" + path } ?? path
                }, waiting: status.store.waiting, trouble: status.store.trouble.map { "\($0)" }),
            memory: Memory(
                residentBytes: resident, bufferBytes: status.memory.used, bufferLimitBytes: status.memory.limit),
            warnings: status.warnings)
    }
}

extension ControlPeer {
    init(_ peer: NodePeer) {
        self.init(
            id: "\(peer.id)", name: peer.name, version: peer.version, type: peer.type.shown, nat: peer.nat.shown,
            topics: peer.topics, link: peer.link.map { Link($0) }, score: peer.score, lastSeen: "\(peer.lastSeen)",
            addresses: peer.addresses)
    }
}

extension ControlPeer.Link {
    init(_ link: NodePeer.Link) {
        self.init(
            transport: link.transport, direction: link.direction.shown, isRelayed: link.isRelayed,
            address: "\(link.address)", since: "\(link.since)",
            roundTripMilliseconds: link.roundTrip.map { $0 / .milliseconds(1) },
            jitterMilliseconds: link.jitter.map { $0 / .milliseconds(1) })
    }
}

extension ControlPeerDetails {
    init(_ details: NodePeerDetails) {
        self.init(
            peer: ControlPeer(details.peer), metadata: details.metadata.map { Metadata($0) },
            addresses: details.addresses.map {
                Address(
                    address: "\($0.address)", source: $0.source.rawValue, successes: $0.successes,
                    failures: $0.failures, lastSuccess: $0.lastSuccess?.description,
                    lastFailure: $0.lastFailure?.description, lastError: $0.lastError)
            },
            evidence: details.evidence.map {
                Evidence(
                    kind: $0.evidence.kind, value: $0.evidence.value, witness: $0.evidence.witness,
                    lastSaid: "\($0.lastSaid)", times: $0.times)
            },
            quality: details.quality.map {
                Quality(
                    since: "\($0.since)", lengthSeconds: $0.length / .seconds(1),
                    roundTripMilliseconds: $0.roundTrip.map { $0 / .milliseconds(1) },
                    jitterMilliseconds: $0.jitter.map { $0 / .milliseconds(1) }, packets: $0.packets, lost: $0.lost,
                    bytesIn: $0.bytesIn, bytesOut: $0.bytesOut, uptimeShare: $0.uptime)
            },
            reasons: details.reasons.map { Reason(reason: $0.reason, points: $0.points) })
    }
}

extension ControlPeerDetails.Metadata {
    init(_ metadata: NodeMetadata) {
        self.init(
            sequence: metadata.sequence, time: "\(metadata.time)",
            listenAddresses: metadata.listenAddresses.map(\.description),
            observedAddresses: metadata.observedAddresses.map(\.description),
            privateAddresses: metadata.privateAddresses.map(\.description), capabilities: metadata.capabilities,
            services: metadata.services.map {
                Service(name: $0.name, port: Int($0.port), description: $0.description)
            },
            connections: Int(metadata.load.connections), uptimeSeconds: metadata.uptime)
    }
}

extension ControlEvent {
    /// `event`, which happened at `time`. Of a message only the size is told: its content is its readers' own.
    init(_ event: NodeEvent, time: String) {
        self.init(event: event.word, time: time)
        switch event {
        case .listening(let address), .stoppedListening(let address): self.address = "\(address)"
        case .connected(let link, let peer):
            self.peer = "\(peer)"
            address = "\(link.address)"
            transport = link.transport
            direction = link.direction.shown
        case .disconnected(let peer, let reason): (self.peer, detail) = ("\(peer)", reason)
        case .joined(let peer, let topic), .left(let peer, let topic): (self.peer, self.topic) = ("\(peer)", topic)
        case .updated(let peer, let name, let sequence):
            (self.peer, self.name, self.sequence) = ("\(peer)", name, sequence)
        case .message(let peer, let topic, let bytes):
            (self.peer, self.topic, count) = ("\(peer)", topic, bytes.count)
        case .typeChanged(let type): detail = type.shown
        case .observedAddress(let address, let witness): (self.address, detail) = ("\(address)", witness)
        case .dht(let sentence), .warning(let sentence): detail = sentence
        case .store(let event): detail = "\(event)"
        case .missed(let count): self.count = count
        }
    }
}

extension NodeEvent {
    /// What the event is called.
    fileprivate var word: String {
        switch self {
        case .listening: "listening"
        case .stoppedListening: "stopped_listening"
        case .connected: "connected"
        case .disconnected: "disconnected"
        case .joined: "joined"
        case .left: "left"
        case .updated: "updated"
        case .message: "message"
        case .typeChanged: "type_changed"
        case .observedAddress: "observed_address"
        case .dht: "dht"
        case .store: "store"
        case .warning: "warning"
        case .missed: "missed"
        }
    }
}

extension ControlFailure {
    init(_ error: MartletError) {
        self.init(
            code: error.code.rawValue, message: error.message, peer: error.peer.map { "\($0)" },
            address: error.address.map { "\($0)" })
    }
}

extension JoinState {
    fileprivate var shown: String {
        switch self {
        case .idle: "idle"
        case .joining: "joining"
        case .joined: "joined"
        case .unreachable: "unreachable"
        }
    }
}

extension ConnectionNature.Direction {
    fileprivate var shown: String { self == .inbound ? "inbound" : "outbound" }
}

extension NodeMetadata.NodeType {
    fileprivate var shown: String {
        switch self {
        case .public: "public"
        case .private: "private"
        default: "unknown"
        }
    }
}

extension NodeMetadata.NATKind {
    fileprivate var shown: String {
        switch self {
        case .none: "none"
        case .endpointIndependent: "endpoint-independent"
        case .addressDependent: "address-dependent"
        case .addressAndPortDependent: "address-and-port-dependent"
        default: "unknown"
        }
    }
}
