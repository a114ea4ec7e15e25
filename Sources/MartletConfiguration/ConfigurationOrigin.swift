/// A place in a file, both numbers counted from 1, columns in characters.
public struct SourcePosition: Hashable, Comparable, Sendable {
    /// Which line.
    public var line: Int
    /// Which character of the line.
    public var column: Int

    /// The place with its two numbers.
    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    /// Whether `left` stands before `right`.
    public static func < (left: SourcePosition, right: SourcePosition) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// Where a value comes from.
public enum ConfigurationOrigin: Hashable, Sendable {
    /// Nobody has said anything.
    case byDefault
    /// From a file, by its name, and the place in it.
    case file(String, SourcePosition)
    /// From a variable of the environment, by its name.
    case environment(String)
    /// From a flag of the command line, by its name.
    case flag(String)

    /// What a mistake's line begins with: `martlet.yaml:3:5`, `MARTLET_NODE_NAME`, `--name`.
    public var place: String {
        switch self {
        case .byDefault: "default"
        case .file(let name, let position): "\(name):\(position.line):\(position.column)"
        case .environment(let name), .flag(let name): name
        }
    }

    /// The order in which mistakes are told: as the file has them, then the environment's, then the flags'.
    fileprivate var rank: (Int, SourcePosition, String) {
        let start = SourcePosition(line: 0, column: 0)
        return switch self {
        case .byDefault: (0, start, "")
        case .file(let name, let position): (1, position, name)
        case .environment(let name): (2, start, name)
        case .flag(let name): (3, start, name)
        }
    }
}

extension ConfigurationOrigin: CustomStringConvertible {
    /// For a person: `default`, `martlet.yaml:3`, `MARTLET_NODE_NAME`, `--name`.
    public var description: String {
        if case .file(let name, let position) = self { "\(name):\(position.line)" } else { place }
    }
}

/// What is wrong with a configuration, or deserves a word: where, what, and what to write instead.
public struct ConfigurationMistake: Error, Hashable, Sendable, CustomStringConvertible {
    /// Where it is.
    public var origin: ConfigurationOrigin
    /// What is wrong, in a user's words.
    public var problem: String
    /// What to do about it.
    public var advice: String

    /// A mistake with its parts.
    public init(_ origin: ConfigurationOrigin, _ problem: String, _ advice: String) {
        self.origin = origin
        self.problem = problem
        self.advice = advice
    }

    /// One line: `martlet.yaml:3:5: what is wrong; what to write instead`.
    public var description: String { "\(origin.place): \(problem); \(advice)" }
}

extension [ConfigurationMistake] {
    /// In the order in which they are told; those of one place stay in the order in which they were found.
    var inOrder: [ConfigurationMistake] {
        enumerated().sorted { left, right in
            let (one, other) = (left.element.origin.rank, right.element.origin.rank)
            return one == other ? left.offset < right.offset : one < other
        }.map(\.element)
    }
}
