public import MartletMainline
import MartletRuntime
public import MartletSimulator
public import MartletWire

/// A simulated world of DHT nodes, each on a host of its own.
public final class SimulatedDHT {
    /// The world.
    public let world: World
    /// The node that runs on each host now, by the host's number.
    public private(set) var nodes: [Int: MainlineDHT] = [:]
    /// What every node is configured with beyond the defaults.
    public var change: (inout MainlineConfiguration) -> Void = { _ in }
    /// What every host's line is like.
    public var line = LinkConditions(latency: .milliseconds(10))
    /// The addresses that nodes begin with; the first node's where nothing else is said.
    public var bootstrap: [BootstrapNode] = []
    /// How long each node took to join, in the order in which they did.
    public private(set) var joinTimes: [Duration] = []
    /// After how long each node but the first, which the others begin with, starts at the most.
    public var startsWithin = Duration.zero

    /// A world without nodes.
    public init(seed: UInt64) {
        world = World(seed: seed)
    }

    /// The address of the node with this number: one /24 for each, so that nobody shares a network by accident.
    public static func address(_ number: Int) -> IPAddress {
        IPAddress(UInt8(50 + number / 65536), UInt8(number / 256 % 256), UInt8(number % 256), UInt8(1 + number % 250))
    }

    /// A host with a node of the public DHT on it, which `body` may then use.
    @discardableResult
    public func add(
        _ address: IPAddress? = nil, in network: Network? = nil, readOnly: Bool = false,
        _ body: (nonisolated(nonsending) (MainlineDHT) async throws -> Void)? = nil
    ) -> Host {
        let number = world.hosts.count
        let host = world.host("node\(number)", address ?? Self.address(number), in: network)
        host.line = line
        var delay = Duration.zero
        if number > 0, startsWithin > .zero {
            delay = .nanoseconds(Int64(world.draw() % UInt64(startsWithin.nanoseconds)))
        }
        // The world runs nothing once its test has let go of this object.
        host.start { [unowned self] environment in
            try await environment.loop.sleep(for: delay)
            // After a restart there is nothing to wait for.
            delay = .zero
            let any: IPAddress = host.address.isV4 ? .anyV4 : .anyV6
            let socket = try environment.bindUDP(SocketAddress(any, port: 6881), options: UDPOptions())
            var configuration = MainlineConfiguration()
            configuration.bootstrap = bootstrap
            configuration.isReadOnly = readOnly
            configuration.limits.sourceCounters = 256
            change(&configuration)
            let dht = MainlineDHT(configuration, environment: environment, ports: [OwnDatagramPort(socket)])
            let began = environment.loop.now
            var hasJoined = false
            // The world runs nothing once its test has let go of this object.
            dht.onEvent = { [unowned self] event in
                guard !hasJoined, case .join(_, .joined) = event else { return }
                hasJoined = true
                joinTimes.append(environment.loop.now - began)
            }
            nodes[number] = dht
            await dht.start()
            try await body?(dht)
            try await environment.loop.sleep(until: .never)
        }
        if bootstrap.isEmpty { bootstrap = [BootstrapNode(host.address.description, port: 6881)] }
        return host
    }

    /// Runs `body` on the loop of the node with this number, if it is up.
    public func on(_ number: Int, _ body: nonisolated(nonsending) @escaping (MainlineDHT) async throws -> Void) {
        guard world.hosts[number].state == .up else { return }
        var isBegun = false
        // The world runs nothing once its test has let go of this object.
        world.hosts[number].start { [unowned self] environment in
            // A host that is restarted runs all its programs again.
            guard !isBegun else { return }
            isBegun = true
            // The node of the host's last life is not this one's.
            while nodes[number]?.environment !== environment {
                try await environment.loop.sleep(for: .milliseconds(100))
            }
            guard let node = nodes[number] else { return }
            try? await body(node)
        }
    }

    /// How far the node with this number has come in joining.
    public func join(_ number: Int) -> JoinState { nodes[number]?.status.first?.join ?? .idle }

    /// Announces `topic` by the node with this number, as long as its host lives.
    public func announce(_ topic: Topic, _ port: AnnouncedPort = .number(4001), by number: Int) {
        on(number) { dht in
            let announcement = dht.announce(topic, port)
            try? await dht.environment.loop.sleep(until: .never)
            announcement.stop()
        }
    }
}
