extension Logger {
    /// Writes a line at `trace`.
    public func trace(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        log(.trace, message(), fields())
    }

    /// Writes a line at `debug`.
    public func debug(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        log(.debug, message(), fields())
    }

    /// Writes a line at `info`.
    public func info(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        log(.info, message(), fields())
    }

    /// Writes a line at `notice`.
    public func notice(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        log(.notice, message(), fields())
    }

    /// Writes a line at `warning`.
    public func warning(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        log(.warning, message(), fields())
    }

    /// Writes a line at `error`.
    public func error(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        log(.error, message(), fields())
    }

    /// Writes a line at `critical`.
    public func critical(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        log(.critical, message(), fields())
    }
}
