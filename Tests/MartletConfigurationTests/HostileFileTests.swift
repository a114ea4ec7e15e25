import MartletConfiguration
import MartletWire
import TestSupport
import Testing

@Suite("A configuration that was written by an enemy")
struct HostileFileTests {
    private static let whole = """
        # ä comment
        node:
          name: "kestrel \\u00e4"
          listen: [/ip4/0.0.0.0/tcp/1]
          services:
            - {name: web, port: 80, description: 'it''s "ours"'}
        network:
          topics:
            - chess
            - >
              folded
              text
        log: {levels: {quic: debug}}
        """

    @Test("cut off at any byte, it is read or its mistakes are told")
    func cut() {
        let bytes = Bytes(utf8: Self.whole)
        var whole = Configuration()
        whole.read(bytes, named: "f")
        #expect(whole.mistakes.isEmpty == false, "a topic with a line break is none")
        for end in 0..<bytes.count {
            var read = Configuration()
            read.read(bytes.slice(0..<end), named: "f")
            for mistake in read.mistakes { #expect(mistake.description.hasPrefix("f:")) }
        }
    }

    @Test("with any byte replaced, it is read or its mistakes are told")
    func flipped() {
        var random = SeededGenerator(seed: 5)
        let bytes = Array(Self.whole.utf8)
        for place in bytes.indices {
            for _ in 0..<3 {
                var changed = bytes
                changed[place] = random.next()
                var read = Configuration()
                read.read(Bytes(changed), named: "f")
                for mistake in read.mistakes { #expect(mistake.description.hasPrefix("f:")) }
            }
        }
    }

    @Test(
        "too much of anything ends the reading with one mistake",
        arguments: [
            MistakeCase(String(repeating: "[", count: 100_000), "f:1:16: values stand more than 16 deep in each other"),
            MistakeCase(
                String(repeating: "{a: ", count: 100_000), "f:1:61: values stand more than 16 deep in each other"),
            MistakeCase(
                String(repeating: "- ", count: 100_000), "f:1:31: values stand more than 16 deep in each other"),
            MistakeCase(
                String(repeating: "? ", count: 100_000), "f:1:31: values stand more than 16 deep in each other"),
            MistakeCase((0..<20_000).map { "k\($0):\n" }.joined(), "f:5000:7: there are more than 10000 values"),
            MistakeCase(
                "a: [" + String(repeating: "b,", count: 20_000) + "]", "f:1:19999: there are more than 10000 values"),
            MistakeCase(String(repeating: "#", count: 1 << 20) + "#", "f:1:1: the file has 1048577 bytes"),
            MistakeCase(String(repeating: "%TAG !a! b\n", count: 90_000), "f:1:1: a line begins with '%'"),
        ])
    func tooMuch(wrong: MistakeCase) {
        let mistakes = configuration(wrong.text).mistakes.map { "\($0.origin.place): \($0.problem)" }
        #expect(mistakes.last == wrong.message)
    }

    @Test("however many mistakes there are, at most a hundred of a kind are told")
    func manyMistakes() {
        #expect(configuration("node:\n" + (0..<2000).map { "  k\($0): 1\n" }.joined()).mistakes.count == 100)
        #expect(configuration("node: [" + String(repeating: "*a, ", count: 4000) + "]").mistakes.count == 101)
        var read = Configuration()
        read.read(environment: Dictionary(uniqueKeysWithValues: (0..<1000).map { ("MARTLET_K\($0)", "") }))
        #expect(read.warnings.count == 100)
    }

    @Test("aliases that would grow without end are refused where they stand")
    func aliases() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"
        let mistakes = configuration(bomb).mistakes
        #expect(
            mistakes.filter { $0.problem.hasPrefix("aliases") }.map(\.origin.place) == [
                "f:1:4", "f:2:4", "f:2:8", "f:2:12", "f:3:4", "f:3:8", "f:3:12", "f:4:5", "f:4:9",
            ])
    }

    @Test(
        "what is no text in UTF-8 is said not to be",
        arguments: [
            ([0xFF, 0xFE, 0x61, 0x00], "f:1:1: this is not text in UTF-8"),
            ([0x61, 0x0A, 0x62, 0xC3], "f:2:2: this is not text in UTF-8"),
            ([0x7F, 0x45, 0x4C, 0x46], "f:1:1: there is an invisible character, U+7F"),
            ([0x61, 0xC2, 0x85], "f:1:2: there is an invisible character, U+85"),
            ([0x61, 0xED, 0xA0, 0x80], "f:1:2: this is not text in UTF-8"),
            ([0x61, 0x3A, 0x20, 0xEF, 0xBB, 0xBF], "f:1:4: there is an invisible character, U+FEFF"),
        ] as [([UInt8], String)])
    func binary(bytes: [UInt8], message: String) {
        var read = Configuration()
        read.read(Bytes(bytes), named: "f")
        #expect(read.mistakes.map { "\($0.origin.place): \($0.problem)" } == [message])
    }

    @Test("lines and columns are those that an editor shows, whichever way lines end")
    func lines() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["\u{FEFF}node:", "  name: \"ÄÖ\"", "  quux: 1"].joined(separator: end)
            #expect(configuration(text).mistakes.map(\.origin.place) == ["f:3:3"])
        }
        #expect(configuration("node: {\"äöü😀\": 1}").mistakes.map(\.origin.place) == ["f:1:8"])
        #expect(configuration("node: {name: \"😀\", quux: 1}").mistakes.map(\.origin.place) == ["f:1:19"])
    }
}
