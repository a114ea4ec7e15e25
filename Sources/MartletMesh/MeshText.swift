/// Text from strangers, made fit for a terminal.
public enum MeshText {
    /// `text` with everything escaped that a terminal would act on or that would change how what follows is read:
    /// control characters, line separators, and marks that reverse the direction of writing.
    public static func escaped(_ text: some StringProtocol) -> String {
        guard text.unicodeScalars.contains(where: isUnsafe) else { return String(text) }
        var shown = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\t": shown += "\\t"
            case "\r": shown += "\\r"
            case "\n": shown += "\\n"
            case _ where isUnsafe(scalar):
                shown += "\\u{" + String(scalar.value, radix: 16, uppercase: true) + "}"
            default: shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }

    /// Whether a terminal would act on `scalar`, or read what follows it differently.
    public static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        // The joiners are format characters too, but emoji and some scripts are made with them.
        if scalar == "\u{200C}" || scalar == "\u{200D}" { return false }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: return true
        default: return false
        }
    }
}
