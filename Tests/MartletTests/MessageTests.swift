import CSeededRandom
import Martlet
import MartletMetadata
import MartletSimulator
import NodeWorlds
import Testing

@Suite("Messages between neighbours")
struct MessageTests {
    /// Three on the topic, and all have met.
    private static func play(seed: UInt64) throws -> NodeWorld {
        let play = NodeWorld(seed: seed)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        let first = play.add(configuration)
        configuration.bootstrap = [.multiaddr(first.address)]
        for _ in 0..<2 { play.add(configuration, after: .seconds(1)) }
        try play.world.run(within: .seconds(10)) {
            play.members.allSatisfy { $0.neighbours(on: "chess").count == 2 }
        }
        return play
    }

    private static func messages(of member: NodeWorld.Member) -> [(PeerID, String, Bytes)] {
        member.events.compactMap {
            if case .message(let peer, let topic, let bytes) = $0 { (peer, topic, bytes) } else { nil }
        }
    }

    @Test("what is broadcast comes to all on the topic, and what is sent to one comes in order to him alone")
    func arriving() throws {
        let play = try Self.play(seed: 21)
        let (first, second, third) = (play.members[0], play.members[1], play.members[2])
        let count = try play.ask(first) { try await $0.broadcast(Bytes(utf8: "e4"), on: "chess") }
        #expect(count == 2)
        try play.ask(second) { node in
            for number in 0..<100 { try await node.send(Bytes(utf8: "\(number)"), to: third.id, on: "chess") }
        }
        try play.world.run(within: .seconds(5)) { Self.messages(of: third).count == 101 }
        #expect(Self.messages(of: second).map(\.2) == [Bytes(utf8: "e4")])
        let numbers = Self.messages(of: third).filter { $0.0 == second.id }.map(\.2)
        #expect(numbers == (0..<100).map { Bytes(utf8: "\($0)") })
        #expect(Self.messages(of: third).allSatisfy { $0.1 == "chess" })
    }

    @Test("what is too large, of a topic that the node is not on, or to one who is no neighbour is refused at once")
    func refused() throws {
        let play = try Self.play(seed: 22)
        let first = play.members[0]
        func code(_ body: nonisolated(nonsending) @escaping (Node) async throws -> Void) throws -> MartletError.Code? {
            do { try play.ask(first, body) } catch let error as MartletError { return error.code }
            return nil
        }
        let other = play.members[1].id
        #expect(
            try code { try await $0.send(Bytes(count: 65_537, fill: fillWithZeros), to: other, on: "chess") }
                == .tooLarge)
        #expect(
            try code { try await $0.send(Bytes(count: 65_536, fill: fillWithZeros), to: other, on: "chess") } == nil)
        #expect(try code { try await $0.broadcast(Bytes(utf8: "la"), on: "music") } == .invalidConfiguration)
        #expect(try code { try await $0.send(Bytes(utf8: "a"), to: first.id, on: "chess") } == .unknownPeer)
    }

    @Test("who has proven no topic, sends what is none or is too large, or fills the line, reaches nobody")
    func hostile() throws {
        let play = try Self.play(seed: 23)
        let first = play.members[0]
        var outsider = NodeWorld.configuration(topics: [])
        outsider.dht = nil
        var resets = 0
        let frames = [
            // A mark of the right topic, by whoever has proven nothing.
            Array(TopicKey("chess").mark(of: play.members[1].id)) + Array("hello".utf8),
            [1, 2, 3],
            [UInt8](repeating: 7, count: 16 + (64 << 10) + 1),
        ]
        let attacker = play.add(outsider) { node, _ in
            try await node.connect(first.address)
            for frame in frames {
                let stream = try await node.open("/martlet/message/1.0.0", to: first.id)
                try? await stream.writeMessage(Bytes(frame))
                // Nothing comes back but the end.
                do { _ = try await stream.read() } catch { resets += 1 }
            }
        }
        try play.world.run(within: .seconds(30)) { resets == frames.count || attacker.failure != nil }
        #expect(attacker.failure == nil)
        #expect(Self.messages(of: first).isEmpty)
    }

    @Test("a peer that sends empty messages over one stream after the other is read at the rate of one stream")
    func manyStreams() throws {
        let play = try Self.play(seed: 25)
        let (first, second) = (play.members[0], play.members[1])
        let mark = TopicKey("chess").mark(of: second.id)
        let (streams, each) = (4, 6000)
        var begun: Instant?
        var ended: Instant?
        try play.ask(second, within: .seconds(60)) { node in
            begun = play.world.now
            for _ in 0..<streams {
                let stream = try await node.open("/martlet/message/1.0.0", to: first.id)
                for _ in 0..<each { try await stream.writeMessage(mark) }
                stream.closeWrite()
                // The other side ends the stream once it has read all.
                _ = try? await stream.read()
            }
            ended = play.world.now
        }
        let took = try #require(ended) - (try #require(begun))
        // A burst of 4 MiB and 1 MiB a second, at 256 bytes each.
        let wanted = Double(streams * each * 256 - (4 << 20)) / Double(1 << 20)
        #expect(took >= .milliseconds(Int(wanted * 1000)), "it took \(took)")
    }

    @Test("a reader who takes no events costs so much memory and no more, and is told how many he missed")
    func slowReader() throws {
        let play = try Self.play(seed: 24)
        let (first, second) = (play.members[0], play.members[1])
        var reader: NodeEvents?
        try play.ask(second) { reader = $0.subscribe() }
        let whole = Bytes(count: 65_536, fill: fillWithZeros)
        try play.ask(first, within: .seconds(60)) { node in
            for _ in 0..<100 { try await node.send(whole, to: second.id, on: "chess") }
        }
        try play.world.run(within: .seconds(60)) { Self.messages(of: second).count == 100 }
        var kept: [NodeEvent] = []
        let events = try #require(reader)
        try play.ask(second) { _ in
            while kept.count < 64, let event = await events.next() { kept.append(event) }
        }
        guard case .missed(let missed)? = kept.first else {
            Issue.record("nothing was missed")
            return
        }
        #expect(missed + kept.count - 1 >= 100 && kept.count - 1 <= 64)
    }
}

private func fillWithZeros(_ target: UnsafeMutableRawBufferPointer) {
    target.initializeMemory(as: UInt8.self, repeating: 0)
}
