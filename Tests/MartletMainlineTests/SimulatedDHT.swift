import MartletMainline
import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

/// A simulated world of DHT nodes.
final class SimulatedDHT {
    let world: World
    /// The node that runs on each host now, by the host's number.
    private(set) var nodes: [Int: MainlineDHT] = [:]
    var change: (inout MainlineConfiguration) -> Void = { _ in }
    /// The addresses that nodes begin with.
    var bootstrap: [BootstrapNode] = []

    init(seed: UInt64, file: String = #fileID) {
        world = World(seed: seed, file: file)
    }

    /// The address of the node with this number: one /24 for each, so that nobody shares a network by accident.
    static func address(_ number: Int) -> IPAddress {
        IPAddress(UInt8(50 + number / 65536), UInt8(number / 256 % 256), UInt8(number % 256), UInt8(1 + number % 250))
    }

    /// A host with a node of the public DHT on it, which `body` may then use.
    @discardableResult
    func add(
        _ address: IPAddress? = nil, in network: Network? = nil, readOnly: Bool = false,
        _ body: (nonisolated(nonsending) (MainlineDHT) async throws -> Void)? = nil
    ) -> Host {
        let number = world.hosts.count
        let host = world.host("node\(number)", address ?? Self.address(number), in: network)
        host.line = LinkConditions(latency: .milliseconds(10))
        host.start { [unowned self] environment in
            let any: IPAddress = host.address.isV4 ? .anyV4 : .anyV6
            let socket = try environment.bindUDP(SocketAddress(any, port: 6881), options: UDPOptions())
            var configuration = MainlineConfiguration()
            configuration.bootstrap = bootstrap
            configuration.isReadOnly = readOnly
            configuration.limits.sourceCounters = 256
            change(&configuration)
            let dht = MainlineDHT(configuration, environment: environment, ports: [OwnDatagramPort(socket)])
            nodes[number] = dht
            await dht.start()
            try await body?(dht)
            try await environment.loop.sleep(until: .never)
        }
        if bootstrap.isEmpty { bootstrap = [BootstrapNode(host.address.description, port: 6881)] }
        return host
    }

    /// Runs `body` on the loop of the node with this number.
    func on(_ number: Int, _ body: nonisolated(nonsending) @escaping (MainlineDHT) async throws -> Void) {
        let host = world.hosts[number]
        host.environment.loop.asCurrent {
            host.environment.loop.spawn { [unowned self] in
                guard let node = nodes[number] else { return }
                try? await body(node)
            }
        }
    }

    func join(_ number: Int) -> JoinState { nodes[number]?.status.first?.join ?? .idle }
}
