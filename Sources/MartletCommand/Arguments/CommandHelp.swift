/// What `--help` shows of a command: how it is written, what it takes, examples and what it ends with.
func helpText(of command: any ParsableCommand, path: [String]) -> String {
    let configuration = type(of: command).configuration
    let arguments = namedArguments(of: command)
    var sections = [sentence(configuration.abstract)]
    sections.append("Usage: " + usage(of: arguments, path: path, hasSubcommands: !configuration.subcommands.isEmpty))
    if !configuration.discussion.isEmpty { sections.append(configuration.discussion) }
    sections.append(
        table("Commands", configuration.subcommands.map { ($0.configuration.name, $0.configuration.abstract) }))
    let positions = arguments.filter { $0.definition.kind == .positional }
    sections.append(table("Arguments", positions.map { ($0.shown, explanation(of: $0)) }))
    let options = arguments.filter { $0.definition.kind != .positional }
    sections.append(
        table("Options", options.map { (left(of: $0), explanation(of: $0)) } + [("-h, --help", "show this")]))
    if !configuration.examples.isEmpty {
        sections.append("Examples:\n" + configuration.examples.map { "  \($0)" }.joined(separator: "\n"))
    }
    if !configuration.exitCodes.isEmpty {
        let codes = [(ExitCode.success, "done"), (.usage, "used wrongly")].filter { code in
            !configuration.exitCodes.contains { $0.0 == code.0 }
        }
        let all = (configuration.exitCodes + codes).sorted { $0.0.rawValue < $1.0.rawValue }
        sections.append(table("Exit codes", all.map { ("\($0.0.rawValue)", $0.1) }))
    }
    return sections.filter { !$0.isEmpty }.joined(separator: "\n\n")
}

/// `martlet dht find TOPIC [--json]`.
private func usage(of arguments: [NamedArgument], path: [String], hasSubcommands: Bool) -> String {
    var words = path
    if hasSubcommands { words.append("COMMAND") }
    for argument in arguments {
        let definition = argument.definition
        let text = definition.kind == .option ? "\(argument.shown) \(definition.valueName)" : argument.shown
        let isRepeatedOption = definition.isRepeated && definition.kind == .option
        words.append(definition.isRequired ? text : "[\(text)]" + (isRepeatedOption ? "…" : ""))
    }
    return words.joined(separator: " ")
}

private func left(of argument: NamedArgument) -> String {
    let letter = argument.definition.letter.map { "-\($0), " } ?? ""
    let value = argument.definition.kind == .option ? " \(argument.definition.valueName)" : ""
    return letter + argument.shown + value
}

private func explanation(of argument: NamedArgument) -> String {
    guard argument.definition.kind != .flag, let value = argument.definition.shownDefault else {
        return argument.definition.help
    }
    return "\(argument.definition.help) (default: \(value))"
}

private func sentence(_ text: String) -> String {
    text.prefix(1).uppercased() + text.dropFirst() + "."
}

private func table(_ title: String, _ rows: [(String, String)]) -> String {
    guard !rows.isEmpty else { return "" }
    let width = min(30, rows.map(\.0.count).max() ?? 0)
    let lines = rows.map { left, right in
        left.count > width
            ? "  \(left)\n  \(String(repeating: " ", count: width + 2))\(right)"
            : "  \(left)\(String(repeating: " ", count: width + 2 - left.count))\(right)"
    }
    return "\(title):\n" + lines.joined(separator: "\n")
}
