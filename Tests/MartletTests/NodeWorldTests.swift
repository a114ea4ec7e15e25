import Martlet
import MartletSimulator
import Testing

@Suite("Nodes in a simulated world")
struct NodeWorldTests {
    @Test("three nodes find each other by the DHT of a fourth in less than five seconds, and know each other's names")
    func three() throws {
        let play = NodeWorld(seed: 3)
        let first = play.add(NodeWorld.configuration(topics: []))
        for number in 0..<3 {
            var configuration = NodeWorld.configuration(topics: ["chess"], bootstrap: [first])
            configuration.name = "player \(number)"
            play.add(configuration, after: .milliseconds(500))
        }
        let players = play.members.dropFirst()
        try play.world.run(within: .seconds(5)) {
            players.allSatisfy { $0.neighbours(on: "chess").count == 2 && $0.known.count == 2 }
        }
        for player in play.members { #expect(player.failure == nil) }
        try play.world.run(for: .seconds(2))
        for player in players {
            let status = try #require(player.status)
            #expect(status.topics.map(\.neighbours) == [2] && status.topics.map(\.known) == [2])
            #expect(status.connections.byTransport.map(\.transport) == ["quic-v1"])
            let bad = player.health.filter { !$0.isOK }
            #expect(bad == [])
        }
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
        let address = try Multiaddr(parsing: "/ip4/\(host.host.address)/udp/\(NodeWorld.port)/quic-v1/p2p/\(host.id)")
        let guest = play.add(NodeWorld.configuration(topics: []), after: .seconds(1)) { node, _ in
            let peer = try await node.connect(address)
            let stream = try await node.open("/echo/1.0.0", to: peer)
            try await stream.write(Bytes(utf8: "is anyone there?"))
            stream.closeWrite()
            answer = try await stream.read(exactly: 16)
        }
        try play.world.run(within: .seconds(5)) { answer != nil || guest.failure != nil }
        #expect(answer == Bytes(utf8: "is anyone there?"), "\(String(describing: guest.failure))")
    }

    @Test("stopping says goodbye, takes less than two seconds, and can be done twice and during the start")
    func stopping() throws {
        let play = NodeWorld(seed: 5)
        let first = play.add(NodeWorld.configuration(topics: ["chess"]))
        var took: Duration?
        let second = play.add(NodeWorld.configuration(topics: ["chess"], bootstrap: [first])) { node, member in
            let loop = member.host.environment!.loop
            try await loop.sleep(for: .seconds(8))
            let began = loop.now
            loop.spawn { await node.stop() }
            await node.stop()
            await node.stop()
            took = loop.now - began
            member.hasStopped = true
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
        hasty.host.start { environment in
            try await environment.loop.sleep(for: .microseconds(1))
            await hasty.node?.stop()
        }
        try stopped.world.run(for: .seconds(3))
        #expect(hasty.node != nil)
    }
}
