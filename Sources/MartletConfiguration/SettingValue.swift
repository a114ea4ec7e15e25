/// A value as it is shown: the common form of everything that a key may hold.
public enum SettingValue: Hashable, Sendable {
    /// On or off.
    case flag(Bool)
    /// A whole number.
    case number(Int)
    /// Anything that is written as one text: names, addresses, durations.
    case text(String)
    /// Values in their order.
    case list([SettingValue])
    /// Values by name, in their order.
    case group([Field])

    /// A value with its name.
    public struct Field: Hashable, Sendable {
        /// What it is called.
        public var name: String
        /// Its value.
        public var value: SettingValue

        /// A value with its name.
        public init(_ name: String, _ value: SettingValue) {
            self.name = name
            self.value = value
        }
    }

    /// The value in one line of YAML, which is read as the same value again.
    public var yaml: String {
        switch self {
        case .flag(let isOn): isOn ? "true" : "false"
        case .number(let number): "\(number)"
        case .text(let text): Self.yaml(text)
        case .list(let values): "[" + values.map(\.yaml).joined(separator: ", ") + "]"
        case .group(let fields):
            "{" + fields.map { "\(Self.yaml($0.name)): \($0.value.yaml)" }.joined(separator: ", ") + "}"
        }
    }

    /// Words that mean something else in YAML 1.1 than a text.
    private static let taken: Set<String> = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "inf", "nan",
    ]

    private static func yaml(_ text: String) -> String {
        let isPlain =
            text.first.map { $0.isASCII && ($0.isLetter || $0 == "/") } ?? false
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "-"),
                    UInt8(ascii: "_"):
                    true
                default: false
                }
            }
        if isPlain, !taken.contains(text.lowercased()) { return text }
        // A duration begins with a digit and is no number for its unit.
        if duration(of: text) != nil, Double(text) == nil { return text }
        return quotedForYAML(text)
    }

    /// `text` in YAML's double quotes.
    private static func quotedForYAML(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\u{20}"..."\u{7E}", "\u{A1}"..."\u{2027}", "\u{2030}"..."\u{D7FF}":
                result.unicodeScalars.append(scalar)
            default:
                let digits = String(scalar.value, radix: 16)
                result += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
            }
        }
        return result + "\""
    }
}

extension SettingValue: Encodable {
    private struct Name: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    /// Encodes it as what it is: a truth value, a number, a string, an array or an object.
    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .flag(let value): try encode(value, to: encoder)
        case .number(let value): try encode(value, to: encoder)
        case .text(let value): try encode(value, to: encoder)
        case .list(let values): try encode(values, to: encoder)
        case .group(let fields):
            var container = encoder.container(keyedBy: Name.self)
            for field in fields { try container.encode(field.value, forKey: Name(stringValue: field.name)) }
        }
    }

    private func encode(_ value: some Encodable, to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }
}
