import Foundation
import MartletOperator
import TestSupport
import Testing

@testable import MartletCommand

/// `martlet up` as a process, with a folder of its own, and the commands that talk to it.
@Suite("A running node", .serialized)
struct UpControlTests {
    /// A node that runs as long as this is kept.
    private final class RunningProgram: Sendable {
        let folder: String
        let program: TestProgram

        init(_ words: [String] = [], folder: String? = nil, variables: [String: String] = [:]) throws {
            self.folder = try folder ?? Self.newFolder()
            program = try TestProgram(
                TestProgram.path(of: "martlet"),
                ["up", "--data-dir", self.folder, "--private-dht", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"] + words,
                variables: variables.merging(["XDG_CONFIG_HOME": self.folder]) { $1 })
        }

        deinit { try? FileManager.default.removeItem(atPath: folder) }

        static func newFolder() throws -> String {
            let path = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString.prefix(8))"
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            return path
        }

        /// Waits until it can be talked to.
        func begin() async throws {
            _ = try await program.line { $0.hasPrefix("listening at /ip4/127.0.0.1/udp/") }
        }

        /// Ends it as Ctrl-C does.
        func end() async throws -> Int32 {
            let status = try await json(["status"], ControlStatus.self)
            kill(Int32(status.process), SIGINT)
            return try await program.end()
        }

        /// What a command about it prints, and what it ends with.
        func run(_ words: [String]) async throws -> (code: Int32, text: String) {
            try await UpControlTests.run(words + ["--data-dir", folder])
        }

        /// What it prints as JSON.
        func json<Shape: Decodable & Sendable>(_ words: [String], _ shape: Shape.Type) async throws -> Shape {
            let outcome = try await run(words + ["--json"])
            #expect(outcome.code == 0, "\(outcome.text)")
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return try decoder.decode(shape, from: Data(outcome.text.utf8))
        }
    }

    private static func run(_ words: [String]) async throws -> (code: Int32, text: String) {
        try await run(TestProgram.path(of: "martlet"), words)
    }

    private static func run(
        _ path: String, _ words: [String], variables: [String: String] = [:]
    ) async throws -> (code: Int32, text: String) {
        let program = try TestProgram(path, words, variables: variables)
        let code = try await program.end()
        try await program.waitForEndOfOutput()
        return (code, program.text)
    }

    @Test("two nodes are connected and looked at by commands alone, and a second one in the same folder is refused")
    func commands() async throws {
        let alpha = try RunningProgram(["--topic", "chess", "--name", "alpha"])
        let beta = try RunningProgram(["--topic", "chess", "--name", "beta"])
        try await alpha.begin()
        try await beta.begin()
        let identity = try await beta.json(["id"], ControlIdentity.self)
        #expect(try await beta.run(["id"]).text.hasPrefix(identity.id + "\n/ip4/127.0.0.1/udp/"))

        let connected = try await alpha.run(["connect", identity.addresses[0]])
        #expect(connected.code == 0 && connected.text == "connected: \(identity.id)\n", "\(connected.text)")
        let status = try await alpha.json(["status"], ControlStatus.self)
        #expect(status.connections.total == 1 && status.name == "alpha" && status.http == nil)
        let text = try await alpha.run(["status"]).text
        for part in ["alpha", status.id, "1: 0 in, 1 out, 1 by quic-v1", "control.sock"] {
            #expect(text.contains(part), "\(text)")
        }
        let peers = try await alpha.json(["peers", "--connected"], ControlPeers.self)
        #expect(peers.peers.map(\.id) == [identity.id])
        let table = try await alpha.run(["peers"]).text.split(separator: "\n").map(String.init)
        #expect(table.first?.hasPrefix("ID ") == true && table.last?.hasPrefix(identity.id) == true, "\(table)")
        let details = try await alpha.run(["peers", "show", identity.id])
        #expect(details.code == 0 && details.text.contains("quic-v1, outbound, direct"), "\(details.text)")
        #expect(try await alpha.run(["metrics"]).text.contains("\nmartlet_swarm_connections 1\n"))
        #expect(try await alpha.json(["metrics"], ControlMetrics.self).metrics.count > 20)

        let second = try RunningProgram(folder: alpha.folder)
        #expect(try await second.program.end() == 1)
        try await second.program.waitForEndOfOutput()
        #expect(second.program.text.contains("a node runs already with these files (process \(status.process))"))
        #expect(second.program.text.contains(alpha.folder + "/control.sock"), "\(second.program.text)")

        let failed = try await alpha.run(["connect", "/ip4/127.0.0.1/udp/9/quic-v1"])
        #expect(failed.code == 1 && failed.text.contains("cannot connect"), "\(failed.text)")
        #expect(try await alpha.run(["disconnect", identity.id]).code == 0)
        #expect(try await alpha.end() == 0)
        #expect(try await alpha.run(["status"]).code == 3)
        #expect(!FileManager.default.fileExists(atPath: alpha.folder + "/control.sock"))
    }

    @Test("events are told as they happen, to people and to programs, and one event where none is to follow")
    func events() async throws {
        let alpha = try RunningProgram(["--topic", "chess"])
        let beta = try RunningProgram(["--topic", "chess"])
        try await alpha.begin()
        try await beta.begin()
        let path = TestProgram.path(of: "martlet")
        let people = try TestProgram(path, ["events", "--follow", "--data-dir", alpha.folder])
        let programs = try TestProgram(path, ["events", "--json", "-f", "--data-dir", alpha.folder])
        let one = try TestProgram(path, ["events", "--data-dir", alpha.folder])
        // The metrics say when all three are there.
        try await onOwnThread {
            let client = ControlClient(path: alpha.folder + "/control.sock")
            let deadline = Date(timeIntervalSinceNow: 20)
            while Date() < deadline {
                let text = try String(decoding: client.ask("GET", "/v1/metrics").body, as: UTF8.self)
                if text.contains("martlet_control_streams 3\n") { return }
                usleep(10_000)
            }
        }
        let identity = try await beta.json(["id"], ControlIdentity.self)
        #expect(try await alpha.run(["connect", identity.addresses[0]]).code == 0)
        let line = try await people.line { $0.contains(" connected ") }
        #expect(line.contains(identity.id) && line.contains("quic-v1 outbound /ip4/127.0.0.1/"), "\(line)")
        _ = try await programs.line { $0.contains("\"event\":\"connected\"") && $0.hasPrefix("{") }
        #expect(try await one.end() == 0)
        #expect(try await alpha.end() == 0)
        #expect(try await people.end() == 0)
    }

    @Test("the operator's endpoint serves profiles that go tool pprof reads by HTTP, with this program's names")
    func pprof() async throws {
        // Far more samples than by itself, so that there are some of a node that does nothing.
        let node = try RunningProgram(
            ["--topic", "chess", "--http", "127.0.0.1:0"], variables: ["TCMALLOC_SAMPLE_PARAMETER": "4096"])
        try await node.begin()
        let http = try #require(try await node.json(["status"], ControlStatus.self).http)
        let home = ["HOME": node.folder, "PPROF_TMPDIR": node.folder]
        let heap = try await Self.run(
            "/usr/bin/go", ["tool", "pprof", "-top", "http://\(http)/debug/pprof/heap"], variables: home)
        #expect(heap.code == 0 && heap.text.contains("Type: inuse_space"), "\(heap.text)")
        // A sanitizer has an allocator of its own, which takes no samples.
        #expect(Sanitizer.name != nil || heap.text.contains("MartletRuntime.EventLoop.turn("), "\(heap.text)")
        let profile = try await Self.run(
            "/usr/bin/go", ["tool", "pprof", "-top", "http://\(http)/debug/pprof/profile?seconds=1"], variables: home)
        #expect(profile.code == 0 && profile.text.contains("Type: cpu"), "\(profile.text)")

        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
        let samples = node.folder + "/samples"
        let monitor = try await Self.run("/bin/sh", [root + "/Scripts/monitor", http, "1", "2", samples])
        #expect(monitor.code == 0, "\(monitor.text)")
        let lines = try String(contentsOfFile: samples + "/samples.csv", encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 3 && lines[1].split(separator: ",", omittingEmptySubsequences: false).count == 7)
        #expect(lines.last?.contains(",,") == false, "\(lines)")
        let difference = try await Self.run(
            "/usr/bin/go",
            ["tool", "pprof", "-top", "-base", samples + "/heap-begin.pb", samples + "/heap-end.pb"], variables: home)
        #expect(difference.code == 0 && difference.text.contains("inuse_space"), "\(difference.text)")
        #expect(try await node.end() == 0)
    }

    @Test("metrics of a running node are good ones to promtool, and the node becomes ready")
    func metrics() async throws {
        let node = try RunningProgram(["--topic", "chess", "--http", "127.0.0.1:0"])
        try await node.begin()
        let http = try #require(try await node.json(["status"], ControlStatus.self).http)
        let metrics = try await Self.run("/usr/bin/curl", ["-s", "--fail", "http://\(http)/metrics"])
        #expect(metrics.code == 0 && metrics.text.contains("martlet_loop_lag_seconds_bucket"))
        let program = try TestProgram("/usr/bin/promtool", ["check", "metrics"])
        program.write(metrics.text)
        program.endInput()
        #expect(try await program.end() == 0, "\(program.text)")
        let byControl = try await Self.run(
            "/usr/bin/curl", ["-s", "--unix-socket", node.folder + "/control.sock", "http://node/v1/health"])
        #expect(byControl.text.contains("\"is_ready\":true"), "\(byControl.text)")
        #expect(try await Self.run("/usr/bin/curl", ["-s", "--fail", "http://\(http)/readyz"]).code == 0)
        let refused = try await Self.run(["up", "--data-dir", node.folder + "/other", "--http", "0.0.0.0:0"])
        #expect(refused.code != 0 && refused.text.contains("token"), "\(refused.text)")
        #expect(try await node.end() == 0)
    }
}
