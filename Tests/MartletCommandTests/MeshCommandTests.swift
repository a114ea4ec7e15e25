import Foundation
import MartletMesh
import MartletWire
import TestSupport
import Testing

@testable import MartletCommand

@Suite("martlet mesh")
struct MeshCommandTests {
    private func mesh(_ words: String..., onTerminal: Bool = false) throws -> TestProgram {
        try TestProgram(TestProgram.path(of: "martlet"), ["mesh"] + words, onTerminal: onTerminal)
    }

    /// The port that `program` says it listens on.
    private func port(of program: TestProgram) async throws -> String {
        let line = try await program.line { $0.contains("listening on port") }
        return String(line.split(separator: " ").last!)
    }

    @Test("lines from a pipe are said once the mesh is found, and the end of them ends the command")
    func pipes() async throws {
        let alice = try mesh("0", "--name", "alice", "--max-peers", "10", "--debug")
        let port = try await port(of: alice)
        let bob = try mesh("0", "localhost:\(port)", "--name", "bob")
        bob.write("network status looks good\nPING\n\nbye")
        bob.endInput()
        #expect(try await bob.end() == 0)
        _ = try await alice.line { $0.contains(/^\[\d\d:\d\d:\d\d\] \[bob\] network status looks good$/) }
        _ = try await alice.line { $0.contains(/\] \[bob\] bye$/) }
        _ = try await alice.line {
            $0.contains(/\] \[NETWORK\] Peer bob connected from localhost:\d+ \(1\/10 peers\)$/)
        }
        _ = try await alice.line { $0.hasSuffix("[NETWORK] Peer bob disconnected (0/10 peers)") }
        _ = try await alice.line { $0.hasSuffix("[DEBUG] Received REQUEST_PEERS from bob") }
        _ = try await bob.line { $0.hasSuffix("[NETWORK] Connected to peer alice at localhost:\(port) (1/20 peers)") }
        _ = try await bob.line { $0.contains("[ERROR] Not sent: PING is a word of the mesh's protocol") }
        _ = try await bob.line { $0.contains("[SYSTEM] The mesh is not encrypted") && $0.hasSuffix("with --secure") }
        #expect(bob.text.ranges(of: "is not encrypted").count == 1)
        alice.endInput()
        #expect(try await alice.end() == 0)
    }

    @Test("a port in use is said plainly, with one that may be free")
    func portInUse() async throws {
        let alice = try mesh("0")
        let port = try await port(of: alice)
        let second = try mesh(port)
        _ = try await second.line { $0.contains("port \(port) is in use by another program; take another, such as") }
        #expect(try await second.end() == 1)
    }

    @Test("JSON is one object for each event, and holds nothing that a terminal acts on")
    func json() async throws {
        let alice = try mesh("0", "--json")
        let line = try await alice.line { $0.contains("\"event\":\"started\"") }
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        let bob = try mesh("0", "localhost:\(object["port"] ?? 0)", "--name", "b\u{9B}31m\u{202E}ob")
        bob.write("hello \u{1B}[2J\n")
        let message = try await alice.line { $0.contains("\"event\":\"message\"") }
        #expect(message.unicodeScalars.allSatisfy(TerminalText.isSafe))
        let said = try #require(try JSONSerialization.jsonObject(with: Data(message.utf8)) as? [String: Any])
        #expect(said["text"] as? String == "hello \u{1B}[2J")
        #expect((said["peer"] as? [String: Any])?["name"] as? String == "b\u{9B}31m\u{202E}ob")
    }

    @Test("on a terminal a line that is being typed survives what others say, and can be called back")
    func terminal() async throws {
        let alice = try mesh("0", "--name", "alice", onTerminal: true)
        let port = try await port(of: alice)
        let bob = try mesh("0", "localhost:\(port)", "--name", "bob\u{1B}[31m")
        _ = try await alice.line { $0.contains("Peer bob\\u{1B}[31m connected") }
        alice.write("half a sen")
        try await alice.wait { $0.contains("half a sen") }
        bob.write("interrupting\n")
        _ = try await alice.line { $0.contains("] interrupting") }
        // The line comes back below what was shown, and goes on.
        try await alice.wait { text in
            guard let shown = text.range(of: "] interrupting") else { return false }
            return text[shown.upperBound...].contains("> half a sen")
        }
        alice.write("tence\n")
        _ = try await bob.line { $0.hasSuffix("[alice] half a sentence") }
        // Upwards, and again.
        alice.write("\u{1B}[A\n")
        try await bob.wait { $0.ranges(of: "[alice] half a sentence").count == 2 }
        alice.write("/peers\n")
        _ = try await alice.line { $0.contains("[SYSTEM] 1/20 peers, ") }
        alice.write("/help\n")
        _ = try await alice.line { $0.contains("/connect HOST:PORT") }
        alice.write("/connect localhost:1\n")
        _ = try await alice.line { $0.contains("[ERROR] Connecting to localhost:1 failed: refused") }
        alice.write("PEERS:x\n")
        _ = try await alice.line { $0.contains("[ERROR] Not sent: PEERS: is a word of the mesh's protocol") }
        alice.write("/quit\n")
        #expect(try await alice.end() == 0)
        _ = try await bob.line { $0.contains("Peer alice disconnected") || $0.contains("peer alice") }
    }

    @Test("the end of the input, typed or by Ctrl-C, ends it on a terminal as well", arguments: ["\u{4}", "\u{3}"])
    func endOnTerminal(key: String) async throws {
        let alice = try mesh("0", onTerminal: true)
        _ = try await port(of: alice)
        try await alice.wait { $0.contains("> ") }
        alice.write(key)
        #expect(try await alice.end() == 0)
    }

    private static let bob = MeshPeer.sample("bob", "192.168.1.100:8002", isInbound: true)
    private static let charlie = MeshPeer.sample("charlie", "localhost:8003", isInbound: false)
    private static let addresses = ["localhost:8004", "localhost:8005"].map { MeshAddress($0)! }

    @Test(
        "each event is shown as people know it",
        arguments: [
            (.started(id: "peer-8001", name: "alice", port: 8001), "[SYSTEM] Node alice listening on port 8001"),
            (
                .connected(bob, count: 1, maximum: 10),
                "[NETWORK] Peer bob connected from 192.168.1.100:8002 (1/10 peers)"
            ),
            (
                .connected(charlie, count: 2, maximum: 10),
                "[NETWORK] Connected to peer charlie at localhost:8003 (2/10 peers)"
            ),
            (.discovered(count: 3, via: bob, known: 5), "[DISCOVERY] Found 3 peers via bob (total known: 5)"),
            (.message(from: bob, text: "network status looks good"), "[bob] network status looks good"),
            (.message(from: bob, text: "\u{1B}[2J"), "[bob] \\u{1B}[2J"),
            (.message(from: .sample("System", "localhost:1", isInbound: true), text: "x"), "[System (peer-1)] x"),
            (.removedStale(bob), "[MAINTENANCE] Removed stale peer bob (timeout)"),
            (.sent(.ping, to: bob), "[DEBUG] Sent PING to bob"),
            (.received(.pong, from: bob), "[DEBUG] Received PONG from bob"),
            (.sent(.requestPeers, to: charlie), "[DEBUG] Sent REQUEST_PEERS to charlie"),
            (
                .received(.peers(addresses), from: charlie),
                "[DEBUG] Received PEERS: localhost:8004,localhost:8005 from charlie"
            ),
        ] as [(MeshEvent, String)])
    func lines(event: MeshEvent, line: String) {
        #expect(MeshLines(isDebugging: true).line(for: event) == line)
        if line.hasPrefix("[DEBUG]") { #expect(MeshLines(isDebugging: false).line(for: event) == nil) }
    }

    @Test("a line is stamped with the time of day")
    func stamps() {
        #expect(MeshLines.stamped("x", at: Date()).contains(/^\[\d\d:\d\d:\d\d\] x$/))
    }
}

extension MeshPeer {
    fileprivate static func sample(_ name: String, _ address: String, isInbound: Bool) -> MeshPeer {
        let address = MeshAddress(address)!
        return MeshPeer(
            id: "peer-\(address.port)", name: name, address: address, isInbound: isInbound, fingerprint: nil)
    }
}
