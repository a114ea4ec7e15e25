import CSeededRandom
import Martlet
import MartletRuntime
import MartletSimulator
import NodeWorlds
import Testing

@Suite("A hostile world", .serialized)
struct HostileWorldTests {
    /// Plays `plan`, prints its figures and checks that honest nodes have noticed nothing. Returns the world's fingerprint.
    @discardableResult
    private func play(_ plan: HostileWorld.Plan) throws -> TraceDigest {
        let world = HostileWorld(plan)
        do {
            try world.run()
        } catch {
            let seed = world.play.world.seed
            print("a hostile world failed; once more: MARTLET_SEED=\(seed) sh Scripts/simulate soak HostileWorldTests")
            print(report(on: world))
            throw error
        }
        print(report(on: world))
        check(world)
        return world.play.world.digest
    }

    private func report(on world: HostileWorld) -> String {
        let counts = world.honest.map { world.honestNeighbours(of: $0).count }.sorted()
        let watch = world.watch
        var lines = [
            "seed \(world.play.world.seed): \(world.honest.count) honest nodes, \(world.attacks.count) attacks:",
            "  the last one knew all and was known by all after \(world.found / .seconds(1)) s",
            "  honest neighbours: \(counts.first ?? 0) to \(counts.last ?? 0), median \(counts[counts.count / 2]); "
                + "\(world.reachable) reachable",
            "  memory for peers at most \(world.largest("memory") >> 10) KiB, records \(world.largest("book")), "
                + "connections \(world.largest("connections")), candidates \(world.largest("candidates")), "
                + "nodes of the DHT \(world.largest("dht"))",
            "  sent by attackers: \(watch.ofAttackers.packets) packets, \(watch.ofAttackers.bytes >> 10) KiB; "
                + "by honest nodes \(watch.ofHonest.packets) packets, \(watch.ofHonest.bytes >> 10) KiB",
            "  to the victim: \(watch.toVictim.packets) packets, \(watch.toVictim.bytes >> 10) KiB, while "
                + "\(watch.spoofed.packets) packets, \(watch.spoofed.bytes >> 10) KiB came in its name; "
                + "to private networks: \(watch.toHomes.packets)",
        ]
        for (name, traffic) in watch.sent.sorted(by: { $0.key < $1.key }) {
            lines.append("    \(name): \(traffic.packets) packets, \(traffic.bytes >> 10) KiB")
        }
        return lines.joined(separator: "\n")
    }

    private func check(_ world: HostileWorld) {
        let seed = world.play.world.seed
        let configuration = world.honest[0].configuration
        let least = min(world.honest.count - 1, world.plan.target) / 2
        for member in world.honest {
            #expect(member.failure == nil && member.starts == 1 && member.host.state == .up, "seed \(seed)")
            let neighbours = world.honestNeighbours(of: member)
            #expect(neighbours.count >= least, "seed \(seed): node \(member.number) has \(neighbours.count) neighbours")
            for other in world.honest where world.honestNeighbours(of: other).contains(member.id) {
                #expect(
                    other.messages[member.id] != nil, "seed \(seed): \(other.number) has not heard \(member.number)")
            }
        }
        #expect(world.play.allKnowAll(on: Stranger.topic), "seed \(seed)")
        #expect(world.reachable == world.honest.count, "seed \(seed): the honest nodes have fallen apart")
        // What a connection reads in one turn comes on top.
        #expect(world.largest("memory") <= world.plan.memory + 1 << 20, "seed \(seed)")
        #expect(world.largest("connections") <= configuration.maximumConnections, "seed \(seed)")
        #expect(world.largest("book") <= configuration.metadata.book.peers, "seed \(seed)")
        #expect(world.largest("candidates") <= configuration.discovery.candidates, "seed \(seed)")
        #expect(world.largest("owners") <= configuration.discovery.owners, "seed \(seed)")
        #expect(world.largest("useless") <= configuration.discovery.useless, "seed \(seed)")
        let watch = world.watch
        // One that fails at its first step would leave the world quiet.
        for attack in world.attacks {
            let packets = watch.sent[attack.name]?.packets ?? 0
            #expect(packets > 20, "seed \(seed): \(attack.name) sent \(packets) packets")
        }
        #expect(watch.toHomes.packets == 0, "seed \(seed): private networks are nobody's business")
        // Answers to what comes in the victim's name are at most three times as large, as QUIC has it.
        let answers = 3 * watch.spoofed.bytes
        // What nodes are told of the victim makes each dial its network at this rate, with a handful of packets a dial.
        let rate = configuration.discovery.networkDials
        let played: Duration = world.play.world.now - .start
        let seconds: Double = played / .seconds(1)
        let dials: Int = rate.burst + Int(rate.perSecond * seconds)
        let told: Int = world.honest.count * dials * 8 * 1300
        #expect(watch.toVictim.bytes <= answers + told, "seed \(seed): \(watch.toVictim.bytes) bytes to the victim")
        #expect(
            watch.toVictim.packets * 4 <= watch.ofAttackers.packets,
            "seed \(seed): \(watch.toVictim.packets) packets to the victim for \(watch.ofAttackers.packets) of attackers"
        )
    }

    @Test("honest nodes find, keep and hear each other among strangers that mean ill")
    func hostile() throws {
        switch Tier.current {
        case .test:
            // Each attack once, in two worlds.
            for part in 0..<2 {
                try play(
                    .init(
                        seed: 1, honest: 5, target: 4, part: part, parts: 2, duration: .seconds(20),
                        settling: .seconds(5)))
            }
        case .simulate:
            try play(
                .init(
                    seed: 1, honest: 99, target: 32, duration: .seconds(300), settling: .seconds(60), strength: 3))
        case .soak:
            for seed in Tier.seeds {
                let honest = 20 + Int(seed % 5) * 10
                try play(
                    .init(
                        seed: seed, honest: honest, target: 8, parts: Int(seed % 3) + 1, duration: .seconds(300),
                        settling: .seconds(60), strength: 1 + Int(seed % 4)))
            }
        }
    }

    @Test("the same seed makes the same hostile world")
    func determinism() throws {
        let plan = HostileWorld.Plan(
            seed: 2, honest: 3, target: 4, parts: 3, duration: .seconds(8), settling: .seconds(2))
        #expect(try play(plan) == play(plan))
    }
}
