import Glibc
import MartletRuntime
import Synchronization
import Testing

@Suite("Workers")
struct WorkersTests {
    private struct Refusal: Error, Equatable {
        var number: Int
    }

    @Test("work is done away from the loop, and its result comes back to it")
    func result() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let wasOnLoop = try await environment.background { loop.isCurrent }
            #expect(!wasOnLoop)
            #expect(loop.isCurrent)
            await #expect(throws: Refusal(number: 7)) {
                try await environment.background { throw Refusal(number: 7) }
            }
            #expect(loop.isCurrent)
        }
    }

    @Test("one thread does its work in the order in which it came")
    func order() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let workers = Workers(name: "test-worker", threads: 1)
            let done = Mutex<[Int]>([])
            let tasks = (0..<200).map { number in
                loop.spawn { try? await workers.run(on: loop) { done.withLock { $0.append(number) } } }
            }
            for task in tasks { await task.value }
            #expect(done.withLock { $0 } == Array(0..<200))
            #expect(workers.threads == 1)
            workers.shutdown()
            #expect(workers.threads == 0)
        }
    }

    @Test("threads are started when they are needed, and no more than allowed")
    func threads() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let workers = Workers(name: "test-worker", threads: 3)
            #expect(workers.threads == 0)
            for _ in 0..<20 { try await workers.run(on: loop) {} }
            #expect((1...3).contains(workers.threads))
            let gate = Gate()
            let running = Atomic(0)
            let most = Mutex(0)
            let tasks = (0..<30).map { _ in
                loop.spawn {
                    try? await workers.run(on: loop) {
                        let now = running.add(1, ordering: .relaxed).newValue
                        most.withLock { $0 = max($0, now) }
                        gate.wait()
                        running.subtract(1, ordering: .relaxed)
                    }
                }
            }
            // With less to do, fewer threads than allowed might be enough.
            while running.load(ordering: .relaxed) < 3 { try await loop.sleep(for: .milliseconds(1)) }
            gate.open(30)
            for task in tasks { await task.value }
            #expect(workers.threads == 3)
            #expect(most.withLock { $0 } <= 3)
            workers.shutdown()
        }
    }

    @Test("a cancelled conversation goes on at once: what waits is not done, what runs is finished for nobody")
    func cancellation() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let workers = Workers(name: "test-worker", threads: 1)
            let (begun, gate) = (Gate(), Gate())
            let done = Mutex<[Int]>([])
            var cancelled = 0
            let tasks = (0..<3).map { number in
                loop.spawn {
                    do {
                        try await workers.run(on: loop) {
                            begun.open()
                            gate.wait()
                            done.withLock { $0.append(number) }
                        }
                    } catch is CancellationError {
                        cancelled += 1
                    } catch {
                        Issue.record(error)
                    }
                }
            }
            try await environment.background { begun.wait() }
            tasks[0].cancel()
            tasks[1].cancel()
            await tasks[0].value
            await tasks[1].value
            #expect(cancelled == 2)
            gate.open(2)
            await tasks[2].value
            #expect(cancelled == 2)
            workers.shutdown()
            #expect(done.withLock { $0 } == [0, 2])
        }
    }

    @Test("the queue is bounded")
    func overload() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let workers = Workers(name: "test-worker", threads: 1, waiting: 2)
            let (begun, gate) = (Gate(), Gate())
            let first = loop.spawn {
                try? await workers.run(on: loop) {
                    begun.open()
                    gate.wait()
                }
            }
            try await environment.background { begun.wait() }
            var refused: [WorkersError] = []
            let others = (0..<5).map { _ in
                loop.spawn {
                    do {
                        try await workers.run(on: loop) {}
                    } catch {
                        if let error = error as? WorkersError { refused.append(error) }
                    }
                }
            }
            for task in others.suffix(3) { await task.value }
            #expect(refused == [.overloaded, .overloaded, .overloaded])
            gate.open()
            await first.value
            for task in others { await task.value }
            workers.shutdown()
            await #expect(throws: WorkersError.shutDown) { try await workers.run(on: loop) {} }
        }
    }

    @Test("shutting down waits for what runs and does with the rest as told", arguments: [true, false])
    func shutdown(finishing: Bool) async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let workers = Workers(name: "test-worker", threads: 1)
            let (begun, gate) = (Gate(), Gate())
            let done = Mutex<[Int]>([])
            var cancelled = 0
            let tasks = (0..<3).map { number in
                loop.spawn {
                    do {
                        try await workers.run(on: loop) {
                            begun.open()
                            gate.wait()
                            done.withLock { $0.append(number) }
                        }
                    } catch {
                        cancelled += 1
                    }
                }
            }
            try await environment.background { begun.wait() }
            gate.open(3)
            try await environment.background { workers.shutdown(finishing ? .finish : .abandon) }
            for task in tasks { await task.value }
            let count = done.withLock { $0.count }
            #expect(count + cancelled == 3)
            #expect(finishing ? count == 3 : count >= 1)
            #expect(workers.threads == 0)
        }
    }

    @Test("an environment that shuts down answers who waits for background work, and ends its threads")
    func environmentShutdown() async throws {
        let environment = try SystemEnvironment(name: "test", log: CapturedLog().logger)
        let loop = environment.loop
        let (begun, gate) = (Gate(), Gate())
        let outcome = Mutex<[String]>([])
        let task = try await loop.run {
            loop.spawn {
                do {
                    try await environment.background {
                        begun.open()
                        gate.wait()
                    }
                    outcome.withLock { $0.append("done") }
                } catch {
                    outcome.withLock { $0.append("failed") }
                }
            }
        }
        await withCheckedContinuation { continuation in
            let waiter = Task.detached {
                begun.wait()
                gate.open()
            }
            Task.detached {
                await waiter.value
                continuation.resume()
            }
        }
        await environment.shutdown()
        await task.value
        #expect(outcome.withLock { $0 } == ["done"])
        #expect(environment.backgroundThreads == 0)
    }
}
