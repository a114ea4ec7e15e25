import Testing

@testable import MartletCommand

@Suite("Command-line arguments")
struct ArgumentTests {
    enum Colour: String, CaseIterable, ExpressibleByArgument { case red, green }

    struct Shared: ParsableArguments {
        @Flag(letter: "j", help: "print JSON") var json: Bool
        @Option(letter: "t", help: "how long") var timeLimit: Duration = .seconds(30)
    }

    struct Paint: ParsableCommand {
        static var configuration: CommandConfiguration {
            CommandConfiguration(
                "paint", abstract: "paint a thing", examples: ["tool paint fence --coats 2"],
                exitCodes: [(.failure, "no paint left")])
        }
        @Argument(help: "what to paint") var thing: String
        @Argument(help: "what else") var others: [String] = []
        @Option(letter: "n", help: "how many coats") var coats: Int = 1
        @Option(help: "which colour") var colour: Colour?
        @Option(help: "where to") var wall: [String] = []
        @Flag(help: "let it dry") var dry = true
        @OptionGroup var shared: Shared
    }

    struct Tool: ParsableCommand {
        static var configuration: CommandConfiguration {
            CommandConfiguration("tool", abstract: "a tool", subcommands: [Paint.self])
        }
    }

    private func paint(_ words: String...) throws -> Paint {
        let parsed = parse(["paint"] + words, root: Tool.self)
        if let problem = parsed.problem { throw problem }
        return try #require(parsed.command as? Paint)
    }

    @Test("what is not given has its default")
    func defaults() throws {
        let paint = try paint("fence")
        #expect(paint.thing == "fence" && paint.others.isEmpty && paint.coats == 1 && paint.colour == nil)
        #expect(paint.wall.isEmpty && paint.dry && !paint.shared.json && paint.shared.timeLimit == .seconds(30))
    }

    @Test("options are taken with a blank, with an equals sign, by letter, and before or behind what they belong to")
    func forms() throws {
        let paint = try paint(
            "--coats=3", "fence", "--colour", "green", "gate", "-j", "-t250ms", "--wall", "a", "--wall=b", "--no-dry",
            "--", "--door")
        #expect(paint.coats == 3 && paint.colour == .green && paint.wall == ["a", "b"] && !paint.dry)
        #expect(paint.thing == "fence" && paint.others == ["gate", "--door"])
        #expect(paint.shared.json && paint.shared.timeLimit == .milliseconds(250))
        #expect(try self.paint("fence", "-n", "-2").coats == -2)
    }

    @Test(
        "a wrong command line is said to be wrong, with the word that may have been meant",
        arguments: [
            (["pant"], "there is no command 'tool pant'", "paint"),
            (["paint"], "THING is missing", nil),
            (["paint", "fence", "--coat", "2"], "there is no option --coat", "--coats"),
            (["paint", "fence", "--zzz"], "there is no option --zzz", nil),
            (["paint", "fence", "--coats"], "--coats needs a value", nil),
            (["paint", "fence", "--coats", "two"], "'two' is no value for --coats, which takes a NUMBER", nil),
            (["paint", "fence", "--coats", "1", "--coats", "2"], "--coats is given twice", nil),
            (
                ["paint", "fence", "--colour", "gren"],
                "'gren' is no value for --colour, which takes one of red, green", "green"
            ),
            (["paint", "fence", "-x"], "there is no option -x", nil),
            (["paint", "fence", "--json=1"], "--json takes no value", nil),
        ] as [([String], String, String?)])
    func mistakes(words: [String], message: String, suggestion: String?) {
        #expect(parse(words, root: Tool.self).problem as? UsageError == UsageError(message, suggestion: suggestion))
    }

    @Test("help is shown wherever it is asked for, whatever else is wrong")
    func help() {
        for words in [["--help"], ["help"], ["paint", "-h"], ["help", "paint"], ["paint", "--zzz", "--help"]] {
            #expect(parse(words, root: Tool.self).problem is HelpRequest)
        }
        #expect(parse(["paint", "--", "--help"], root: Tool.self).problem == nil)
        let text = helpText(of: Paint(), path: ["tool", "paint"])
        #expect(text.contains("Usage: tool paint THING [OTHERS…] [--coats NUMBER]"))
        #expect(text.contains("how many coats (default: 1)") && text.contains("how long (default: 30s)"))
        #expect(text.contains("--no-dry") && text.contains("tool paint fence --coats 2"))
        #expect(text.contains("1  no paint left"))
    }

    @Test(
        "a duration has its unit behind it",
        arguments: [
            ("5", Duration.seconds(5)), ("250ms", .milliseconds(250)), ("1.5s", .milliseconds(1500)),
            ("2m", .seconds(120)),
            ("1h", .seconds(3600)), ("1d", .seconds(86400)), ("", nil), ("s", nil), ("-1s", nil), ("1w", nil),
            ("99999999999d", nil),
        ] as [(String, Duration?)])
    func durations(text: String, duration: Duration?) {
        #expect(Duration(argument: text) == duration)
    }
}
