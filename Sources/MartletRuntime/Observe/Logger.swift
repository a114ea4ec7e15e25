import Synchronization

/// Writes log lines for one subsystem, in swift-log's vocabulary.
///
/// A line whose level is off costs one load and one comparison: neither its message nor its fields are made.
public struct Logger: Sendable {
    /// How much a line matters.
    public enum Level: UInt8, Hashable, Comparable, CaseIterable, Sendable {
        /// Every step; for the one who looks for a fault.
        case trace
        /// What was decided and why.
        case debug
        /// What happens in the ordinary course of things.
        case info
        /// What is uncommon and still in order.
        case notice
        /// What may need someone's attention.
        case warning
        /// What did not work.
        case error
        /// What stops the node.
        case critical

        /// Whether `left` matters less.
        @inlinable
        public static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    /// What a line says beside its sentence: names and values, in their order.
    public typealias Fields = KeyValuePairs<String, any CustomStringConvertible & Sendable>

    /// Which part of the node speaks: `quic`, `dht`.
    public let subsystem: String
    private let sink: any LogSink
    private let levels: LogLevels
    private let threshold: LogLevels.Threshold

    /// A logger for `subsystem` that writes to `sink` what `levels` lets through.
    public init(subsystem: String, sink: any LogSink, levels: LogLevels) {
        self.subsystem = subsystem
        self.sink = sink
        self.levels = levels
        threshold = levels.threshold(for: subsystem)
    }

    /// A logger of another subsystem, to the same place.
    public func subsystem(_ name: String) -> Logger {
        Logger(subsystem: name, sink: sink, levels: levels)
    }

    /// Whether a line of `level` would be written.
    public func isEnabled(_ level: Level) -> Bool {
        level.rawValue >= threshold.level.load(ordering: .relaxed)
    }

    /// Writes a line where `level` is on.
    public func log(_ level: Level, _ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        guard isEnabled(level) else { return }
        sink.write(LogRecord(level: level, subsystem: subsystem, message: message(), fields: fields()))
    }
}

/// A line on its way to where lines go.
public struct LogRecord: Sendable {
    /// How much it matters.
    public var level: Logger.Level
    /// Which part of the node speaks.
    public var subsystem: String
    /// What it says, in one sentence without a line break.
    public var message: String
    /// What it says in fields, in their order.
    public var fields: Logger.Fields

    /// A line with all its parts.
    public init(level: Logger.Level, subsystem: String, message: String, fields: Logger.Fields = [:]) {
        self.level = level
        self.subsystem = subsystem
        self.message = message
        self.fields = fields
    }
}

/// Where log lines go. It adds the time, and may be called from any thread.
public protocol LogSink: AnyObject, Sendable {
    /// Takes a line.
    func write(_ record: LogRecord)
}

extension Logger.Level: LosslessStringConvertible {
    /// The level of that name, or `nil` where there is none.
    public init?(_ name: String) {
        guard let level = Self.allCases.first(where: { $0.description == name }) else { return nil }
        self = level
    }

    /// Its name: `info`.
    public var description: String {
        switch self {
        case .trace: "trace"
        case .debug: "debug"
        case .info: "info"
        case .notice: "notice"
        case .warning: "warning"
        case .error: "error"
        case .critical: "critical"
        }
    }
}
