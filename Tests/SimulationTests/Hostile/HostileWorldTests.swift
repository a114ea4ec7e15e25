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
            print("a hostile world of seed \(world.play.world.seed) failed: \(report(on: world))")
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
            "seed \(world.play.world.seed): \(world.honest.count) honest nodes, \(world.plan.attacks.count) attacks:",
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
        #expect(watch.toHomes.packets == 0, "seed \(seed): private networks are nobody's business")
        // Answers to what comes in the victim's name are no larger than that; what nodes are told of it makes them send
        // less than the tellers do.
        #expect(
            watch.toVictim.bytes <= 3 * watch.spoofed.bytes + watch.ofAttackers.bytes / 10,
            "seed \(seed): \(watch.toVictim.bytes) bytes to the victim")
    }

    @Test("honest nodes find, keep and hear each other among strangers that mean ill")
    func few() throws {
        for seed in Tier.seeds.prefix(1) {
            try play(
                HostileWorld.Plan(
                    seed: seed, honest: 8, target: 4, attacks: [SpoofedInitials()], duration: .seconds(40)))
        }
    }
}
