/// What a terminal and a log may see of text that a stranger wrote. The one place that decides it.
///
/// Escaped are control characters, which a terminal obeys; line and paragraph separators, which forge a line; and
/// format characters, among them the marks that turn the direction of writing, which make text read as another. Of
/// these the two joiners stay, since emoji and some scripts are made with them. Characters of private use are escaped
/// too: each font shows them as it likes.
public enum TerminalText {
    /// Whether `scalar` may be shown as it is.
    public static func isSafe(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return 0x20..<0x7F ~= scalar.value }
        if scalar == "\u{200C}" || scalar == "\u{200D}" { return true }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse: return false
        default: return true
        }
    }

    /// Returns `text` with an escape, such as `\n` or `\u{9B}`, for each character that may not be shown.
    public static func escaped(_ text: some StringProtocol) -> String {
        escaped(text) { "\\u{" + String($0.value, radix: 16, uppercase: true) + "}" }
    }

    /// Returns `json`, one or more JSON texts (RFC 8259) without blanks other than spaces and line feeds outside their
    /// strings, with an escape for each character that may not be shown. It means the same to whoever parses it.
    public static func escaped(json: some StringProtocol) -> String {
        json.split(separator: "\n", omittingEmptySubsequences: false)
            .map { escaped($0, as: hexadecimal) }.joined(separator: "\n")
    }

    /// Returns `scalar` as JSON writes it: `\u` and four digits, or two such for one beyond the first plane.
    public static func hexadecimal(_ scalar: Unicode.Scalar) -> String {
        UTF16.encode(scalar).unsafelyUnwrapped.map { unit in
            let digits = String(unit, radix: 16)
            return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }.joined()
    }

    private static func escaped(_ text: some StringProtocol, as escape: (Unicode.Scalar) -> String) -> String {
        let isPlain = text.utf8.allSatisfy { 0x20..<0x7F ~= $0 } || text.unicodeScalars.allSatisfy(isSafe)
        guard !isPlain else { return String(text) }
        var shown = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\t": shown += "\\t"
            case "\r": shown += "\\r"
            case "\n": shown += "\\n"
            case _ where isSafe(scalar): shown.unicodeScalars.append(scalar)
            default: shown += escape(scalar)
            }
        }
        return shown
    }
}
