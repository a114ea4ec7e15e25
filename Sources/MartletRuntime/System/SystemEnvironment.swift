internal import CLinux
internal import Glibc

/// This machine, as an environment: epoll on a thread of its own, and the kernel's sockets.
///
/// Whoever makes one must `shutdown()` it in the end; releasing it alone leaves its thread running.
///
/// It is `@unchecked Sendable` because all of it but `loop`, `log` and its clocks belongs to the loop, as
/// `Environment` says, and nothing of it is assigned after `init`.
public final class SystemEnvironment: @unchecked Sendable {
    /// The loop, which runs on a thread of this environment.
    public let loop: EventLoop
    /// Where log lines go.
    public let log: Logger
    /// The kernel's random bytes.
    public let random: RandomSource
    /// What is counted and measured here.
    public let metrics = MetricsRegistry()
    /// Names, files and threads.
    let resources: SystemResources
    let driver: SystemDriver
    let datagramMemory = DatagramMemory()

    /// Where descriptors are watched.
    var poller: Poller { driver.poller }

    /// Starts a loop that is called `name`, in the log and among the process's threads. Files are kept under
    /// `directory`, names are looked up as `names` says, and background work is done by at most `backgroundThreads`
    /// threads. A callback that holds the loop longer than `watchdogLimit` is logged; `nil` for no such watch. `lingering`
    /// bounds TCP connections that are closed and still send.
    public init(
        name: String = "martlet", directory: String = ".", log: Logger, names: NameOptions = NameOptions(),
        backgroundThreads: Int = 4, watchdogLimit: Duration? = .milliseconds(100),
        lingering: LingerLimits = LingerLimits()
    ) throws(NetworkError) {
        let timers = TimerQueue(now: SystemDriver.clock())
        let loopLog = log.subsystem("loop")
        let watchdog = watchdogLimit.map { limit in
            Watchdog(limit: limit) { activity, loop, took in
                loopLog.warning(
                    "a callback held the loop too long",
                    ["loop": loop.name, "activity": activity, "milliseconds": took.nanoseconds / 1_000_000])
            }
        }
        driver = try SystemDriver(timers: timers, watchdog: watchdog, lingering: lingering)
        loop = EventLoop(name: name, timers: timers, driver: driver)
        self.log = log
        resources = SystemResources(
            poller: driver.poller, on: loop, directory: directory, names: names, threads: backgroundThreads)
        random = RandomSource { buffer in SystemEnvironment.fillRandomly(buffer) }
        try driver.start(loop)
    }

    /// What a calendar clock shows.
    public var wallTime: WallTime {
        WallTime(nanoseconds: cl_clock_nanoseconds(CLOCK_REALTIME))
    }

    /// How long ago this machine was started, the time counted in which it was suspended.
    public var bootTime: Instant {
        Instant(nanoseconds: UInt64(cl_clock_nanoseconds(CLOCK_BOOTTIME)))
    }

    /// Closes every socket, fails whoever waits for one, and ends the thread. Conversations see their errors and run
    /// on to their ends, but timers do not fire any more: cancel what sleeps beforehand.
    public func shutdown() async {
        // Never on the loop itself, which is about to end; the caller may well live there.
        await withTaskExecutorPreference(globalConcurrentExecutor) {
            await stop()
        }
    }

    @concurrent
    private func stop() async {
        loop.execute { [self] in resources.names.shutDown() }
        driver.stop(loop)
        // The threads last: what they come back with then runs on them, for the loop has none of its own any more.
        resources.endThreads()
    }

    fileprivate static func fillRandomly(_ buffer: UnsafeMutableRawBufferPointer) {
        var filled = 0
        while filled < buffer.count {
            let start = buffer.baseAddress.unsafelyUnwrapped + filled
            let count = getrandom(start, buffer.count - filled, 0)
            // Only interruption by a signal is left, once the kernel has been seeded.
            precondition(count > 0 || errno == EINTR, "the kernel has no random bytes")
            filled += max(0, count)
        }
    }
}

extension RandomSource {
    /// The kernel's random bytes, for what is needed before there is an environment, as a new key.
    public static func system() -> RandomSource {
        RandomSource { buffer in SystemEnvironment.fillRandomly(buffer) }
    }
}
