import CSeededRandom
import Foundation
import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("A simulated host's environment")
struct EnvironmentTests {
    @Test("background work comes back to the loop with what it returns or throws, after a while")
    func background() throws {
        struct Trouble: Error {}
        let world = World(seed: 1)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        var took: Duration?
        var didThrow = false
        host.start { environment in
            #expect(try await environment.background { 6 * 7 } == 42)
            took = environment.loop.now - .start
            environment.loop.preconditionCurrent()
            do {
                try await environment.background { throw Trouble() }
            } catch is Trouble {
                didThrow = true
            }
        }
        try world.run(for: .seconds(1))
        #expect(try #require(took) > .zero && didThrow)
    }

    /// Four numbers from the environment and eight bytes from the system, as a world with `seed` gives them.
    private func random(_ seed: UInt64) throws -> [UInt64] {
        let world = World(seed: seed)
        var numbers: [UInt64] = []
        for name in ["one", "two"] {
            world.host(name, IPAddress(192, 0, 2, UInt8(world.hosts.count + 1))).start { environment in
                var random = environment.random
                numbers += [random.next(), random.next()]
                var system: UInt64 = 0
                #expect(getrandom(&system, 8, 0) == 8)
                numbers.append(system)
            }
        }
        try world.run(for: .seconds(1))
        return numbers
    }

    @Test("random numbers, the system's included, follow from the seed, and differ from host to host")
    func randomness() throws {
        let one = try random(1)
        #expect(one.count == 6)
        #expect(try random(1) == one)
        #expect(try Set(random(2) + one).count == 12)
        var outside: (UInt64, UInt64) = (0, 0)
        getrandom(&outside.0, 8, 0)
        getrandom(&outside.1, 8, 0)
        #expect(outside.0 != outside.1 && !one.contains(outside.0), "this thread keeps the kernel's randomness")
    }

    @Test("a calendar clock that jumps moves no timer")
    func wallClock() throws {
        let world = World(seed: 1)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        var fired: [Instant] = []
        var shown: [WallTime] = []
        host.start { environment in
            for _ in 0..<3 {
                try await environment.loop.sleep(for: .seconds(10))
                fired.append(environment.loop.now)
                shown.append(environment.wallTime)
            }
        }
        world.at(.start + .seconds(15)) { host.wallClockOffset = .seconds(3600) }
        world.at(.start + .seconds(25)) { host.wallClockOffset = .seconds(-3600) }
        try world.run(for: .seconds(40))
        #expect(fired.map { $0 - .start } == [.seconds(10), .seconds(20), .seconds(30)])
        let seconds = shown.map { $0.seconds - 1_767_225_600 }
        #expect(seconds == [10, 3620, 30 - 3600])
    }

    @Test("tasks, detached tasks and task groups run on the world's thread")
    func tasks() throws {
        let world = World(seed: 1)
        var threads: [String] = []
        world.host("one", IPAddress(192, 0, 2, 1)).start { environment in
            threads.append(currentThread())
            threads.append(await Task { currentThread() }.value)
            threads.append(await Task.detached { currentThread() }.value)
            let group = await withTaskGroup(of: String.self) { group in
                for _ in 0..<5 { group.addTask { currentThread() } }
                return await group.reduce(into: []) { $0.append($1) }
            }
            threads += group
            environment.loop.preconditionCurrent()
            await Task.yield()
            environment.loop.preconditionCurrent()
        }
        try world.run(for: .seconds(1))
        #expect(threads.count == 8)
        #expect(Set(threads) == ["world"])
    }

    @Test("what runs in a circle without time passing is found", arguments: ["yield", "timer", "task"])
    func livelock(_ kind: String) throws {
        let world = World(seed: 1)
        world.host("one", IPAddress(192, 0, 2, 1)).start { environment in
            let loop = environment.loop
            try await loop.sleep(for: .seconds(3))
            switch kind {
            case "yield": while !Task.isCancelled { await Task.yield() }
            case "task": while !Task.isCancelled { await Task.detached {}.value }
            default: while !Task.isCancelled { try await loop.sleep(until: loop.now) }
            }
        }
        do {
            try world.run(for: .seconds(10))
            Issue.record("it was not found")
        } catch {
            #expect(error.time == .start + .seconds(3))
            #expect(error.reason.contains("circle"))
        }
    }

    @Test("sockets of one port share by address and by leave, and UDP of both families")
    func ports() throws {
        let world = World(seed: 1)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        host.start { environment in
            func bind(_ address: IPAddress, _ port: UInt16, reuses: Bool = false) -> NetworkError.Reason? {
                var options = UDPOptions()
                options.reusesPort = reuses
                do {
                    _ = try environment.bindUDP(SocketAddress(address, port: port), options: options)
                    return nil
                } catch {
                    return error.reason
                }
            }
            #expect(bind(.anyV4, 9) == nil)
            #expect(bind(.anyV6, 9) == nil)
            #expect(bind(host.address, 9) == .addressInUse)
            #expect(bind(.anyV4, 9, reuses: true) == .addressInUse, "the first did not agree")
            #expect(bind(.anyV4, 10, reuses: true) == nil)
            #expect(bind(.anyV4, 10, reuses: true) == nil)
            #expect(bind(IPAddress(192, 0, 2, 9), 11) == .addressNotAvailable)
            #expect(bind(.loopbackV4, 12) == nil)
            #expect(bind(host.address, 12) == nil)
        }
        try world.run(for: .seconds(1))
    }

    @Test("senders are spread over sockets that share an address, each always to the same one")
    func sharedSockets() throws {
        let world = World(seed: 1)
        let (one, two) = pair(world)
        var heard: [[UInt16]] = [[], []]
        one.start { environment in
            var options = UDPOptions()
            options.reusesPort = true
            for number in 0..<2 {
                let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 9), options: options)
                socket.onDatagram = { heard[number].append($0.source.port) }
            }
        }
        two.start { environment in
            for round in 0..<100 {
                let socket = try environment.bindUDP(
                    SocketAddress(.anyV4, port: 1000 + UInt16(round % 50)), options: UDPOptions())
                _ = socket.send(Bytes([1]).span, to: SocketAddress(one.address, port: 9))
                socket.close()
            }
        }
        try world.run(for: .seconds(1))
        #expect(heard[0].count + heard[1].count == 100)
        #expect(!heard[0].isEmpty && !heard[1].isEmpty)
        #expect(Set(heard[0]).isDisjoint(with: heard[1]))
    }

    @Test("MARTLET_SEED takes the place of a world's seed")
    func seedOverride() throws {
        let plain = try DeterminismTests.digests([1, 2], deterministicHashing: false)
        let overridden = try DeterminismTests.digests([1, 2], deterministicHashing: false, seed: 2)
        #expect(plain.count == 2 && overridden == [plain[1], plain[1]])
    }

    @Test("two worlds on two threads don't disturb each other")
    func twoWorlds() throws {
        @Sendable func digest(_ seed: UInt64) throws -> TraceDigest {
            let world = World(seed: seed)
            let (one, two) = pair(world, LinkConditions(latency: .milliseconds(5), jitter: .milliseconds(5), loss: 0.1))
            serve(one, echo)
            two.start { environment in
                while true {
                    let conversation = StreamConversation(try await environment.connect(one))
                    try await conversation.send(pattern(2000))
                    _ = try await conversation.receive()
                    _ = await Task.detached { 1 }.value
                }
            }
            try world.run(for: .seconds(20))
            return world.digest
        }
        let alone = [try digest(1), try digest(2)]
        let together = Together()
        let threads = (0..<4).map { number in
            Thread {
                together.finished(number, try? digest(UInt64(1 + number % 2)))
            }
        }
        for thread in threads { thread.start() }
        #expect(together.wait(for: 4) == [0: alone[0], 1: alone[1], 2: alone[0], 3: alone[1]])
    }

    @Test("a world that is let go ends what runs in it")
    func letGo() throws {
        final class Witness {}
        weak var witness: Witness?
        var unwound = 0
        do {
            let world = World(seed: 1)
            let (one, two) = pair(world)
            let held = Witness()
            witness = held
            serve(one) { stream, _ in
                defer { unwound += 1 }
                while try await StreamConversation(stream).receive() != nil {}
            }
            two.start { environment in
                defer { unwound += 1 }
                let stream = try await environment.connect(one)
                environment.loop.spawn {
                    try? await environment.loop.sleep(until: .never)
                    _ = held
                    unwound += 1
                }
                try await environment.loop.sleep(until: .never)
                stream.close()
            }
            try world.run(for: .seconds(1))
            #expect(unwound == 0)
        }
        #expect(unwound == 3)
        #expect(witness == nil)
    }
}

private func currentThread() -> String { Thread.current.name ?? "?" }

/// What several threads came to, under a lock, which is why it may be shared.
private final class Together: @unchecked Sendable {
    private let condition = NSCondition()
    private var digests: [Int: TraceDigest] = [:]
    private var count = 0

    func finished(_ number: Int, _ digest: TraceDigest?) {
        condition.withLock {
            digests[number] = digest
            count += 1
            condition.signal()
        }
    }

    func wait(for all: Int) -> [Int: TraceDigest] {
        condition.withLock {
            while count < all { condition.wait() }
            return digests
        }
    }
}
