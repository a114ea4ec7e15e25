/// The jobs that a world's code would have put on Swift's global pool, run on the world's thread instead.
final class PoolQueue {
    private let executor = Executor()
    // Asked at every step of a world; what a job adds is added after it was taken out.
    @exclusivity(unchecked) private var jobs: [UnownedJob] = []
    @exclusivity(unchecked) private var first = 0

    func add(_ job: UnsafeMutableRawPointer) {
        jobs.append(unsafeBitCast(job, to: UnownedJob.self))
    }

    /// Runs the first job. Says whether there was one.
    func runOne() -> Bool {
        guard first < jobs.count else {
            if first > 0 { jobs.removeAll(keepingCapacity: true) }
            first = 0
            return false
        }
        let job = jobs[first]
        first += 1
        job.runSynchronously(on: executor.asUnownedTaskExecutor())
        return true
    }

    /// Stands for the pool where Swift asks what a job runs on. Nothing prefers it, so nothing is ever queued on it.
    private final class Executor: TaskExecutor {
        func enqueue(_ job: consuming ExecutorJob) {
            preconditionFailure("no task prefers the pool of a simulated world")
        }
    }
}
