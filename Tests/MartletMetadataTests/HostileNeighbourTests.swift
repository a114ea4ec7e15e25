import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTransport
import MartletWire
import Testing

@Suite("Neighbours that mean ill")
struct HostileNeighbourTests {
    /// Hosts with a member each, by their numbers. Each does `then` once all are there.
    static func world(
        _ numbers: [UInt8], configuration: MetadataConfiguration = MetadataConfiguration(),
        hosts: (UInt8, Host) -> Void = { _, _ in }, then: @escaping (Member) async throws -> Void
    ) -> (World, () -> [UInt8: Member]) {
        final class Box { var members: [UInt8: Member] = [:] }
        let box = Box()
        let world = World(seed: 22)
        for number in numbers {
            let host = world.host("node \(number)", IPAddress(192, 0, 2, number))
            host.line = LinkConditions(latency: .milliseconds(20))
            hosts(number, host)
            host.start { environment in
                let member = try Member(environment, number, configuration)
                box.members[number] = member
                try await environment.loop.sleep(for: .milliseconds(10))
                try await then(member)
                try await environment.loop.sleep(until: .never)
            }
        }
        return (world, { box.members })
    }

    @Test("a neighbour that asks and never reads holds one answer besides its stream's queue, and is dropped")
    func neverReads() throws {
        var waiting = 0
        var memory = 0
        var isAsking = false
        var wasNeighbour = false
        let (world, members) = Self.world([1, 2]) { member in
            let loop = member.swarm.loop
            if member.number == 2 {
                while true {
                    waiting = max(waiting, member.service.waitingBytes)
                    memory = max(memory, member.swarm.memory.used)
                    wasNeighbour = wasNeighbour || !member.service.neighbours(on: TopicKey("cooks")).isEmpty
                    try await loop.sleep(for: .milliseconds(100))
                }
            }
            let stream = try await member.greetedStream(to: 2)
            for number in UInt8(100)..<107 {
                let record = record(number, at: member.swarm.environment.wallTime, size: 7000)
                try await stream.writeMessage(MetadataMessage(id: UInt64(number), .push(record.envelope.bytes)).encoded)
            }
            isAsking = true
            let all = MetadataSummary(first: 0, last: .max, entries: [])
            // Without the bound, each of these is answered at once: 48 KiB for 30 bytes.
            for id in UInt64(1000)...5000 {
                try? await stream.writeMessage(MetadataMessage(id: id, .summary(all)).encoded)
                try await loop.sleep(for: .milliseconds(20))
            }
        }
        try world.run(for: .seconds(15))
        #expect(isAsking && wasNeighbour)
        #expect(waiting <= MetadataMessage.maximumSize, "\(waiting) bytes wait")
        // The stream queues a quarter of a megabyte, and a message that went in while there was room.
        #expect(memory > 200 << 10 && memory <= 400 << 10, "\(memory) bytes of memory")
        #expect(members()[2]?.service.book.count == 7)
        try world.run(for: .seconds(30))
        #expect(members()[2]?.service.neighbours(on: TopicKey("cooks")) == [])
        #expect((members()[2]?.swarm.memory.used ?? .max) < 64 << 10)
    }
}
