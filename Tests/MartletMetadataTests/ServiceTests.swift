import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTransport
import MartletWire
import Testing

@Suite("The metadata service")
struct ServiceTests {
    /// `count` hosts with a member each, numbered from 1. Each does `then` once all are there.
    private static func world(
        _ count: UInt8, topics: @escaping (UInt8) -> [String] = { _ in ["cooks"] },
        configuration: MetadataConfiguration = MetadataConfiguration(),
        then: @escaping (Member) async throws -> Void
    ) -> (World, () -> [UInt8: Member]) {
        final class Box { var members: [UInt8: Member] = [:] }
        let box = Box()
        let world = World(seed: 8)
        for number in 1...count {
            let host = world.host("node \(number)", IPAddress(192, 0, 2, number))
            host.line = LinkConditions(latency: .milliseconds(20))
            host.start { environment in
                let member = try Member(environment, number, topics: topics(number), configuration)
                box.members[number] = member
                try await environment.loop.sleep(for: .milliseconds(10))
                try await then(member)
                try await environment.loop.sleep(until: .never)
            }
        }
        return (world, { box.members })
    }

    @Test(
        "two on a topic come to hold each other's record, by TCP and by QUIC",
        arguments: [(1, 2), (2, 4)] as [(UInt8, UInt8)])
    func two(_ dialer: UInt8, _ listener: UInt8) throws {
        let (world, members) = Self.world(4) { if $0.number == dialer { try await $0.meet(listener) } }
        try world.run(for: .seconds(1))
        let one = try #require(members()[dialer])
        let other = try #require(members()[listener])
        #expect(one.service.book.record(of: peer(listener))?.metadata.name == "node \(listener)")
        #expect(other.service.book.record(of: peer(dialer))?.metadata.name == "node \(dialer)")
        #expect(one.service.neighbours(on: TopicKey("cooks")) == [peer(listener)])
        #expect(other.service.neighbours(on: TopicKey("cooks")) == [peer(dialer)])
        #expect(one.refusals.isEmpty && other.refusals.isEmpty)
    }

    @Test("two that share no topic learn nothing of each other")
    func strangers() throws {
        var outcome: MetadataSessionError?
        let (world, members) = Self.world(2, topics: { $0 == 1 ? ["cooks"] : ["gardeners"] }) { member in
            guard member.number == 1 else { return }
            do { try await member.meet(2) } catch let error as MetadataSessionError { outcome = error }
        }
        try world.run(for: .seconds(1))
        #expect(outcome == .refused(.noCommonTopic))
        #expect(members().values.allSatisfy { $0.service.book.count == 0 })
        #expect(members().values.allSatisfy { $0.refusals == [.noCommonTopic] })
    }

    @Test("of several topics the shared ones are found, and no others")
    func severalTopics() throws {
        let (world, members) = Self.world(2, topics: { $0 == 1 ? ["a", "b", "c"] : ["c", "d", "b"] }) { member in
            if member.number == 1 { try await member.meet(2) }
        }
        try world.run(for: .seconds(1))
        #expect(members()[1]?.service.topics(of: peer(2)) == [TopicKey("b"), TopicKey("c")])
        #expect(members()[2]?.service.topics(of: peer(1)) == [TopicKey("b"), TopicKey("c")])
    }

    @Test("in a chain everyone comes to know everyone, from neighbours alone")
    func chain() throws {
        let (world, members) = Self.world(12) { if $0.number > 1 { try await $0.meet($0.number - 1) } }
        try world.run(within: .seconds(30)) {
            members().count == 12 && members().values.allSatisfy { $0.service.book.count == 11 }
        }
        #expect(members().values.allSatisfy { $0.swarm.connectedPeers.count <= 2 })
    }

    @Test("a change is pushed to the end of the chain, and an old record that comes back is refused")
    func change() throws {
        let (world, members) = Self.world(5) { if $0.number > 1 { try await $0.meet($0.number - 1) } }
        try world.run(within: .seconds(30)) {
            members().count == 5 && members().values.allSatisfy { $0.service.book.count == 4 }
        }
        let first = try #require(members()[1])
        let before = first.service.own
        first.service.update { $0.capabilities = ["relay"] }
        try world.run(within: .seconds(30)) {
            members()[5]?.service.book.record(of: peer(1))?.metadata.capabilities == ["relay"]
        }
        let last = try #require(members()[5])
        #expect(first.service.own.metadata.sequence > before.metadata.sequence)
        var book = last.service.book
        #expect(throws: MetadataRefusal.notNewer) { try book.take(before, at: before.metadata.time) }
    }

    @Test("a hello that was recorded on one connection is refused on another")
    func replay() throws {
        let proof = TopicKey("cooks").proof(
            of: .opener, opener: peer(1), answerer: peer(2), binding: Bytes([UInt8](repeating: 7, count: 32)))
        let answer = try Self.answer(to: [.hello([proof])])
        #expect(answer == [.refused(.noCommonTopic)])
    }

    @Test("nothing is answered before the hello")
    func outOfTurn() throws {
        let all = MetadataSummary(first: 0, last: .max, entries: [])
        let record = BookTests.record(1).envelope.bytes
        let answers = try Self.answer(
            to: [.summary(all), .push(record), .digest(MetadataDigest(all))])
        #expect(answers == [.refused(.outOfTurn), .refused(.outOfTurn), .refused(.outOfTurn)])
    }

    @Test("neighbours that know the same compare digests, and no summaries")
    func digests() throws {
        var heard: [MetadataMessage.Body] = []
        let (world, _) = Self.world(2) { member in
            guard member.number == 1 else { return }
            let stream = try await Self.stream(from: member)
            let proof = TopicKey("cooks").proof(
                of: .opener, opener: peer(1), answerer: peer(2), binding: stream.binding)
            try await stream.writeMessage(MetadataMessage(id: 1, .hello([proof])).encoded)
            while let bytes = try await stream.readMessage(upTo: MetadataMessage.maximumSize) {
                let message = try MetadataMessage(bytes)
                guard !message.isAnswer else { continue }
                heard.append(message.body)
                let answer: MetadataMessage.Body =
                    switch message.body {
                    case .summary: .records([])
                    // The third time something has changed.
                    case .digest: .same(heard.filter { if case .digest = $0 { true } else { false } }.count != 3)
                    default: .taken(1)
                    }
                try await stream.writeMessage(MetadataMessage(id: message.id, answer).encoded)
            }
        }
        try world.run(for: .seconds(60))
        let kinds = heard.compactMap { body -> String? in
            switch body {
            case .digest: "digest"
            case .summary: "summary"
            default: nil
            }
        }
        #expect(kinds.prefix(6) == ["summary", "digest", "digest", "digest", "summary", "digest"])
    }

    @Test("a neighbour that makes up news without end is asked so often and no more")
    func endlessNews() throws {
        var asked: UInt64 = 0
        let (world, members) = Self.world(2) { member in
            guard member.number == 1 else { return }
            let stream = try await Self.stream(from: member)
            let proof = TopicKey("cooks").proof(
                of: .opener, opener: peer(1), answerer: peer(2), binding: stream.binding)
            try await stream.writeMessage(MetadataMessage(id: 1, .hello([proof])).encoded)
            while let bytes = try await stream.readMessage(upTo: MetadataMessage.maximumSize) {
                let message = try MetadataMessage(bytes)
                guard case .summary = message.body else { continue }
                asked += 1
                let news = BookTests.record(9, asked).envelope.bytes
                try await stream.writeMessage(MetadataMessage(id: message.id, .records([news])).encoded)
            }
        }
        try world.run(for: .seconds(60))
        // The comparisons that are due every ten seconds come on top.
        #expect(asked > 400 && asked <= 512 + 7)
        #expect(members()[2]?.service.book.count == 1)
    }

    @Test("a second hello is refused, whatever became of the first")
    func secondHello() throws {
        let guess = MetadataMessage.Body.hello([Bytes([UInt8](repeating: 1, count: 16))])
        let answers = try Self.answer(to: [guess, guess])
        #expect(answers == [.refused(.noCommonTopic), .refused(.outOfTurn)])
    }

    @Test("who asks too much is told so, and nobody is hurt")
    func tooMuch() throws {
        let all = MetadataSummary(first: 0, last: .max, entries: [])
        let answers = try Self.answer(to: .init(repeating: .summary(all), count: 400))
        #expect(answers.count == 400)
        let many = try Self.answer(to: .init(repeating: .summary(all), count: 700), reading: 600)
        #expect(many.contains(.refused(.tooMuch)))
    }

    /// A stream of the protocol to the second node, from one that speaks for itself and not by its service.
    private nonisolated(nonsending) static func stream(from member: Member) async throws -> MartletTransport.Stream {
        member.service.stop()
        member.swarm.add(addresses: [address("/ip4/192.0.2.2/tcp/4001")], of: peer(2))
        return try await member.swarm.openStream(to: peer(2), MetadataService.name)
    }

    /// What a node answers to requests of a stranger who writes them one behind the other.
    private static func answer(
        to requests: [MetadataMessage.Body], reading count: Int? = nil
    ) throws -> [MetadataMessage.Body] {
        var answers: [MetadataMessage.Body] = []
        var isDone = false
        let (world, members) = world(2) { member in
            guard member.number == 1 else { return }
            let stream = try await Self.stream(from: member)
            for (index, request) in requests.enumerated() {
                try await stream.writeMessage(MetadataMessage(id: UInt64(index + 1), request).encoded)
            }
            while answers.count < count ?? requests.count,
                let bytes = try? await stream.readMessage(upTo: MetadataMessage.maximumSize)
            {
                answers.append(try MetadataMessage(bytes).body)
            }
            isDone = true
        }
        try world.run(within: .seconds(60)) { isDone }
        #expect(members()[2]?.service.book.count == 0)
        return answers
    }
}
