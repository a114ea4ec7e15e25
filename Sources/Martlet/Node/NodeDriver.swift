internal import MartletCrypto
internal import MartletIdentity
internal import MartletMainline
internal import MartletMetadata
internal import MartletRuntime
internal import MartletStore
internal import MartletSwarm
internal import MartletTransport
internal import MartletWire

/// What runs a node: its swarm, its records, its database and its part in the DHT, joined by the machines that decide.
///
/// It lives on the loop, from the start of the node to its end.
final class NodeDriver {
    let configuration: NodeConfiguration
    let environment: any Environment
    let log: Logger
    let events: NodeEventReaders
    let registry: MetricsRegistry
    let metrics: NodeMetrics
    let swarm: Swarm
    let quic: QUICTransport?
    let metadata: MetadataService
    let sequence: OwnSequence
    let topics: [TopicKey]
    /// The names under which the database knows the topics: what this node's own record calls them.
    let marks: [TopicKey: Bytes]
    let topicsByMark: [Bytes: TopicKey]
    let startedAt: Instant
    let startedAtWall: WallTime
    private(set) var messages: NodeMessages!
    private(set) var store: PeerStore?
    private(set) var dht: MainlineDHT?
    var discovery: TopicDiscovery
    var reach = Reachability()
    var contacts: ContactedHosts
    /// What belongs to each peer that is connected.
    var links: [PeerID: PeerLink] = [:]
    /// Who is to stay connected, and why.
    var leases: LeaseTable
    /// The topics whose search in the DHT is under way.
    var searching: Set<TopicKey> = []
    var random: RandomSource
    private(set) var warnings: [String] = []
    private(set) var isStopping = false
    var discoveryTimer: LoopTimer!
    var heartbeatTimer: LoopTimer!
    var leaseTimer: LoopTimer!
    var nextPrune: Instant
    var nextDescription: Instant
    var pingTurn = 0
    /// How busy the machine was when that was last told.
    var machineUse: MachineUse?
    /// The type that was last told.
    var toldType = NodeMetadata.NodeType.unknown
    private var watch: SwarmWatch?
    private var interfaceWatch: InterfaceWatch?
    private var conversations: [Int: Task<Void, Never>] = [:]
    private var lastConversation = 0

    /// How many warnings are remembered for who asks how the node is doing.
    private static let rememberedWarnings = 16
    /// How long saying goodbye and writing down may take, each.
    private static let farewell = Duration.milliseconds(700)

    var loop: EventLoop { environment.loop }
    var wall: WallTime { environment.wallTime }

    init(
        _ configuration: NodeConfiguration, _ identity: PrivateKey, _ environment: any Environment,
        _ events: NodeEventReaders, _ metrics: MetricsRegistry
    ) {
        self.configuration = configuration
        self.environment = environment
        self.events = events
        registry = metrics
        self.metrics = NodeMetrics(metrics)
        log = environment.log.subsystem("node")
        random = environment.random
        contacts = ContactedHosts(random: &random)
        startedAt = environment.loop.now
        startedAtWall = environment.wallTime
        nextPrune = startedAt + .seconds(3600)
        nextDescription = startedAt + .seconds(600)
        let transports = configuration.transports.make(environment: environment, identity: identity)
        quic = transports.lazy.compactMap { $0 as? QUICTransport }.first
        var swarmConfiguration = SwarmConfiguration()
        swarmConfiguration.limits = configuration.swarmLimits
        swarmConfiguration.protocolVersion = configuration.protocolVersion
        swarmConfiguration.agentVersion = "martlet/\(Martlet.version)"
        swarm = Swarm(
            environment: environment, identity: identity, transports: transports, configuration: swarmConfiguration,
            metrics: metrics)
        swarm.access = configuration.access
        let topics = configuration.topics.map { TopicKey($0) }
        self.topics = topics
        let localPeer = swarm.localPeer
        marks = Dictionary(uniqueKeysWithValues: topics.map { ($0, $0.mark(of: localPeer)) })
        topicsByMark = Dictionary(uniqueKeysWithValues: marks.map { ($1, $0) })
        let record = Self.firstRecord(configuration, of: swarm.localPeer, at: environment.wallTime)
        metadata = MetadataService(
            swarm, topics: topics, saying: record, configuration: configuration.metadata, metrics: metrics)
        sequence = OwnSequence(environment, isKept: configuration.keepsFiles)
        discovery = TopicDiscovery(
            topics, limits: configuration.discoveryLimits, isSeeking: configuration.role != .bootstrap,
            random: environment.random)
        let marks = LeaseTable.Marks(
            high: discovery.limits.highMark, low: discovery.limits.lowMark, share: discovery.share)
        // A node on no topics is there for whoever comes.
        leases = LeaseTable(
            configuration.leases, marks: marks, closesUnheld: !topics.isEmpty, random: environment.random)
        messages = NodeMessages(self)
        metadata.onEvent = { [weak self] in self?.take($0) }
        swarm.onDial = { [weak self] in
            guard let self else { return }
            self.contacts.contacted($0, at: self.loop.now)
        }
        watch = swarm.watch { [weak self] in self?.take($0) }
        discoveryTimer = LoopTimer(on: loop, label: "discovery") { [weak self] in self?.discover() }
        heartbeatTimer = LoopTimer(on: loop, label: "heartbeat") { [weak self] in self?.beat() }
        leaseTimer = LoopTimer(on: loop, label: "leases") { [weak self] in self?.closeUnheld() }
    }

    // MARK: Beginning

    func start() async throws(MartletError) {
        try await openStore()
        metadata.resume(above: await sequence.read())
        sequence.keep(metadata.own.metadata.sequence)
        guard !isStopping else { return }
        try listen()
        noteInterfaces()
        interfaceWatch = try? environment.watchInterfaces { [weak self] in self?.noteInterfaces() }
        describe()
        await startDHT()
        guard !isStopping else { return }
        heartbeatTimer.arm(after: configuration.heartbeat)
        machineUse = environment.machineUse
        begin("remembered peers") { [weak self] in await self?.rememberPeers() }
        for bootstrap in configuration.bootstrap {
            begin("bootstrap") { [weak self] in await self?.pursue(bootstrap) }
        }
        if configuration.role == .relay || configuration.role == .worker {
            warn("the role \(configuration.role.rawValue) does nothing of its own yet; this node is a peer like others")
        }
        discoverSoon()
        log.info("the node runs", ["peer": swarm.localPeer, "topics": topics.count])
    }

    private func openStore() async throws(MartletError) {
        let opened: PeerStore
        do throws(StoreError) {
            opened = try await PeerStore.open(
                environment, path: configuration.keepsFiles ? "peers.sqlite" : nil, limits: configuration.store
            ) { [weak self] in self?.take($0) }
        } catch {
            throw MartletError(.storage, "the peer database cannot be opened: \(error)")
        }
        guard !isStopping else {
            try? await opened.close()
            return
        }
        store = opened
    }

    private func startDHT() async {
        guard var settings = configuration.dht else { return }
        settings.bootstrap += configuration.bootstrap.compactMap(\.node).filter { !settings.bootstrap.contains($0) }
        if !configuration.keepsFiles { settings.file = nil }
        let ports = (quic?.ports ?? []).map { SharedDatagramPort($0) }
        guard !ports.isEmpty else {
            return warn("the node takes no part in the DHT, since it does not listen by QUIC, whose port both share")
        }
        for port in ports {
            port.onSend = { [weak self] in
                guard let self else { return }
                self.contacts.contacted($0.ip, at: self.loop.now)
            }
        }
        let dht = MainlineDHT(settings, environment: environment, ports: ports, metrics: MainlineMetrics(in: registry))
        dht.onEvent = { [weak self] in self?.take($0) }
        self.dht = dht
        await dht.start()
    }

    // MARK: What it says

    func tell(_ event: NodeEvent) {
        events.tell(event)
    }

    /// Tells whoever listens, and remembers for whoever asks, what may need attention.
    func warn(_ words: String) {
        log.warning("\(words)")
        warnings.removeAll { $0 == words }
        warnings.append(words)
        if warnings.count > Self.rememberedWarnings { warnings.removeFirst() }
        tell(.warning(words))
    }

    /// Begins a conversation that ends with the node at the latest.
    func begin(_ name: String, _ body: nonisolated(nonsending) @escaping () async -> Void) {
        guard !isStopping else { return }
        lastConversation += 1
        let number = lastConversation
        conversations[number] = loop.spawn(name) { [weak self] in
            await body()
            self?.conversations[number] = nil
        }
    }

    // MARK: The end

    /// Says goodbye to everyone and writes down what is known.
    func stop() async {
        guard !isStopping else { return }
        isStopping = true
        discoveryTimer.cancel()
        heartbeatTimer.cancel()
        leaseTimer.cancel()
        interfaceWatch = nil
        for (_, conversation) in conversations.sorted(by: { $0.key < $1.key }) { conversation.cancel() }
        conversations = [:]
        messages.stop()
        metadata.stop()
        swarm.shutDown()
        let deadline = loop.now + Self.farewell
        if let dht {
            // What is not written by then is lost: a few nodes of the DHT, which are found again.
            try? await loop.withDeadline(deadline) { await dht.stop() }
        }
        if let store {
            try? await loop.withDeadline(max(deadline, loop.now + Self.farewell / 2)) { try await store.close() }
        }
        // The goodbyes of TCP connections leave behind what is queued.
        while swarm.connectionCount > 0, loop.now < deadline {
            do { try await loop.sleep(for: .milliseconds(10)) } catch { break }
        }
        watch = nil
        quic?.close()
        log.info("the node has stopped", ["peer": swarm.localPeer])
    }
}

/// What a node has of a peer that is connected.
final class PeerLink {
    let peer: PeerID
    let since: Instant
    let sinceWall: WallTime
    /// Whether the exchange of records has been tried, and is under way.
    var isGreeting = false
    /// The topics that both have proven to each other.
    var shared: Set<TopicKey> = []
    var greetings = 0
    /// Whether this side dialled it at some time.
    var isDialled = false
    /// How many streams are open that the user opened.
    var ownStreams = 0
    /// How many are open that the peer opened, of protocols that the user handles.
    var peerStreams = 0
    /// Whether it is held for such streams.
    var isUsing = false
    /// How often it has been kept although nothing held it.
    var reprieves = 0
    /// The pings to it, where this node sends any.
    var pinger: Pinger?
    var isPinging = false
    /// How many bytes had come and gone when they were last counted.
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0
    /// How many pings had been sent and lost then.
    var packets = 0
    var lost = 0
    var sampledAt: Instant

    /// Both have proven `topics` to each other, in a conversation that takes the place of any before. Returns what has
    /// changed by that, in the order of the topics' names.
    func prove(_ topics: Set<TopicKey>) -> (left: [TopicKey], joined: [TopicKey]) {
        let before = shared
        shared = topics
        func inOrder(_ topics: Set<TopicKey>) -> [TopicKey] { topics.sorted { $0.name < $1.name } }
        return (inOrder(before.subtracting(topics)), inOrder(topics.subtracting(before)))
    }

    init(_ peer: PeerID, at now: Instant, _ wall: WallTime) {
        self.peer = peer
        since = now
        sinceWall = wall
        sampledAt = now
    }
}
