public import MartletWire

/// A node's configuration as it comes together: the defaults, then a file, then the environment, then flags, each over
/// what was before. A machine: it opens no file and asks no environment.
///
/// Nothing is thrown. What is wrong is kept with its place, all of it at once, and the value before stays.
public struct Configuration: Sendable {
    /// The values so far. They may be used where there are no `mistakes`.
    public private(set) var settings = Settings()
    private var found: [ConfigurationMistake] = []
    private var worthAWord: [ConfigurationMistake] = []
    private var origins: [String: ConfigurationOrigin] = [:]
    private let limits: YAMLLimits

    /// The defaults.
    public init(limits: YAMLLimits = YAMLLimits()) { self.limits = limits }

    /// What is wrong, in the order of the file. A node does not start with any.
    public var mistakes: [ConfigurationMistake] {
        (found + Contradictions(settings, origin: origin(of:)).mistakes).inOrder
    }

    /// What is not wrong and may still not be what was meant.
    public var warnings: [ConfigurationMistake] {
        (worthAWord + Contradictions(settings, origin: origin(of:)).warnings).inOrder
    }

    /// Where the value of the key `path` comes from.
    public func origin(of path: String) -> ConfigurationOrigin { origins[path] ?? .byDefault }

    // MARK: Reading

    /// Takes the file `bytes`, which messages call `name`.
    public mutating func read(_ bytes: Bytes, named name: String) {
        let (root, wrong) = YAMLReader.read(bytes, limits)
        found += wrong.map { ConfigurationMistake(.file(name, $0.position), $0.problem, $0.advice) }
        guard let root, !root.isNothing else { return }
        var mistakes = ValueMistakes { .file(name, $0) }
        if case .mapping(let sections) = root.content {
            for section in sections { read(section, &mistakes) }
        } else {
            mistakes.note(
                root, "the file is \(root.kind)", "write keys with their values, as 'martlet config reference' does")
        }
        found += mistakes.all.prefix(limits.mistakes)
    }

    /// Takes the variables of the environment whose names begin with `MARTLET_`. One that is empty is not there.
    public mutating func read(environment: [String: String]) {
        let keys = Dictionary(uniqueKeysWithValues: ConfigurationKey.all.map { ($0.variable, $0) })
        // In their names' order, for a dictionary's is another each time.
        for (name, text) in environment.sorted(by: { $0.key < $1.key }) where name.hasPrefix(ConfigurationKey.variables)
        {
            if let key = keys[name] {
                guard !text.isEmpty else { continue }
                // A text may hold commas; all else has them between its entries.
                let parts = key.form == .one ? [text] : text.split(separator: ",").map(Self.withoutBlanks)
                take(Self.node(of: parts, key.form), key, .environment(name))
            } else if !Self.otherVariables.contains(name), worthAWord.count < limits.mistakes {
                let meant = closest(to: name, among: ConfigurationKey.all.map(\.variable) + Self.otherVariables)
                worthAWord.append(
                    ConfigurationMistake(
                        .environment(name), "no key has this variable",
                        meant.map { "did you mean '\($0)'?" } ?? "remove it, or see 'martlet config reference'"))
            }
        }
    }

    /// Takes what the flag `flag` gives for the key `path`: one value, or as many as a list is to have.
    public mutating func set(_ path: String, to texts: [String], by flag: String) {
        guard let key = ConfigurationKey.named(path) else { preconditionFailure("there is no key \(path)") }
        take(Self.node(of: texts, key.form), key, .flag(flag))
    }

    /// Takes levels as `info,quic=debug` writes them, for `log.level` and `log.levels`.
    public mutating func setLogLevels(_ text: String, by flag: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        let (own, common) = (parts.filter { $0.contains("=") }, parts.filter { !$0.contains("=") })
        if !own.isEmpty { set("log.levels", to: own, by: flag) }
        for level in common { set("log.level", to: [level], by: flag) }
    }

    /// The variable that names the file, which is no key of it.
    public static let fileVariable = "MARTLET_CONFIG"
    private static let otherVariables = [fileVariable]

    // MARK: Inside

    private mutating func read(_ entry: YAMLNode.Entry, _ mistakes: inout ValueMistakes) {
        let names = ConfigurationSection.all.map(\.name)
        guard names.contains(entry.key) else {
            let advice: String
            if let key = Self.key(meantBy: entry.key) {
                advice = "write '\(key.name)' below '\(key.section):'"
            } else if let meant = closest(to: entry.key, among: names) {
                advice = "did you mean '\(meant)'?"
            } else {
                advice = "the sections are \(names.joined(separator: ", "))"
            }
            return mistakes.note(at: entry.position, "there is no section \(quoted(entry.key))", advice)
        }
        if entry.value.isNothing { return }
        guard case .mapping(let fields) = entry.value.content else {
            return mistakes.note(
                entry.value, "\(entry.key) is \(entry.value.kind)",
                "write its keys below it, indented, as 'martlet config reference' does")
        }
        for field in fields {
            guard let key = ConfigurationKey.named("\(entry.key).\(field.key)") else {
                refuse(field, in: entry.key, &mistakes)
                continue
            }
            if field.value.isNothing { continue }
            if key.read(field.value, &settings, &mistakes) { origins[key.path] = mistakes.origin(field.position) }
        }
    }

    /// Says that a section has no such key, and which may have been meant: one of the section, or one of another.
    private func refuse(_ field: YAMLNode.Entry, in section: String, _ mistakes: inout ValueMistakes) {
        let own = ConfigurationKey.all.filter { $0.section == section }.map(\.name)
        let advice: String
        if let meant = closest(to: field.key, among: own) {
            advice = "did you mean '\(meant)'?"
        } else if let key = Self.key(meantBy: field.key) {
            advice = "write '\(key.name)' below '\(key.section):'"
        } else {
            advice = "'martlet config reference' shows all keys"
        }
        mistakes.note(at: field.position, "\(section) has no key \(quoted(field.key))", advice)
    }

    /// The key that is called so, with its section or without where only one section has it.
    private static func key(meantBy text: String) -> ConfigurationKey? {
        if let key = ConfigurationKey.named(text) { return key }
        let keys = ConfigurationKey.all.filter { $0.name == text }
        return keys.count == 1 ? keys[0] : nil
    }

    private mutating func take(_ node: YAMLNode, _ key: ConfigurationKey, _ origin: ConfigurationOrigin) {
        var mistakes = ValueMistakes { _ in origin }
        if key.read(node, &settings, &mistakes) { origins[key.path] = origin }
        found += mistakes.all
    }

    /// What a file would hold that says the same as `texts`, each of which is one entry where there can be several.
    private static func node(of texts: [String], _ form: ValueForm) -> YAMLNode {
        switch form {
        case .one: node(.text(texts.last ?? "", isPlain: false))
        case .list: node(.list(texts.map { node(.text($0, isPlain: false)) }))
        case .pairs:
            node(
                .mapping(
                    texts.map { text in
                        let parts = halves(text, "=")
                        return entry(parts.0, parts.1 ?? "")
                    }))
        case .services:
            node(
                .list(
                    texts.map { text in
                        let parts = halves(text, ":")
                        return node(
                            .mapping([entry("name", parts.0)] + (parts.1.map { [entry("port", $0)] } ?? [])))
                    }))
        }
    }

    private static func node(_ content: YAMLNode.Content) -> YAMLNode {
        YAMLNode(content: content, position: SourcePosition(line: 1, column: 1))
    }

    private static func entry(_ key: String, _ text: String) -> YAMLNode.Entry {
        YAMLNode.Entry(key: key, position: SourcePosition(line: 1, column: 1), value: node(.text(text, isPlain: false)))
    }

    private static func withoutBlanks(_ text: Substring) -> String {
        var rest = text.drop { $0 == " " }
        while rest.last == " " { rest.removeLast() }
        return String(rest)
    }

    private static func halves(_ text: String, _ separator: Character) -> (String, String?) {
        let parts = text.split(separator: separator, maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        return (parts.first ?? "", parts.count > 1 ? parts[1] : nil)
    }
}
