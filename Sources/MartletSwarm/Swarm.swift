public import MartletCrypto
public import MartletIdentity
public import MartletRuntime
public import MartletTransport
public import MartletWire

/// What a swarm says of itself and does by itself.
public struct SwarmConfiguration: Sendable {
    /// The bounds.
    public var limits = SwarmLimits()
    /// What identify says of the network that the node belongs to.
    public var protocolVersion = "ipfs/0.1.0"
    /// What identify says of the program.
    public var agentVersion = "martlet"
    /// Whether each peer is asked what it is as soon as it is connected.
    public var identifiesPeers = true
    /// Whether `/perf/1.0.0` is answered, which lets anyone make this node send at full speed.
    public var servesPerf = false

    /// The defaults.
    public init() {}
}

/// The connections of a node: made, accepted, bounded, and used for streams by the names of their protocols.
///
/// It lives on the loop of its environment and is used there alone. Streams can be used from anywhere. Transports are
/// values that it is given, so a relay or WebRTC plugs in from outside.
public final class Swarm {
    /// Where time, randomness and the network come from.
    public let environment: any Environment
    /// The node's key.
    public let identity: PrivateKey
    /// The node's name.
    public let localPeer: PeerID
    /// What it says of itself and does by itself.
    public let configuration: SwarmConfiguration
    /// What its peers hold, and who pays when that is too much.
    let resources: ResourceTree
    /// What the buffers of all its connections draw from.
    public var memory: ResourceScope { resources.node }
    /// Who may be connected. A change closes the connections of those who no longer may.
    public var access = AccessLists() {
        didSet { if access != oldValue { enforceAccess() } }
    }
    /// Called on the loop with the address of each host that is about to be dialled, by whichever transport.
    public var onDial: ((IPAddress) -> Void)?
    let log: Logger
    let metrics: SwarmMetrics
    var transports: [any Transport]
    var listeners: [Listener] = []
    var announced: [Multiaddr] = []
    var interfaces: InterfaceWatch?
    var gate: ConnectionGate
    var peers: [PeerID: PeerEntry] = [:]
    var dials: [DialTarget: Dial] = [:]
    var addressBook: AddressBook
    var backoff: DialBackoff
    let duplicates: DuplicateRule
    var protocols = ProtocolTable()
    let negotiations: NegotiationQueue
    let identify: IdentifyState
    private var watches: [WeakWatch] = []
    private var nextNumber: UInt64 = 0
    var nextDial: UInt64 = 0
    /// How many peers are connected.
    private var connectedCount = 0
    var nextTrim = Instant.start
    var trimSalt: UInt64?
    /// Whether it has been shut down.
    public private(set) var isShutDown = false

    /// The loop that it lives on.
    public var loop: EventLoop { environment.loop }

    /// The bounds.
    public var limits: SwarmLimits { configuration.limits }

    /// A swarm of the node that holds `identity`, which connects by `transports`, the first that can dial an address
    /// being used for it. What it counts goes to `metrics`.
    public init(
        environment: any Environment, identity: PrivateKey, transports: [any Transport],
        configuration: SwarmConfiguration = SwarmConfiguration(), metrics: MetricsRegistry = MetricsRegistry()
    ) {
        self.environment = environment
        self.identity = identity
        self.transports = transports
        self.configuration = configuration
        localPeer = PeerID(identity.publicKey)
        log = environment.log.subsystem("swarm")
        self.metrics = SwarmMetrics(metrics)
        let limits = configuration.limits
        resources = ResourceTree(limits.resources)
        gate = ConnectionGate(limits)
        identify = IdentifyState(limits)
        addressBook = AddressBook(limits)
        backoff = DialBackoff(remembering: limits.rememberedFailures)
        duplicates = DuplicateRule(local: localPeer)
        negotiations = NegotiationQueue(on: environment.loop, timeout: limits.negotiationTimeout)
        negotiations.onLate = { [weak self] peer in self?.count(.negotiationTimeout, peer) }
        resources.onRelief = { [weak self] peer, streams in self?.count(.memory, peer, times: UInt64(streams)) }
        for transport in transports { transport.memory = memory }
        serveOwnProtocols()
    }

    private func serveOwnProtocols() {
        handleIdentify()
        handlePing()
        if configuration.servesPerf { servePerf() }
    }

    /// Adds a transport, behind those that are there.
    public func add(_ transport: any Transport) {
        transport.memory = memory
        transports.append(transport)
    }

    // MARK: Events

    /// Calls `body` on the loop for each event, as long as the result is kept.
    public func watch(_ body: @escaping (SwarmEvent) -> Void) -> SwarmWatch {
        let watch = SwarmWatch(body)
        watches.append(WeakWatch(watch: watch))
        return watch
    }

    func tell(_ event: SwarmEvent) {
        var isAnyGone = false
        for entry in watches {
            if let watch = entry.watch { watch.body(event) } else { isAnyGone = true }
        }
        if isAnyGone { watches.removeAll { $0.watch == nil } }
    }

    private struct WeakWatch {
        weak var watch: SwarmWatch?
    }

    /// Counts a refusal. `name` is the protocol that a stream was for, if that says more.
    func count(
        _ refusal: Refusal, _ peer: PeerID? = nil, _ address: Multiaddr? = nil, times: UInt64 = 1,
        protocol name: String? = nil
    ) {
        metrics.refused[refusal].increment(by: times)
        log.debug("refused", Self.fields(refusal, protocol: name))
        tell(.refused(refusal, peer: peer, address: address))
    }

    /// What the log says of a refusal. Of a stranger's name for a protocol it shows the beginning; it escapes what could
    /// forge a line.
    static func fields(_ refusal: Refusal, protocol name: String?) -> Logger.Fields {
        guard let name else { return ["reason": refusal.rawValue] }
        let beginning = String(String.UnicodeScalarView(name.unicodeScalars.prefix(64)))
        return ["reason": refusal.rawValue, "protocol": beginning]
    }

    // MARK: What is there

    /// The peers that are connected, by id in ascending order.
    public var connectedPeers: [PeerID] {
        peers.values.filter { !$0.connections.isEmpty }.map(\.peer).sorted()
    }

    /// Whether there is a connection to `peer`.
    public func isConnected(to peer: PeerID) -> Bool {
        peers[peer]?.connections.contains { $0.closing == nil } ?? false
    }

    /// Whether a new stream to `peer` can go over a connection that is there: over one that drains it cannot.
    public func takesStreams(_ peer: PeerID) -> Bool {
        peers[peer]?.preferred != nil
    }

    /// The connections to `peer`, in the order in which they were made.
    public func connections(to peer: PeerID) -> [ConnectionInfo] {
        peers[peer]?.connections.map(\.info) ?? []
    }

    /// What has gone over the connections to `peer`, each by its number.
    public func statistics(of peer: PeerID) -> [(number: UInt64, ConnectionStatistics)] {
        peers[peer]?.connections.map { ($0.number, $0.connection.statistics) } ?? []
    }

    /// How many connections there are.
    public var connectionCount: Int { gate.established }

    /// How many inbound connections are being made.
    public var pendingCount: Int { gate.pending }

    /// What `peer` last said of itself by identify, while it is connected.
    public func info(of peer: PeerID) -> PeerInfo? {
        peers[peer]?.info
    }

    /// What the connections of `peer` draw from, and whatever else is kept for it: its part of `memory`, or all of that as
    /// long as it is not connected.
    public func memory(of peer: PeerID) -> ResourceScope {
        resources.scope(of: peer) ?? memory
    }

    // MARK: Books

    /// The entry of `peer`, made where there is none.
    func entry(of peer: PeerID) -> PeerEntry {
        if let entry = peers[peer] { return entry }
        let entry = PeerEntry(peer, limits)
        peers[peer] = entry
        return entry
    }

    func forgetIfPossible(_ entry: PeerEntry) {
        if entry.isForgettable { peers[entry.peer] = nil }
    }

    /// Takes `connection` into the books, or closes it and says why.
    func adopt(_ connection: Connection, by entrance: ConnectionGate.Entrance) throws(Refusal) -> SwarmConnection {
        let peer = connection.remotePeer
        do throws(Refusal) {
            try mayEnter(connection, by: entrance)
        } catch {
            connection.close()
            count(error, peer, connection.remoteAddress)
            throw error
        }
        nextNumber += 1
        let member = SwarmConnection(number: nextNumber, connection, entrance, at: loop.now)
        let entry = entry(of: peer)
        let isFirst = entry.connections.isEmpty
        entry.connections.append(member)
        resources.add(connection)
        connection.onStream = { [weak self, weak entry, weak member] stream in
            guard let self, let entry, let member else { return stream.reset() }
            self.accept(stream, on: member, of: entry)
        }
        connection.onDraining = { [weak self, weak entry] in
            if let entry { self?.review(entry) }
        }
        connection.onRefusedStreams = { [weak self] in self?.count(.streamBacklog, peer, times: $0) }
        connection.onClosed = { [weak self] reason in self?.closed(member, of: entry, reason) }
        metrics.opened[SwarmMetrics.Direction(connection.nature.direction)].increment()
        if isFirst { connectedCount += 1 }
        countConnections()
        review(entry)
        tell(isFirst ? .connected(member.info) : .connectionAdded(member.info))
        connectionCame(member)
        return member
    }

    private func mayEnter(_ connection: Connection, by entrance: ConnectionGate.Entrance) throws(Refusal) {
        let peer = connection.remotePeer
        let refusal: Refusal? =
            if connection.closeReason != nil {
                .ended
            } else if peer == localPeer {
                .isSelf
            } else {
                access.refusal(of: peer, at: connection.remoteAddress.ipAddress)
            }
        if let refusal { throw refusal }
        if let refusal = gate.establish(peer, by: entrance) { throw refusal }
    }

    private func connectionCame(_ member: SwarmConnection) {
        let peer = member.connection.remotePeer
        if !member.connection.nature.isRelayed, !member.isDraining { settleDial(to: peer, with: member) }
        trimIfNeeded()
        if configuration.identifiesPeers, member.closing == nil { identifySoon(member) }
    }

    private func closed(_ member: SwarmConnection, of entry: PeerEntry, _ error: ConnectionError) {
        guard let index = entry.connections.firstIndex(where: { $0 === member }) else { return }
        entry.connections.remove(at: index)
        resources.remove(member.connection)
        gate.close(entry.peer, by: member.entrance, wasClosing: member.closing != nil)
        let reason = member.closing ?? .ended(error)
        let info = member.info
        metrics.ended[SwarmMetrics.End(reason)].increment()
        if case .violation(let violation, _) = error {
            metrics.violations[violation].increment()
            log.debug("a peer broke the rules", ["peer": entry.peer, "error": "\(error)"])
        }
        if entry.connections.isEmpty {
            connectedCount -= 1
            entry.preferred = nil
            entry.review = nil
            forgetInfo(of: entry)
            entry.inbound = [:]
            forgetIfPossible(entry)
        } else {
            review(entry)
        }
        countConnections()
        tell(
            entry.connections.isEmpty ? .disconnected(entry.peer, reason) : .connectionRemoved(info, reason))
    }

    private func countConnections() {
        metrics.connections.record(Int64(gate.established))
        metrics.pendingInbound.record(Int64(gate.pending))
        metrics.peers.record(Int64(connectedCount))
    }

    /// The dials under way, in the order in which they began.
    var dialsInOrder: [Dial] { dials.values.sorted { $0.number < $1.number } }

    // MARK: The end

    /// Closes the connections to `peer`.
    public func disconnect(_ peer: PeerID) {
        close(peer, because: .requested)
    }

    func close(_ peer: PeerID, because reason: DisconnectReason) {
        for member in peers[peer]?.connections ?? [] { close(member, because: reason) }
    }

    func close(_ member: SwarmConnection, because reason: DisconnectReason) {
        guard member.closing == nil else { return }
        member.closing = reason
        gate.beginsToClose()
        // No new streams go to it, and whoever connects now gets another.
        if let entry = peers[member.connection.remotePeer] { review(entry) }
        member.connection.close()
    }

    /// Stops listening and dialling, and closes all connections. It is of no more use afterwards.
    public func shutDown() {
        guard !isShutDown else { return }
        isShutDown = true
        for address in listeners.map(\.address) { stopListening(on: address) }
        interfaces = nil
        for dial in dialsInOrder { dial.finish(.failure(.cancelled)) }
        dials = [:]
        for peer in connectedPeers { close(peer, because: .shutDown) }
        negotiations.cancel()
    }
}
