internal import Glibc
internal import Synchronization

/// A few threads for what computes or blocks for long, so that no loop does.
///
/// Threads are started when there is work that no idle thread would take, and end with `shutdown`. Work is begun in
/// the order in which it came.
///
/// It is `@unchecked Sendable` because `state` is touched only under `mutex`; a condition variable has to know the
/// lock, which Swift's `Mutex` does not show.
public final class Workers: @unchecked Sendable {
    /// What becomes of work that waits when the workers are shut down.
    public enum Rest: Sendable {
        /// It is done first.
        case finish
        /// It is not done, and those who wait for it are told so.
        case abandon
    }

    private struct Job {
        let isWanted: @Sendable () -> Bool
        let run: @Sendable () -> Void
        let abandon: @Sendable () -> Void
    }

    private struct State: ~Copyable {
        var jobs = Ring<Job>()
        var threads: [SystemThread] = []
        var idle = 0
        var isShutDown = false
    }

    private let name: String
    private let maximumThreads: Int
    private let maximumWaiting: Int
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var state = State()

    /// Workers that will be at most `threads` threads called `name`, with at most `waiting` pieces of work in their
    /// queue.
    public init(name: String, threads: Int = 4, waiting: Int = 16_384) {
        precondition(threads > 0 && waiting > 0)
        self.name = name
        maximumThreads = threads
        maximumWaiting = waiting
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        precondition(state.threads.isEmpty, "workers are shut down before they are let go")
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// How many threads there are now.
    public var threads: Int {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return state.threads.count
    }

    /// Runs `work` on one of the threads, for a conversation on `loop`, and comes back with what it returns or throws.
    ///
    /// Throws `CancellationError` where the conversation is cancelled or the workers are shut down before the result
    /// is there: work that has not begun is then not done, and what has begun is finished for nobody. Throws
    /// `WorkersError` where it could not be queued.
    public nonisolated(nonsending) func run<Result: Sendable>(
        on loop: EventLoop, _ work: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        let signal = Signal(on: loop)
        let outcome = Outcome<Result>()
        try submit(
            Job(
                isWanted: { !outcome.isAbandoned },
                run: {
                    outcome.result = Swift.Result { try work() }
                    loop.execute { signal.signal() }
                },
                abandon: { loop.execute { signal.signal() } }))
        do {
            try await signal.wait()
        } catch {
            outcome.abandon()
            throw error
        }
        // The signal without a result: it was abandoned.
        guard let result = outcome.result else { throw CancellationError() }
        return try result.get()
    }

    /// Takes no more work, does with what waits as `rest` says, and returns when every thread has ended. What is being
    /// worked on is finished. Not to be called from one of the threads.
    public func shutdown(_ rest: Rest = .abandon) {
        pthread_mutex_lock(mutex)
        state.isShutDown = true
        var abandoned: [Job] = []
        while rest == .abandon, let job = state.jobs.popFirst() { abandoned.append(job) }
        let threads = state.threads
        state.threads = []
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
        for job in abandoned { job.abandon() }
        for thread in threads { thread.join() }
    }

    private func submit(_ job: Job) throws(WorkersError) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        guard !state.isShutDown else { throw .shutDown }
        guard state.jobs.count < maximumWaiting else { throw .overloaded }
        if state.jobs.count >= state.idle, state.threads.count < maximumThreads {
            do throws(ThreadError) {
                // The threads are joined before this object goes.
                state.threads.append(try SystemThread(name: name) { [unowned(unsafe) self] in work() })
            } catch {
                // With fewer threads it takes longer; with none, forever.
                if state.threads.isEmpty { throw .noThread(error.number) }
            }
        }
        state.jobs.append(job)
        pthread_cond_signal(condition)
    }

    /// What each thread does. The workers outlive it: they are let go only after `shutdown` has waited for it.
    private func work() {
        pthread_mutex_lock(mutex)
        while true {
            if let job = state.jobs.popFirst() {
                pthread_mutex_unlock(mutex)
                if job.isWanted() { job.run() }
                pthread_mutex_lock(mutex)
            } else if state.isShutDown {
                break
            } else {
                state.idle += 1
                pthread_cond_wait(condition, mutex)
                state.idle -= 1
            }
        }
        pthread_mutex_unlock(mutex)
    }
}

/// Why work could not be queued.
public enum WorkersError: Error, Hashable, Sendable {
    /// Too much of it waits already.
    case overloaded
    /// The workers have been shut down.
    case shutDown
    /// The system gives no thread, by its error number.
    case noThread(Int32)
}

/// What came of a piece of work.
///
/// It is `@unchecked Sendable` because `result` is written by the worker before it posts to the loop, and read by the
/// loop after that.
private final class Outcome<Value>: @unchecked Sendable {
    var result: Result<Value, any Error>?
    private let abandoned = Atomic(false)

    var isAbandoned: Bool { abandoned.load(ordering: .relaxed) }

    func abandon() { abandoned.store(true, ordering: .relaxed) }
}
