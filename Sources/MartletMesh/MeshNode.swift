public import MartletRuntime

/// A node of a plain-text mesh, in which everyone is connected to everyone.
///
/// The protocol is lines over TCP, so that anyone can join with netcat; `Documentation/Mesh.md` states it. Make a node,
/// set what should not be as it is by itself, `start` it, take its `events` and `broadcast`; in the end `stop` it. It may
/// be used from any task.
///
///     let node = try MeshNode(port: 8001, bootstrap: ["192.168.1.100:8001"])
///     node.name = "alice"
///     try await node.start()
///     try await node.broadcast("hello")
///     await node.stop()
///
/// What can be set is what `MeshConfiguration` has: `name`, `discoveryInterval`, `maximumPeers` and so on. It counts as it
/// is when the node starts.
///
/// A node runs on the loop of its environment, and in a simulated world just as on this machine.
@dynamicMemberLookup
public actor MeshNode {
    /// What happens to the node, for one reader.
    public nonisolated let events = MeshEvents(capacity: MeshConfiguration().maximumEvents) { .missed($0) }
    private nonisolated let settings: Lock<Settings>
    private nonisolated let loop: EventLoop
    private let environment: any Environment
    /// The environment, where the node has made it for itself alone.
    private nonisolated let own: SystemEnvironment?
    private let wantedPort: UInt16
    private let bootstrap: [MeshAddress]
    private var driver: MeshDriver?

    private struct Settings {
        var configuration: MeshConfiguration
        var areFixed = false
    }

    /// The loop of the environment.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    /// A node that will listen on `port`, or any that is free where it is 0, and begin at the addresses in `bootstrap`.
    public init(
        port: UInt16, bootstrap: [MeshAddress] = [], configuration: MeshConfiguration = MeshConfiguration(),
        environment: any Environment
    ) {
        self.init(port: port, bootstrap: bootstrap, configuration, environment, own: nil)
    }

    /// The same on this machine, with a thread of its own, which lasts until the node is stopped. Throws `noAddress` for
    /// a text that is not like `192.168.1.100:8001` or `localhost:8001`.
    public init(port: UInt16, bootstrap: [String] = []) throws(MeshFailure) {
        var addresses: [MeshAddress] = []
        for text in bootstrap { addresses.append(try MeshAddress(parsing: text)) }
        let environment: SystemEnvironment
        do throws(NetworkError) {
            let log = Logger(subsystem: "mesh", sink: SilentSink(), levels: LogLevels(.critical))
            environment = try SystemEnvironment(name: "mesh", log: log)
        } catch {
            throw MeshFailure(error)
        }
        self.init(port: port, bootstrap: addresses, MeshConfiguration(), environment, own: environment)
    }

    private init(
        port: UInt16, bootstrap: [MeshAddress], _ configuration: MeshConfiguration, _ environment: any Environment,
        own: SystemEnvironment?
    ) {
        wantedPort = port
        self.bootstrap = bootstrap
        settings = Lock(Settings(configuration: configuration))
        self.environment = environment
        self.own = own
        loop = environment.loop
    }

    /// How it behaves. It is set before the node starts.
    public nonisolated var configuration: MeshConfiguration {
        get { settings.withLock { $0.configuration } }
        set {
            settings.withLock { settings in
                precondition(!settings.areFixed, "a node is configured before it starts")
                settings.configuration = newValue
            }
        }
    }

    /// What `MeshConfiguration` has under that name. It is set before the node starts.
    public nonisolated subscript<Value>(dynamicMember path: WritableKeyPath<MeshConfiguration, Value>) -> Value {
        get { configuration[keyPath: path] }
        set { configuration[keyPath: path] = newValue }
    }

    /// Listens and begins to look for peers. Throws where the port cannot be listened on: most often it is in use.
    public func start() throws(NetworkError) {
        let configuration = settings.withLock { settings in
            precondition(!settings.areFixed, "a node starts once")
            settings.areFixed = true
            return settings.configuration
        }
        events.keep(configuration.maximumEvents)
        let driver: MeshDriver
        do throws(NetworkError) {
            driver = try MeshDriver(
                port: wantedPort, configuration: configuration, events: events, environment: environment)
        } catch {
            settings.withLock { $0.areFixed = false }
            throw error
        }
        self.driver = driver
        driver.start(at: bootstrap)
    }

    /// The port on which it listens, once it has started.
    public var port: UInt16? { driver?.port }

    /// Who is connected, in the order in which they came.
    public var peers: [MeshPeer] { driver?.peers ?? [] }

    /// How many addresses it knows, connected or not.
    public var knownAddresses: Int { driver?.known ?? 0 }

    /// Connects to a peer, and returns once it is one. Throws why it is none.
    public func connect(to address: MeshAddress) async throws(MeshFailure) {
        loop.preconditionCurrent()
        guard let driver else { throw .stopped }
        try await driver.connect(to: address)
    }

    /// The same for an address as it is written: `192.168.1.100:8001`. Throws `noAddress` where it is none.
    public func connect(to address: String) async throws(MeshFailure) {
        try await connect(to: MeshAddress(parsing: address))
    }

    /// Says `text`, one line, to every peer. Returns to how many. Throws where it cannot be said: it is empty, has
    /// several lines or is a word of the protocol.
    ///
    /// It does not wait for the network. A peer that falls behind by `MeshConfiguration.maximumQueued` is disconnected.
    @discardableResult
    public func broadcast(_ text: String) throws(MeshLine.Unsayable) -> Int {
        try driver?.say(text) ?? 0
    }

    /// Asks every peer for its peers now.
    public func discover() {
        driver?.discover()
    }

    /// Waits until nothing is under way that could bring new peers, at most for `limit`: what is said then reaches
    /// everyone who can be reached.
    public func settle(within limit: Duration) async {
        loop.preconditionCurrent()
        await driver?.settle(by: loop.now + limit)
    }

    /// Sends what is queued, closes every connection, and ends `events`. The node does nothing any more.
    public nonisolated func stop() async {
        await close()
        await own?.shutdown()
    }

    private func close() async {
        loop.preconditionCurrent()
        settings.withLock { $0.areFixed = true }
        guard let driver else { return events.finish() }
        self.driver = nil
        await driver.stop()
    }
}

/// A node that has made its environment itself tells by its events and errors what there is to tell.
private final class SilentSink: LogSink {
    func write(_ record: LogRecord) {}
}
