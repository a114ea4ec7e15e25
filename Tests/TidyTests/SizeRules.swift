/// How long a thing may be.
let sizeRules = [fileLength, functionLength]

private let mostLines = 600
private let mostLinesOfFunction = 70
private let sources = ["Sources/", "Examples/", "Benchmarks/", "Fuzz/", "Tests/TidyTests/"]

private let fileLength = Rule(
    "a source file has at most \(mostLines) lines", in: [""],
    bad: [String(repeating: "let a = 1\n", count: mostLines + 1)],
    good: [String(repeating: "let a = 1\n", count: mostLines)]
) { file in
    let count = file.lines.count - (file.text.hasSuffix("\n") ? 1 : 0)
    return count > mostLines ? [file.violation(line: mostLines, "\(count) lines, at most \(mostLines)")] : []
}

private let functionLength = Rule(
    "a function has at most \(mostLinesOfFunction) lines, but for the tables of tests", in: sources,
    bad: [
        "func a() {\n" + body(mostLinesOfFunction - 1) + "}",
        "struct A {\n    init?(\n        a: () -> Int = { 1 }\n    ) {\n" + body(mostLinesOfFunction) + "    }\n}",
        "struct A {\n    var a: Int {\n" + body(mostLinesOfFunction) + "    }\n}",
        "struct A {\n    subscript(a: Int) -> Int {\n        get {\n" + body(mostLinesOfFunction)
            + "        }\n    }\n}",
        "final class A {\n    deinit {\n" + body(mostLinesOfFunction) + "    }\n}",
    ],
    good: [
        "func a() {\n" + body(mostLinesOfFunction - 2) + "}",
        "struct A {\n    var a = 1\n    let b: Int\n" + body(mostLinesOfFunction) + "}",
        "protocol A {\n    func a()\n    init(a: Int)\n    var b: Int { get }\n}\nenum B {\n"
            + body(mostLinesOfFunction) + "}",
        "func a() { self.init(1) }\nstruct A {\n" + body(mostLinesOfFunction) + "}",
        "func a() -> String {\n    \"}{{{\"\n}\nstruct A {\n" + body(mostLinesOfFunction) + "}",
    ]
) { file in
    functions(in: file.code).filter { $0.count > mostLinesOfFunction }.map {
        file.violation(line: $0.line, "\($0.name) has \($0.count) lines, at most \(mostLinesOfFunction)")
    }
}

private func body(_ count: Int) -> String {
    String(repeating: "    let a = 1\n", count: count)
}

/// A function, initialiser, subscript or computed property, by what it begins with.
private struct Function {
    let name: Substring
    let line: Int
    /// How many lines it has, from its first word to its last brace.
    let count: Int
}

/// Every function of code in which comments and strings are blanked, found by matching braces.
private func functions(in lines: [String]) -> [Function] {
    let code = lines.joined(separator: "\n")
    // A name before the bracket or a brace at once: so calls (`self.init`) and plain properties fall out.
    let start =
        /\bfunc\s+[^\s(<]+|(?:^|[^.\w])init[?!]?(?=\s*[(<])|\bsubscript(?=\s*[(<])|\bdeinit(?=\s*\{)|\bvar\s+\w+\s*:[^={\n]+(?=\{)/
    return code.matches(of: start).compactMap { match in
        guard let end = endOfBody(in: code, from: match.range.upperBound) else { return nil }
        let name = match.output.drop(while: \.isWhitespace)
        return Function(
            name: name, line: code[..<match.range.upperBound].count { $0 == "\n" } + 1,
            count: code[match.range.upperBound...end].count { $0 == "\n" } + 1)
    }
}

/// The brace that closes the body that begins after `start`, or `nil` where there is none, as in a protocol.
private func endOfBody(in code: String, from start: String.Index) -> String.Index? {
    let requirementEnds =
        /\n\s*(?:@\w+\s+)*(?:(?:public|static|mutating|override|private|package)\s+)*(?:func|init|var|let|subscript|associatedtype|case|struct|enum|class|extension)\b/
    var brackets = 0
    var braces = 0
    var index = start
    while index < code.endIndex {
        switch code[index] {
        case "(", "[": brackets += 1
        case ")", "]": brackets -= 1
        case "{" where brackets == 0: braces += 1
        case "}" where brackets == 0:
            braces -= 1
            if braces == 0 { return index }
            if braces < 0 { return nil }
        case "\n" where brackets == 0 && braces == 0:
            if code[index...].prefixMatch(of: requirementEnds) != nil { return nil }
        default: break
        }
        index = code.index(after: index)
    }
    return nil
}
