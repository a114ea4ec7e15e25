/// What may trap, or takes a promise from the compiler's hands, says why it holds.
let reasonRules = [reasons]

private let reasons = Rule(
    "what is dangerous has a comment right above it that says why it holds", in: [""],
    bad: [
        "fatalError(\"a\")", "let a = try! b()", "let a = b as! C", "final class A: @unchecked Sendable {}",
        "nonisolated(unsafe) var a = 1", "unowned let a: A", "unowned(unsafe) let a: A",
        "// It holds.\n\nlet a = try! b()", "// It holds.\nlet b = 1\nlet a = try! b()",
        "let a = try! b() // It holds.",
        "//\nlet a = try! b()",
    ],
    good: [
        "// It was checked above.\nlet a = try! b()", "/// The lock guards it.\nfinal class A: @unchecked Sendable {}",
        "/// The loop owns it.\n@inlinable\n@usableFromInline\nnonisolated(unsafe) var a = 1",
        "let a = \"try! fatalError(\" // as! unowned", "let unownedThing = alias!", "try? a()",
    ]
) { file in
    func trimmed(_ line: Substring) -> Substring { line.drop { $0 == " " } }
    // Looking for plain words first spares most lines the expression.
    let words = ["fatalError", "try!", "as!", "@unchecked", "nonisolated(unsafe)", "unowned"]
    guard words.contains(where: file.text.contains) else { return [] }
    return file.code.enumerated().compactMap { index, line in
        let dangerous =
            /\bfatalError\(|\btry!|\bas!|@unchecked\s+Sendable\b|\bnonisolated\(unsafe\)|\bunowned\b/
        guard let found = line.firstMatch(of: dangerous) else { return nil }
        // Attributes may stand between a comment and its declaration.
        let above = trimmed(file.lines[..<index].last { !trimmed($0).hasPrefix("@") } ?? "")
        let isReason = above.hasPrefix("//") && above.contains(/\w/)
        return isReason
            ? nil : file.violation(line: index + 1, "\(found.output): the line above does not say why it holds")
    }
}
