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

    /// A field's value.
    public typealias Fields = KeyValuePairs<String, any CustomStringConvertible & Sendable>

    /// Which part of the node speaks: `quic`, `dht`.
    public let subsystem: String
    private let sink: any LogSink
    private let threshold: LogLevels.Threshold

    /// A logger for `subsystem` that writes to `sink` what `levels` lets through.
    public init(subsystem: String, sink: any LogSink, levels: LogLevels) {
        self.subsystem = subsystem
        self.sink = sink
        threshold = levels.threshold(for: subsystem)
        self.levels = levels
    }

    private let levels: LogLevels

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
}

/// Where log lines go. It adds the time, and may be called from any thread.
public protocol LogSink: AnyObject, Sendable {
    /// Takes a line.
    func write(_ record: LogRecord)
}

/// From which level on each subsystem's lines are written. It can change at any time, from any thread.
public final class LogLevels: Sendable {
    /// The level of one subsystem; loggers hold on to it.
    final class Threshold: Sendable {
        let level: Atomic<UInt8>

        init(_ level: Logger.Level) { self.level = Atomic(level.rawValue) }
    }

    private struct State {
        var byDefault: Logger.Level
        var own: [String: Logger.Level] = [:]
        var thresholds: [String: Threshold] = [:]
    }

    private let state: Mutex<State>

    /// Everything is written from `level` on.
    public init(_ level: Logger.Level) {
        state = Mutex(State(byDefault: level))
    }

    /// Sets the level of the subsystems that have none of their own.
    public func setDefault(_ level: Logger.Level) {
        state.withLock { state in
            state.byDefault = level
            for (name, threshold) in state.thresholds where state.own[name] == nil {
                threshold.level.store(level.rawValue, ordering: .relaxed)
            }
        }
    }

    /// Sets the level of `subsystem`, or with `nil` lets it follow the default.
    public func set(_ subsystem: String, to level: Logger.Level?) {
        state.withLock { state in
            state.own[subsystem] = level
            state.thresholds[subsystem]?.level.store((level ?? state.byDefault).rawValue, ordering: .relaxed)
        }
    }

    func threshold(for subsystem: String) -> Threshold {
        state.withLock { state in
            if let known = state.thresholds[subsystem] { return known }
            let threshold = Threshold(state.own[subsystem] ?? state.byDefault)
            state.thresholds[subsystem] = threshold
            return threshold
        }
    }
}
