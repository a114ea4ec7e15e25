package import Martlet
package import MartletSimulator
import MartletTLS
import TestSupport

/// A simulated world of whole nodes, each on a host of its own, with a DHT of their own.
package final class NodeWorld {
    /// A node and what happened to it.
    package final class Member {
        package let number: Int
        package let host: Host
        package let key: PrivateKey
        package var configuration: NodeConfiguration
        /// The node that runs now.
        package fileprivate(set) var node: Node?
        /// How often it was started.
        package fileprivate(set) var starts = 0
        /// What happened, where that is kept.
        package fileprivate(set) var events: [NodeEvent] = []
        /// With whom it is connected.
        package fileprivate(set) var connected: Set<PeerID> = []
        /// The most that were connected at the same time.
        package fileprivate(set) var mostConnected = 0
        /// How often somebody was connected.
        package fileprivate(set) var connections = 0
        /// The peers that have told of themselves since it was started last.
        package fileprivate(set) var known: Set<PeerID> = []
        /// From whom messages came, and how many, since it was started last.
        package fileprivate(set) var messages: [PeerID: Int] = [:]
        /// The largest that each of its tables was when `sample` looked.
        package private(set) var largest: [String: Int] = [:]
        package fileprivate(set) var failure: (any Error)?
        package var hasStopped = false
        private var neighbours: [String: Set<PeerID>] = [:]

        init(_ number: Int, _ host: Host, _ configuration: NodeConfiguration) {
            self.number = number
            self.host = host
            var generator = SeededGenerator(seed: UInt64(number) &* 0x9E37_79B9 &+ 7)
            key = .ed25519(using: &generator)
            self.configuration = configuration
            self.configuration.identity = key
        }

        package var id: PeerID { PeerID(key.publicKey) }

        /// Where it can be dialled by QUIC, with its id.
        package var address: Multiaddr {
            Multiaddr(.ip(host.address), .udp(NodeWorld.port), .quicV1, .p2p(id))
        }

        /// Remembers that its tables have these `sizes`, if they were never larger.
        package func sample(_ sizes: [String: Int]) {
            largest.merge(sizes) { max($0, $1) }
        }

        /// Who is connected and has proven to be on `topic`.
        package func neighbours(on topic: String) -> Set<PeerID> { neighbours[topic] ?? [] }

        fileprivate nonisolated(nonsending) func run(
            _ environment: SimulatedEnvironment, _ delay: Duration, isKept: Bool, _ body: Program
        ) async throws {
            if delay > .zero { try await environment.loop.sleep(for: delay) }
            let node = Node(configuration, environment: environment)
            begin(node)
            let events = node.events
            environment.loop.spawn {
                while let event = await events.next(), self.node === node { self.take(event, isKept: isKept) }
            }
            try await node.start()
            try await body(node, self)
            try await environment.loop.sleep(until: .never)
        }

        fileprivate func begin(_ node: Node) {
            self.node = node
            starts += 1
            (connected, known, neighbours, messages, hasStopped) = ([], [], [:], [:], false)
        }

        fileprivate func take(_ event: NodeEvent, isKept: Bool) {
            if isKept { events.append(event) }
            switch event {
            case .joined(let peer, let topic): neighbours[topic, default: []].insert(peer)
            case .left(let peer, let topic): neighbours[topic]?.remove(peer)
            case .updated(let peer, _, _): known.insert(peer)
            case .message(let peer, _, _): messages[peer, default: 0] += 1
            case .connected(_, let peer):
                connected.insert(peer)
                connections += 1
                mostConnected = max(mostConnected, connected.count)
            case .disconnected(let peer, _): connected.remove(peer)
            default: break
            }
        }
    }

    package typealias Program = nonisolated(nonsending) (Node, Member) async throws -> Void

    /// The port of everyone.
    package static let port: UInt16 = 4001

    package let world: World
    package private(set) var members: [Member] = []
    /// Whether all that happens to members added from now on is kept, and not only what follows from it.
    package var keepsEvents = true

    package init(seed: UInt64, file: String = #fileID) {
        world = World(seed: seed, file: file)
        world.logLevels.setDefault(.error)
    }

    /// A node's configuration in such a world.
    package static func configuration(topics: [String], bootstrap: [Member] = []) -> NodeConfiguration {
        var configuration = NodeConfiguration(topics: topics)
        configuration.listen = [
            Multiaddr(.ip(.anyV4), .udp(port), .quicV1), Multiaddr(.ip(.anyV4), .tcp(port)),
        ]
        configuration.transports.certificateKey = .ed25519
        configuration.dht = MainlineConfiguration(
            privateWith: bootstrap.map { BootstrapNode($0.host.address.description, port: port) })
        return configuration
    }

    /// One node more, which runs `body` each time that it has started.
    @discardableResult
    package func add(
        _ configuration: NodeConfiguration, at address: IPAddress? = nil, in network: Network? = nil,
        after delay: Duration = .zero, then body: @escaping Program = { _, _ in }
    ) -> Member {
        let number = members.count + 1
        let place = address ?? IPAddress(50, UInt8(number / 200), UInt8(number % 200), 1)
        let host = world.host("node\(number)", place, in: network)
        host.line.latency = .milliseconds(15)
        let member = Member(number, host, configuration)
        members.append(member)
        // A program that waits holds what it runs on, so none runs on the play: with the play ends the world.
        let isKept = keepsEvents
        host.start { environment in
            do {
                try await member.run(environment, delay, isKept: isKept, body)
            } catch is CancellationError {
                // The host was killed.
            } catch {
                member.failure = error
            }
        }
        return member
    }

    /// Asks something of the node of `member` that runs now, which is answered while the world goes on.
    package func ask<Answer>(
        _ member: Member, within limit: Duration = .seconds(10),
        _ question: nonisolated(nonsending) @escaping (Node) async throws -> Answer
    ) throws -> Answer {
        var answer: Result<Answer, any Error>?
        var isAsked = false
        member.host.start { _ in
            // A host that is started anew runs all that it ever ran.
            guard !isAsked, let node = member.node else { return }
            isAsked = true
            do {
                answer = .success(try await question(node))
            } catch {
                answer = .failure(error)
            }
        }
        try world.run(within: limit) { answer != nil }
        guard let answer else { throw CancellationError() }
        return try answer.get()
    }

    /// Whether everyone who is up and on `topic` has a record of all others.
    package func allKnowAll(on topic: String) -> Bool {
        let here = members.filter { $0.host.state == .up && $0.configuration.topics.contains(topic) }
        let all = Set(here.map(\.id))
        return here.allSatisfy { $0.known.isSuperset(of: all.subtracting([$0.id])) }
    }
}

/// Counts what each host sends, and looks for words that are to stay at home.
package final class TrafficWatch: WorldWatcher {
    package let name = "traffic"
    /// Bytes that were sent, headers included, by host.
    package private(set) var bytes: [Int: Int] = [:]
    /// How often a secret was seen in a packet or in what was written to a stream.
    package private(set) var leaks = 0
    private let secrets: [[UInt8]]

    package init(secrets: [String] = []) {
        self.secrets = secrets.map { Array($0.utf8) }
    }

    /// Bytes that came to a host, headers included.
    package private(set) var received: [Int: Int] = [:]

    /// All bytes of all hosts.
    package var total: Int { bytes.values.reduce(0, +) }

    package func sent(_ packet: Packet, by host: Host) {
        bytes[host.number, default: 0] += packet.size
        look(into: packet.payload)
    }

    package func delivered(_ packet: Packet, to host: Host) {
        received[host.number, default: 0] += packet.size
    }

    package func wrote(_ bytes: Bytes, to stream: UInt64, by host: Host) { look(into: bytes) }

    private func look(into bytes: Bytes) {
        guard !secrets.isEmpty else { return }
        let text = Array(bytes)
        for secret in secrets where text.count >= secret.count {
            for start in 0...(text.count - secret.count) where text[start] == secret[0] {
                if text[start..<start + secret.count].elementsEqual(secret) { leaks += 1 }
            }
        }
    }
}
