import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletSwarm
import MartletTransport
import MartletWire
import Testing

@Suite("Identify pushes")
struct PushTests {
    private let rate = Rate(burst: 2, perSecond: 1)

    @Test("pushes are applied at a rate, and the newest of those that came faster is applied as soon as it allows that")
    func box() {
        var box = PushBox<UInt8>(rate)
        var applied: [UInt8] = []
        func step(_ number: UInt8, at now: Instant) {
            let ticket = box.begin()
            box.put(Bytes([number]), from: number, of: ticket)
            if let push = box.take(at: now) { applied.append(push.message[0]) }
        }
        for number in 1...40 as ClosedRange<UInt8> { step(number, at: .start) }
        #expect(applied == [1, 2])
        #expect(box.isBusy(at: .start) && box.deadline == .start + .seconds(1))
        let early = box.take(at: .start + .milliseconds(999))
        #expect(early?.origin == nil)
        let late = box.take(at: .start + .seconds(1))
        #expect(late?.message == Bytes([40]) && late?.origin == 40)
        #expect(box.deadline == nil)
    }

    @Test("a push that began to come before another, and is slower, does not undo it")
    func order() {
        var box = PushBox<UInt8>(rate)
        let first = box.begin()
        let second = box.begin()
        box.put(Bytes([2]), from: 0, of: second)
        box.put(Bytes([1]), from: 0, of: first)
        let applied = box.take(at: .start)
        #expect(applied?.message == Bytes([2]))
        box.clear()
        #expect(box.deadline == nil)
    }

    @Test("of forty pushes in a row, more than are applied at once, the last one counts in the end")
    func lastCounts() throws {
        var agent: String?
        let server = try attacked(for: .seconds(15)) { environment in
            let connection = try await RudePeer(environment, 2).dial()
            for number in 1...40 {
                var info = PeerInfo()
                info.agentVersion = "version \(number)"
                let stream = try await connection.openStream(by: environment.loop.now + .seconds(5))
                try stream.propose(IdentifyState.pushName)
                try await stream.writeMessage(IdentifyMessage.write(info, key: key(2).publicKey))
                stream.closeWrite()
                _ = try? await stream.read()
            }
            try await environment.loop.sleep(until: .never)
        } afterwards: { swarm in
            agent = swarm.info(of: peer(2))?.agentVersion
        }
        #expect(agent == "version 40")
        #expect(server.refused(.protocolRate) > 20)
    }

    @Test("records that this node signs for peers near and far, which name different addresses, bear different numbers")
    func numbers() throws {
        var near: Member?
        let (world, hosts) = SwarmTests.world { server in
            let member = Member(server.swarm.environment, key(2))
            near = member
            member.swarm.loop.spawn {
                _ = try? await member.swarm.connect(to: peer(1), at: [address("/ip4/127.0.0.1/tcp/4001")])
            }
        }
        var far: Member?
        hosts[0].start { environment in
            let member = Member(environment, key(3))
            far = member
            try await member.swarm.connect(to: peer(1), at: [tcp(1)])
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(5))
        let records = [near, far].compactMap { $0?.swarm.info(of: peer(1))?.record?.record }
        #expect(records.count == 2)
        #expect(Set(records.map(\.sequence)).count == 2)
    }
}
