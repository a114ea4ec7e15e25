/// A value of a YAML file with the place where it begins.
struct YAMLNode: Sendable {
    /// What stands there.
    enum Content: Sendable {
        /// A text; plain where it stands without quotes and may be a number or a truth value.
        case text(String, isPlain: Bool)
        /// Values one after another.
        case list([YAMLNode])
        /// Values by name, in the order of the file. No name occurs twice.
        case mapping([Entry])
    }

    /// A name and its value.
    struct Entry: Sendable {
        var key: String
        var position: SourcePosition
        var value: YAMLNode
    }

    var content: Content
    var position: SourcePosition

    /// Whether nothing stands there: `key:`, `key: ~` and `key: null`.
    var isNothing: Bool {
        if case .text(let text, isPlain: true) = content {
            ["", "~", "null", "Null", "NULL"].contains(text)
        } else {
            false
        }
    }

    /// What it is, in a user's words.
    var kind: String {
        switch content {
        case .text(let text, _): quoted(text)
        case .list: "a list"
        case .mapping: "a group of keys"
        }
    }
}

/// What is wrong with a file as YAML.
struct YAMLMistake: Error, Hashable {
    var position: SourcePosition
    var problem: String
    var advice: String
}

/// `text` between quotes as a message shows it: cut where it is long, with nothing in it that a terminal would obey.
func quoted(_ text: String) -> String {
    var shown = ""
    var count = 0
    for scalar in text.unicodeScalars {
        guard count < 60 else { return "'\(shown)…'" }
        count += 1
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse:
            shown += "\\u{\(String(scalar.value, radix: 16))}"
        default: shown.unicodeScalars.append(scalar)
        }
    }
    return "'\(shown)'"
}
