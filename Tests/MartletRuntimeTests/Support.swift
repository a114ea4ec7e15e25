import MartletRuntime
import Synchronization
import Testing

/// Keeps log lines for a test to look at.
final class CapturedLog: LogSink {
    private let lines = Mutex<[LogRecord]>([])

    func write(_ record: LogRecord) { lines.withLock { $0.append(record) } }

    var records: [LogRecord] { lines.withLock { $0 } }

    /// How many lines say `text`.
    func count(of text: String) -> Int { records.count { $0.message.contains(text) } }

    var logger: Logger { Logger(subsystem: "test", sink: self, levels: LogLevels(.trace)) }
}

/// Runs `body` on the loop of a fresh environment, which is shut down afterwards. A test that hangs fails after
/// half a minute.
func withEnvironment<Result: Sendable>(
    log: CapturedLog = CapturedLog(), watchdogLimit: Duration? = nil,
    _ body: nonisolated(nonsending) @Sendable @escaping (SystemEnvironment) async throws -> Result
) async throws -> Result {
    let environment = try SystemEnvironment(name: "test", log: log.logger, watchdogLimit: watchdogLimit)
    let loop = environment.loop
    do {
        let result = try await loop.run {
            try await loop.withDeadline(loop.now + .seconds(30)) { try await body(environment) }
        }
        await environment.shutdown()
        return result
    } catch {
        await environment.shutdown()
        throw error
    }
}
