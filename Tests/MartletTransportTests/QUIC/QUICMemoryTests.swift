import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletTransport
import MartletWire
import Testing

@Suite("QUIC's memory")
struct QUICMemoryTests {
    @Test("what is unread, unsent or not acknowledged is drawn from the budget, and all of it given back")
    func streams() throws {
        let world = World(seed: 41)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let budgets = [ResourceScope(limit: 1 << 30), ResourceScope(limit: 1 << 30)]
        alice.memory = budgets[0]
        bob.memory = budgets[1]
        alice.host.line.latency = .milliseconds(20)
        bob.start()
        var isHalfWay = false
        alice.start { alice in
            let connection = try await alice.dial(bob)
            let stream = try connection.openStream()
            // Bob sends all of it back, and nobody reads that: he stops reading when he cannot write any more.
            stream.setWriteDeadline(after: .seconds(5))
            while (try? await stream.write(Bytes(pattern(64 << 10)))) != nil {}
            isHalfWay = true
            try await alice.environment.loop.sleep(for: .seconds(1))
            connection.close(code: 0)
        }
        try world.run(within: .seconds(20)) { isHalfWay }
        let window = bob.limits.streamWindow.lowerBound
        // What came and was not read, and what is written and was not sent.
        #expect(budgets[0].used > window + StreamLink.highWaterMark)
        #expect(budgets[1].used > window + StreamLink.highWaterMark)
        #expect(budgets[0].used < 4 << 20 && budgets[1].used < 4 << 20)
        try world.run(for: .seconds(20))
        #expect(alice.transport.statistics.connections == 0 && bob.transport.statistics.connections == 0)
        #expect(budgets.map(\.used) == [0, 0])
    }

    @Test("what was sent is drawn until it is acknowledged")
    func flight() throws {
        let world = World(seed: 42)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let budget = ResourceScope(limit: 1 << 30)
        alice.memory = budget
        bob.start()
        var stream: Stream?
        alice.start { alice in
            let connection = try await alice.dial(bob)
            stream = try connection.openStream()
            try await alice.environment.loop.sleep(for: .seconds(2))
            world.separate([alice.host], from: [bob.host])
            try await stream?.write(Bytes(pattern(32 << 10)))
            // Bob sends it back.
            _ = try await stream?.read(exactly: 32 << 10)
        }
        try world.run(for: .seconds(1))
        let idle = budget.used
        #expect(idle > 10 << 10)
        try world.run(for: .seconds(3))
        #expect(stream?.link.output.count == 0)
        #expect(budget.used >= idle + 32 << 10)
        world.healAll()
        try world.run(for: .seconds(3))
        #expect(budget.used < idle + 16 << 10)
    }

    @Test("with the memory used up no connection is begun, which is counted; with memory there again it is")
    func exhausted() throws {
        let world = World(seed: 43)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let budgets = [ResourceScope(limit: 1 << 20), ResourceScope(limit: 1 << 20)]
        alice.memory = budgets[0]
        bob.memory = budgets[1]
        bob.start()
        var isDone = false
        alice.start { alice in
            let connection = try await alice.dial(bob)
            budgets[1].draw(1 << 20)
            let refusal = await alice.refusal(of: bob)
            #expect(refusal != nil)
            #expect(bob.transport.statistics[.memory] == 1)
            // What there is goes on.
            #expect(try await connection.ask([1]) == [1])
            budgets[1].draw(-1 << 20)
            _ = try await alice.dial(bob)
            budgets[0].draw(1 << 20)
            let own = await alice.refusal(of: bob)
            #expect(own == .network(NetworkError(.exhausted, "connect", bob.address.socketAddress!)))
            #expect(alice.transport.statistics[.memory] == 1)
            isDone = true
        }
        try world.run(within: .seconds(5)) { isDone }
        try world.run(for: .seconds(1))
        #expect(bob.transport.statistics.halfOpen == 0)
    }

    @Test("where the memory is used up, a connection that makes the node keep much out of order is closed, others not")
    func outOfOrder() throws {
        let world = World(seed: 44)
        let mallory = QUICHost(world, "mallory", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 3))
        let budget = ResourceScope(limit: 1 << 20)
        bob.memory = budget
        bob.start()
        mallory.host.line.latency = .milliseconds(100)
        var ends: [ConnectionError] = []
        mallory.start { mallory in
            let connection = try await mallory.dial(bob)
            connection.onClosed = { ends.append($0) }
            let loop = mallory.environment.loop
            loop.spawn {
                try? await loop.sleep(for: .seconds(5))
                // Of what is under way by then, much comes behind a gap.
                mallory.host.line.loss = 0.2
                try? await loop.sleep(for: .milliseconds(300))
                mallory.host.line.loss = 0
            }
            for _ in 0..<8 {
                let stream = try connection.openStream()
                mallory.environment.loop.spawn {
                    while (try? await stream.write(Bytes(pattern(64 << 10)))) != nil {}
                }
                mallory.environment.loop.spawn { while (try? await stream.read()) != nil {} }
            }
        }
        var answers = 0
        alice.start { alice in
            let connection = try await alice.dial(bob)
            for _ in 0..<30 {
                answers += try await connection.ask([1]) == [1] ? 1 : 0
                try await alice.environment.loop.sleep(for: .seconds(1))
            }
        }
        try world.run(for: .seconds(1))
        budget.draw(1 << 20)
        try world.run(for: .seconds(40))
        #expect(answers == 30)
        #expect(ends.count == 1)
        #expect(bob.ends.contains(.network(.exhausted)))
        #expect(bob.transport.statistics[.memory] == 1)
        // Beside what was drawn here: the state of the connections, what one may keep, and what Bob's writers queue.
        let queued = 8 * (StreamLink.highWaterMark + 128 << 10)
        #expect(budget.peak < 1 << 20 + 3 * 96 << 10 + bob.limits.memoryWhenExhausted + queued)
    }
}
