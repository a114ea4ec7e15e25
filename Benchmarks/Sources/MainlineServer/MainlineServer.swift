import Glibc
import MartletMainline
import MartletRouting
import MartletRuntime
import MartletWire

/// A node of the DHT on loopback and nothing else, for MainlineBenchmarks: `MainlineServer limited|unlimited PORT…`.
///
/// It begins with the nodes at these ports. It tells its own port, and for each line that comes in how many nodes it knows
/// and announcements it holds. With `limited` it has its default limits; with `unlimited` it answers each address as often
/// as it asks.
@main
struct MainlineServer {
    static func main() async throws { try await serve(CommandLine.arguments.dropFirst()) }

    /// Apart from `main`, whose closures would belong to the main actor and not to the node's loop.
    static func serve(_ words: ArraySlice<String>) async throws {
        let log = Logger(subsystem: "dht", sink: TextLogSink { WallTime(nanoseconds: 0) }, levels: LogLevels(.error))
        let environment = try SystemEnvironment(name: "dht", log: log)
        let isLimited = words.first == "limited"
        let ports = words.dropFirst().compactMap { UInt16($0) }
        let node = try await environment.loop.run { try await Served(environment, isLimited: isLimited, ports: ports) }
        tell("\(node.port)")
        while readLine() != nil { tell(try await environment.loop.run { node.state }) }
        await environment.shutdown()
    }

    private static func tell(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        guard write(1, bytes, bytes.count) == bytes.count else { exit(1) }
    }
}

/// The node, on its loop.
// It is made and used on the loop alone.
private final class Served: @unchecked Sendable {
    let port: UInt16
    private let dht: MainlineDHT
    private let metrics = MainlineMetrics()

    nonisolated(nonsending) init(_ environment: SystemEnvironment, isLimited: Bool, ports: [UInt16]) async throws {
        let socket = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
        port = socket.localAddress.port
        var configuration = MainlineConfiguration(privateWith: ports.map { BootstrapNode("127.0.0.1", port: $0) })
        configuration.file = nil
        // As libtorrent's, which are larger than those of most.
        configuration.limits.routing.bucketSizes = [128, 64, 32, 16, 8]
        if !isLimited {
            configuration.limits.answersPerSource = 0
            configuration.limits.unprovenBytesPerSource = 0
            configuration.limits.unprovenBytesPerNetwork = 0
        }
        dht = MainlineDHT(
            configuration, environment: environment, ports: [OwnDatagramPort(socket)], metrics: metrics)
        await dht.start()
        // All of them, not only those that the way to its neighbours leads by.
        var random = environment.random
        for _ in 0..<16 { try await dht.nodes(around: NodeID(using: &random)).end() }
    }

    var state: String { "\(dht.status.first?.nodes.count ?? 0) \(metrics.announcements.value)" }
}
