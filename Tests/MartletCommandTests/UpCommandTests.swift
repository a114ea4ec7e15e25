import Foundation
import Martlet
import TestSupport
import Testing

@testable import MartletCommand

@Suite("martlet up", .serialized)
struct UpCommandTests {
    /// A folder that is there while `body` runs.
    private func inFolder(_ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    private static let loopback = ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1"]

    /// A node that asks nobody outside of this machine, and takes no configuration that happens to lie about.
    private func up(_ folder: String, _ words: [String]) throws -> TestProgram {
        let environment = [
            "MARTLET_DHT_ENABLED": "false", "XDG_CONFIG_HOME": "/nonexistent", "MARTLET_LOG_FORMAT": "text",
        ]
        return try TestProgram(
            TestProgram.path(of: "martlet"), ["up", "--data-dir", folder] + words, variables: environment)
    }

    @Test("says who it is and what to type elsewhere, and what it says to type finds it; Ctrl-C ends it")
    func twoNodes() async throws {
        try await inFolder { folder in
            let first = try up("\(folder)/a", ["--topic", "chess club", "--log-level", "debug"] + Self.loopback)
            let line = try await first.line { $0.hasPrefix("  martlet up ") }
            #expect(line.hasPrefix("  martlet up --topic 'chess club' --bootstrap /ip4/127.0.0.1/udp/"))
            #expect(first.text.contains("its identity is new and kept in \(folder)/a/identity\n"))
            let address = try #require(line.split(separator: " ").last.flatMap { Multiaddr(String($0)) })
            let id = try #require(address.peerID)
            #expect(first.text.contains("martlet \(Martlet.version) is up as \(id)\n"))
            let second = try up("\(folder)/b", ["--topic", "chess club", "--bootstrap", "\(address)"] + Self.loopback)
            for node in [first, second] {
                _ = try await node.line { $0.contains("a neighbour is on the topic") && $0.contains("chess club") }
            }
            #expect(second.text.contains("peer=\(id)"))
            let begun = ContinuousClock.now
            second.signal(SIGINT)
            #expect(try await second.end() == 0)
            // The aim is two seconds; the machine may be busy.
            #expect(ContinuousClock.now - begun < .seconds(20))
            // It said goodbye.
            _ = try await first.line { $0.contains("disconnected") && $0.contains("the other side closed it") }
            first.signal(SIGTERM)
            #expect(try await first.end() == 0)
        }
    }

    @Test("what it says to type elsewhere keeps a private DHT private")
    func privateGreeting() async throws {
        try await inFolder { folder in
            let node = try TestProgram(
                TestProgram.path(of: "martlet"),
                ["up", "--data-dir", folder, "--topic", "chess", "--private-dht"] + Self.loopback,
                variables: ["XDG_CONFIG_HOME": "/nonexistent"])
            let line = try await node.line { $0.hasPrefix("  martlet up ") }
            #expect(line.hasPrefix("  martlet up --topic chess --private-dht --bootstrap /ip4/127.0.0.1/udp/"))
            node.signal(SIGINT)
            #expect(try await node.end() == 0)
        }
    }

    @Test("keeps its identity for itself, is the same the next time, and refuses one that others can read")
    func identity() async throws {
        try await inFolder { folder in
            var ids: [String] = []
            for _ in 0..<2 {
                let node = try up(folder, ["--json"] + Self.loopback)
                let line = try await node.line { $0.hasPrefix("{") && $0.contains("\"listening\":[") }
                let said = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
                ids.append(try #require(said["id"] as? String))
                #expect(said["schema_version"] as? Int == 1 && said["is_new_identity"] as? Bool == (ids.count == 1))
                node.signal(SIGINT)
                #expect(try await node.end() == 0)
            }
            #expect(ids[0] == ids[1])
            let path = "\(folder)/identity"
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
            let refused = try up(folder, Self.loopback)
            #expect(try await refused.end() == 1)
            try await refused.waitForEndOfOutput()
            #expect(refused.text.contains("can be read by others (mode 644)"))
        }
    }

    @Test("takes its file, which flags overrule, and does not start with a mistake in it")
    func configured() async throws {
        try await inFolder { folder in
            let file = "\(folder)/martlet.yaml"
            try "node: {name: kestrel, listen: [/ip4/127.0.0.1/udp/0/quic-v1]}\nnetwork: {topics: [chess]}\n"
                .write(toFile: file, atomically: false, encoding: .utf8)
            let node = try up("\(folder)/a", ["--config", file, "--topic", "go"])
            _ = try await node.line { $0.hasSuffix(" (kestrel)") }
            _ = try await node.line { $0 == "on go" }
            node.signal(SIGINT)
            #expect(try await node.end() == 0)
            try "node: {nam: kestrel}\n".write(toFile: file, atomically: false, encoding: .utf8)
            let wrong = try up("\(folder)/a", ["--config", file])
            #expect(try await wrong.end() == 2)
            try await wrong.waitForEndOfOutput()
            #expect(wrong.text.contains("\(file):1:8: node has no key 'nam'; did you mean 'name'?\n"))
            let missing = try up("\(folder)/a", ["--config", "\(folder)/missing"])
            #expect(try await missing.end() == 2)
        }
    }

    @Test("a program of a test ignores no signal that the tests themselves were told to ignore")
    func heeds() async throws {
        signal(SIGINT, SIG_IGN)
        let program = try TestProgram("/bin/grep", ["SigIgn:", "/proc/self/status"])
        let line = try await program.line { $0.hasPrefix("SigIgn:") }
        let ignored = try #require(line.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) })
        #expect(ignored & 1 << UInt64(SIGINT - 1) == 0)
    }

    @Test("goes on when its terminal hangs up if it was begun by nohup")
    func nohup() async throws {
        try await inFolder { folder in
            let command = "trap '' HUP; exec \(TestProgram.path(of: "martlet")) up --data-dir \(folder) "
            let environment = ["MARTLET_DHT_ENABLED": "false", "XDG_CONFIG_HOME": "/nonexistent"]
            let node = try TestProgram(
                "/bin/sh", ["-c", command + Self.loopback.joined(separator: " ")], variables: environment)
            _ = try await node.line { $0.contains(" is up as ") }
            let status = try String(contentsOfFile: "/proc/\(node.processIdentifier)/status", encoding: .utf8)
            let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("SigIgn:") })
            let ignored = try #require(line.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) })
            #expect(ignored & 1 << (UInt64(SIGHUP) - 1) != 0)
            node.signal(SIGHUP)
            node.signal(SIGINT)
            #expect(try await node.end() == 0)
        }
    }

    @Test("says the address by which others begin best, and quotes what a shell would not take for one word")
    func words() {
        let addresses = [
            "/ip4/127.0.0.1/udp/1/quic-v1", "/ip6/2001:db8::1/udp/1/quic-v1", "/ip4/192.0.2.1/tcp/1",
            "/ip4/192.0.2.1/udp/1/quic-v1",
        ].compactMap { Multiaddr($0) }
        #expect(RunningNode.toDial(addresses) == addresses[3])
        #expect(RunningNode.toDial([addresses[0]]) == addresses[0] && RunningNode.toDial([]) == nil)
        #expect(RunningNode.shellWord("chess") == "chess" && RunningNode.shellWord("it's") == "'it'\\''s'")
        #expect(RunningNode.shellWord("") == "''")
    }
}
