import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTransport
import MartletWire
import Testing

/// The bytes of packets that all hosts send.
private final class Traffic: WorldWatcher {
    let name = "traffic"
    var bytes = 0

    func sent(_ packet: Packet, by host: Host) { bytes += packet.size }
}

@Suite("Comparing what is known")
struct ComparingTests {
    /// Answers on `stream` what `book` knows, and counts the records that go out.
    private nonisolated(nonsending) static func serve(
        _ book: MetadataBook, on stream: MartletTransport.Stream, sent: (Int) -> Void
    ) async throws {
        let shared: Set = [TopicKey("cooks")]
        while let bytes = try await stream.readMessage(upTo: MetadataMessage.maximumSize) {
            let message = try MetadataMessage(bytes)
            guard !message.isAnswer else { continue }
            let answer: MetadataMessage.Body
            switch message.body {
            case .summary(let summary):
                let missing = book.missing(in: summary, on: shared, except: peer(1))
                sent(missing.count)
                answer = .records(missing.map(\.envelope.bytes))
            case .digest(let digest):
                let known = book.summary(from: digest.first, to: digest.last, on: shared, except: peer(1))
                answer = .same(MetadataDigest(known) == digest)
            default: answer = .taken(1)
            }
            try await stream.writeMessage(MetadataMessage(id: message.id, answer).encoded)
        }
    }

    @Test("one that joins gets each record from one neighbour alone")
    func joiner() throws {
        var sent = 0
        let (world, members) = HostileNeighbourTests.world([1, 2, 3, 4, 5]) { member in
            guard member.number > 1 else { return }
            let time = member.swarm.environment.wallTime
            var book = MetadataBook(of: peer(member.number), topics: [TopicKey("cooks")])
            for number in 0..<150 {
                try book.take(
                    madeUp(number, at: time, size: 1000), from: Teller(peer(250), at: nil),
                    at: Moment(wall: time, boot: .start))
            }
            let stream = try await member.greetedStream(to: 1)
            try await Self.serve(book, on: stream) { sent += $0 }
        }
        try world.run(for: .seconds(30))
        #expect(members()[1]?.service.book.count == 150)
        #expect(sent <= 160, "\(sent) records were sent")
    }

    @Test("two full books that differ come to rest")
    func fullBooks() throws {
        var configuration = MetadataConfiguration()
        configuration.book.peers = 20
        let traffic = Traffic()
        let (world, members) = HostileNeighbourTests.world([1, 2, 3, 5], configuration: configuration) { member in
            let loop = member.swarm.loop
            switch member.number {
            case 3, 5:
                let time = member.swarm.environment.wallTime
                let stream = try await member.greetedStream(to: member.number == 3 ? 1 : 2)
                for number in 0..<20 {
                    let record = madeUp(number + 100 * Int(member.number), at: time, size: 2000)
                    try await stream.writeMessage(
                        MetadataMessage(id: UInt64(number) + 2, .push(record.envelope.bytes)).encoded)
                }
                try await loop.sleep(for: .seconds(3))
            case 1:
                try await loop.sleep(for: .seconds(5))
                try await member.meet(2)
            default: break
            }
        }
        world.add(traffic)
        try world.run(for: .seconds(300))
        #expect(members()[1]?.service.book.count == 20 && members()[2]?.service.book.count == 20)
        let before = traffic.bytes
        try world.run(for: .seconds(1200))
        // Two digests each ten seconds and their answers. Without the mend it is five megabytes.
        #expect(traffic.bytes - before < 200_000, "\(traffic.bytes - before) bytes in twenty minutes")
    }

    @Test("a neighbour has a rate for records that are news, and old ones do not count")
    func rate() throws {
        var configuration = MetadataConfiguration()
        configuration.records = .init(burst: 10, perSecond: 0.1)
        var answers: [MetadataMessage.Body] = []
        let (world, members) = HostileNeighbourTests.world([1, 2], configuration: configuration) { member in
            guard member.number == 2 else { return }
            let time = member.swarm.environment.wallTime
            let stream = try await member.greetedStream(to: 1)
            for number in (0..<5).flatMap({ Array(repeating: $0, count: 20) }) + Array(5..<20) {
                let push = MetadataMessage.Body.push(madeUp(number, at: time).envelope.bytes)
                try await stream.writeMessage(MetadataMessage(id: UInt64(answers.count) + 2, push).encoded)
                while let bytes = try await stream.readMessage(upTo: MetadataMessage.maximumSize) {
                    let message = try MetadataMessage(bytes)
                    guard message.isAnswer else { continue }
                    if case .welcome = message.body { continue }
                    answers.append(message.body)
                    break
                }
            }
        }
        try world.run(for: .seconds(20))
        #expect(answers.count == 115)
        #expect(answers.filter { if case .taken = $0 { true } else { false } }.count <= 12)
        #expect(answers.contains(.refused(.tooMuch)))
        #expect((members()[1]?.service.book.count ?? 0) >= 10)
    }
}
