/// What a key may hold: how it is read, how it is shown, and the words for it in a message.
struct ValueKind<Value: Sendable>: Sendable {
    /// What to write: "a whole number from 0 to 65535".
    let wanted: String
    /// How it is written where there is one line for all, as in a variable of the environment.
    let form: ValueForm
    /// The value of a node, or `nil` where it has none and the mistakes were told.
    let read: @Sendable (YAMLNode, _ name: String, inout ValueMistakes) -> Value?
    /// The value as it is shown.
    let show: @Sendable (Value) -> SettingValue

    init(
        wanted: String, form: ValueForm = .one,
        read: @escaping @Sendable (YAMLNode, _ name: String, inout ValueMistakes) -> Value?,
        show: @escaping @Sendable (Value) -> SettingValue
    ) {
        self.wanted = wanted
        self.form = form
        self.read = read
        self.show = show
    }

    /// A kind that is written as one word or text.
    init(
        wanted: String, show: @escaping @Sendable (Value) -> SettingValue,
        parse: @escaping @Sendable (String) throws(WrongValue) -> Value
    ) {
        self.init(
            wanted: wanted,
            read: { node, name, mistakes in
                guard case .text(let text, _) = node.content else {
                    mistakes.note(node, "\(name) is \(node.kind)", "write \(wanted)")
                    return nil
                }
                do throws(WrongValue) {
                    return try parse(text)
                } catch {
                    let reason = error.reason.map { ", \($0)" } ?? ""
                    mistakes.note(node, "\(name) is \(quoted(text))\(reason)", error.advice ?? "write \(wanted)")
                    return nil
                }
            }, show: show)
    }
}

/// How a value is written in one line.
enum ValueForm: Hashable, Sendable {
    /// As it is.
    case one
    /// Entries with commas between.
    case list
    /// `name=value` with commas between.
    case pairs
    /// `name:port` with commas between.
    case services
}

/// Why a text is no value of a kind.
struct WrongValue: Error, Hashable {
    /// What is wrong with it, behind a comma: "which is too large". `nil` where there is nothing more to say.
    var reason: String?
    /// What to write, where there is a better word than the kind's own.
    var advice: String?

    init(_ reason: String? = nil, advice: String? = nil) {
        self.reason = reason
        self.advice = advice
    }
}

/// The mistakes that are found while values are read.
struct ValueMistakes {
    /// How a place in what is read becomes a place for a person.
    let origin: (SourcePosition) -> ConfigurationOrigin
    private(set) var all: [ConfigurationMistake] = []

    init(origin: @escaping (SourcePosition) -> ConfigurationOrigin) { self.origin = origin }

    mutating func note(_ node: YAMLNode, _ problem: String, _ advice: String) {
        note(at: node.position, problem, advice)
    }

    mutating func note(at position: SourcePosition, _ problem: String, _ advice: String) {
        all.append(ConfigurationMistake(origin(position), problem, advice))
    }
}

/// `words` as a person lists them: `a, b or c`.
func either(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "nothing" }
    return words.dropLast().joined(separator: ", ") + " or " + last
}

extension ValueKind where Value == Int {
    /// A whole number in `range`.
    static func number(_ range: ClosedRange<Int>) -> ValueKind {
        ValueKind(
            wanted: "a whole number from \(range.lowerBound) to \(range.upperBound)", show: { .number($0) }
        ) { text throws(WrongValue) in
            let digits = text.drop { $0 == "-" || $0 == "+" }
            guard !digits.isEmpty, text.count - digits.count <= 1, digits.allSatisfy({ $0.isASCII && $0.isNumber })
            else {
                throw WrongValue()
            }
            // What is a number and no `Int` is beyond every range.
            let number = Int(text) ?? (text.hasPrefix("-") ? Int.min : Int.max)
            if number < range.lowerBound { throw WrongValue("which is too small") }
            if number > range.upperBound { throw WrongValue("which is too large") }
            return number
        }
    }
}

extension ValueKind where Value == UInt16 {
    /// A port, which may be 0 for any.
    static var port: ValueKind {
        let number = ValueKind<Int>.number(0...65_535)
        return ValueKind(
            wanted: number.wanted,
            read: { node, name, mistakes in number.read(node, name, &mistakes).map { UInt16($0) } },
            show: { .number(Int($0)) })
    }
}

extension ValueKind where Value == Duration {
    /// A duration in `range`.
    static func duration(_ range: ClosedRange<Duration>) -> ValueKind {
        let bounds = "from \(words(for: range.lowerBound)) to \(words(for: range.upperBound))"
        return ValueKind(
            wanted: "a duration \(bounds), such as 15s, 500ms, 2m or 1h", show: { .text(words(for: $0)) }
        ) { text throws(WrongValue) in
            guard let duration = MartletConfiguration.duration(of: text) else { throw WrongValue() }
            if duration < range.lowerBound { throw WrongValue("which is too short") }
            if duration > range.upperBound { throw WrongValue("which is too long") }
            return duration
        }
    }
}

extension ValueKind where Value == Bool {
    /// On or off.
    static var flag: ValueKind {
        ValueKind(wanted: "true or false", show: { .flag($0) }) { text throws(WrongValue) in
            switch text.lowercased() {
            // YAML 1.1 has these words, and files have them.
            case "true", "yes", "on": true
            case "false", "no", "off": false
            default: throw WrongValue()
            }
        }
    }
}

extension ValueKind where Value == String {
    /// A text of at most `size` bytes, without line breaks and the like. `what` names it in a message.
    static func text(_ what: String, atMost size: Int, orEmpty mayBeEmpty: Bool = false) -> ValueKind {
        ValueKind(wanted: "\(what) of at most \(size) bytes", show: { .text($0) }) { text throws(WrongValue) in
            if text.isEmpty, !mayBeEmpty { throw WrongValue("which is empty") }
            if text.utf8.count > size { throw WrongValue("which has \(text.utf8.count) bytes") }
            if text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
                throw WrongValue("which has a line break or a control character in it")
            }
            return text
        }
    }
}

extension ValueKind {
    /// A value of `kind`, or an empty text for none.
    static func optional<Some>(_ kind: ValueKind<Some>) -> ValueKind where Value == Some? {
        ValueKind(
            wanted: "\(kind.wanted), or \"\" for none",
            read: { node, name, mistakes in
                if case .text("", _) = node.content { return .some(nil) }
                return kind.read(node, name, &mistakes).map { .some($0) }
            },
            show: { $0.map(kind.show) ?? .text("") })
    }

    /// One of the values of an enumeration.
    static func choice() -> ValueKind where Value: CaseIterable & RawRepresentable<String> {
        choice(Value.allCases.map { ($0, $0.rawValue) }) { .text($0.rawValue) }
    }

    /// One of `values`, by name.
    static func choice(
        _ values: [(Value, String)], show: @escaping @Sendable (Value) -> SettingValue
    ) -> ValueKind {
        let names = values.map(\.1)
        return ValueKind(wanted: either(names), show: show) { text throws(WrongValue) in
            if let value = values.first(where: { $0.1 == text }) { return value.0 }
            let meant = closest(to: text.lowercased(), among: names).map { "did you mean '\($0)'? It may be " }
            throw WrongValue(advice: meant.map { $0 + either(names) })
        }
    }

    /// At most `count` values of `kind`. One that stands there twice counts once.
    static func list<Element: Hashable>(
        of kind: ValueKind<Element>, atMost count: Int, example: String, orNone mayBeEmpty: Bool = true
    ) -> ValueKind where Value == [Element] {
        ValueKind(
            wanted: "a list, as in \(example); each entry is \(kind.wanted)",
            form: kind.form == .services ? .services : .list,
            read: { node, name, mistakes in
                guard case .list(let nodes) = node.content else {
                    mistakes.note(node, "\(name) is \(node.kind)", "write a list, as in \(example)")
                    return nil
                }
                guard nodes.count <= count, mayBeEmpty || !nodes.isEmpty else {
                    let wanted = mayBeEmpty ? "at most \(count)" : "1 to \(count)"
                    mistakes.note(node, "\(name) has \(nodes.count) entries", "write \(wanted)")
                    return nil
                }
                var seen: Set<Element> = []
                let values = nodes.map { kind.read($0, "an entry of \(name)", &mistakes) }
                let whole = values.compactMap { $0 }
                return whole.count == values.count ? whole.filter { seen.insert($0).inserted } : nil
            },
            show: { .list($0.map(kind.show)) })
    }
}
