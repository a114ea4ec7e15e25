import CSeededRandom
import Martlet
import MartletRuntime
import MartletSimulator
import NodeWorlds
import Testing

@Suite("Nodes on a topic", .serialized)
struct NodeSimulations {
    /// A node where others begin, and `count` on the topic that come up within ten seconds.
    private static func play(_ count: Int, seed: UInt64, target: Int = 32) -> NodeWorld {
        let play = NodeWorld(seed: seed)
        play.keepsEvents = false
        let first = play.add(NodeWorld.configuration(topics: []))
        for number in 0..<count {
            var configuration = NodeWorld.configuration(topics: ["chess"], bootstrap: [first])
            configuration.targetConnections = target
            play.add(configuration, after: .seconds(1) + .milliseconds(10_000 / count * number))
        }
        return play
    }

    private static func spread(_ numbers: [Int]) -> String {
        let sorted = numbers.sorted()
        guard let first = sorted.first, let last = sorted.last else { return "none" }
        return "\(first) to \(last), median \(sorted[sorted.count / 2])"
    }

    @Test("under churn everyone comes to know all, with a bounded number of connections")
    func churn() throws {
        let count = Tier.size(12, 200)
        let play = Self.play(count, seed: 31, target: Tier.size(4, 32))
        let watch = TrafficWatch()
        play.world.add(watch)
        let players = Array(play.members.dropFirst())
        try play.world.run(within: .seconds(120)) { play.allKnowAll(on: "chess") }
        let joined = play.world.now
        print("\(count) nodes: all know all \(joined) s after the first of them began")
        try play.world.run(for: .seconds(60))
        print("  neighbours: \(Self.spread(players.map { $0.neighbours(on: "chess").count }))")
        print("  sent by each so far: \(Self.spread(players.map { (watch.bytes[$0.host.number] ?? 0) / 1024 })) KiB")
        // Each is up for ten minutes on the average, and away for one; some say goodbye, most do not.
        let before = watch.total
        let began = play.world.now
        let length = Tier.size(120, 1200)
        for _ in 0..<length / 5 {
            for player in players {
                if player.host.state == .down {
                    if play.world.draw() % 12 == 0 { player.host.restart() }
                } else if play.world.draw() % 120 == 0 {
                    player.host.kill()
                }
            }
            try play.world.run(for: .seconds(5))
        }
        let up = players.filter { $0.host.state == .up }
        let rate = Double(watch.total - before) / Double(count) / ((play.world.now - began) / .seconds(1))
        print(
            "  under churn: \(up.count) are up, neighbours \(Self.spread(up.map { $0.neighbours(on: "chess").count })),"
        )
        print("  \(Int(rate)) bytes a second sent by each, starts \(Self.spread(players.map(\.starts)))")
        for player in players where player.host.state == .down { player.host.restart() }
        let calm = play.world.now
        // The last of them is up again after as long as in the beginning.
        try play.world.run(for: .seconds(11))
        try play.world.run(within: .seconds(180)) { play.allKnowAll(on: "chess") }
        print("  all know all again \((play.world.now - calm) / .seconds(1)) s after the churn")
        try play.world.run(for: .seconds(120))
        let counts = players.map { $0.neighbours(on: "chess").count }
        print(
            "  neighbours at rest: \(Self.spread(counts)); most at once: \(Self.spread(players.map(\.mostConnected)))")
        let least = min(count - 1, Tier.size(4, 32))
        #expect(counts.allSatisfy { $0 >= least * 3 / 4 })
        #expect(players.allSatisfy { $0.failure == nil })
    }

    @Test("a day leaves no table growing")
    func day() throws {
        let count = Tier.size(5, 20)
        let play = Self.play(count, seed: 32, target: 8)
        let players = Array(play.members.dropFirst())
        try play.world.run(within: .seconds(60)) { play.allKnowAll(on: "chess") }
        let hours = Tier.size(3, 24)
        let early = max(2, hours / 6)
        var first: [[String: Int]] = []
        var memory = 0
        for hour in 1...hours {
            // Somebody goes and comes back each hour, so that there is something to remember.
            let player = players[Int(play.world.draw() % UInt64(count))]
            player.host.kill()
            try play.world.run(for: .seconds(120))
            player.host.restart()
            try play.world.run(for: .seconds(3480))
            guard hour == early else { continue }
            first = try players.map { try Self.sizes(of: $0, in: play) }
            memory = residentBytes()
        }
        let last = try players.map { try Self.sizes(of: $0, in: play) }
        print(
            "a day of \(count) nodes (\(hours) h): resident \(memory >> 20) MiB after \(early) h, \(residentBytes() >> 20) at the end"
        )
        for name in (last.first ?? [:]).keys.sorted() {
            let (before, after) = (first.compactMap { $0[name] }, last.compactMap { $0[name] })
            print("  \(name): \(Self.spread(before)) after \(early) h; \(Self.spread(after)) at the end")
            // What is kept by the hour grows for a week, by one row an hour and peer.
            guard name != "quality rows", name != "evidence rows", name != "memory" else { continue }
            #expect((after.max() ?? 0) <= 2 * (before.max() ?? 0) + 40, "\(name) grows")
        }
        #expect(play.allKnowAll(on: "chess"))
    }

    private static func sizes(of member: NodeWorld.Member, in play: NodeWorld) throws -> [String: Int] {
        var sizes = try play.ask(member) { await $0.tableSizes }
        if let rows = try play.ask(member, { try await $0.storeCounts() }) {
            sizes["peers rows"] = rows.peers
            sizes["addresses rows"] = rows.addresses
            sizes["metadata rows"] = rows.metadata
            sizes["evidence rows"] = rows.evidence
            sizes["quality rows"] = rows.quality
            sizes["reasons rows"] = rows.reasons
        }
        return sizes
    }

    @Test("a thousand known and two hundred connected cost little when nothing happens")
    func idle() throws {
        let (connected, made) = (Tier.size(10, 200), Tier.size(50, 800))
        let play = NodeWorld(seed: 33)
        play.keepsEvents = false
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.targetConnections = connected
        configuration.maximumConnections = 2 * connected + 64
        let centre = play.add(configuration)
        var others = NodeWorld.configuration(topics: ["chess"], bootstrap: [centre])
        others.targetConnections = Tier.size(4, 32)
        for number in 0..<connected {
            // Each keeps the centre beside the neighbours that it finds for itself.
            play.add(others, after: .seconds(1) + .milliseconds(50 * number)) { node, _ in
                try await node.connect(centre.address)
            }
        }
        let choir = Choir(made, in: play, beside: centre)
        try play.world.run(within: .seconds(180)) {
            centre.neighbours(on: "chess").count >= connected && centre.known.count >= connected + made
        }
        // What newcomers cost is over by then.
        try play.world.run(for: .seconds(120))
        let watch = TrafficWatch()
        play.world.add(watch)
        let length = Tier.size(300, 1800)
        try play.world.run(for: .seconds(length))
        let sent = (watch.bytes[centre.host.number] ?? 0) / length
        let received = (watch.received[centre.host.number] ?? 0) / length
        let now = centre.neighbours(on: "chess").count
        print(
            "\(centre.known.count) known, \(now) connected: \(sent) bytes a second sent, \(received) received, headers included"
        )
        print("  resident in all: \(residentBytes() >> 20) MiB for \(play.members.count) nodes")
        #expect(now >= connected)
        #expect(sent <= 10 << 10 && received <= 10 << 10)
        withExtendedLifetime(choir) {}
    }
}

/// One host that tells of many nodes that are not there: records of their own, signed by their keys, and signed anew every
/// half hour as they do.
private final class Choir {
    private let keys: [PrivateKey]
    private var told = 0

    init(_ count: Int, in play: NodeWorld, beside member: NodeWorld.Member) {
        keys = (0..<count).compactMap { number in
            var seed = [UInt8](repeating: 0x5A, count: 32)
            (seed[0], seed[1]) = (UInt8(number & 0xFF), UInt8(number >> 8))
            let bytes = Bytes(seed)
            return try? PrivateKey(ed25519Seed: bytes.span)
        }
        let host = play.world.host("choir", IPAddress(60, 1, 1, 1))
        host.start { [self] environment in
            try await environment.loop.sleep(for: .seconds(15))
            try await sing(environment, to: member)
        }
    }

    private nonisolated(nonsending) func sing(
        _ environment: SimulatedEnvironment, to member: NodeWorld.Member
    ) async throws {
        var transports = TransportConfiguration()
        transports.usesQUIC = false
        let swarm = Swarm(
            environment: environment, identity: keys[0],
            transports: transports.make(environment: environment, identity: keys[0]))
        let target = Multiaddr(.ip(member.host.address), .tcp(NodeWorld.port))
        swarm.add(addresses: [target], of: member.id)
        let stream = try await swarm.openStream(to: member.id, MetadataService.name)
        let topic = TopicKey("chess")
        let proof = topic.proof(of: .opener, opener: swarm.localPeer, answerer: member.id, binding: stream.binding)
        try await stream.writeMessage(MetadataMessage(id: 1, .hello([proof])).encoded)
        var number: UInt64 = 1
        environment.loop.spawn {
            // Comparisons are answered as by one who knows nothing else.
            while let bytes = try? await stream.readMessage(upTo: MetadataMessage.maximumSize) {
                guard let message = try? MetadataMessage(bytes) else { return }
                let answer: MetadataMessage.Body
                switch message.body {
                case .summary: answer = .records([])
                case .digest: answer = .same(true)
                default: continue
                }
                try? await stream.writeMessage(MetadataMessage(id: message.id, answer).encoded)
            }
        }
        while !Task.isCancelled {
            for key in keys {
                let peer = PeerID(key.publicKey)
                var record = NodeMetadata(
                    peer: peer, sequence: UInt64(environment.wallTime.nanoseconds / 1_000_000),
                    time: environment.wallTime)
                record.name = "a voice in the choir"
                record.version = "martlet/0.1.0"
                record.topicMarks = [topic.mark(of: peer)]
                number += 1
                let signed = SignedMetadata(record, signedWith: key)
                try await stream.writeMessage(MetadataMessage(id: number, .push(signed.envelope.bytes)).encoded)
                try await environment.loop.sleep(
                    for: told < keys.count ? .milliseconds(30) : .nanoseconds(1_800_000_000_000 / Int64(keys.count)))
                told += 1
            }
        }
    }
}
