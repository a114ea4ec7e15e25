import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletSimulator
import MartletWire
import NodeWorlds
import TestSupport
import Testing

@testable import Martlet

private func peer(_ number: Int) -> PeerID {
    var generator = SeededGenerator(seed: UInt64(number) + 1)
    return PeerID(PrivateKey.ed25519(using: &generator).publicKey)
}

@Suite("Whom a node remembers")
struct RememberingTests {
    private func candidates(_ numbers: Range<Int>, in network: String) -> [RememberedPeers.Candidate] {
        numbers.map { RememberedPeers.Candidate(peer: peer($0), network: network) }
    }

    @Test("a crowd of strangers, or of one network, leaves the places of those on a topic to those on a topic")
    func places() {
        let limits = DiscoveryLimits()
        var plan = RememberedPeers(limits)
        plan.addNamed(candidates(0..<30, in: "6.6.6.0/24"))
        plan.addProven(candidates(100..<140, in: "6.6.7.0/24"))
        for number in 0..<20 { plan.addProven(candidates(200 + number..<201 + number, in: "50.1.\(number).0/24")) }
        plan.addOthers(candidates(300..<400, in: "7.7.7.0/24"))
        for number in 0..<100 { plan.addOthers(candidates(400 + number..<401 + number, in: "70.1.\(number).0/24")) }
        let chosen = plan.chosen
        #expect(Array(chosen.prefix(30)) == (0..<30).map(peer))
        #expect(Array(chosen.dropFirst(30).prefix(16)) == (100..<116).map(peer))
        #expect(Array(chosen.dropFirst(46).prefix(20)) == (200..<220).map(peer))
        #expect(chosen.dropFirst(66).prefix(2).elementsEqual((300..<302).map(peer)))
        for number in 0..<100 { plan.addOthers(candidates(400 + number..<401 + number, in: "70.1.\(number).0/24")) }
        var large = RememberedPeers(limits)
        for number in 0..<400 {
            large.addProven(candidates(number..<number + 1, in: "50.\(number / 250).\(number % 250).0/24"))
        }
        #expect(large.chosen.count == limits.remembered)
    }

    @Test("a place in the list of peers is read back from its text, and nothing else is")
    func cursor() throws {
        let cursor = NodePeer.Cursor(isConnected: true, score: 64.7, id: peer(1))
        #expect(NodePeer.Cursor(cursor.description) == cursor)
        for text in ["", "c", "c_1", "x_1_\(peer(1))", "c_nan_\(peer(1))", "c_inf_\(peer(1))", "c_1_nobody", "c_1__"] {
            #expect(NodePeer.Cursor(text) == nil, "\(text)")
        }
    }

    @Test(
        "a peer that proves its topics anew joins only those that it was not on, and leaves those that it no longer is")
    func proofs() {
        let (chess, music) = (TopicKey("chess"), TopicKey("music"))
        let link = PeerLink(peer(1), at: .start, WallTime(nanoseconds: 0))
        var change = link.prove([chess])
        #expect(change.left == [] && change.joined == [chess])
        change = link.prove([chess])
        #expect(change.left == [] && change.joined == [])
        change = link.prove([music])
        #expect(change.left == [chess] && change.joined == [music])
        change = link.prove([])
        #expect(change.left == [music] && change.joined == [])
    }

    /// A node on chess, one that knows it, and strangers on another topic that come in from one network.
    private static func visited(seed: UInt64, strangers: Int) throws -> (NodeWorld, NodeWorld.Member, NodeWorld.Member)
    {
        let play = NodeWorld(seed: seed)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        let node = play.add(configuration)
        configuration.bootstrap = [.multiaddr(node.address)]
        let friend = play.add(configuration, after: .seconds(1))
        configuration.topics = ["music"]
        for number in 0..<strangers {
            play.add(
                configuration, at: IPAddress(66, 6, 6, UInt8(number + 1)), after: .milliseconds(20_000 + number * 50))
        }
        try play.world.run(within: .seconds(10)) { node.neighbours(on: "chess") == [friend.id] }
        return (play, node, friend)
    }

    @Test("strangers that come in after those on the topic do not take their places in what is remembered")
    func strangers() throws {
        let (play, node, friend) = try Self.visited(seed: 261, strangers: 40)
        try play.world.run(for: .seconds(60))
        #expect(node.connections > 30)
        let known = try play.ask(node) { try await $0.peers() }
        #expect(known.contains { $0.id == friend.id && $0.topics == ["chess"] })
        #expect(known.count <= 1 + 16 + 1, "\(known.count) peers")
        let details = try play.ask(node) { [id = known.last?.id ?? friend.id] in try await $0.peer(id) }
        #expect(
            details?.addresses.count == 1, "of a stranger it is written down where it came from, and nothing it says")
        node.host.restart()
        try play.world.run(within: .seconds(10)) { node.starts == 2 && node.neighbours(on: "chess") == [friend.id] }
    }

    @Test("peers come in pages, those on a topic alone, and everyone once")
    func pages() throws {
        let play = NodeWorld(seed: 262)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        let node = play.add(configuration)
        configuration.bootstrap = [.multiaddr(node.address)]
        for number in 0..<9 { play.add(configuration, after: .milliseconds(1000 + 10 * number)) }
        let others = Set(play.members.dropFirst().map(\.id))
        try play.world.run(within: .seconds(10)) { node.neighbours(on: "chess") == others }
        for member in play.members.suffix(4) { member.host.kill() }
        try play.world.run(within: .seconds(120)) { node.connected.count == 5 }
        let found = try play.ask(node) { node in
            var found: [NodePeer] = []
            var filter = NodePeer.Filter(topic: "chess", limit: 2)
            while let last = try await node.peers(filter).last {
                found += try await node.peers(filter)
                filter.after = last.cursor
            }
            return found
        }
        #expect(found.count == 9 && Set(found.map(\.id)) == others)
        #expect(found.prefix(5).allSatisfy { $0.link != nil } && found.dropFirst(5).allSatisfy { $0.link == nil })
        let none = try play.ask(node) { try await $0.peers(NodePeer.Filter(topic: "music")) }
        #expect(none == [])
    }

    @Test("whom the user connected is kept in the database until it is disconnected by the user")
    func kept() throws {
        let play = NodeWorld(seed: 263)
        let host = play.add(NodeWorld.configuration(topics: []))
        let guest = play.add(NodeWorld.configuration(topics: []), after: .seconds(1)) { node, _ in
            try await node.connect(host.address)
        }
        try play.world.run(within: .seconds(5)) { guest.connected == [host.id] }
        try play.world.run(for: .seconds(1))
        var isKept = try play.ask(guest) { [id = host.id] in try await $0.isKept(id) }
        #expect(isKept)
        try play.ask(guest) { [id = host.id] in await $0.disconnect(id) }
        try play.world.run(for: .seconds(1))
        isKept = try play.ask(guest) { [id = host.id] in try await $0.isKept(id) }
        #expect(!isKept)
    }
}
