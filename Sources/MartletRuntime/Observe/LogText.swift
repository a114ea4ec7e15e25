internal import MartletWire

/// How a line of log reads for a person: time, level, subsystem, message, and the fields as `key=value`.
///
/// What comes from strangers can't forge a line or reach the terminal: what `TerminalText` does not let through is
/// written as escapes, and texts over `LogText.longest` bytes are cut.
enum LogText {
    /// The longest message, name or value in bytes, before escaping.
    static let longest = 4096

    static func line(_ record: LogRecord, time: WallTime, host: String?, isColored: Bool) -> Writer {
        var writer = Writer(capacity: 160)
        writer.text(of: time)
        writer.utf8(isColored ? color(record.level) : " ")
        writer.utf8(record.level.description)
        writer.utf8(isColored ? "\u{1B}[0m " : " ")
        if let host {
            writer.escaped(host, in: .text)
            writer.byte(UInt8(ascii: "/"))
        }
        writer.escaped(record.subsystem, in: .text)
        writer.utf8(": ")
        writer.escaped(record.message, in: .text)
        for (name, value) in record.fields {
            writer.utf8(isColored ? " \u{1B}[2m" : " ")
            writer.value(name)
            writer.utf8(isColored ? "=\u{1B}[0m" : "=")
            writer.value(value.description)
        }
        writer.byte(UInt8(ascii: "\n"))
        return writer
    }

    private static func color(_ level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: " \u{1B}[2m"
        case .info: " \u{1B}[32m"
        case .notice: " \u{1B}[36m"
        case .warning: " \u{1B}[33m"
        case .error, .critical: " \u{1B}[1;31m"
        }
    }
}

/// The same as one JSON object (RFC 8259): `time`, `level`, `host` where there is one, `subsystem`, `message`, and an
/// object `fields`. Whole numbers and truth values are written as such, everything else as text.
enum LogJSON {
    static func line(_ record: LogRecord, time: WallTime, host: String?) -> Writer {
        var writer = Writer(capacity: 240)
        writer.utf8("{\"time\":\"")
        writer.text(of: time)
        writer.utf8("\",\"level\":\"")
        writer.utf8(record.level.description)
        if let host {
            writer.utf8("\",\"host\":\"")
            writer.escaped(host, in: .json)
        }
        writer.utf8("\",\"subsystem\":\"")
        writer.escaped(record.subsystem, in: .json)
        writer.utf8("\",\"message\":\"")
        writer.escaped(record.message, in: .json)
        writer.byte(UInt8(ascii: "\""))
        if !record.fields.isEmpty { writer.fields(record.fields) }
        writer.utf8("}\n")
        return writer
    }
}

/// Which escapes a text needs.
private enum Escapes {
    case text
    case quotedText
    case json
}

extension Writer {
    fileprivate mutating func fields(_ fields: Logger.Fields) {
        var mark = ",\"fields\":{\""
        for (name, value) in fields {
            utf8(mark)
            mark = ",\""
            escaped(name, in: .json)
            utf8("\":")
            switch value {
            case is Bool, is any FixedWidthInteger:
                utf8(value.description)
            default:
                byte(UInt8(ascii: "\""))
                escaped(value.description, in: .json)
                byte(UInt8(ascii: "\""))
            }
        }
        byte(UInt8(ascii: "}"))
    }

    /// Appends `text`, in quotes where it could be read as something else without them.
    fileprivate mutating func value(_ text: String) {
        let isPlain =
            !text.isEmpty
            && text.unicodeScalars.allSatisfy {
                $0 != " " && $0 != "=" && $0 != "\"" && $0 != "\\" && TerminalText.isSafe($0)
            }
        if isPlain { return escaped(text, in: .text) }
        byte(UInt8(ascii: "\""))
        escaped(text, in: .quotedText)
        byte(UInt8(ascii: "\""))
    }

    /// Appends `text` with escapes for what `escapes` says, cut where it is too long.
    fileprivate mutating func escaped(_ text: String, in escapes: Escapes) {
        let isCut = text.utf8.count > LogText.longest
        var left = LogText.longest
        for scalar in text.unicodeScalars {
            left -= UTF8.width(scalar)
            if isCut, left < 0 { break }
            switch scalar {
            case "\"" where escapes != .text, "\\" where escapes != .text:
                byte(UInt8(ascii: "\\"))
                byte(UInt8(truncatingIfNeeded: scalar.value))
            case "\n": utf8("\\n")
            case "\r": utf8("\\r")
            case "\t": utf8("\\t")
            case _ where !TerminalText.isSafe(scalar): utf8(TerminalText.hexadecimal(scalar))
            default:
                utf8(scalar)
            }
        }
        if isCut { utf8("…") }
    }

    private mutating func utf8(_ scalar: Unicode.Scalar) {
        if scalar.isASCII { return byte(UInt8(truncatingIfNeeded: scalar.value)) }
        for unit in UTF8.encode(scalar).unsafelyUnwrapped { byte(unit) }
    }
}
