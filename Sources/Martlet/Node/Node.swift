internal import MartletCrypto
public import MartletIdentity
public import MartletRuntime
package import MartletStore
public import MartletTransport
public import MartletWire

/// A node: it finds the others on its topics, connects to them, exchanges with them what they are, and remembers them.
///
///     let node = try Node(NodeConfiguration(topics: ["chess"]))
///     try await node.start()
///     for await event in node.events {
///         if case .joined(let peer, let topic) = event { print(peer, "is on", topic) }
///     }
///     await node.stop()
///
/// It may be used from any task. It runs on the loop of its environment, and in a simulated world just as on this machine.
public actor Node {
    /// Who it is to others.
    public nonisolated let id: PeerID
    /// How it behaves.
    public nonisolated let configuration: NodeConfiguration
    /// What happens to it, for one reader; `subscribe` gives others theirs.
    public nonisolated let events: NodeEvents
    /// What is counted and measured of it.
    public nonisolated let metrics: MetricsRegistry
    private nonisolated let readers = NodeEventReaders()
    private nonisolated let loop: EventLoop
    private nonisolated let environment: any Environment
    /// The environment, where the node has made it for itself alone.
    private nonisolated let own: SystemEnvironment?
    private nonisolated let identity: PrivateKey
    private var driver: NodeDriver?
    private var state = State.new
    private var handlers: [Handler] = []
    private var stopping: [Signal] = []

    private enum State {
        case new, starting, running, stopping, stopped
    }

    private struct Handler {
        var name: String
        var limit: Int?
        var body: @Sendable (MartletTransport.Stream) async -> Void
    }

    /// The loop of the environment.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    /// A node in `environment`, on this machine or in a simulated world. Where the configuration has no identity it gets
    /// a new one; in a world that is to repeat itself it has one.
    public init(
        _ configuration: NodeConfiguration = NodeConfiguration(), environment: any Environment,
        metrics: MetricsRegistry = MetricsRegistry()
    ) {
        var random = RandomSource.system()
        let identity = configuration.identity ?? .ed25519(using: &random)
        self.init(configuration, identity, environment, own: nil, metrics)
    }

    /// A node on this machine, with a thread of its own, which lasts until `stop`. Throws where its key cannot be read or
    /// kept, and where the system has no more of what it needs.
    public init(_ configuration: NodeConfiguration = NodeConfiguration()) throws(MartletError) {
        var configuration = configuration
        let identity = try configuration.key()
        configuration.keepsFiles = configuration.keepsFiles && configuration.dataDirectory != nil
        let own: SystemEnvironment
        do throws(NetworkError) {
            let log = Logger(subsystem: "martlet", sink: NodeSilence(), levels: LogLevels(.critical))
            own = try SystemEnvironment(name: "node", directory: configuration.dataDirectory ?? ".", log: log)
        } catch {
            throw MartletError(.system, "a node cannot be made: \(error)")
        }
        self.init(configuration, identity, own, own: own, own.metrics)
    }

    private init(
        _ configuration: NodeConfiguration, _ identity: PrivateKey, _ environment: any Environment,
        own: SystemEnvironment?, _ metrics: MetricsRegistry
    ) {
        self.configuration = configuration
        self.identity = identity
        self.environment = environment
        self.own = own
        self.metrics = metrics
        id = PeerID(identity.publicKey)
        loop = environment.loop
        events = readers.add()
    }

    /// One reader more of what happens, from now on, for as long as it is kept.
    public nonisolated func subscribe() -> NodeEvents { readers.add() }

    // MARK: Beginning and end

    /// Listens, opens the peer database, and begins to look for others. Returns when the node listens; finding others
    /// goes on by itself. A node starts once.
    public func start() async throws(MartletError) {
        loop.preconditionCurrent()
        guard case .new = state else {
            throw MartletError(.alreadyRunning, "the node has been started before; make another one")
        }
        try configuration.check()
        state = .starting
        let driver = NodeDriver(configuration, identity, environment, readers, metrics)
        self.driver = driver
        for handler in handlers { serve(handler, on: driver) }
        do throws(MartletError) {
            try await driver.start()
        } catch {
            if case .starting = state { await close() }
            throw error
        }
        guard case .starting = state else { throw MartletError(.cancelled, "the node was stopped while it started") }
        state = .running
    }

    /// Says goodbye to all peers, writes down what is known, and ends `events`. It takes a second and a half at the most.
    /// The node is of no more use afterwards. Does nothing the second time.
    public nonisolated func stop() async {
        await close()
        await own?.shutdown()
    }

    private func close() async {
        loop.preconditionCurrent()
        switch state {
        case .stopped: return
        case .stopping:
            // Somebody else does it; this waits with him.
            let signal = Signal(on: loop)
            stopping.append(signal)
            try? await signal.wait()
        case .new, .starting, .running:
            state = .stopping
            await driver?.stop()
            driver = nil
            state = .stopped
            readers.finish()
            for waiter in stopping { waiter.signal() }
            stopping = []
        }
    }

    private func running() throws(MartletError) -> NodeDriver {
        guard let driver, state == .running || state == .starting else { throw .notRunning }
        return driver
    }

    // MARK: Peers

    /// Connects to whoever is at `address`: the peer that it ends with where there is one, else whoever answers. Says who
    /// it is.
    @discardableResult
    public func connect(_ address: Multiaddr) async throws(MartletError) -> PeerID {
        loop.preconditionCurrent()
        return try await running().connect(address)
    }

    /// Connects to `peer` at the addresses that are known of it.
    public func connect(_ peer: PeerID) async throws(MartletError) {
        loop.preconditionCurrent()
        try await running().connect(peer)
    }

    /// Closes the connection to `peer`, which is not connected again by this node itself for an hour.
    public func disconnect(_ peer: PeerID) {
        driver?.disconnect(peer)
    }

    /// Opens a stream of the protocol `protocolName` to `peer`, which is connected if it is not. The connection stays while
    /// a stream of the user's is open, and ten minutes longer; `connect` keeps it for good.
    public func open(
        _ protocolName: String, to peer: PeerID
    ) async throws(MartletError) -> MartletTransport.Stream {
        loop.preconditionCurrent()
        return try await running().open(protocolName, to: peer)
    }

    /// Gives streams of the protocol `protocolName` that peers open to `handler`, on tasks of their own; at most `limit`
    /// of one peer at the same time. A peer that uses it stays connected for ten minutes, whatever its topics. The handler
    /// takes the place of another one of that name, and may be set before the start.
    public func handle(
        _ protocolName: String, limit: Int? = nil,
        _ handler: @escaping @Sendable (MartletTransport.Stream) async -> Void
    ) {
        let handler = Handler(name: protocolName, limit: limit, body: handler)
        handlers.removeAll { $0.name == protocolName }
        handlers.append(handler)
        if let driver { serve(handler, on: driver) }
    }

    private func serve(_ handler: Handler, on driver: NodeDriver) {
        let body = handler.body
        driver.swarm.handle(handler.name, limit: handler.limit) { [weak driver] stream, _ in
            driver?.accepted(stream)
            Task { await body(stream) }
        }
    }

    // MARK: Messages

    /// Sends `message` to `peer`, which is connected and has proven to be on `topic`. Returns when it is on its way.
    /// Messages to one peer arrive in order, or the connection is over.
    public func send(_ message: Bytes, to peer: PeerID, on topic: String) async throws(MartletError) {
        loop.preconditionCurrent()
        try await running().messages.send(message, to: peer, on: topic)
    }

    /// Sends `message` to all who are connected and have proven to be on `topic`, and says to how many. Who is so far
    /// behind that there is no room for it is left out.
    @discardableResult
    public func broadcast(_ message: Bytes, on topic: String) async throws(MartletError) -> Int {
        loop.preconditionCurrent()
        return try running().messages.broadcast(message, on: topic)
    }

    // MARK: What it knows

    /// Those who are known, connected or not: the connected ones first, then the best first.
    public func peers(_ filter: NodePeer.Filter = .all) async throws(MartletError) -> [NodePeer] {
        loop.preconditionCurrent()
        return try await running().peers(filter)
    }

    /// All that is known of a peer, or `nil` where nothing is.
    public func peer(_ id: PeerID) async throws(MartletError) -> NodePeerDetails? {
        loop.preconditionCurrent()
        return try await running().peer(id)
    }

    /// How it is doing.
    public var status: NodeStatus {
        driver?.status ?? NodeStatus(idle: configuration, id: id, at: environment.wallTime)
    }

    /// What it checks of itself. A check that is required and not passed says that the node is of no use.
    public var health: [HealthCheck] {
        driver?.health ?? [
            HealthCheck(name: "running", isOK: false, isRequired: true, detail: "the node does not run")
        ]
    }

    /// How many entries everything has that others can make grow, by name: for those who watch that nothing does.
    package var tableSizes: [String: Int] { driver?.tableSizes ?? [:] }

    /// Whether the database keeps `peer` however old it gets.
    package func isKept(_ peer: PeerID) async throws -> Bool {
        loop.preconditionCurrent()
        return try await driver?.store?.peer(peer)?.summary.isKept ?? false
    }

    /// How many rows the database's tables have.
    package func storeCounts() async throws -> StoreCounts? {
        loop.preconditionCurrent()
        return try await driver?.store?.counts()
    }
}

/// A node that has made its environment itself tells by its events and errors what there is to tell.
private final class NodeSilence: LogSink {
    func write(_ record: LogRecord) {}
}
