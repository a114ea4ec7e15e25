import Synchronization

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

/// Why a text does not say levels.
public struct LogLevelsError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The part of the text that can't be read.
    public var part: String
    /// Where that part begins, in bytes.
    public var offset: Int

    /// One line: what can't be read, and what could.
    public var description: String {
        let known = Logger.Level.allCases.map(\.description).joined(separator: ", ")
        return "no log level in \"\(part)\" at \(offset): write LEVEL or SUBSYSTEM=LEVEL, with one of \(known)"
    }
}

extension LogLevels {
    /// The levels that `text` says: a level for all, levels for subsystems, or both, as in `info,quic=debug`.
    ///
    /// Where no level is given for all it is `info`. Of two that contradict each other the later one holds.
    public convenience init(parsing text: String) throws(LogLevelsError) {
        self.init(.info)
        var offset = 0
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let words = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let level = Logger.Level(String(words.last ?? "")), words.first?.isEmpty == false else {
                throw LogLevelsError(part: String(part), offset: offset)
            }
            if words.count == 2 { set(String(words[0]), to: level) } else { setDefault(level) }
            offset += part.utf8.count + 1
        }
    }
}
