import Martlet
import MartletRuntime
import MartletSimulator
import NodeWorlds

/// Honest nodes on a topic, strangers that mean them ill, and a victim that has nothing to do with any of them.
///
/// The nodes come up within ten seconds, and the attacks begin while they do. After `duration` one node more comes up, in
/// the middle of it all, and finds the others; then everyone says something to its neighbours. The attacks go on to the end.
final class HostileWorld {
    /// What a hostile world is made of.
    struct Plan {
        var seed: UInt64
        /// How many nodes are honest, without the one where they begin and the one that comes last.
        var honest: Int
        /// How many neighbours each wants.
        var target: Int
        /// Which part of the attacks is played: all are shuffled by the seed and divided into `parts`.
        var part = 0
        var parts = 1
        /// For how long there are attacks until the last node comes.
        var duration: Duration
        /// How long everyone has, once the last node is known, to find the neighbours that it wants.
        var settling: Duration
        /// How many times as much as in the first tier an attacker does at once.
        var strength = 1
        /// How many bytes a node may hold for its peers.
        var memory = 32 << 20
    }

    let plan: Plan
    let attacks: [any Attack]
    let play: NodeWorld
    let watch: HostileWatch
    /// The honest nodes on the topic.
    private(set) var honest: [NodeWorld.Member] = []
    /// How long the last node took until everyone knew everyone.
    private(set) var found = Duration.zero
    private let first: NodeWorld.Member

    init(_ plan: Plan) {
        self.plan = plan
        play = NodeWorld(seed: plan.seed)
        play.keepsEvents = false
        attacks = Self.drawn(plan, in: play.world)
        first = play.add(NodeWorld.configuration(topics: []), then: Self.program)
        watch = HostileWatch()
        for number in 0..<plan.honest {
            let delay = Duration.seconds(1) + .milliseconds(10_000 / plan.honest * number)
            honest.append(play.add(configuration, after: delay, then: Self.program))
        }
        for member in play.members { watch.honest.insert(member.host.number) }
        let victim = play.world.host("victim", IPAddress(80, 8, 8, 8))
        watch.victim = victim.address
        for (number, attack) in attacks.enumerated() { begin(attack, number, on: victim.address) }
        play.world.add(watch)
    }

    /// The part of all attacks that `plan` asks for, or those whose names have what the variable `MARTLET_ATTACK` says.
    private static func drawn(_ plan: Plan, in world: World) -> [any Attack] {
        var attacks = Attacks.all
        if let name = Tier.attack { return attacks.filter { $0.name.contains(name) } }
        for index in attacks.indices.dropFirst() { attacks.swapAt(index, Int(world.draw() % UInt64(index + 1))) }
        return attacks.indices.filter { $0 % plan.parts == plan.part }.map { attacks[$0] }
    }

    private var configuration: NodeConfiguration {
        var configuration = NodeWorld.configuration(topics: [Stranger.topic], bootstrap: [first])
        configuration.targetConnections = plan.target
        configuration.limits.memory = plan.memory
        return configuration
    }

    /// What an honest node does beside what a node does: it looks how large its tables are.
    private nonisolated(nonsending) static func program(_ node: Node, _ member: NodeWorld.Member) async throws {
        while true {
            member.sample(await node.tableSizes)
            try await member.host.environment.loop.sleep(for: .seconds(2))
        }
    }

    private func begin(_ attack: any Attack, _ number: Int, on victim: IPAddress) {
        let end = Instant.start + plan.duration + .seconds(600)
        let (targets, strength) = (honest, plan.strength)
        for index in 0..<attack.hosts {
            let address = IPAddress(60, UInt8(number), 1, UInt8(index + 1))
            let host = play.world.host("\(attack.name) \(index + 1)", address)
            host.line.latency = .milliseconds(15)
            watch.attackers[host.number] = attack.name
            host.start { environment in
                try await environment.loop.sleep(for: .seconds(3) + .milliseconds(200 * index))
                let stranger = Stranger(
                    environment, attack: number, number: index, at: address, targets: targets, victim: victim,
                    strength: strength, until: end)
                try await stranger.run(attack)
            }
        }
    }

    /// Plays it all. Throws if something is not found within its time, or the world itself fails.
    func run() throws {
        try play.world.run(within: .seconds(120)) { play.allKnowAll(on: Stranger.topic) }
        try play.world.run(until: .start + plan.duration)
        let last = play.add(configuration, then: Self.program)
        watch.honest.insert(last.host.number)
        honest.append(last)
        let began = play.world.now
        try play.world.run(within: .seconds(120)) { play.allKnowAll(on: Stranger.topic) }
        found = play.world.now - began
        try play.world.run(for: plan.settling)
        for member in honest {
            _ = try play.ask(member) { try await $0.broadcast(Bytes(utf8: "good day"), on: Stranger.topic) }
        }
        try play.world.run(for: .seconds(5))
    }

    // MARK: What came of it

    /// The honest nodes that `member` is connected with.
    func honestNeighbours(of member: NodeWorld.Member) -> Set<PeerID> {
        member.neighbours(on: Stranger.topic).intersection(honest.map(\.id))
    }

    /// How many of the honest nodes can be reached from the first of them over honest neighbours.
    var reachable: Int {
        guard let first = honest.first else { return 0 }
        let members = Dictionary(uniqueKeysWithValues: honest.map { ($0.id, $0) })
        var seen: Set = [first.id]
        var waiting = [first.id]
        while let next = waiting.popLast() {
            for peer in honestNeighbours(of: members[next] ?? first) where seen.insert(peer).inserted {
                waiting.append(peer)
            }
        }
        return seen.count
    }

    /// What of `name` the tables of the honest nodes held at most.
    func largest(_ name: String) -> Int { honest.map { $0.largest[name] ?? 0 }.max() ?? 0 }
}

/// Counts what goes where in a hostile world.
final class HostileWatch: WorldWatcher {
    /// Packets and their bytes, headers included.
    struct Traffic {
        var packets = 0
        var bytes = 0

        mutating func count(_ packet: Packet) {
            packets += 1
            bytes += packet.size
        }
    }

    let name = "hostile traffic"
    var victim = IPAddress.anyV4
    var honest: Set<Int> = []
    /// The names of attacks by their hosts' numbers.
    var attackers: [Int: String] = [:]
    /// What each attack sent.
    private(set) var sent: [String: Traffic] = [:]
    /// What attackers sent in the victim's name.
    private(set) var spoofed = Traffic()
    /// What honest nodes sent to the victim.
    private(set) var toVictim = Traffic()
    /// What honest nodes sent to addresses that mean something else in every home.
    private(set) var toHomes = Traffic()
    /// What honest nodes sent in all.
    private(set) var ofHonest = Traffic()

    func sent(_ packet: Packet, by host: Host) {
        if let attack = attackers[host.number] {
            sent[attack, default: Traffic()].count(packet)
            if packet.source.ip == victim { spoofed.count(packet) }
        } else if honest.contains(host.number) {
            ofHonest.count(packet)
            let destination = packet.destination.ip
            if destination == victim { toVictim.count(packet) } else if !destination.isGlobal { toHomes.count(packet) }
        }
    }

    /// What all attacks sent.
    var ofAttackers: Traffic {
        sent.values.reduce(into: Traffic()) {
            $0.packets += $1.packets
            $0.bytes += $1.bytes
        }
    }
}
