import MartletConfiguration

/// An argument of a command with the name that it has on the command line.
struct NamedArgument {
    /// The property's name in the form of options: `secret-key`.
    let name: String
    let definition: any ArgumentDefinition

    /// What says that the flag is not to be on, where it is on by itself.
    var negation: String? {
        definition.kind == .flag && definition.shownDefault != nil ? "no-\(name)" : nil
    }

    /// How help and errors call it.
    var shown: String {
        definition.kind == .positional ? definition.shownPosition(name) : "--\(negation ?? name)"
    }
}

extension ArgumentDefinition {
    fileprivate func shownPosition(_ name: String) -> String {
        (valueName == String.valueName ? name.replacing("-", with: "_").uppercased() : valueName)
            + (isRepeated ? "…" : "")
    }
}

/// The arguments of `arguments` in the order in which its properties stand, those of its groups among them.
func namedArguments(of arguments: any ParsableArguments) -> [NamedArgument] {
    Mirror(reflecting: arguments).children.flatMap { child -> [NamedArgument] in
        switch child.value {
        case let holder as any ArgumentHolder:
            // A wrapped property is stored under its name with an underscore.
            [NamedArgument(name: hyphenated((child.label ?? "").drop { $0 == "_" }), definition: holder.definition)]
        case let group as any ArgumentGroup: namedArguments(of: group.group)
        default: []
        }
    }
}

/// `secretKey` as `secret-key`.
private func hyphenated(_ name: Substring) -> String {
    name.reduce(into: "") { text, character in
        if character.isUppercase { text += "-" }
        text += character.lowercased()
    }
}

/// A command that was found by its words, with everything that was given to it.
struct ParsedCommand {
    /// The command, ready to run.
    var command: any ParsableCommand
    /// The words that lead to it: `martlet dht find`.
    var path: [String]
    /// What was wrong, or that help was asked for; `nil` where it can run.
    var problem: (any Error)?
}

/// Finds the command that `words` call below `root`, and gives it its arguments.
func parse(_ words: [String], root: any ParsableCommand.Type) -> ParsedCommand {
    var chosen: any ParsableCommand.Type = root
    var path = [root.configuration.name]
    var rest = words
    while let word = rest.first, !word.hasPrefix("-"), !chosen.configuration.subcommands.isEmpty {
        rest.removeFirst()
        if word == "help" {
            rest.append("--help")
        } else if let below = subcommand(word, of: chosen) {
            chosen = below
            path.append(word)
        } else {
            let names = chosen.configuration.subcommands.map { $0.configuration.name }
            let problem = UsageError(
                "there is no command '\(path.joined(separator: " ")) \(word)'",
                suggestion: closest(to: word, among: names))
            return ParsedCommand(command: chosen.init(), path: path, problem: problem)
        }
    }
    let command = chosen.init()
    var problem: (any Error)?
    do {
        try give(rest, to: namedArguments(of: command))
        try command.validate()
    } catch {
        problem = error
    }
    return ParsedCommand(command: command, path: path, problem: problem)
}

private func subcommand(_ name: String, of command: any ParsableCommand.Type) -> (any ParsableCommand.Type)? {
    for below in command.configuration.subcommands where below.configuration.name == name { return below }
    return nil
}

/// Gives each of `words` to the one of `arguments` that it is meant for.
private func give(_ words: [String], to arguments: [NamedArgument]) throws {
    var rest = words[...]
    var positions = arguments.filter { $0.definition.kind == .positional }[...]
    // Whatever else stands there, who asks for help gets it.
    if words.prefix(while: { $0 != "--" }).contains(where: { $0 == "--help" || $0 == "-h" }) { throw HelpRequest() }
    var onlyPositions = false
    while let word = rest.popFirst() {
        if !onlyPositions, word == "--" {
            onlyPositions = true
        } else if !onlyPositions, word.hasPrefix("--") {
            try giveOption(word.dropFirst(2), from: &rest, to: arguments)
        } else if !onlyPositions, word.hasPrefix("-"), word.count > 1, Double(word) == nil {
            try giveLetters(word.dropFirst(), from: &rest, to: arguments)
        } else {
            guard let position = positions.first else { throw UsageError("'\(word)' is one argument too many") }
            if !position.definition.isRepeated { positions.removeFirst() }
            try take(word, position)
        }
    }
    for argument in arguments where argument.definition.isRequired && !argument.definition.isGiven {
        throw UsageError("\(argument.shown) is missing")
    }
}

private func giveOption(
    _ word: Substring, from rest: inout ArraySlice<String>, to arguments: [NamedArgument]
) throws {
    let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(parts[0])
    let named = arguments.filter { $0.definition.kind != .positional }
    guard let argument = named.first(where: { ($0.negation ?? $0.name) == name }) else {
        let names = named.map { "--\($0.negation ?? $0.name)" } + ["--help"]
        throw UsageError("there is no option --\(name)", suggestion: closest(to: "--\(name)", among: names))
    }
    try give(parts.count > 1 ? String(parts[1]) : nil, from: &rest, to: argument)
}

/// `-v`, `-vq`, `-n5` and `-n 5`.
private func giveLetters(
    _ letters: Substring, from rest: inout ArraySlice<String>, to arguments: [NamedArgument]
) throws {
    var letters = letters
    while let letter = letters.popFirst() {
        guard let argument = arguments.first(where: { $0.definition.letter == letter }) else {
            throw UsageError("there is no option -\(letter)")
        }
        if argument.definition.kind == .flag {
            try take("", argument)
        } else {
            try give(letters.isEmpty ? nil : String(letters), from: &rest, to: argument)
            return
        }
    }
}

private func give(_ value: String?, from rest: inout ArraySlice<String>, to argument: NamedArgument) throws {
    if argument.definition.kind == .flag {
        guard value == nil else { throw UsageError("\(argument.shown) takes no value") }
        return try take("", argument)
    }
    guard !argument.definition.isGiven || argument.definition.isRepeated else {
        throw UsageError("\(argument.shown) is given twice")
    }
    guard let value = value ?? rest.popFirst() else { throw UsageError("\(argument.shown) needs a value") }
    try take(value, argument)
}

private func take(_ value: String, _ argument: NamedArgument) throws {
    guard !argument.definition.accept(value) else { return }
    let choices = argument.definition.choices
    let wanted = choices.isEmpty ? "a \(argument.definition.valueName)" : "one of \(choices.joined(separator: ", "))"
    throw UsageError(
        "'\(value)' is no value for \(argument.shown), which takes \(wanted)",
        suggestion: closest(to: value, among: choices))
}
