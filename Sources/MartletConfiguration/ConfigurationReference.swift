/// The whole configuration as a file and as a table, from the keys.
public enum ConfigurationReference {
    /// How wide a line of comment gets.
    private static let width = 110

    /// A whole file with all keys at their defaults, each explained. It is itself a valid configuration.
    public static var file: String {
        var lines = [
            "# The configuration of a Martlet node: every key with its default.",
            "#",
            "# Durations have a unit (500ms, 15s, 2m, 1h, 30d); a bare number is seconds. Each key can also be set by the",
            "# variable of the environment that stands with it, lists with commas between their entries. The environment",
            "# counts more than this file, and flags of the command line count most.",
        ]
        for section in ConfigurationSection.all {
            lines += ["", "# \(section.summary)", "\(section.name):"]
            for (index, key) in section.keys.enumerated() {
                if index > 0 { lines.append("") }
                let text = "\(key.summary) It is \(key.wanted). Example: \(key.example). Variable: \(key.variable)."
                lines += wrapped(text, width - 4).map { "  # \($0)" }
                lines.append("  \(key.name): \(key.value(in: Settings()).yaml)")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The keys as tables in Markdown, one for each section, as Documentation/Configuration.md has them.
    public static var tables: String {
        let defaults = Settings()
        let sections = ConfigurationSection.all.map { section in
            let rows = section.keys.map { key in
                let cells = [
                    "`\(key.path)`", key.summary, key.wanted, "`\(key.value(in: defaults).yaml)`", "`\(key.variable)`",
                ]
                return "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |"
            }
            return """
                ### `\(section.name)`

                \(section.summary)

                | key | what it means | what it is | default | variable |
                |---|---|---|---|---|
                \(rows.joined(separator: "\n"))
                """
        }
        return sections.joined(separator: "\n\n") + "\n"
    }

    /// `text` in lines of at most `width` characters, as far as its words allow.
    private static func wrapped(_ text: String, _ width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        return lines + [line]
    }
}
