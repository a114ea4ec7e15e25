import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTransport
import MartletWire
import Testing

@Suite("Clocks that sleep and are set")
struct ClockTests {
    @Test("after a sleep of three hours nodes tell of themselves anew at once")
    func sleep() throws {
        var hosts: [Host] = []
        let (world, members) = HostileNeighbourTests.world([1, 2], hosts: { hosts.append($1) }) {
            if $0.number == 1 { try await $0.meet(2) }
        }
        try world.run(for: .seconds(5))
        #expect(members().values.allSatisfy { $0.service.book.count == 1 })
        for host in hosts { host.wake(after: .seconds(3 * 3600)) }
        try world.run(for: .seconds(30))
        for member in members().values {
            #expect(member.service.book.count == 1)
            let age = member.swarm.environment.wallTime.nanoseconds - member.service.own.metadata.time.nanoseconds
            #expect(age < 60_000_000_000)
        }
    }

    @Test("a node whose clock goes back says so once, naming both times, and its neighbours say nothing")
    func setBack() throws {
        var hosts: [UInt8: Host] = [:]
        let (world, members) = HostileNeighbourTests.world([1, 2, 3], hosts: { hosts[$0] = $1 }) { member in
            if member.number > 1 { try await member.meet(1) }
            if member.number == 3 { try await member.meet(2) }
        }
        try world.run(for: .seconds(5))
        let before = try #require(members()[1]).service.own.metadata
        hosts[1]?.wallClockOffset = .seconds(-3 * 3600)
        try world.run(for: .seconds(60))
        func disputes(_ number: UInt8) -> [(WallTime, WallTime)] {
            (members()[number]?.events ?? []).compactMap { event in
                if case .clockDisputed(let own, let theirs) = event { (own, theirs) } else { nil }
            }
        }
        #expect(disputes(1).count == 1 && disputes(2).isEmpty && disputes(3).isEmpty)
        let (own, theirs) = try #require(disputes(1).first)
        let apart = Duration.nanoseconds(theirs.nanoseconds - own.nanoseconds)
        #expect(apart > .seconds(3 * 3600 - 60) && apart < .seconds(3 * 3600 + 60))
        #expect(members()[1]?.service.clockDispute != nil && members()[2]?.service.clockDispute == nil)
        let after = try #require(members()[1]).service.own.metadata
        #expect(after.sequence > before.sequence && after.time < before.time)
        hosts[1]?.wallClockOffset = .zero
        try world.run(for: .seconds(60))
        #expect(members()[1]?.service.clockDispute == nil && disputes(1).count == 1)
        #expect(members()[2]?.service.book.record(of: peer(1))?.metadata.time ?? before.time > before.time)
    }

    @Test("a neighbour's date counts only if the neighbour signed it, and the latest of all is one like others")
    func latestDate() throws {
        let latest = WallTime(nanoseconds: 9_223_372_036_854 * 1_000_000)
        let (world, members) = HostileNeighbourTests.world([1, 2]) { member in
            guard member.number == 1 else { return }
            let loop = member.swarm.loop
            let stream = try await member.greetedStream(to: 2)
            let signed = record(1, 1, at: latest).envelope.bytes
            var forged = Array(signed)
            forged[forged.count - 1] ^= 1
            try await stream.writeMessage(MetadataMessage(id: 2, .push(Bytes(forged))).encoded)
            try await loop.sleep(for: .seconds(30))
            try await stream.writeMessage(MetadataMessage(id: 3, .push(signed)).encoded)
            while try await stream.readMessage(upTo: MetadataMessage.maximumSize) != nil {}
        }
        try world.run(for: .seconds(20))
        let victim = try #require(members()[2])
        #expect(victim.service.clockDispute == nil && victim.refusals == [.invalid])
        try world.run(for: .seconds(40))
        #expect(victim.refusals == [.invalid, .fromTheFuture])
        let dispute = try #require(victim.service.clockDispute)
        #expect(dispute.theirs >= latest && dispute.own < latest)
    }

    @Test("numbers go on above those of earlier records")
    func resume() throws {
        let (world, members) = HostileNeighbourTests.world([1]) { member in
            let before = member.service.own.metadata.sequence
            member.service.resume(above: before + 1_000_000)
        }
        try world.run(for: .seconds(1))
        let member = try #require(members()[1])
        let signed = member.events.compactMap { if case .signed(let number) = $0 { number } else { nil } }
        #expect(signed == [member.service.own.metadata.sequence])
        #expect(member.service.own.metadata.sequence > 1_767_225_600_000 + 1_000_000)
    }
}
