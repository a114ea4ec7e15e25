import Foundation
import MartletMainline
import MartletWire
import TestSupport
import Testing

/// `martlet dht` as people use it, in a private DHT of libtorrent's nodes.
@Suite("martlet dht among libtorrent's nodes", .serialized)
struct DHTCommandTests {
    private let peer: PeerProcess
    private let bootstrap: [String]

    init() async throws {
        peer = try PeerProcess("libtorrent_dht.py", ["4"])
        let ports = try await peer.answer(within: .seconds(30)) { $0["ports"] != nil }["ports"] as? [Int] ?? []
        bootstrap = ports.flatMap { ["--bootstrap", "127.0.0.1:\($0)"] }
    }

    /// Runs `martlet dht` with these words to its end. Says what it ended with and what it wrote.
    private func dht(_ words: [String], onTerminal: Bool = false) async throws -> (code: Int32, lines: [Substring]) {
        let path = TestProgram.path(of: "martlet")
        let program = try TestProgram(path, ["dht"] + words + bootstrap, onTerminal: onTerminal)
        let code = try await program.end()
        try await program.waitForEndOfOutput()
        return (code, program.text.split(separator: "\n"))
    }

    private func object(_ line: Substring?) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data((line ?? "").utf8)) as? [String: Any])
    }

    @Test("find tells of peers, and ends with 1 where there are none")
    func find() async throws {
        let none = try await dht(["find", "nobody is here"])
        #expect(none.code == 1 && none.lines.isEmpty)
        let topic = Topic("announced by libtorrent")
        peer.tell("announce 1 \(topic.infohash) 5001")
        _ = try await peer.ask("find 2 \(topic.infohash)") { fields in
            fields["infohash"] as? String == "\(topic.infohash)" && fields["peers"] as? [String] == ["127.0.0.1:5001"]
        }
        let found = try await dht(["find", topic.name])
        #expect(found.code == 0 && found.lines == ["127.0.0.1:5001"])
        let json = try await dht(["find", "\(topic.infohash)", "--json"])
        #expect(json.code == 0)
        #expect(try object(json.lines.first)["peer"] as? String == "127.0.0.1:5001")
    }

    @Test("what announce tells, libtorrent finds, and sample shows")
    func announce() async throws {
        let topic = Topic("announced by the command")
        let announced = try await dht(["announce", topic.name, "--port", "5002", "--once", "--json"])
        #expect(announced.code == 0)
        let fields = try object(announced.lines.first)
        #expect(fields["announced"] as? String == "\(topic.infohash)")
        #expect((fields["nodes"] as? Int ?? 0) >= 4)
        let answer = try await peer.ask("find 2 \(topic.infohash)") { $0["infohash"] as? String == "\(topic.infohash)" }
        #expect((answer["peers"] as? [String])?.contains("127.0.0.1:5002") == true)
        let sample = try await dht(["sample"])
        #expect(sample.code == 0 && sample.lines.contains("\(topic.infohash)"))
    }

    @Test("what put stores, get and libtorrent read; a second version follows the first")
    func items() async throws {
        let put = try await dht(["put", "hello", "--json"])
        #expect(put.code == 0)
        let target = try #require(try object(put.lines.first)["target"] as? String)
        let got = try await dht(["get", target])
        #expect(got.code == 0 && got.lines == ["hello"])
        let theirs = try await peer.ask("get 1 \(target)") { $0["target"] as? String == target }
        #expect(theirs["value"] as? String == "hello")

        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-dht-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("author.key")
        try Data(String(repeating: "0f", count: 32).utf8).write(to: file)
        var key = ""
        for version in 1...2 {
            let signed = try await dht([
                "put", "edition \(version)", "--secret-key", file.path, "--salt", "news", "--json",
            ])
            let fields = try object(signed.lines.first)
            #expect(signed.code == 0 && fields["seq"] as? Int == version)
            key = fields["key"] as? String ?? ""
        }
        let newest = try await dht(["get", key, "--salt", "news", "--json"])
        let fields = try object(newest.lines.first)
        #expect(newest.code == 0 && fields["value"] as? String == "edition 2" && fields["seq"] as? Int == 2)
        #expect(try await dht(["get", key, "--salt", "other"]).code == 1)
        // An older version is refused by all.
        #expect(try await dht(["put", "late", "--secret-key", file.path, "--salt", "news", "--seq", "1"]).code == 1)
    }

    @Test("what a stranger has stored reaches a pipe as it is, and a terminal with nothing that it would act on")
    func strangersBytes() async throws {
        let put = try await dht(["put", "a\u{1B}[2J\u{9B}31mb\u{202E}c", "--json"])
        let target = try #require(try object(put.lines.first)["target"] as? String)
        let piped = try await dht(["get", target])
        #expect(piped.lines == ["a\u{1B}[2J\u{9B}31mb\u{202E}c"])
        let shown = try await dht(["get", target], onTerminal: true)
        #expect(shown.code == 0)
        #expect(shown.lines.contains { $0.hasSuffix("a\\u{1B}[2J\\u{9B}31mb\\u{202E}c") }, "\(shown.lines)")
        let json = try await dht(["get", target, "--json"])
        #expect(json.lines.first?.unicodeScalars.allSatisfy(TerminalText.isSafe) == true)
        #expect(try object(json.lines.first)["value"] as? String == "a\u{1B}[2J\u{9B}31mb\u{202E}c")
    }

    @Test("nodes shows libtorrent's, and on a terminal how far it has come")
    func nodes() async throws {
        let nodes = try await dht(["nodes", "--json"])
        #expect(nodes.code == 0)
        let addresses = try nodes.lines.filter { $0.hasPrefix("{") }.compactMap { try object($0)["address"] as? String }
        #expect(Set(addresses).isSuperset(of: bootstrap.filter { $0 != "--bootstrap" }))
        let shown = try await dht(["nodes"], onTerminal: true)
        #expect(shown.code == 0)
        #expect(shown.lines.contains { $0.contains(/asked \d+, answered \d+, \d+ bits close/) })
    }
}
