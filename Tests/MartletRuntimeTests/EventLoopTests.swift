import Glibc
import MartletWire
import Synchronization
import Testing

@testable import MartletRuntime

@Suite("Event loop")
struct EventLoopTests {
    @Test("a conversation runs on the loop, after the callback that started it")
    func spawn() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            var order: [String] = []
            let task = loop.spawn {
                #expect(loop.isCurrent)
                order.append("conversation")
            }
            order.append("callback")
            await task.value
            #expect(loop.isCurrent)
            #expect(order == ["callback", "conversation"])
        }
    }

    @Test("a conversation stays on the loop's thread over whatever it waits for")
    func staysHome() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let thread = pthread_self()
            let task = loop.spawn {
                for _ in 0..<100 {
                    await Task.yield()
                    #expect(pthread_self() == thread)
                }
                try? await loop.sleep(for: .milliseconds(1))
                #expect(pthread_self() == thread)
                let four = try? await loop.withDeadline(loop.now + .seconds(5)) {
                    await Task.yield()
                    #expect(pthread_self() == thread)
                    return 4
                }
                #expect(four == 4)
                #expect(pthread_self() == thread)
                let elsewhere = await Task.detached { loop.isCurrent }.value
                #expect(!elsewhere)
                #expect(pthread_self() == thread)
            }
            await task.value
        }
    }

    @Test("what a task from elsewhere runs on the loop stays there while it waits, and can be cancelled at any moment")
    func visitors() async throws {
        let environment = try SystemEnvironment(name: "visited", log: CapturedLog().logger)
        let loop = environment.loop
        let thread = try await loop.run { UInt(pthread_self()) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask {
                    try await loop.run {
                        try await loop.sleep(for: .microseconds(number))
                        #expect(UInt(pthread_self()) == thread)
                        #expect(loop.isCurrent)
                    }
                }
                group.addTask {
                    let sleeper = Task { try await loop.run { try await loop.sleep(for: .seconds(300)) } }
                    for _ in 0..<number % 7 { await Task.yield() }
                    sleeper.cancel()
                    await #expect(throws: CancellationError.self) { try await sleeper.value }
                }
            }
            try await group.waitForAll()
        }
        await environment.shutdown()
        #expect(loop.timers.armed == 0)
    }

    private actor Resident {
        nonisolated let loop: EventLoop
        private(set) var calls = 0

        nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

        init(on loop: EventLoop) { self.loop = loop }

        func call() { calls += 1 }
    }

    @Test("an actor that lives on the loop is called from there without a turn of the loop")
    func actorWithoutHop() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let resident = Resident(on: loop)
            let task = loop.spawn {
                var hasTurned = false
                loop.afterThis { hasTurned = true }
                for _ in 0..<10 { await resident.call() }
                #expect(!hasTurned)
                let calls = await resident.calls
                #expect(calls == 10)
                await Task.yield()
                #expect(hasTurned)
            }
            await task.value
        }
    }

    @Test("sleeping conversations wake in the order of their deadlines, none early", arguments: [true, false])
    func sleep(inNanoseconds: Bool) async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            if !inNanoseconds { environment.poller.waitInMilliseconds() }
            var woken: [Int] = []
            let start = loop.now
            let tasks = [3, 1, 2].map { turn in
                loop.spawn {
                    try? await loop.sleep(until: start + .milliseconds(5 * turn))
                    #expect(loop.now >= start + .milliseconds(5 * turn))
                    woken.append(turn)
                }
            }
            for task in tasks { await task.value }
            #expect(woken == [1, 2, 3])
            #expect(loop.timers.armed == 1, "the test's own deadline")
        }
    }

    private struct Complaint: Error, Equatable {}

    @Test("a deadline lets a body's result and error through, and cancels a body that is late")
    func deadlines() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let soon = loop.now + .milliseconds(5)
            let seven = try await loop.withDeadline(loop.now + .seconds(10)) { 7 }
            #expect(seven == 7)
            await #expect(throws: Complaint()) {
                try await loop.withDeadline(loop.now + .seconds(10)) { throw Complaint() }
            }
            await #expect(throws: DeadlineExceeded(deadline: soon)) {
                try await loop.withDeadline(soon) { try await loop.sleep(for: .seconds(30)) }
            }
            let task = loop.spawn {
                await #expect(throws: CancellationError.self) {
                    try await loop.withDeadline(loop.now + .seconds(30)) { try await loop.sleep(for: .seconds(30)) }
                }
            }
            await Task.yield()
            task.cancel()
            await task.value
            #expect(loop.timers.armed == 1, "the test's own deadline")
        }
    }

    @Test("a signal wakes its waiter, is remembered once, and lets a cancelled waiter go")
    func signals() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let signal = Signal(on: loop)
            signal.signal()
            signal.signal()
            try await signal.wait()
            var isWoken = false
            let waiter = loop.spawn {
                try? await signal.wait()
                isWoken = true
            }
            try await loop.sleep(for: .milliseconds(1))
            #expect(!isWoken)
            signal.signal()
            await waiter.value
            #expect(isWoken)
            let cancelled = loop.spawn {
                await #expect(throws: CancellationError.self) { try await signal.wait() }
            }
            try await loop.sleep(for: .milliseconds(1))
            cancelled.cancel()
            await cancelled.value
        }
    }

    private final class Arrivals: Sendable {
        private let numbers = Mutex<[Int: [Int]]>([:])

        func add(_ number: Int, from thread: Int) { numbers.withLock { $0[thread, default: []].append(number) } }

        func numbers(from thread: Int) -> [Int]? { numbers.withLock { $0[thread] } }
    }

    @Test("what other threads post arrives, all of it and each thread's in its order")
    func posts() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let arrivals = Arrivals()
            let senders = (0..<4).map { thread in
                Task.detached {
                    for number in 0..<2000 { loop.execute { arrivals.add(number, from: thread) } }
                }
            }
            for sender in senders { await sender.value }
            try await loop.run {}
            for thread in 0..<4 { #expect(arrivals.numbers(from: thread) == Array(0..<2000)) }
        }
    }

    @Test("callbacks that cause each other for ever starve neither timers nor sockets nor other threads")
    func fairness() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            var isOver = false
            func again() {
                if !isOver { loop.afterThis(again) }
            }
            let restless = LoopTimer(on: loop) {}
            func rearm() {
                if !isOver { restless.arm(at: loop.now) }
            }
            let chain = LoopTimer(on: loop) { rearm() }
            loop.afterThis(again)
            chain.arm(at: loop.now)
            let pair = try await Pair(environment)
            pair.client.write([1, 2, 3])
            let received = try await StreamConversation(pair.server).receive()
            #expect(received == [1, 2, 3])
            try await loop.sleep(for: .milliseconds(2))
            await Task.detached { try? await loop.run {} }.value
            isOver = true
            pair.client.close()
            pair.server.close()
        }
    }

    @Test("what is put off to the end of a turn comes behind everything else that waits, and is never kept out by it")
    func turnEnd() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            var order: [String] = []
            loop.atTurnEnd { order.append("end") }
            loop.afterThis {
                order.append("callback")
                loop.afterThis { order.append("its own") }
            }
            let conversation = loop.spawn {
                order.append("conversation")
                await Task.yield()
                order.append("its rest")
            }
            await conversation.value
            let done = Signal(on: loop)
            loop.atTurnEnd { done.signal() }
            try await done.wait()
            #expect(order == ["callback", "its own", "conversation", "its rest", "end"])
            var isOver = false
            func again() {
                if !isOver { loop.afterThis(again) }
            }
            again()
            loop.atTurnEnd { done.signal() }
            try await done.wait()
            isOver = true
        }
    }

    /// An event descriptor that is ready from the start.
    private final class Bell: PollTarget {
        let activity: StaticString = "bell"
        let descriptor: Int32
        var registration: Poller.Registration?
        var rings = 0
        var onRing: (() -> Void)?
        private let poller: Poller

        init(_ poller: Poller, _ descriptor: Int32) throws {
            self.poller = poller
            self.descriptor = descriptor
            registration = try poller.register(descriptor, [.readable, .edgeTriggered], self)
        }

        func ready(_ readiness: Poller.Readiness) {
            rings += 1
            onRing?()
        }

        func shutDown() {
            guard let registration else { return }
            self.registration = nil
            poller.unregister(registration)
            Glibc.close(descriptor)
        }
    }

    @Test("an event of a descriptor that was closed in the same batch reaches nobody, its successor included")
    func staleEvents() async throws {
        try await withEnvironment { environment in
            let poller = environment.poller
            // Both ends of a pipe pair become ready by one write each, before the poller looks again.
            var first: [Int32] = [0, 0]
            var second: [Int32] = [0, 0]
            #expect(pipe(&first) == 0 && pipe(&second) == 0)
            let rung = Signal(on: environment.loop)
            let one = try Bell(poller, first[0])
            let two = try Bell(poller, second[0])
            var successors: [Bell] = []
            var spare: [Int32] = [0, 0]
            #expect(pipe(&spare) == 0)
            for (bell, other) in [(one, two), (two, one)] {
                bell.onRing = {
                    guard successors.isEmpty else { return }
                    other.shutDown()
                    if let successor = try? Bell(poller, spare[0]) { successors.append(successor) }
                    rung.signal()
                }
            }
            _ = write(first[1], "x", 1)
            _ = write(second[1], "x", 1)
            try await rung.wait()
            try await environment.loop.sleep(for: .milliseconds(2))
            #expect(one.rings + two.rings == 1)
            #expect(successors.map(\.rings) == [0])
            for bell in [one, two] + successors {
                bell.shutDown()
                // The two hold each other.
                bell.onRing = {}
            }
            for descriptor in [first[1], second[1], spare[1]] { Glibc.close(descriptor) }
        }
    }

    @Test("the watchdog names what held the loop")
    func watchdog() async throws {
        let log = CapturedLog()
        try await withEnvironment(log: log, watchdogLimit: .milliseconds(30)) { environment in
            let loop = environment.loop
            func hold() {
                let end = SystemDriver.clock() + .milliseconds(60)
                while SystemDriver.clock() < end {}
            }
            let held = Signal(on: loop)
            let timer = LoopTimer(on: loop, label: "slow timer") {
                hold()
                held.signal()
            }
            timer.arm(at: loop.now)
            try await held.wait()
            let pair = try await Pair(environment)
            pair.server.onReadable = {
                hold()
                held.signal()
            }
            pair.client.write([1])
            try await held.wait()
            pair.client.close()
            pair.server.close()
            try await loop.sleep(for: .milliseconds(1))
        }
        let culprits = log.lines(saying: "held the loop").map { "\($0.fields)" }
        #expect(culprits.contains { $0.contains("slow timer") })
        #expect(culprits.contains { $0.contains("tcp readable") })
    }
}
