import CSeededRandom
import Martlet
import MartletSimulator
import MartletTLS
import TestSupport

/// A simulated world of whole nodes, each on a host of its own on the internet, with a DHT of their own.
final class NodeWorld {
    /// A node and what happened to it.
    final class Member {
        let number: Int
        let host: Host
        let key: PrivateKey
        var configuration: NodeConfiguration
        /// The node that runs now.
        var node: Node?
        var events: [NodeEvent] = []
        var status: NodeStatus?
        var health: [HealthCheck] = []
        var failure: (any Error)?
        var hasStopped = false

        init(_ number: Int, _ host: Host, _ configuration: NodeConfiguration) {
            self.number = number
            self.host = host
            var generator = SeededGenerator(seed: UInt64(number) &* 0x9E37_79B9 &+ 7)
            key = .ed25519(using: &generator)
            self.configuration = configuration
            self.configuration.identity = key
        }

        var id: PeerID { PeerID(key.publicKey) }

        /// Who it is connected to and shares the topic with, by what its events say.
        func neighbours(on topic: String) -> Set<PeerID> {
            var peers: Set<PeerID> = []
            for event in events {
                switch event {
                case .joined(let peer, topic): peers.insert(peer)
                case .left(let peer, topic): peers.remove(peer)
                default: break
                }
            }
            return peers
        }

        /// Who has told it of himself.
        var known: Set<PeerID> {
            Set(events.compactMap { if case .updated(let peer, _, _) = $0 { peer } else { nil } })
        }

        func count(_ condition: (NodeEvent) -> Bool) -> Int { events.count(where: condition) }
    }

    let world: World
    private(set) var members: [Member] = []
    /// How often a member looks how it is doing.
    var statusInterval = Duration.seconds(1)

    init(seed: UInt64) {
        world = World(seed: seed)
        world.logLevels.setDefault(.error)
    }

    static let port: UInt16 = 4001

    /// A node's configuration in such a world.
    static func configuration(topics: [String], bootstrap: [Member] = []) -> NodeConfiguration {
        var configuration = NodeConfiguration(topics: topics)
        configuration.listen = [
            Multiaddr(.ip(.anyV4), .udp(port), .quicV1), Multiaddr(.ip(.anyV4), .tcp(port)),
        ]
        configuration.transports.certificateKey = .ed25519
        var dht = MainlineConfiguration(
            privateWith: bootstrap.map { BootstrapNode($0.host.address.description, port: port) })
        dht.usesV6 = false
        configuration.dht = dht
        return configuration
    }

    /// One node more, which runs `then` once it has started.
    @discardableResult
    func add(
        _ configuration: NodeConfiguration, at address: IPAddress? = nil, in network: Network? = nil,
        after delay: Duration = .zero,
        then body: nonisolated(nonsending) @escaping (Node, Member) async throws -> Void = { _, _ in }
    ) -> Member {
        let number = members.count + 1
        let place = address ?? IPAddress(50, UInt8(number / 200), UInt8(number % 200), 1)
        let host = world.host("node\(number)", place, in: network)
        host.line.latency = .milliseconds(15)
        let member = Member(number, host, configuration)
        members.append(member)
        // The world ends with its play.
        host.start { [unowned self] environment in
            do {
                try await run(member, environment, delay, body)
            } catch is CancellationError {
            } catch {
                member.failure = error
            }
        }
        return member
    }

    private nonisolated(nonsending) func run(
        _ member: Member, _ environment: SimulatedEnvironment, _ delay: Duration,
        _ body: nonisolated(nonsending) @escaping (Node, Member) async throws -> Void
    ) async throws {
        if delay > .zero { try await environment.loop.sleep(for: delay) }
        let node = Node(member.configuration, environment: environment)
        member.node = node
        let events = node.events
        environment.loop.spawn { while let event = await events.next() { member.events.append(event) } }
        try await node.start()
        let interval = statusInterval
        environment.loop.spawn {
            while member.node === node, !member.hasStopped {
                member.status = await node.status
                member.health = await node.health
                do { try await environment.loop.sleep(for: interval) } catch { return }
            }
        }
        try await body(node, member)
        try await environment.loop.sleep(until: .never)
    }
}
