import Foundation
import Martlet
import MartletConfiguration

/// `martlet config`: the configuration file and what comes of it.
struct ConfigCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "config", abstract: "check and show the configuration",
            examples: ["martlet config validate", "martlet config show", "martlet config reference"],
            subcommands: [ConfigValidate.self, ConfigShow.self, ConfigReference.self])
    }
}

/// The file that a command looks at, and how it answers.
struct ConfigOptions: ParsableArguments {
    @Argument(help: "the file; by itself the one that 'martlet up' would take", valueName: "FILE") var file: String?
    @Flag(help: "print JSON") var json: Bool

    /// Where the file is that nobody names, for help.
    static let places = """
        Without FILE it is the one that MARTLET_CONFIG names, or $XDG_CONFIG_HOME/martlet/martlet.yaml, or \
        /etc/martlet/martlet.yaml. Variables of the environment count more than the file.
        """
    static let codes: [(ExitCode, String)] = [
        (.success, "nothing is wrong"), (.failure, "there are mistakes, or the file cannot be read"),
    ]

    /// The file and what it says.
    func load() throws -> ConfigurationFile { try ConfigurationFile(file) }
}

/// A mistake or a warning, for programs.
struct ShownMistake: Encodable {
    private let place: String
    private let file: String?
    private let line: Int?
    private let column: Int?
    private let problem: String
    private let advice: String

    init(_ mistake: ConfigurationMistake) {
        place = mistake.origin.place
        (problem, advice) = (mistake.problem, mistake.advice)
        if case .file(let name, let position) = mistake.origin {
            (file, line, column) = (name, position.line, position.column)
        } else {
            (file, line, column) = (nil, nil, nil)
        }
    }
}

extension Configuration {
    /// Tells on standard error what is wrong and what deserves a word. `true` where nothing is wrong.
    func complain() -> Bool {
        for mistake in mistakes { MartletCommand.complain("\(mistake)") }
        for warning in warnings {
            MartletCommand.complain("\(warning.origin.place): warning: \(warning.problem); \(warning.advice)")
        }
        return mistakes.isEmpty
    }
}

/// Prints `value` as JSON as it is: names that a user chose are no names of ours, and stay.
private func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
    try StandardOutput.write(try encoder.encode(value) + Data("\n".utf8))
}

/// `martlet config validate`.
struct ConfigValidate: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "validate", abstract: "tell every mistake of the configuration, with line and column",
            discussion: ConfigOptions.places,
            examples: ["martlet config validate", "martlet config validate ./martlet.yaml --json"],
            exitCodes: ConfigOptions.codes)
    }
    @OptionGroup var options: ConfigOptions

    private struct Answer: Encodable {
        var schemaVersion = 1
        var file: String?
        var isValid: Bool
        var mistakes: [ShownMistake]
        var warnings: [ShownMistake]

        enum CodingKeys: String, CodingKey {
            case schemaVersion = "schema_version"
            case isValid = "is_valid"
            case file, mistakes, warnings
        }
    }

    func run() async throws {
        let file = try options.load()
        let configuration = file.configuration
        let isRight = configuration.mistakes.isEmpty
        if options.json {
            try printJSON(
                Answer(
                    file: file.path, isValid: isRight, mistakes: configuration.mistakes.map(ShownMistake.init),
                    warnings: configuration.warnings.map(ShownMistake.init)))
        } else if configuration.complain() {
            try StandardOutput.line(
                file.path.map { "\($0) is fine" } ?? "there is no configuration file, which is fine")
        } else {
            MartletCommand.complain("see: martlet config reference")
        }
        if !isRight { throw ExitCode.failure }
    }
}

/// `martlet config show`.
struct ConfigShow: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "show", abstract: "show every value and where it comes from", discussion: ConfigOptions.places,
            examples: ["martlet config show", "MARTLET_NODE_NAME=kestrel martlet config show --json"],
            exitCodes: ConfigOptions.codes)
    }
    @OptionGroup var options: ConfigOptions

    private struct Answer: Encodable {
        var schemaVersion = 1
        var file: String?
        var keys: [Value]

        enum CodingKeys: String, CodingKey {
            case schemaVersion = "schema_version"
            case file, keys
        }
    }

    private struct Value: Encodable {
        var key: String
        var value: SettingValue
        var from: String
        var isDefault: Bool

        enum CodingKeys: String, CodingKey {
            case key, value, from
            case isDefault = "is_default"
        }
    }

    func run() async throws {
        let file = try options.load()
        let configuration = file.configuration
        let isRight = configuration.complain()
        let values = ConfigurationKey.all.map { key in
            let origin = configuration.origin(of: key.path)
            return Value(
                key: key.path, value: key.value(in: configuration.settings), from: origin.description,
                isDefault: origin == .byDefault)
        }
        if options.json {
            try printJSON(Answer(file: file.path, keys: values))
        } else {
            let keys = values.map(\.key.count).max() ?? 0
            // A long value pushes what is behind it, and only in its own line.
            let texts = min(40, values.map(\.value.yaml.count).max() ?? 0)
            for value in values {
                try StandardOutput.line(
                    padded(value.key, keys) + "  " + padded(value.value.yaml, texts) + "  " + value.from)
            }
        }
        if !isRight { throw ExitCode.failure }
    }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}

/// `martlet config reference`.
struct ConfigReference: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "reference", abstract: "print a whole configuration file with every key, its meaning and its default",
            examples: ["martlet config reference > martlet.yaml", "martlet config reference --json"])
    }
    @Flag(help: "print JSON") var json: Bool
    @Flag(help: "print tables in Markdown, as the documentation has them") var markdown: Bool

    private struct Answer: Encodable {
        var schemaVersion = 1
        var keys: [Key]

        enum CodingKeys: String, CodingKey {
            case schemaVersion = "schema_version"
            case keys
        }
    }

    private struct Key: Encodable {
        var key: String
        var meaning: String
        var values: String
        var `default`: SettingValue
        var example: String
        var variable: String
    }

    func validate() throws {
        if json, markdown { throw UsageError("--json and --markdown do not go together") }
    }

    func run() async throws {
        if json {
            let keys = ConfigurationKey.all.map { key in
                Key(
                    key: key.path, meaning: key.summary, values: key.wanted, default: key.value(in: Settings()),
                    example: key.example, variable: key.variable)
            }
            try printJSON(Answer(keys: keys))
        } else {
            let text = markdown ? ConfigurationReference.tables : ConfigurationReference.file
            try StandardOutput.write(Data(text.utf8))
        }
    }
}
