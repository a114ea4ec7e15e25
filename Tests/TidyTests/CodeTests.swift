import Testing

@Suite("Code without comments, strings and regular expressions")
struct CodeTests {
    @Test(
        "keeps the words of code, and only those, where they stood",
        arguments: [
            ("let a = 1 // try! b", "let a = 1"),
            ("a /* b /* c */ d */ e", "a e"),
            (#"let a = "try! \" b" + c"#, "let a = + c"),
            (#"let a = "x \(b("y") + c) z"; d"#, "let a = (b( ) + c) ; d"),
            ("let a = #\"x \" \\(b) \\#(c)\"#", "let a = (c)"),
            ("a = \"\"\"\n  \"b\" // c\n  \"\"\"; d", "a = ; d"),
            ("\"unfinished\nlet a = 1", "let a = 1"),
            ("a\n/* b\n c */ d", "a d"),
            (#"let a = /b"\/{[^\]]/ + c(/d/, e)"#, "let a = + c( , e)"),
            ("let a = b / c / d", "let a = b / c / d"),
            ("let a = b\n    / c", "let a = b / c"),
        ])
    func blanks(source: String, words: String) {
        let lines = Code(source).lines
        #expect(lines.joined(separator: " ").split(separator: " ").joined(separator: " ") == words)
        #expect(lines.map(\.utf8.count) == source.split(separator: "\n").map(\.utf8.count))
    }
}
