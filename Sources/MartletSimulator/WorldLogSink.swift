import MartletRuntime

/// Prints a simulated host's log lines, stamped with virtual time and the host's name.
///
/// It is `@unchecked Sendable` because a world runs on one thread at a time.
final class WorldLogSink: LogSink, @unchecked Sendable {
    private let host: String
    private let timers: TimerQueue

    init(host: String, timers: TimerQueue) {
        self.host = host
        self.timers = timers
    }

    func write(_ record: LogRecord) {
        let fields = record.fields.map { " \($0.key)=\($0.value)" }.joined()
        print("\(timers.now) \(host) \(record.level) \(record.subsystem): \(record.message)\(fields)")
    }
}
