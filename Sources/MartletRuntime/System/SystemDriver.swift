internal import CLinux
internal import Glibc
internal import Synchronization

/// Turns one loop on a thread of its own: it waits in the poller, reads the clock once each time it wakes up, delivers
/// events, fires timers and runs the loop's turn, each within a bound, so that none of the three starves another.
///
/// After `stop` the thread is gone. Jobs that are still sent to the loop then run on the thread that sends them, one
/// thread at a time, so that whoever waits for an actor on the loop is answered.
///
/// It is `@unchecked Sendable` because other threads touch only the atomics and what stands under a lock; the rest is
/// touched by the loop's thread, or before that thread begins.
final class SystemDriver: LoopDriver, @unchecked Sendable {
    /// How many timers fire before the loop's turn comes.
    static let timersPerTurn = 1024
    /// A loop that has moved so many bytes in a turn looks out for more before it sleeps.
    static let livelyTraffic = 64 << 10
    /// How long it looks; longer gained nothing more.
    static let lookout = Duration.microseconds(30)
    /// Where there is one processor, looking would only hold up whoever is to bring something.
    private static let hasSeveralProcessors = sysconf(Int32(_SC_NPROCESSORS_ONLN)) > 1

    let poller: Poller
    private let timers: TimerQueue
    private let watchdog: Watchdog?
    /// Set while the thread waits, or is about to: only then it needs to be woken.
    private let isAsleep = Atomic(false)
    private let isStopping = Atomic(false)
    private let isStopped = Atomic(false)
    /// The event descriptor, or -1 once it is closed.
    private let wakeDescriptor: Mutex<Int32>
    private let leftovers = Mutex(())
    private var thread: SystemThread?

    /// A driver for the loop whose timers are `timers`.
    init(timers: TimerQueue, watchdog: Watchdog?, lingering: LingerLimits) throws(NetworkError) {
        self.timers = timers
        self.watchdog = watchdog
        let descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard descriptor >= 0 else { throw NetworkError(.ofErrno(), "eventfd") }
        do throws(NetworkError) {
            poller = try Poller(wakeDescriptor: descriptor, lingering: lingering)
        } catch {
            Glibc.close(descriptor)
            throw error
        }
        wakeDescriptor = Mutex(descriptor)
    }

    /// What the monotonic clock shows.
    static func clock() -> Instant {
        Instant(nanoseconds: UInt64(cl_clock_nanoseconds(CLOCK_MONOTONIC)))
    }

    // MARK: Thread

    /// Starts the thread, which turns `loop` until `stop`.
    func start(_ loop: EventLoop) throws(NetworkError) {
        poller.adopt(loop)
        do {
            thread = try SystemThread(name: loop.name) { [self] in
                // Fifty microseconds late is the default.
                _ = cl_set_timer_slack(1)
                loop.asCurrent { run(loop) }
                isStopped.store(true, ordering: .sequentiallyConsistent)
                runLeftovers(of: loop)
            }
        } catch {
            closeWakeDescriptor()
            throw NetworkError(.init(errno: error.number), "pthread_create")
        }
    }

    private func run(_ loop: EventLoop) {
        while !isStopping.load(ordering: .acquiring) {
            let count = wait(for: loop)
            timers.advance(to: Self.clock())
            watchdog?.woke()
            if poller.deliver(count, watchdog: watchdog) { drainWakeDescriptor() }
            fireTimers(of: loop)
            loop.turn(watchdog: watchdog)
        }
        poller.shutDown()
        while loop.hasWork { loop.turn() }
        poller.close()
        closeWakeDescriptor()
    }

    private func wait(for loop: EventLoop) -> Int {
        guard !loop.hasWork else { return poller.look() }
        let deadline = timers.nextDeadline
        if let count = lookOut(for: loop, until: deadline) { return count }
        isAsleep.store(true, ordering: .sequentiallyConsistent)
        // Whoever posted before this saw the driver awake and did not wake it.
        let isIdle = !loop.hasPost && !isStopping.load(ordering: .sequentiallyConsistent)
        let count = poller.wait(until: isIdle ? deadline : .start, now: deadline == nil ? .start : Self.clock())
        isAsleep.store(false, ordering: .relaxed)
        return count
    }

    /// Waits for a moment without sleeping, where the last turn was lively. `nil` where nothing has come.
    private func lookOut(for loop: EventLoop, until deadline: Instant?) -> Int? {
        let isLively = poller.traffic >= Self.livelyTraffic
        poller.traffic = 0
        guard isLively, Self.hasSeveralProcessors, !poller.hasCallsWaiting else { return nil }
        var now = Self.clock()
        let end = min(now + Self.lookout, deadline ?? .never)
        while now < end {
            let count = poller.look()
            if count > 0 || loop.hasPost || isStopping.load(ordering: .relaxed) { return count }
            now = Self.clock()
        }
        return nil
    }

    private func fireTimers(of loop: EventLoop) {
        for _ in 0..<Self.timersPerTurn {
            guard let timer = timers.popExpired() else { return }
            loop.fire(timer, watchdog: watchdog)
        }
    }

    // MARK: Waking and stopping

    func wake(_ loop: EventLoop) {
        if isAsleep.exchange(false, ordering: .sequentiallyConsistent) {
            wakeDescriptor.withLock { descriptor in
                var one: UInt64 = 1
                if descriptor >= 0 { _ = write(descriptor, &one, 8) }
            }
        }
        if isStopped.load(ordering: .sequentiallyConsistent) { runLeftovers(of: loop) }
    }

    private func drainWakeDescriptor() {
        wakeDescriptor.withLock { descriptor in
            var count: UInt64 = 0
            _ = read(descriptor, &count, 8)
        }
    }

    private func closeWakeDescriptor() {
        wakeDescriptor.withLock { descriptor in
            Glibc.close(descriptor)
            descriptor = -1
        }
    }

    private func runLeftovers(of loop: EventLoop) {
        var isBusy = false
        while loop.hasPost, !isBusy {
            isBusy =
                leftovers.withLockIfAvailable { _ in
                    loop.asCurrent { while loop.hasWork { loop.turn() } }
                } == nil
        }
    }

    /// Shuts down every target, runs what waits, and ends the thread. Not from the loop's own thread.
    func stop(_ loop: EventLoop) {
        precondition(!loop.isCurrent, "a loop can't wait for its own end")
        guard !isStopping.exchange(true, ordering: .sequentiallyConsistent) else { return }
        wake(loop)
        thread?.join()
    }
}
