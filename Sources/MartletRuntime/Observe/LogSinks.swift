internal import Glibc
internal import Synchronization

/// Writes lines for people to a descriptor: time, level, subsystem, message and `key=value`.
///
/// Values can't forge lines or reach the terminal: what could is escaped, and long texts are cut at 4,096 bytes.
/// Writing never waits for a slow reader: up to `capacity` bytes wait for it, further lines are dropped, and how many
/// those were is written when there is room again.
public final class TextLogSink: LogSink {
    private let output: LogOutput
    private let host: String?
    private let isColored: Bool
    private let now: @Sendable () -> WallTime

    /// A sink that writes to `descriptor`, which stays the caller's, and stamps lines with `now` and, where it is
    /// given, with `host`. Levels are colored where `isColored`, or where that is `nil` and the descriptor is a
    /// terminal; not there if NO_COLOR is set.
    public init(
        descriptor: Int32 = 2, host: String? = nil, isColored: Bool? = nil, capacity: Int = 1 << 20,
        now: @escaping @Sendable () -> WallTime
    ) {
        self.host = host
        self.isColored = isColored ?? (isatty(descriptor) == 1 && getenv("NO_COLOR") == nil)
        self.now = now
        output = LogOutput(descriptor: descriptor, capacity: capacity) { dropped in
            LogText.line(.dropped(dropped), time: now(), host: host, isColored: false)
        }
    }

    /// How many lines were dropped because the reader was slow.
    public var dropped: Int { output.dropped }

    /// Writes a line, from any thread.
    public func write(_ record: LogRecord) {
        output.write(LogText.line(record, time: now(), host: host, isColored: isColored))
    }

    /// Gives up what still waits for a slow reader, and ends the thread that waits with it. Later lines are dropped.
    public func close() { output.close() }
}

/// Writes lines for programs to a descriptor: one JSON object each, with `time`, `level`, `host`, `subsystem`,
/// `message` and `fields`. It waits and drops as `TextLogSink` does.
public final class JSONLogSink: LogSink {
    private let output: LogOutput
    private let host: String?
    private let now: @Sendable () -> WallTime

    /// A sink that writes to `descriptor`, which stays the caller's, and stamps lines with `now` and, where it is
    /// given, with `host`.
    public init(
        descriptor: Int32 = 2, host: String? = nil, capacity: Int = 1 << 20, now: @escaping @Sendable () -> WallTime
    ) {
        self.host = host
        self.now = now
        output = LogOutput(descriptor: descriptor, capacity: capacity) { dropped in
            LogJSON.line(.dropped(dropped), time: now(), host: host)
        }
    }

    /// How many lines were dropped because the reader was slow.
    public var dropped: Int { output.dropped }

    /// Writes a line, from any thread.
    public func write(_ record: LogRecord) {
        output.write(LogJSON.line(record, time: now(), host: host))
    }

    /// Gives up what still waits for a slow reader, and ends the thread that waits with it. Later lines are dropped.
    public func close() { output.close() }
}

/// Keeps lines, for tests to look at.
public final class CollectingLogSink: LogSink {
    private let kept = Mutex<[LogRecord]>([])
    private let limit: Int

    /// A sink that keeps the first `limit` lines.
    public init(limit: Int = 10_000) {
        self.limit = limit
    }

    /// The lines so far, in their order.
    public var records: [LogRecord] { kept.withLock { $0 } }

    /// Keeps a line, from any thread.
    public func write(_ record: LogRecord) {
        kept.withLock { if $0.count < limit { $0.append(record) } }
    }
}

extension LogRecord {
    fileprivate static func dropped(_ count: Int) -> LogRecord {
        LogRecord(
            level: .warning, subsystem: "log", message: "lines were dropped because the reader is slow",
            fields: ["count": count])
    }
}
