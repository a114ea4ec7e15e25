internal import CLinux
internal import Glibc

/// Notices when one callback held a loop too long.
///
/// It reads the kernel's coarse clock, which is good to some milliseconds and costs about as many nanoseconds.
public final class Watchdog {
    /// How long a callback may run unnoticed.
    public let limit: Duration
    private let report: (_ activity: StaticString, _ loop: EventLoop, _ took: Duration) -> Void
    private var last: UInt64

    /// A watchdog that calls `report` for each callback that took longer than `limit`.
    public init(
        limit: Duration, report: @escaping (_ activity: StaticString, _ loop: EventLoop, _ took: Duration) -> Void
    ) {
        self.limit = limit
        self.report = report
        last = Self.coarseClock()
    }

    /// The loop begins to run something after it had waited.
    func woke() { last = Self.coarseClock() }

    /// What is called `activity` has just returned.
    func finished(_ activity: StaticString, on loop: EventLoop) {
        let now = Self.coarseClock()
        let took = Duration.nanoseconds(Int64(now &- last))
        last = now
        if took > limit { report(activity, loop, took) }
    }

    private static func coarseClock() -> UInt64 {
        UInt64(cl_clock_nanoseconds(CLOCK_MONOTONIC_COARSE))
    }
}
