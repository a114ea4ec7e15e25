import MartletRouting
public import MartletRuntime
public import MartletWire

/// A node of the BitTorrent DHT on a loop: a `MainlineNode` with its timer, its ports, its file and its names.
///
///     let dht = MainlineDHT(configuration, environment: environment, ports: [OwnDatagramPort(socket)])
///     await dht.start()
///     let announcement = dht.announce(Topic("chess"), .number(4001))
///     let search = dht.peers(of: Topic("chess"))
///     while let peer = try await search.next() { print(peer) }
///
/// It belongs to its environment's loop. Nobody reached is no error: it is said in `status`, and tried again.
public final class MainlineDHT {
    /// Told of everything that happens to the node itself: joining, and our address as others see it.
    public var onEvent: ((MainlineEvent) -> Void)?
    /// The outside of the node.
    public let environment: any Environment
    // It is touched for every datagram, on the loop alone, and calls nobody back.
    @exclusivity(unchecked) var node: MainlineNode
    /// A search is its user's, and ends when that one lets go of it.
    private struct Held {
        weak var search: MainlineSearch?
    }

    private var searches: [SearchID: Held] = [:]
    private var ports: [IPAddress.Family: any DatagramPort] = [:]
    private var timer: LoopTimer!
    private var saveTimer: LoopTimer!
    @exclusivity(unchecked) private var random: RandomSource
    private var isResolving = false
    /// Whether a lookup begins whose number nobody knows yet, and what has come meanwhile.
    private var isBeginning = false
    private var early: [(SearchID, MainlineEvent)] = []
    private var isStopped = false

    /// How often the nodes that it knows are saved.
    static let saveInterval = Duration.seconds(300)
    private static let largestFile = 1 << 20

    /// A node that takes part over `ports`, at most one of each family, and in those families alone.
    public init(
        _ configuration: MainlineConfiguration, environment: any Environment, ports: [any DatagramPort],
        metrics: MainlineMetrics = MainlineMetrics()
    ) {
        var configuration = configuration
        configuration.usesV4 = ports.contains { $0.localAddress.ip.isV4 }
        configuration.usesV6 = ports.contains { $0.localAddress.ip.isV6 }
        self.environment = environment
        random = environment.random
        node = MainlineNode(configuration, metrics: metrics, at: environment.loop.now, using: &random)
        // The timer is this object's, and does not fire once it is released.
        timer = LoopTimer(on: environment.loop, label: "dht") { [unowned self] in
            node.handleDeadline(at: environment.loop.now, using: &random)
            flush()
        }
        // As the timer above.
        saveTimer = LoopTimer(on: environment.loop, label: "dht save") { [unowned self] in
            save()
            saveTimer.arm(after: Self.saveInterval)
        }
        for port in ports {
            self.ports[port.localAddress.ip.family] = port
            node.setLocalPort(port.localAddress.port, port.localAddress.ip.family)
            port.onDatagram = { [weak self] datagram in
                guard let self else { return }
                node.handle(
                    datagram.bytes, from: datagram.source, to: datagram.localAddress, at: environment.loop.now,
                    using: &random)
                flush()
            }
        }
    }

    /// The families in which it takes part.
    public var families: [IPAddress.Family] {
        [IPAddress.Family.v4, .v6].filter { ports[$0] != nil }
    }

    /// How the node behaves.
    public var configuration: MainlineConfiguration { node.configuration }

    /// Reads what was saved, and begins to join. Returns when the file is read; joining goes on by itself.
    public nonisolated(nonsending) func start() async {
        if let file = configuration.file {
            do {
                if let saved = try await environment.files.read(file, maximum: Self.largestFile) {
                    try node.restore(saved, at: environment.loop.now)
                }
            } catch {
                environment.log.warning("the DHT's saved nodes cannot be read", ["file": file, "error": "\(error)"])
            }
        }
        guard !isStopped else { return }
        for family in families { node.join(family, at: environment.loop.now, using: &random) }
        timer.arm(at: node.deadline)
        saveTimer.arm(after: Self.saveInterval)
        flush()
    }

    /// Ends everything: lookups end, nothing more is sent or answered, and the nodes that are known are saved.
    public nonisolated(nonsending) func stop() async {
        guard !isStopped else { return }
        isStopped = true
        timer.cancel()
        saveTimer.cancel()
        for port in ports.values { port.onDatagram = nil }
        let ending = searches.values.compactMap(\.search)
        searches = [:]
        for search in ending { search.finish() }
        guard let file = configuration.file, node.hasNodesToSave else { return }
        await Self.write(node.saved(at: environment.loop.now), to: file, environment)
    }

    private func save() {
        guard let file = configuration.file, node.hasNodesToSave else { return }
        let saved = node.saved(at: environment.loop.now)
        environment.loop.spawn { [environment] in
            await Self.write(saved, to: file, environment)
        }
    }

    private nonisolated(nonsending) static func write(
        _ saved: Bytes, to file: String, _ environment: any Environment
    ) async {
        do {
            try await environment.files.replace(file, with: saved, isPrivate: true)
        } catch {
            // While the environment is shut down, what was saved before is still there.
            guard error != .cancelled else { return }
            environment.log.warning("the DHT's nodes cannot be saved", ["file": file, "error": "\(error)"])
        }
    }

    /// Calls the machine, and sees to what it then has to say.
    func change<Result>(_ body: (inout MainlineNode, Instant, inout RandomSource) -> Result) -> Result {
        let result = body(&node, environment.loop.now, &random)
        flush()
        return result
    }

    private func flush() {
        guard !isStopped else { return }
        while let transmit = node.nextTransmit() {
            ports[transmit.destination.ip.family]?.send(
                transmit.bytes.span, to: transmit.destination, from: transmit.source)
        }
        while let event = node.nextEvent() { take(event) }
        if timer.deadline != node.deadline { timer.arm(at: node.deadline) }
    }

    private func take(_ event: MainlineEvent) {
        switch event {
        case .peers(let id, _), .item(let id, _), .infohashes(let id, _), .ended(let id, _):
            // What a call caused at once comes before the caller knows its number.
            guard let search = searches[id] else {
                if isBeginning { early.append((id, event)) }
                return
            }
            search.search?.take(event)
            if case .ended = event { searches[id] = nil }
        case .needsBootstrap: resolve()
        case .outsideAddress, .join, .reached: break
        }
        onEvent?(event)
    }

    /// Begins a lookup by `body`, and has `search` take what comes of it.
    func begin(_ search: MainlineSearch, _ body: (inout MainlineNode, Instant, inout RandomSource) -> SearchID?) {
        isBeginning = true
        let id = change(body)
        isBeginning = false
        guard let id else { return early.removeAll() }
        searches[id] = Held(search: search)
        search.begin(id)
        for (number, event) in early where number == id {
            search.take(event)
            if case .ended = event { searches[id] = nil }
        }
        early.removeAll()
    }

    /// Ends the lookup `id`.
    func cancel(_ id: SearchID) {
        searches[id] = nil
        change { node, _, _ in node.cancel(id) }
    }

    // MARK: Bootstrap

    /// Finds the addresses of the bootstrap nodes, and begins to join with them.
    private func resolve() {
        guard !isResolving, !isStopped else { return }
        isResolving = true
        environment.loop.spawn("dht bootstrap") { [weak self] in
            guard let environment = self?.environment, let nodes = self?.configuration.bootstrap else { return }
            var addresses: [SocketAddress] = []
            for node in nodes { addresses += await Self.addresses(of: node, environment) }
            guard let self else { return }
            isResolving = false
            guard !isStopped else { return }
            for family in families {
                change { node, now, random in node.bootstrap(with: addresses, family, at: now, using: &random) }
            }
        }
    }

    private nonisolated(nonsending) static func addresses(
        of node: BootstrapNode, _ environment: any Environment
    ) async -> [SocketAddress] {
        if let ip = IPAddress(node.host) { return [SocketAddress(ip, port: node.port)] }
        var addresses: [SocketAddress] = []
        for type in [RecordType.a, .aaaa] {
            let deadline = environment.loop.now + .seconds(5)
            guard let records = try? await environment.lookUp(node.host, type, deadline: deadline) else { continue }
            for case .address(let ip) in records { addresses.append(SocketAddress(ip, port: node.port)) }
        }
        return addresses
    }
}
