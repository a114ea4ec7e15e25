import Foundation
import TestSupport
import Testing

@testable import MartletCommand

@Suite("What becomes of a command whose output cannot be written")
struct OutputTests {
    private static let offline = [
        ["version"], ["--help"], ["up", "--help"], ["config", "reference"], ["config", "reference", "--json"],
        ["config", "show"], ["config", "validate"],
    ]

    /// Runs `martlet` with `words` by a line of bash in which `"$@"` is the command.
    private func run(_ script: String, _ words: [String]) async throws -> (code: Int32, text: String) {
        let program = try TestProgram(
            "/bin/bash", ["-c", script, "bash", TestProgram.path(of: "martlet")] + words,
            variables: ["XDG_CONFIG_HOME": "/nonexistent"])
        let code = try await program.end()
        try await program.waitForEndOfOutput()
        return (code, program.text)
    }

    /// To a file on a full disk.
    private static let full = #""$@" > /dev/full"#
    /// To somebody who has gone, where the system does not end the writer by a signal.
    private static let closed = #"trap "" PIPE; exec 3> >(exec true); wait $!; "$@" >&3"#

    @Test("on a full disk it says so and ends with 1", arguments: offline)
    func fullDisk(words: [String]) async throws {
        let outcome = try await run(Self.full, words)
        #expect(outcome.code == 1)
        #expect(outcome.text.contains("its output cannot be written: No space left on device"), "\(outcome.text)")
        #expect(!outcome.text.contains("Fatal"), "\(outcome.text)")
    }

    @Test("if its reader has left it ends without a word", arguments: offline)
    func readerLeft(words: [String]) async throws {
        let outcome = try await run(Self.closed, words)
        #expect(outcome.code == 0)
        #expect(outcome.text.isEmpty, "\(outcome.text)")
    }

    @Test("the same holds of what a running node is asked, and of a node that cannot greet")
    func runningNode() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let variables = ["MARTLET_DHT_ENABLED": "false", "XDG_CONFIG_HOME": "/nonexistent"]
        let listen = ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1"]
        let node = try TestProgram(
            TestProgram.path(of: "martlet"), ["up", "--data-dir", "\(folder)/a"] + listen, variables: variables)
        _ = try await node.line { $0.contains("is up as") }
        for words in [["status"], ["status", "--json"], ["peers", "--json"], ["metrics"], ["id"]] {
            let words = words + ["--data-dir", "\(folder)/a"]
            let failed = try await run(Self.full, words)
            #expect(failed.code == 1 && failed.text.contains("No space left"), "\(words): \(failed)")
            let ended = try await run(Self.closed, words)
            #expect(ended.code == 0 && ended.text.isEmpty, "\(words): \(ended)")
        }
        node.signal(SIGINT)
        #expect(try await node.end() == 0)
        let mute = try await run(
            "export MARTLET_DHT_ENABLED=false; " + Self.full, ["up", "--data-dir", "\(folder)/b"] + listen)
        #expect(mute.code == 1 && mute.text.contains("No space left"), "\(mute)")
    }

    @Test("a mesh that cannot show what is said ends with 1")
    func meshOutput() async throws {
        let outcome = try await run(Self.full, ["mesh", "0"])
        #expect(outcome.code == 1 && outcome.text.contains("No space left"), "\(outcome)")
    }
}
