/// A command or a group of them: its options and arguments are properties with the wrappers `@Option`, `@Flag`,
/// `@Argument` and `@OptionGroup`, in the vocabulary of swift-argument-parser.
///
///     struct Find: ParsableCommand {
///         static var configuration: CommandConfiguration {
///             CommandConfiguration("find", abstract: "find the peers of a topic", examples: ["martlet dht find chess"])
///         }
///         @Argument(help: "the topic's name") var topic: String
///         @Option(help: "stop after so long") var timeout: Duration = .seconds(30)
///         func run() async throws { … }
///     }
///
/// An option's name on the command line is its property's: `secretKey` is `--secret-key`.
protocol ParsableCommand: ParsableArguments {
    /// The command's name and what help says about it.
    static var configuration: CommandConfiguration { get }
    /// Does what the command is for. A group of commands need not have this: it shows its help.
    mutating func run() async throws
    /// Checks what no single option can check; throws `UsageError`.
    func validate() throws
}

extension ParsableCommand {
    /// Shows the command's help.
    mutating func run() async throws {
        throw HelpRequest()
    }

    /// Everything is right.
    func validate() throws {}
}

/// Options and arguments that stand together, to be shared between commands by `@OptionGroup`.
protocol ParsableArguments {
    /// With every option at its default.
    init()
}

/// What help says about a command.
struct CommandConfiguration {
    /// The word that calls it.
    var name: String
    /// One line that says what it does, in lower case and without a full stop.
    var abstract: String
    /// What else is to be known: paragraphs.
    var discussion: String
    /// Whole command lines that work.
    var examples: [String]
    /// What it ends with besides 0 and 2.
    var exitCodes: [(ExitCode, String)]
    /// The commands below it.
    var subcommands: [any ParsableCommand.Type]

    init(
        _ name: String, abstract: String, discussion: String = "", examples: [String] = [],
        exitCodes: [(ExitCode, String)] = [], subcommands: [any ParsableCommand.Type] = []
    ) {
        self.name = name
        self.abstract = abstract
        self.discussion = discussion
        self.examples = examples
        self.exitCodes = exitCodes
        self.subcommands = subcommands
    }
}

/// What a command ends with. Thrown, it ends the command without another word.
struct ExitCode: RawRepresentable, Error, Hashable, Sendable {
    var rawValue: Int32

    /// It did what it was asked to.
    static let success = ExitCode(rawValue: 0)
    /// It worked, and what was asked for was not found; or it failed.
    static let failure = ExitCode(rawValue: 1)
    /// It was used wrongly.
    static let usage = ExitCode(rawValue: 2)
    /// There is no network, or nobody there answers.
    static let noNetwork = ExitCode(rawValue: 3)
}

/// The command line was wrong, and how.
struct UsageError: Error, Hashable, CustomStringConvertible {
    /// One sentence, in lower case and without a full stop.
    var description: String
    /// A word that may have been meant.
    var suggestion: String?

    init(_ description: String, suggestion: String? = nil) {
        self.description = description
        self.suggestion = suggestion
    }
}

/// Somebody asked for help.
struct HelpRequest: Error {}
