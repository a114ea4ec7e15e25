import MartletRuntime

/// An environment on this machine's loopback, which says nothing.
func loopbackEnvironment(_ name: String) throws -> SystemEnvironment {
    let log = Logger(subsystem: "test", sink: Silence(), levels: LogLevels(.critical))
    return try SystemEnvironment(name: name, log: log, watchdogLimit: nil)
}

private final class Silence: LogSink {
    func write(_ record: LogRecord) {}
}
