import CSeededRandom
import Martlet
import MartletSimulator
import NodeWorlds
import TestSupport
import Testing

@Suite("Nodes in a simulated world")
struct NodeWorldTests {
    /// A node where others begin, and `count` on the topic, which come up one after the other.
    private static func players(
        _ count: Int, seed: UInt64, target: Int = 32, keepsEvents: Bool = true
    ) -> NodeWorld {
        let play = NodeWorld(seed: seed)
        play.keepsEvents = keepsEvents
        let first = play.add(NodeWorld.configuration(topics: []))
        for number in 0..<count {
            var configuration = NodeWorld.configuration(topics: ["chess"], bootstrap: [first])
            configuration.name = "player \(number)"
            configuration.targetConnections = target
            play.add(configuration, after: .milliseconds(500 + 10 * number))
        }
        return play
    }

    @Test("three nodes find each other by the DHT of a fourth in less than five seconds, and know each other's names")
    func three() throws {
        let play = Self.players(3, seed: 3)
        let players = play.members.dropFirst()
        let watch = TrafficWatch(secrets: ["chess"])
        play.world.add(watch)
        try play.world.run(within: .milliseconds(5500)) {
            players.allSatisfy { $0.neighbours(on: "chess").count == 2 && $0.known.count == 2 }
        }
        try play.world.run(for: .seconds(20))
        for player in players {
            #expect(player.failure == nil)
            let status = try play.ask(player) { await $0.status }
            #expect(status.topics.map(\.neighbours) == [2] && status.topics.map(\.known) == [2])
            #expect(status.connections.byTransport.map(\.transport) == ["quic-v1"])
            let sick = try play.ask(player) { await $0.health.filter { !$0.isOK } }
            #expect(sick == [])
            let peers = try play.ask(player) { try await $0.peers(NodePeer.Filter(topic: "chess")) }
            let others = players.filter { $0.id != player.id }
            #expect(Set(peers.map(\.id)) == Set(others.map(\.id)))
            #expect(Set(peers.map(\.name)) == Set(others.map(\.configuration.name)))
            let measured = peers.allSatisfy { peer in
                guard let roundTrip = peer.link?.roundTrip else { return false }
                return roundTrip > .milliseconds(50) && roundTrip < .milliseconds(200)
            }
            #expect(measured, "\(peers.map(\.link))")
        }
        #expect(watch.total > 0 && watch.leaks == 0, "the topic's name never leaves a node")
        // The one where they began shares no topic with them, and is nobody's neighbour.
        #expect(play.members[0].connected.isEmpty && play.members[0].known.isEmpty)
    }

    @Test("one that was killed comes back with the same id and finds the others by its database alone")
    func comeback() throws {
        let play = Self.players(3, seed: 11)
        let players = Array(play.members.dropFirst())
        try play.world.run(within: .seconds(6)) { play.allKnowAll(on: "chess") }
        try play.world.run(for: .seconds(10))
        play.members[0].host.kill()
        players[0].host.kill()
        try play.world.run(for: .seconds(60))
        #expect(!players[1].connected.contains(players[0].id))
        players[0].host.restart()
        try play.world.run(within: .seconds(6)) {
            players[0].starts == 2 && players[0].neighbours(on: "chess") == [players[1].id, players[2].id]
        }
        let known = try play.ask(players[0]) { try await $0.peers() }
        #expect(Set(known.map(\.id)).isSuperset(of: [players[1].id, players[2].id]))
        try play.world.run(within: .seconds(5)) {
            players.allSatisfy { $0.neighbours(on: "chess").count == 2 }
        }
    }

    @Test("one whose clock went back while it was down still tells something newer than before")
    func clockWentBack() throws {
        let play = Self.players(2, seed: 18)
        let players = Array(play.members.dropFirst())
        func newest() -> UInt64 {
            players[1].events.compactMap { event in
                if case .updated(players[0].id, _, let sequence) = event { sequence } else { nil }
            }.max() ?? 0
        }
        try play.world.run(within: .seconds(10)) { play.allKnowAll(on: "chess") }
        try play.world.run(for: .seconds(10))
        let before = newest()
        #expect(before > 0)
        players[0].host.kill()
        players[0].host.wallClockOffset = .seconds(-3600)
        try play.world.run(for: .seconds(5))
        players[0].host.restart()
        try play.world.run(within: .seconds(60)) { newest() > before }
        #expect(players[0].starts == 2)
    }

    @Test("bootstrap addresses work without any DHT, by multiaddress and by host and port")
    func bootstrap() throws {
        let play = NodeWorld(seed: 12)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        let first = play.add(configuration)
        configuration.bootstrap = [.multiaddr(first.address)]
        play.add(configuration, after: .seconds(1))
        configuration.bootstrap = [.hostPort(first.host.address.description, NodeWorld.port)]
        play.add(configuration, after: .seconds(1))
        try play.world.run(within: .seconds(6)) { play.allKnowAll(on: "chess") }
        try play.world.run(within: .seconds(5)) {
            play.members.allSatisfy { $0.neighbours(on: "chess").count == 2 }
        }
        #expect(play.members.allSatisfy { $0.failure == nil })
    }

    @Test("who is on another topic is let go and not dialled again, and learns nothing")
    func otherTopic() throws {
        let play = NodeWorld(seed: 13)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        let first = play.add(configuration)
        configuration.topics = ["music"]
        configuration.bootstrap = [.multiaddr(first.address)]
        let other = play.add(configuration, after: .seconds(1))
        try play.world.run(for: .seconds(300))
        #expect(first.connected.isEmpty && other.connected.isEmpty)
        #expect(other.connections == 1)
        #expect(first.known.isEmpty && other.known.isEmpty)
        let known = try play.ask(first) { try await $0.peers() }
        #expect(known.allSatisfy { $0.topics.isEmpty && $0.name.isEmpty })
    }

    @Test("fifty find each other, and everyone comes to know all")
    func fifty() throws {
        let (count, target) = Sanitizer.amount((50, 16), reduced: (12, 8))
        let play = Self.players(count, seed: 14, target: target, keepsEvents: false)
        let watch = TrafficWatch()
        play.world.add(watch)
        try play.world.run(within: .seconds(60)) { play.allKnowAll(on: "chess") }
        let time = play.world.now
        try play.world.run(for: .seconds(10))
        let counts = play.members.dropFirst().map { $0.neighbours(on: "chess").count }.sorted()
        #expect(counts.allSatisfy { $0 >= target })
        print(
            "\(count) nodes: all know all after \(time) s; neighbours \(counts.first ?? 0) to \(counts.last ?? 0);",
            "\(watch.total / (count + 1) / 1024) KiB sent per node in \(play.world.now) s")
        #expect(play.members.allSatisfy { $0.failure == nil })
    }

    @Test("the same seed gives the same run")
    func repeats() throws {
        let digests = try (0..<2).map { _ in
            let play = Self.players(6, seed: 15)
            try play.world.run(for: .seconds(20))
            return play.world.digest
        }
        #expect(digests[0] == digests[1])
    }

    @Test("a stream of the user's own protocol is opened to a peer by its id, and answered off the loop")
    func streams() throws {
        let play = NodeWorld(seed: 4)
        var answer: Bytes?
        let host = play.add(NodeWorld.configuration(topics: [])) { node, _ in
            await node.handle("/echo/1.0.0") { stream in
                while let bytes = try? await stream.read() { try? await stream.write(bytes) }
                stream.closeWrite()
            }
        }
        let guest = play.add(NodeWorld.configuration(topics: []), after: .seconds(1)) { node, _ in
            let peer = try await node.connect(host.address)
            let stream = try await node.open("/echo/1.0.0", to: peer)
            try await stream.write(Bytes(utf8: "is anyone there?"))
            stream.closeWrite()
            answer = try await stream.read(exactly: 16)
        }
        try play.world.run(within: .seconds(5)) { answer != nil || guest.failure != nil }
        #expect(answer == Bytes(utf8: "is anyone there?"), "\(String(describing: guest.failure))")
        // Whom the user has connected is not let go for sharing no topic.
        try play.world.run(for: .seconds(60))
        #expect(guest.connected == [host.id])
    }

    @Test("who is gone has left its topics before it is disconnected, whether it said goodbye or not")
    func leaving() throws {
        let play = NodeWorld(seed: 7)
        let first = play.add(NodeWorld.configuration(topics: ["chess"]))
        let silent = play.add(NodeWorld.configuration(topics: ["chess"], bootstrap: [first]))
        let parted = play.add(NodeWorld.configuration(topics: ["chess"], bootstrap: [first]))
        let both = Set([silent.id, parted.id])
        try play.world.run(within: .seconds(10)) { first.neighbours(on: "chess") == both }
        silent.host.kill()
        try play.ask(first) { [id = parted.id] in await $0.disconnect(id) }
        try play.world.run(within: .seconds(120)) { first.connected.isEmpty }
        for peer in [silent.id, parted.id] {
            let left = try #require(first.events.lastIndex(of: .left(peer, topic: "chess")))
            let gone = first.events.lastIndex { if case .disconnected(peer, _) = $0 { true } else { false } }
            #expect(left < (try #require(gone)))
        }
        #expect(first.neighbours(on: "chess").isEmpty)
    }

    @Test("stopping says goodbye, takes less than two seconds, and can be done twice and during the start")
    func stopping() throws {
        let play = NodeWorld(seed: 5)
        let first = play.add(NodeWorld.configuration(topics: ["chess"]))
        var took: Duration?
        let second = play.add(NodeWorld.configuration(topics: ["chess"], bootstrap: [first])) { node, member in
            guard let loop = member.host.environment?.loop else { return }
            try await loop.sleep(for: .seconds(8))
            let began = loop.now
            loop.spawn { await node.stop() }
            await node.stop()
            await node.stop()
            took = loop.now - began
        }
        try play.world.run(within: .seconds(5)) { first.neighbours(on: "chess") == [second.id] }
        try play.world.run(within: .seconds(8)) { took != nil }
        let duration = try #require(took)
        #expect(duration < .seconds(2))
        try play.world.run(for: .seconds(1))
        #expect(first.neighbours(on: "chess").isEmpty)
        #expect(first.events.contains(.disconnected(second.id, reason: "the other side closed it")))
        let stopped = NodeWorld(seed: 6)
        let hasty = stopped.add(NodeWorld.configuration(topics: ["chess"]))
        var hasStopped = false
        hasty.host.start { environment in
            try await environment.loop.sleep(for: .microseconds(1))
            await hasty.node?.stop()
            hasStopped = true
        }
        try stopped.world.run(for: .seconds(3))
        #expect(hasStopped)
    }
}
