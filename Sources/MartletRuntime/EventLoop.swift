internal import CLinux
import Synchronization

/// One thread of a node, and the Swift executor of all that lives on it.
///
/// An actor whose `unownedExecutor` is a loop runs there, and so does everything that is called from it: sockets
/// call back on the loop, and what they call may touch the actor's own state without a hop. The loop itself knows
/// no clock and no kernel. A `LoopDriver` turns it: the epoll driver of `SystemEnvironment`, or a simulated world.
///
/// It is `@unchecked Sendable` because only `inbox` is touched from other threads, under its lock; the rest is
/// touched only by the thread on which the loop is current.
public final class EventLoop: SerialExecutor, @unchecked Sendable {
    /// How many jobs and callbacks one turn runs before the driver looks at the outside again.
    static let jobsPerTurn = 1024

    private struct Inbox {
        var jobs: [LoopJob] = []
        var callbacks: [@Sendable () -> Void] = []
        var isClosed = false
    }

    /// What the loop says it is when it is logged: a host's name in a simulated world.
    public let name: String
    /// Which of its driver's loops it is.
    public let number: Int
    /// The clock and the timers.
    public let timers: TimerQueue
    /// Where `loop.spawn` and `Task(executorPreference:)` put what is no actor's.
    public let taskExecutor: LoopTaskExecutor
    let home: Home
    /// What is told of each conversation that `spawn` begins, where anything is. Set before the first.
    package var conversations: Conversations?
    private let driver: any LoopDriver
    private let inbox = Lock(Inbox())
    private let hasMail = Atomic(false)
    private var jobs = Ring<LoopJob>()
    private var deferred = Ring<() -> Void>()
    private var ending = Ring<() -> Void>()
    private var spare = Inbox()
    /// What runs now, for the watchdog.
    var activity: StaticString = "idle"

    /// A loop that `driver` turns and whose clock and timers are `timers`.
    public init(name: String, number: Int = 0, timers: TimerQueue, driver: any LoopDriver) {
        self.name = name
        self.number = number
        self.timers = timers
        self.driver = driver
        taskExecutor = LoopTaskExecutor()
        home = Home()
        taskExecutor.loop = self
        home.adopt(self)
    }

    /// The clock, as it stood when the loop last looked: it does not move while a callback runs.
    public var now: Instant { timers.now }

    /// Whether the calling code runs on this loop.
    public var isCurrent: Bool {
        cl_current_loop() == Unmanaged.passUnretained(self).toOpaque()
    }

    /// Stops the program unless the calling code runs on this loop.
    public func preconditionCurrent() {
        precondition(isCurrent, "called off the loop it belongs to")
    }

    /// Calls `callback` on the loop, soon, from whichever thread.
    public func execute(_ callback: @escaping @Sendable () -> Void) {
        if isCurrent {
            deferred.append(callback)
        } else {
            post { if !$0.isClosed { $0.callbacks.append(callback) } }
        }
    }

    /// Calls `callback` after what runs now, before the loop looks at the outside again. Only from the loop.
    public func afterThis(_ callback: @escaping () -> Void) {
        preconditionCurrent()
        deferred.append(callback)
    }

    /// Calls `callback` when everything else that waits on the loop has had its turn: for what is done once for many, such
    /// as handing to the system what all of them have written. Only from the loop.
    public func atTurnEnd(_ callback: @escaping () -> Void) {
        preconditionCurrent()
        ending.append(callback)
    }

    // MARK: Executor

    /// Queues a job of an actor that lives on this loop.
    public func enqueue(_ job: consuming ExecutorJob) {
        enqueue(LoopJob(UnownedJob(job), isTask: false))
    }

    func enqueue(_ job: LoopJob) {
        if isCurrent { jobs.append(job) } else { post { $0.jobs.append(job) } }
    }

    /// Whether `other` is this loop.
    public func isSameExclusiveExecutionContext(other: EventLoop) -> Bool { self === other }

    /// Stops the program unless the calling code runs on this loop.
    public func checkIsolated() { preconditionCurrent() }

    /// Whether the calling code runs on this loop.
    public func isIsolatingCurrentContext() -> Bool? { isCurrent }

    /// Lets go of the callbacks that wait, and takes none any more. The driver's alone to call, when it will not turn the
    /// loop again: a callback holds what it is about, and that, as a rule, the loop.
    public func close() {
        var dropped: [@Sendable () -> Void] = []
        inbox.withLock { inbox in
            inbox.isClosed = true
            swap(&inbox.callbacks, &dropped)
        }
        // What goes with a callback may call back in its turn, so nothing is let go of in the middle of a change.
        while let callback = deferred.popFirst() { withExtendedLifetime(callback) {} }
        while let callback = ending.popFirst() { withExtendedLifetime(callback) {} }
        dropped = []
    }

    private func post(_ change: (inout Inbox) -> Void) {
        inbox.withLock { change(&$0) }
        if !hasMail.exchange(true, ordering: .sequentiallyConsistent) { driver.wake(self) }
    }

    // MARK: For the driver

    /// Whether a turn would find something to run.
    public var hasWork: Bool { hasWaiting || !ending.isEmpty || hasPost }

    private var hasWaiting: Bool { !jobs.isEmpty || !deferred.isEmpty }

    /// Whether something waits that another thread has put in. The driver that has said that it sleeps, and then finds
    /// nothing here, will be woken by whatever comes after.
    public var hasPost: Bool { hasMail.load(ordering: .sequentiallyConsistent) }

    /// Runs what waits, at most `jobsPerTurn` of it, as the current loop of this thread, and says how much it was. The
    /// driver's alone to call.
    @discardableResult
    public func turn(watchdog: Watchdog? = nil) -> Int {
        var budget = Self.jobsPerTurn
        asCurrent {
            repeat {
                if hasMail.load(ordering: .acquiring) { takeMail() }
                runWaiting(within: &budget, watchdog)
                // These are never kept out, however much waits: they take what is done already to where it is to go.
                for _ in 0..<ending.count {
                    guard let callback = ending.popFirst() else { break }
                    call(callback, watchdog)
                    budget -= 1
                }
            } while budget > 0 && hasWork
        }
        return Self.jobsPerTurn - budget
    }

    private func runWaiting(within budget: inout Int, _ watchdog: Watchdog?) {
        let actors = asUnownedSerialExecutor()
        let tasks = taskExecutor.asUnownedTaskExecutor()
        while budget > 0, hasWaiting {
            // What a callback put off comes before the jobs that it caused; what that puts off in its turn comes after one
            // of them, so that neither kind can keep out the other.
            for _ in 0..<min(deferred.count, budget) {
                guard let callback = deferred.popFirst() else { break }
                call(callback, watchdog)
                budget -= 1
            }
            if budget > 0, let job = jobs.popFirst() {
                activity = "job"
                job.run(actors: actors, tasks: tasks)
                watchdog?.finished(activity, on: self)
                budget -= 1
            }
        }
    }

    @inline(__always)
    private func call(_ callback: () -> Void, _ watchdog: Watchdog?) {
        activity = "callback"
        callback()
        watchdog?.finished(activity, on: self)
    }

    /// Runs `body` as the current loop of this thread: how the driver delivers what came from outside.
    public func asCurrent(_ body: () -> Void) {
        let before = cl_current_loop()
        cl_set_current_loop(Unmanaged.passUnretained(self).toOpaque())
        body()
        cl_set_current_loop(before)
    }

    /// Fires `timer`, which must be this loop's.
    public func fire(_ timer: LoopTimer, watchdog: Watchdog? = nil) {
        asCurrent {
            activity = timer.label
            timer.action()
            watchdog?.finished(activity, on: self)
        }
    }

    private func takeMail() {
        // The flag first: what is posted from here on wakes the driver again.
        hasMail.store(false, ordering: .sequentiallyConsistent)
        var taken = Inbox()
        swap(&taken, &spare)
        inbox.withLock { swap(&$0, &taken) }
        for job in taken.jobs { jobs.append(job) }
        for callback in taken.callbacks { deferred.append(callback) }
        taken.jobs.removeAll(keepingCapacity: true)
        taken.callbacks.removeAll(keepingCapacity: true)
        spare = taken
    }
}

/// What turns loops: it waits for the outside, tells time and calls `EventLoop.turn`.
public protocol LoopDriver: AnyObject, Sendable {
    /// Called from any thread when something was put into a loop whose inbox was empty.
    func wake(_ loop: EventLoop)
}

/// A loop as the executor of tasks that prefer it, apart from the actors that live there.
///
/// Swift asks for a hop whenever a job's executors differ from those of the code that runs it, so the two kinds of
/// job are run as what they are.
///
/// It is `@unchecked Sendable` because `loop` is set once, before anyone else sees the object.
public final class LoopTaskExecutor: TaskExecutor, @unchecked Sendable {
    // The loop owns this object, and jobs are only queued on a loop that lives.
    fileprivate(set) unowned(unsafe) var loop: EventLoop! = nil

    /// Queues a job of a task that prefers the loop.
    public func enqueue(_ job: consuming ExecutorJob) {
        loop.enqueue(LoopJob(UnownedJob(job), isTask: true))
    }
}

/// A job and the door that it came through.
struct LoopJob {
    private let job: UnownedJob
    private let isTask: Bool

    init(_ job: UnownedJob, isTask: Bool) {
        self.job = job
        self.isTask = isTask
    }

    @inline(__always)
    func run(actors: UnownedSerialExecutor, tasks: UnownedTaskExecutor) {
        if isTask {
            job.runSynchronously(on: tasks)
        } else {
            job.runSynchronously(isolatedTo: actors, taskExecutor: tasks)
        }
    }
}
