import MartletWire
import TestSupport
import Testing

@testable import MartletMesh

@Suite("Mesh lines")
struct MeshLineTests {
    @Test(
        "a line is read as what the protocol says it is",
        arguments: [
            ("PING", MeshLine.ping), ("PONG", .pong), ("REQUEST_PEERS", .requestPeers), ("DUPLICATE", .duplicate),
            ("MAX_PEERS", .full), ("PING ", .ping), (" PING", .ping), ("ping", .chat("ping")),
            ("PINGS", .chat("PINGS")),
            ("hello", .chat("hello")), ("", .chat("")), ("PEERS", .chat("PEERS")), ("PEERS:", .peers([])),
            ("PEERS:,,,", .peers([])), ("I know PEERS:a:1", .chat("I know PEERS:a:1")),
            (
                "PEERS:localhost:8001,192.168.1.100:8004, [fd00::1]:9 ,bad,1.2.3.4:0,host.example:80",
                .peers(
                    ["localhost:8001", "192.168.1.100:8004", "[fd00::1]:9", "host.example:80"].map {
                        MeshAddress($0)!
                    })
            ),
        ])
    func reading(text: String, line: MeshLine) {
        #expect(MeshLine(text) == line)
    }

    @Test(
        "what is written is read again as the same",
        arguments: [MeshLine.ping, .pong, .requestPeers, .duplicate, .full])
    func writing(line: MeshLine) {
        #expect(MeshLine(line.text) == line)
        #expect(line.bytes.last == 0x0A)
    }

    @Test("of a list of a hundred thousand addresses the first are read")
    func longList() {
        let list = (0..<100_000).map { "10.\($0 >> 16).\($0 >> 8 & 255).\($0 & 255):80" }.joined(separator: ",")
        guard case .peers(let addresses) = MeshLine("PEERS:" + list) else {
            Issue.record("not a list")
            return
        }
        #expect(addresses.count == MeshLine.mostAddresses)
    }

    @Test(
        "a text that the protocol has a meaning for cannot be said",
        arguments: ["PING", " PONG", "REQUEST_PEERS ", "PEERS:", "PEERS:x", "DUPLICATE", "MAX_PEERS", "\tPING\t"])
    func protocolWords(text: String) {
        #expect(throws: MeshLine.Unsayable.self) { try MeshLine.saying(text) }
    }

    @Test("a text of no, of several or of too long lines cannot be said, and any other can")
    func unsayable() throws {
        #expect(throws: MeshLine.Unsayable.empty) { try MeshLine.saying(" \t") }
        #expect(throws: MeshLine.Unsayable.severalLines) { try MeshLine.saying("a\nPING") }
        #expect(throws: MeshLine.Unsayable.severalLines) { try MeshLine.saying("a\r") }
        #expect(throws: MeshLine.Unsayable.tooLong) { try MeshLine.saying(String(repeating: "a", count: 64 << 10)) }
        let longest = String(repeating: "a", count: (64 << 10) - 1)
        #expect(try MeshLine.saying(longest) == .chat(longest))
        #expect(try MeshLine.saying("PING me") == .chat("PING me"))
    }

    @Test(
        "a greeting is an id and a name, and the name may have colons",
        arguments: [
            ("peer-8001:alice", "peer-8001", "alice", 8001), ("peer-8002:peer-8002", "peer-8002", "peer-8002", 8002),
            ("a:b:c", "a", "b:c", nil), ("carol:", "carol", "carol", nil), ("peer-70000:x", "peer-70000", "x", nil),
            ("peer-0:x", "peer-0", "x", nil), ("peer-1: x ", "peer-1", "x", 1), ("ünï:Çä", "ünï", "Çä", nil),
        ] as [(String, String, String, UInt16?)])
    func greetings(text: String, id: String, name: String, port: UInt16?) {
        let greeting = Greeting(text)
        #expect(greeting == Greeting(id: id, name: name))
        #expect(greeting?.port == port)
    }

    @Test("a node greets with its port as its id, and with that as its name where it has none")
    func ownGreeting() {
        #expect(Greeting(port: 8001, name: "alice").bytes == Bytes(utf8: "peer-8001:alice\n"))
        #expect(Greeting(port: 8002, name: nil).bytes == Bytes(utf8: "peer-8002:peer-8002\n"))
    }

    @Test(
        "what is no greeting is none",
        arguments: [
            "", ":", ":name", "PING", "GET / HTTP/1.1", "GET http://x/ HTTP/1.1", "PEERS:a:1",
            "a:" + String(repeating: "b", count: 1024),
        ])
    func noGreetings(text: String) {
        #expect(Greeting(text) == nil)
    }

    @Test(
        "an address is an IP address or a name, with a port",
        arguments: [
            ("localhost:1", "localhost:1"), ("127.0.0.1:1", "localhost:1"), ("127.3.2.1:1", "localhost:1"),
            ("[::1]:1", "localhost:1"), ("[::ffff:127.0.0.1]:1", "localhost:1"), ("LOCALHOST:1", "localhost:1"),
            ("[::ffff:1.2.3.4]:5", "1.2.3.4:5"), ("1.2.3.4:65535", "1.2.3.4:65535"), ("[fd00::1]:1", "[fd00::1]:1"),
            ("Printer.Example:9", "printer.example:9"),
        ])
    func addresses(text: String, canonical: String) {
        #expect(MeshAddress(text)?.description == canonical)
    }

    @Test(
        "what is no address is none",
        arguments: [
            "", ":", ":1", "a", "a:", "a:0", "a:65536", "a:-1", "a:+1", "a b:1", "1.2.3:4", "1.2.3.256:4", "12:34",
            "::1:80", "[::1]", "[::1]:", "a:1:", "é:1", "\u{1B}[2J:1", String(repeating: "a", count: 254) + ":1",
        ])
    func noAddresses(text: String) {
        #expect(MeshAddress(text) == nil)
    }
}

@Suite("Line buffer")
struct LineBufferTests {
    private func lines(_ chunks: [[UInt8]]) throws -> [String] {
        var buffer = LineBuffer()
        var lines: [String] = []
        for chunk in chunks {
            try buffer.take(Bytes(chunk).span) { line in
                lines.append(line)
                return true
            }
        }
        return lines
    }

    @Test("lines are the same however the bytes are cut", arguments: 0..<20)
    func cuts(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let bytes = Array("a\nbc\r\n\n\r\ngrüße\nlast line without end".utf8)
        var chunks: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Int.random(in: 0...min(5, rest.count), using: &generator)
            chunks.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        #expect(try lines(chunks) == ["a", "bc", "", "", "grüße"])
    }

    @Test("bytes that are no UTF-8 are repaired")
    func repair() throws {
        #expect(try lines([[0x61, 0xFF, 0x62, 0x0A]]) == ["a\u{FFFD}b"])
    }

    @Test("a line has fewer than 64 KiB, with or without an end, at once or byte by byte")
    func longLines() throws {
        let longest = [UInt8](repeating: 0x61, count: LineBuffer.longestLine - 1)
        #expect(try lines([longest + [0x0A]]).first?.utf8.count == longest.count)
        #expect(throws: LineBuffer.TooLong.self) { try lines([longest + [0x61, 0x0A]]) }
        #expect(throws: LineBuffer.TooLong.self) { try lines([longest, [0x61]]) }
        #expect(throws: LineBuffer.TooLong.self) {
            try lines([[UInt8]](repeating: [UInt8](repeating: 0, count: 1000), count: 66))
        }
    }

    @Test("whoever has heard enough is told no more")
    func stopping() throws {
        var buffer = LineBuffer()
        var count = 0
        try buffer.take(Bytes(utf8: "a\nb\nc\nd").span) { _ in
            count += 1
            return count < 2
        }
        #expect(count == 2)
        #expect(buffer.waiting == 0)
    }
}
