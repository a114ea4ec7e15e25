import Foundation
import Martlet

/// Martlet's program for the transport test of libp2p's unified-testing: see README.md beside it.
@main
struct TransportTest {
    static func main() async {
        do {
            try await run(try Settings(ProcessInfo.processInfo.environment))
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(1)
        }
    }

    private static func run(_ settings: Settings) async throws {
        let sink = TextLogSink { WallTime(nanoseconds: Int64(Date().timeIntervalSince1970 * 1e9)) }
        let log = Logger(subsystem: "test", sink: sink, levels: LogLevels(settings.isDebug ? .debug : .warning))
        let environment = try SystemEnvironment(log: log)
        try await environment.loop.run {
            var random = environment.random
            let identity = PrivateKey.ed25519(using: &random)
            var transports = TransportConfiguration()
            transports.security = settings.security
            let swarm = Swarm(
                environment: environment, identity: identity,
                transports: transports.make(environment: environment, identity: identity))
            let redis = try await Redis(
                settings.redis, environment: environment, deadline: environment.loop.now + .seconds(30))
            if settings.isDialer {
                try await dial(swarm, redis, settings)
            } else {
                try await listen(swarm, redis, settings)
            }
        }
        await environment.shutdown()
    }

    // MARK: The listener

    private nonisolated(nonsending) static func listen(
        _ swarm: Swarm, _ redis: Redis, _ settings: Settings
    ) async throws {
        try swarm.listen(on: settings.listenAddress)
        // Others must be able to dial it, so loopback is the last choice.
        let addresses = swarm.listenAddresses.sorted { left, _ in left.ipAddress.map { !$0.isLoopback } ?? true }
        guard let address = addresses.first else { throw Failure.noAddress }
        let whole = try address.appending(.p2p(swarm.localPeer))
        _ = try await redis.ask("RPUSH", settings.key, whole.description)
        // Until whoever started this ends it.
        try await swarm.loop.sleep(until: .never)
    }

    // MARK: The dialer

    private nonisolated(nonsending) static func dial(
        _ swarm: Swarm, _ redis: Redis, _ settings: Settings
    ) async throws {
        let address = try await listener(redis, settings)
        let start = swarm.loop.now
        let info = try await swarm.connect(to: address)
        let pinger = try await swarm.pinger(to: info.peer)
        _ = try await pinger.ping()
        let handshakeAndRoundTrip = swarm.loop.now - start
        let roundTrip = try await pinger.ping()
        print(
            """
            latency:
              handshake_plus_one_rtt: \(milliseconds(handshakeAndRoundTrip))
              ping_rtt: \(milliseconds(roundTrip))
              unit: ms
            """)
        swarm.shutDown()
    }

    private nonisolated(nonsending) static func listener(
        _ redis: Redis, _ settings: Settings
    ) async throws -> Multiaddr {
        let reply = try await redis.ask("BLPOP", settings.key, "\(settings.timeoutSeconds)")
        guard case .list(let parts) = reply, parts.count == 2, case .text(let text) = parts[1] else {
            throw Failure.noListener
        }
        return try Multiaddr(parsing: text)
    }

    private static func milliseconds(_ duration: Duration) -> String {
        String(format: "%.3f", duration / .milliseconds(1))
    }
}

/// Why the test could not be made.
enum Failure: Error {
    case missing(String)
    case unsupported(String)
    case noAddress
    case noListener
}

/// What the test is told by environment variables.
struct Settings: Sendable {
    var isDialer: Bool
    var isDebug: Bool
    var redis: String
    /// Where the listener's address stands.
    var key: String
    var listenAddress: Multiaddr
    /// What secures TCP.
    var security: [SecurityProtocol] = [.noise]
    var timeoutSeconds: Int

    init(_ variables: [String: String]) throws {
        func value(_ name: String) throws -> String {
            guard let value = variables[name], !value.isEmpty else { throw Failure.missing(name) }
            return value
        }
        isDialer = try value("IS_DIALER") == "true"
        isDebug = variables["DEBUG"] == "true"
        redis = try value("REDIS_ADDR")
        key = "\(try value("TEST_KEY"))_listener_multiaddr"
        timeoutSeconds = variables["TEST_TIMEOUT_SECS"].flatMap { Int($0) } ?? 180
        let ip = variables["LISTENER_IP"] ?? "0.0.0.0"
        switch try value("TRANSPORT") {
        case "tcp":
            let (secure, muxer) = (try value("SECURE_CHANNEL"), try value("MUXER"))
            switch secure {
            case "noise": security = [.noise]
            case "tls": security = [.tls]
            default: throw Failure.unsupported(secure)
            }
            guard muxer == "yamux" else { throw Failure.unsupported(muxer) }
            listenAddress = try Multiaddr(parsing: "/ip4/\(ip)/tcp/0")
        case "quic-v1": listenAddress = try Multiaddr(parsing: "/ip4/\(ip)/udp/0/quic-v1")
        case let other: throw Failure.unsupported(other)
        }
    }
}
