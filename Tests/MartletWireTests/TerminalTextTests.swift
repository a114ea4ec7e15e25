import MartletWire
import Testing

@Suite("Text on a terminal")
struct TerminalTextTests {
    @Test("what a terminal would act on, or what changes how text reads, is escaped")
    func escaped() {
        #expect(TerminalText.escaped("grüße 👩‍🚀 \\ 日本") == "grüße 👩‍🚀 \\ 日本")
        #expect(TerminalText.escaped("\u{1B}[2Ja\tb\r\n\u{7F}") == "\\u{1B}[2Ja\\tb\\r\\n\\u{7F}")
        #expect(TerminalText.escaped("\u{9B}31m\u{202E}abc\u{2028}") == "\\u{9B}31m\\u{202E}abc\\u{2028}")
        #expect(TerminalText.escaped("") == "")
    }

    @Test("every control and every mark of direction is unsafe, in each plane")
    func unsafe() throws {
        let ranges: [ClosedRange<UInt32>] = [
            0...0x1F, 0x7F...0x9F, 0xAD...0xAD, 0x61C...0x61C, 0x200B...0x200B, 0x200E...0x200F, 0x2028...0x202E,
            0x2060...0x2064, 0x2066...0x206F, 0xFEFF...0xFEFF, 0xFFF9...0xFFFB, 0xE0001...0xE0001, 0xE0020...0xE007F,
        ]
        for value in ranges.joined() {
            let scalar = try #require(Unicode.Scalar(value))
            #expect(!TerminalText.isSafe(scalar), "\(String(value, radix: 16))")
        }
        for scalar in "aé ~日👍\u{200C}\u{200D}".unicodeScalars { #expect(TerminalText.isSafe(scalar)) }
    }

    @Test("JSON that is escaped means the same, keeps its lines, and is safe")
    func json() {
        let text = "{\"name\":\"a\u{9B}b\u{202E}c\u{E0041}d\"}\n{}\n"
        #expect(
            TerminalText.escaped(json: text) == "{\"name\":\"a\\u009bb\\u202ec\\udb40\\udc41d\"}\n{}\n")
    }
}
