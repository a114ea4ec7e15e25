import Martlet

/// A node with a loop of its own, for one side of a measurement.
///
/// It is `@unchecked Sendable` because the swarm is touched on its loop alone.
final class Node: @unchecked Sendable {
    let environment: SystemEnvironment
    let swarm: Swarm

    /// A node that accepts as many connections and streams as one likes.
    init(_ name: String, identifies: Bool = false) async throws {
        let log = Logger(subsystem: name, sink: TextLogSink { WallTime(nanoseconds: 0) }, levels: LogLevels(.error))
        let environment = try SystemEnvironment(name: name, log: log)
        self.environment = environment
        swarm = try await environment.loop.run { Carried(makeSwarm(environment, identifies: identifies)) }.swarm
    }

    /// A value on its way off the loop, where it is kept and not used. It is `@unchecked Sendable` for that.
    private struct Carried: @unchecked Sendable {
        let swarm: Swarm

        init(_ swarm: Swarm) { self.swarm = swarm }
    }

    /// Runs `body` on the node's loop.
    func run<Result: Sendable>(
        _ body: sending nonisolated(nonsending) @escaping (Swarm) async throws -> Result
    ) async throws -> Result {
        let work = Work(node: self, body: body)
        return try await environment.loop.run { try await work.body(work.node.swarm) }
    }

    /// A piece of work on its way to the loop. It is `@unchecked Sendable` because it is done there and nowhere else.
    private struct Work<Result: Sendable>: @unchecked Sendable {
        let node: Node
        let body: nonisolated(nonsending) (Swarm) async throws -> Result
    }

    /// Listens on a free port of loopback, over `transport`.
    func listen(_ transport: String) async throws -> Multiaddr {
        let address = try Multiaddr(parsing: loopback(transport))
        return try await run { try $0.listen(on: address) }
    }

    /// Ends the node.
    func stop() async throws {
        try await run { $0.shutDown() }
        await environment.shutdown()
    }
}

/// A free port of loopback, over `transport`.
func loopback(_ transport: String) -> String {
    transport == "quic" ? "/ip4/127.0.0.1/udp/0/quic-v1" : "/ip4/127.0.0.1/tcp/0"
}

/// A swarm with an identity of its own that accepts as many connections and streams as one likes.
func makeSwarm(_ environment: any Environment, identifies: Bool = false) -> Swarm {
    var random = environment.random
    let identity = PrivateKey.ed25519(using: &random)
    var configuration = SwarmConfiguration()
    configuration.identifiesPeers = identifies
    configuration.limits.connections = 20_000
    configuration.limits.highMark = 20_000
    configuration.limits.lowMark = 19_999
    configuration.limits.connectionsPerAddress = 20_000
    configuration.limits.connectionsPerNetwork = 20_000
    configuration.limits.pendingPerAddress = 256
    configuration.limits.addressRate = Rate(burst: 1_000_000, perSecond: 1_000_000)
    configuration.limits.networkRate = configuration.limits.addressRate
    configuration.limits.streamRate = configuration.limits.addressRate
    return Swarm(
        environment: environment, identity: identity,
        transports: TransportConfiguration().make(environment: environment, identity: identity),
        configuration: configuration)
}
