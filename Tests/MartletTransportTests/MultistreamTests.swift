@testable import MartletTransport
import MartletWire
import Testing

private func line(_ text: String) -> [UInt8] {
    var writer = Writer()
    writer.line(text)
    return Array(writer.finish())
}

@Suite("multistream-select")
struct MultistreamTests {
    let header = line("/multistream/1.0.0")

    /// What a dialer of `proposals` says to `input`, given byte by byte.
    private func dial(
        _ proposals: [String], _ input: [UInt8]
    ) throws(MultistreamError) -> (
        said: [UInt8], used: Int, progress: Multistream.Progress
    ) {
        var dialer = MultistreamDialer(proposing: proposals)
        var output = Writer()
        dialer.begin(into: &output)
        var pending: [UInt8] = []
        var used = 0
        for byte in input {
            pending.append(byte)
            let step = try dialer.handle(Bytes(pending).span, into: &output)
            pending.removeFirst(step.used)
            used += step.used
            if case .agreed = step.progress { return (Array(output.finish()), used, step.progress) }
        }
        return (Array(output.finish()), used, .needsMore)
    }

    private func listen(
        _ input: [UInt8]
    ) throws(MultistreamError) -> (
        said: [UInt8], used: Int, progress: Multistream.Progress
    ) {
        var listener = MultistreamListener()
        var output = Writer()
        let (used, progress) = try listener.handle(Bytes(input).span, into: &output, all: ["/a", "/b"]) {
            ["/a", "/b"].contains($0)
        }
        return (Array(output.finish()), used, progress)
    }

    @Test("a dialer says the header and its first proposal at once, and goes on until one is spoken")
    func dialer() throws {
        let agreed = try dial(["/x", "/y"], header + line("na") + line("/y"))
        #expect(agreed.said == header + line("/x") + line("/y"))
        #expect(agreed.progress == .agreed("/y"))
        #expect(throws: MultistreamError.noneInCommon) { try dial(["/x"], header + line("na")) }
        #expect(throws: MultistreamError.unexpectedAnswer) { try dial(["/x"], header + line("/y")) }
        #expect(throws: MultistreamError.wrongHeader) { try dial(["/x"], line("/multistream/2.0.0")) }
    }

    @Test("a listener answers each proposal and leaves alone what is behind the agreed one")
    func listener() throws {
        let input = header + line("/z") + line("/b")
        let agreed = try listen(input + [1, 2, 3])
        #expect(agreed.said == header + line("na") + line("/b"))
        #expect(agreed.progress == .agreed("/b"))
        #expect(agreed.used == input.count)
        for cut in 0..<input.count {
            #expect(try listen(Array(input[..<cut])).progress == .needsMore, "cut at \(cut)")
        }
    }

    @Test("one who asks for a list gets one")
    func list() throws {
        let list = try listen(header + line("ls"))
        var expected = Writer()
        let names = line("/a") + line("/b") + [0x0A]
        expected.lengthPrefixed(Bytes(names).span)
        let answer = header + Array(expected.finish())
        #expect(list.said == answer)
    }

    @Test("lines that are none are refused before they are read")
    func hostile() {
        let table: [([UInt8], MultistreamError)] = [
            (header + [0x81, 0x08], .lineTooLong(1025)),
            (header + [0xFF, 0xFF, 0xFF, 0xFF, 0x7F], .lineTooLong(0x7_FFFF_FFFF)),
            (header + [0x80, 0x00], .malformedLine),
            (header + [0x00], .malformedLine),
            (header + [0x02, 0x61, 0x62], .malformedLine),
            (header + [0x02, 0xFF, 0x0A], .malformedLine),
            (header + (0..<65).flatMap { line("/\($0)") }, .tooManyProposals),
        ]
        for (input, expected) in table {
            #expect(throws: expected) { try listen(input) }
        }
        #expect(throws: MultistreamError.malformedLine) { try listen(header + [UInt8](repeating: 0xFF, count: 9)) }
    }

    @Test(
        "who speaks something else is known by the first byte, however much has come",
        arguments: ["peer-8001:alice\n", "GET /", "\u{7F}", "\u{0}\u{0}"].map { Array($0.utf8) } + [
            [0xFF, 0xFF, 0x03, 0x61]
        ])
    func others(bytes: [UInt8]) {
        for count in 1...bytes.count {
            #expect(throws: MultistreamError.wrongHeader) { try listen(Array(bytes.prefix(count))) }
            #expect(throws: MultistreamError.wrongHeader) { try dial(["/x"], Array(bytes.prefix(count))) }
        }
    }
}
