internal import MartletRuntime

/// Reads how much memory the process uses, each minute, and warns in the log where it grows and grows.
final class MemoryWatch {
    private static let period = Duration.seconds(60)

    private let environment: SystemEnvironment
    private let liveBytes: (() -> Int)?
    private let log: Logger
    private var machine: LeakWatch
    private var timer: LoopTimer?

    init(on environment: SystemEnvironment, liveBytes: (() -> Int)?, limits: LeakWatch.Limits = LeakWatch.Limits()) {
        self.environment = environment
        self.liveBytes = liveBytes
        machine = LeakWatch(limits)
        log = environment.log.subsystem("memory")
        timer = LoopTimer(on: environment.loop, label: "memory") { [weak self] in self?.look() }
        timer?.arm(after: Self.period)
    }

    /// What is used now.
    var latest: LeakWatch.Reading {
        let resident = ProcessUse.residentBytesNow()
        return LeakWatch.Reading(resident: resident, live: liveBytes?() ?? resident)
    }

    func stop() { timer = nil }

    private func look() {
        timer?.arm(after: Self.period)
        guard let growth = machine.handle(latest, at: environment.loop.now) else { return }
        log.warning(
            "memory grows and grows; two heap profiles some time apart show where",
            [
                "live_bytes": growth.to.live, "live_bytes_before": growth.from.live,
                "resident_bytes": growth.to.resident, "bytes_per_hour": growth.bytesPerHour,
            ])
    }
}

/// Measures by how much timers of a loop are late: how long everything on it has to wait.
final class LoopLag {
    private static let period = Duration.seconds(1)

    private let loop: EventLoop
    private let lag: Histogram
    private var timer: LoopTimer?

    init(on loop: EventLoop, _ registry: MetricsRegistry) {
        self.loop = loop
        lag = registry.histogram("martlet_loop_lag", help: "By how much timers of the node's loop are late.")
        timer = LoopTimer(on: loop, label: "lag") { [weak self] in self?.fired() }
        arm()
    }

    func stop() { timer = nil }

    private var due = Instant.start

    private func arm() {
        due = loop.now + Self.period
        timer?.arm(at: due)
    }

    private func fired() {
        lag.record(loop.now - due)
        arm()
    }
}
