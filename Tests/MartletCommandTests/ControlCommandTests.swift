import Foundation
import MartletOperator
import TestSupport
import Testing

@testable import MartletCommand

@Suite("Commands against a running node")
struct ControlCommandTests {
    private func run(_ words: [String]) async throws -> (code: Int32, text: String) {
        let program = try TestProgram(TestProgram.path(of: "martlet"), words)
        let code = try await program.end()
        try await program.waitForEndOfOutput()
        return (code, program.text)
    }

    private static let stranger = "12D3KooWSahP5pFRCEfaziPEba7urXGeif6T1y8jmodzdFUvzBHj"

    @Test(
        "where no node runs each ends with 3 and says how to start one",
        arguments: [
            ["status"], ["peers"], ["peers", "show", stranger], ["connect", stranger],
            ["connect", "/ip4/127.0.0.1/tcp/1"],
            ["disconnect", stranger], ["events", "--follow"], ["metrics"], ["id"], ["status", "--json"],
        ])
    func noNode(words: [String]) async throws {
        let outcome = try await run(words + ["--data-dir", "/nonexistent/folder"])
        #expect(outcome.code == 3)
        #expect(outcome.text.contains("start one with: martlet up --data-dir /nonexistent/folder"), "\(outcome.text)")
    }

    @Test(
        "what is used wrongly ends with 2 and says how",
        arguments: [
            (["peers", "--limit", "0"], "--limit is a number"), (["peers", "show"], "ID is missing"),
            (["peers", "shwo", "x"], "did you mean 'show'"), (["connect", "nobody"], "no peer's id"),
            (["connect", "/ip4/1.2.3"], "is no address"), (["disconnect"], "ID is missing"),
            (["events", "--folow"], "did you mean '--follow'"), (["status", "more"], "too many"),
        ])
    func usage(words: [String], reason: String) async throws {
        let outcome = try await run(words)
        #expect(outcome.code == 2)
        #expect(outcome.text.contains(reason), "\(outcome.text)")
    }

    @Test(
        "each has help with examples and what it ends with",
        arguments: [
            ["status"], ["peers"], ["peers", "show"], ["connect"], ["disconnect"], ["events"], ["metrics"], ["id"],
        ])
    func help(words: [String]) async throws {
        let outcome = try await run(words + ["--help"])
        #expect(outcome.code == 0)
        #expect(outcome.text.contains("Examples:") && outcome.text.contains("3  no node runs there"), "\(outcome.text)")
    }

    private func peer(_ id: String, _ name: String, link: ControlPeer.Link? = nil) throws -> ControlPeer {
        let json = """
            {"id":"\(id)","name":"\(name)","version":"martlet/0.1.0","type":"private","nat":"unknown",
            "topics":["chess"],"score":62.4,"last_seen":"2026-11-20T14:00:00.000000Z","addresses":2}
            """
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        var peer = try decoder.decode(ControlPeer.self, from: Data(json.utf8))
        peer.link = link
        return peer
    }

    private func link(_ transport: String, isRelayed: Bool, milliseconds: Double?) throws -> ControlPeer.Link {
        let measured = milliseconds.map { ",\"round_trip_milliseconds\":\($0)" } ?? ""
        let json = """
            {"transport":"\(transport)","direction":"inbound","is_relayed":\(isRelayed),"address":"/ip4/192.0.2.1/tcp/1",
            "since":"2026-11-20T14:47:55.5Z"\(measured)}
            """
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(ControlPeer.Link.self, from: Data(json.utf8))
    }

    @Test(
        "all peers are listed, however many pages they come in, or as many as are wanted",
        arguments: [
            (nil, 2500, [1000, 1000, 1000]), (1200, 1200, [1000, 200]), (7, 7, [7]), (3000, 2500, [1000, 1000, 1000]),
        ]
            as [(Int?, Int, [Int])])
    func peerPages(limit: Int?, expected: Int, asked: [Int]) throws {
        let all = try (0..<2500).map { try peer("peer\($0)", "") }
        var counts: [Int] = []
        let list = try PeersCommand.pages(upTo: limit) { count, cursor in
            counts.append(count)
            let start = cursor.flatMap { Int($0) } ?? 0
            let end = min(start + count, all.count)
            let isLast = end - start < count
            let list = #"{"schema_version":1,"peers":[]}"#
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            var page = try decoder.decode(ControlPeers.self, from: Data(list.utf8))
            page.peers = Array(all[start..<end])
            page.next = isLast ? nil : "\(end)"
            return page
        }
        #expect(list.peers.map(\.id) == all.prefix(expected).map(\.id))
        #expect(counts == asked)
    }

    @Test("peers are shown as a table that nothing in it can break")
    func peerTable() throws {
        let list = #"{"schema_version":1,"peers":[]}"#
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        var peers = try decoder.decode(ControlPeers.self, from: Data(list.utf8))
        let now = try #require(ISO8601DateFormatter().date(from: "2026-11-20T15:00:00Z"))
        #expect(peers.text(now: now) == "no peers")
        peers.peers = [
            try peer("12D3KooWA", "alpha", link: link("quic-v1", isRelayed: false, milliseconds: 12.34)),
            try peer("12D3KooWBB", "", link: link("tcp", isRelayed: true, milliseconds: nil)),
            try peer("12D3KooWC", "x\\n\\u001b[2Jy"),
        ]
        let expected = """
            ID          NAME           TYPE     TRANSPORT  PATH         RTT  SCORE   SINCE
            12D3KooWA   alpha          private  quic-v1    direct   12.3 ms     62   12m4s
            12D3KooWBB  -              private  tcp        relayed        -     62   12m4s
            12D3KooWC   x\\n\\u{1B}[2Jy  private  -          -              -     62  (1h0m)
            """
        #expect(peers.text(now: now) == expected, "\(peers.text(now: now))")
    }

    @Test(
        "spans and sizes are shown by what matters of them",
        arguments: [
            (0.0, "0s"), (59.9, "59s"), (60, "1m0s"), (3599, "59m59s"), (3600, "1h0m"), (86_399, "23h59m"),
            (90_000, "1d1h"), (-5, "0s"), (1e300, "11574074d1h"),
        ])
    func spans(seconds: Double, text: String) {
        #expect(spanText(seconds) == text)
    }

    @Test(
        "sizes are shown by what matters of them",
        arguments: [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (64 << 20, "67 MB")])
    func sizes(bytes: Int, text: String) {
        #expect(sizeText(bytes) == text)
    }

    @Test(
        "something else than a node at the socket is said to be that",
        arguments: [
            "", "SSH-2.0\r\n", "HTTP/1.0 200 OK\r\n\r\nnot JSON", "HTTP/1.0 500 x\r\n\r\n", "HTTP/1.0 200 OK\r\n",
        ])
    func strange(answer: String) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "martlet-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: (folder.path + "/control.sock").utf8) }
        let isBound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        try #require(isBound && listen(listener, 5) == 0)
        // Not by a task, which would wait for a thread of Swift's pool while other tests compute.
        Thread.detachNewThread {
            let client = accept(listener, nil, nil)
            var buffer = [UInt8](repeating: 0, count: 4096)
            _ = read(client, &buffer, buffer.count)
            _ = answer.withCString { write(client, $0, strlen($0)) }
            close(client)
        }
        let outcome = try await run(["status", "--data-dir", folder.path])
        #expect(outcome.code == 1, "\(outcome.text)")
        #expect(outcome.text.contains("another version"), "\(outcome.text)")
    }
}
