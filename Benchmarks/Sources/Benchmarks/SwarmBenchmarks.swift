import BenchmarkHarness
import Martlet

/// `MartletSwarm`: what connections and streams cost. Both sides are on one thread, over loopback.
var swarmBenchmarks: [Benchmark] {
    [
        connections("swarm-connect-tcp", listening: "/ip4/127.0.0.1/tcp/0"),
        connections("swarm-connect-quic", listening: "/ip4/127.0.0.1/udp/0/quic-v1"),
        requests("swarm-request-64-at-once", operations: 6400, atOnce: 64),
        requests("swarm-request", operations: 500, atOnce: 1),
    ]
}

/// A server and some clients on one loop.
///
/// It is `@unchecked Sendable` because it is touched on the loop, and otherwise only while the loop is idle.
private final class Swarms: @unchecked Sendable {
    let bench: Bench
    private(set) var server: Swarm!
    private(set) var clients: [Swarm] = []
    private(set) var address: Multiaddr!

    init(clients count: Int, listening: String) throws {
        bench = try Bench()
        bench.converse { [self] in
            server = make()
            server.handle("/answer") { [bench] stream, _ in
                bench.loop.spawn {
                    guard let request = try? await stream.read(exactly: 64) else { return }
                    try? await stream.write(request)
                    stream.closeWrite()
                }
            }
            clients = (0..<count).map { _ in make() }
            guard let wanted = try? Multiaddr(parsing: listening), let address = try? server.listen(on: wanted) else {
                preconditionFailure("nowhere to listen")
            }
            self.address = address
        }
    }

    private func make() -> Swarm {
        var random = bench.environment.random
        let identity = PrivateKey.ed25519(using: &random)
        var configuration = SwarmConfiguration()
        configuration.identifiesPeers = false
        // All come from one address, and as fast as they can.
        configuration.limits.addressRate = Rate(burst: 1_000_000, perSecond: 1_000_000)
        configuration.limits.networkRate = configuration.limits.addressRate
        configuration.limits.connectionsPerAddress = 1024
        configuration.limits.connectionsPerNetwork = 1024
        configuration.limits.pendingPerAddress = 256
        configuration.limits.streamRate = configuration.limits.addressRate
        return Swarm(
            environment: bench.environment, identity: identity,
            transports: TransportConfiguration().make(environment: bench.environment, identity: identity),
            configuration: configuration)
    }

    /// A piece of work on its way to the loop.
    ///
    /// It is `@unchecked Sendable` because the calling thread waits until the loop is done with it.
    private struct Work: @unchecked Sendable {
        let body: nonisolated(nonsending) (Swarm) async throws -> Void
    }

    /// Has `workers` conversations do `count` pieces of work together.
    func share(
        _ count: Int, among workers: Int,
        _ body: nonisolated(nonsending) @escaping (Swarm) async throws -> Void
    ) {
        let work = Work(body: body)
        bench.run { [self] in
            var left = count
            var running = workers
            for worker in 0..<workers {
                let swarm = clients[worker % clients.count]
                bench.loop.spawn { [self] in
                    while left > 0 {
                        left -= 1
                        do { try await work.body(swarm) } catch { preconditionFailure("\(error)") }
                    }
                    running -= 1
                    if running == 0 { bench.done() }
                }
            }
        }
    }
}

/// From the dial to the answer of the first ping, and the goodbye: sixteen at a time.
private func connections(_ name: String, listening: String) -> Benchmark {
    Benchmark(name, operations: 64) {
        let swarms = try Swarms(clients: 16, listening: listening)
        return { iterations in
            swarms.share(64 * iterations, among: 16) { [peer = swarms.server.localPeer, address = swarms.address!] in
                _ = try await $0.connect(to: peer, at: [address])
                _ = try await $0.pinger(to: peer).ping()
                $0.disconnect(peer)
            }
        }
    }
}

/// A stream with its protocol agreed on, 64 bytes there and 64 back, and its end, on one TCP connection.
private func requests(_ name: String, operations: Int, atOnce: Int) -> Benchmark {
    Benchmark(name, operations: operations) {
        let swarms = try Swarms(clients: 1, listening: "/ip4/127.0.0.1/tcp/0")
        let message = Bytes([UInt8](repeating: 7, count: 64))
        let peer = swarms.server.localPeer
        swarms.share(1, among: 1) { [address = swarms.address!] in
            _ = try await $0.connect(to: peer, at: [address])
        }
        return { iterations in
            swarms.share(operations * iterations, among: atOnce) {
                let stream = try await $0.openStream(to: peer, "/answer")
                try await stream.write(message)
                stream.closeWrite()
                _ = try await stream.read(exactly: 64)
            }
        }
    }
}
