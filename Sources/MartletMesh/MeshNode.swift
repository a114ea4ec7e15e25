public import MartletRuntime

/// A node of a plain-text mesh, in which everyone is connected to everyone.
///
/// The protocol is lines over TCP, so that anyone can join with netcat; `Documentation/mesh.md` states it. Make a node,
/// `start` it, take its `events` and `broadcast`; in the end `stop` it. It may be used from any task.
///
/// A node runs on the loop of its environment, and in a simulated world just as on this machine.
public actor MeshNode {
    /// What happens to the node, for one reader.
    public nonisolated let events: MeshEvents
    /// How it behaves.
    public nonisolated let configuration: MeshConfiguration
    private nonisolated let loop: EventLoop
    private let environment: any Environment
    private let wantedPort: UInt16
    private let bootstrap: [MeshAddress]
    private var driver: MeshDriver?
    private var hasStopped = false

    /// The loop of the environment.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    /// A node that will listen on `port`, or any that is free where it is 0, and begin at the addresses in `bootstrap`.
    public init(
        port: UInt16, bootstrap: [MeshAddress] = [], configuration: MeshConfiguration = MeshConfiguration(),
        environment: any Environment
    ) {
        wantedPort = port
        self.bootstrap = bootstrap
        self.configuration = configuration
        self.environment = environment
        loop = environment.loop
        events = MeshEvents(capacity: configuration.maximumEvents)
    }

    /// Listens and begins to look for peers. Throws where the port cannot be listened on: most often it is in use.
    public func start() throws(NetworkError) {
        precondition(driver == nil && !hasStopped, "a node starts once")
        let driver = try MeshDriver(
            port: wantedPort, configuration: configuration, events: events, environment: environment)
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

    /// Sends what is queued, closes every connection, and ends `events`.
    public func stop() async {
        loop.preconditionCurrent()
        guard let driver else { return events.finish() }
        self.driver = nil
        hasStopped = true
        await driver.stop()
    }
}
