import Foundation
import Martlet
import TestSupport
import Testing

@testable import MartletCommand

@Suite("martlet mesh --secure")
final class SecureMeshCommandTests {
    /// A folder for the keys of one test.
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID())").path

    init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func mesh(_ words: String..., key: String? = nil, onTerminal: Bool = false) throws -> TestProgram {
        let identity = key.map { ["--identity", "\(folder)/\($0)"] } ?? []
        return try TestProgram(
            TestProgram.path(of: "martlet"), ["mesh"] + words + ["--secure"] + identity, onTerminal: onTerminal,
            variables: ["XDG_DATA_HOME": "\(folder)/data"])
    }

    private func port(of program: TestProgram) async throws -> String {
        let line = try await program.line { $0.contains("listening on port") }
        return String(line.split(separator: " ").last!)
    }

    /// The key that `program` says it shows to others.
    private func key(of program: TestProgram) async throws -> String {
        let line = try await program.line { $0.contains("[SYSTEM] The mesh is encrypted") }
        return String(line.split(separator: " ").last!)
    }

    @Test("peers are shown with their keys: when they connect, when they are listed, and in JSON")
    func fingerprints() async throws {
        let alice = try mesh("0", "--name", "alice", key: "alice", onTerminal: true)
        let (port, aliceKey) = (try await port(of: alice), try await key(of: alice))
        let bob = try mesh("0", "localhost:\(port)", "--name", "bob", key: "bob")
        let bobKey = try await key(of: bob)
        #expect(aliceKey.hasPrefix("12D3KooW") && bobKey.hasPrefix("12D3KooW") && aliceKey != bobKey)
        _ = try await alice.line {
            $0.hasSuffix("with key \(bobKey) (1/20 peers)") && $0.contains("Peer bob connected")
        }
        _ = try await bob.line {
            $0.hasSuffix("[NETWORK] Connected to peer alice at localhost:\(port) with key \(aliceKey) (1/20 peers)")
        }
        alice.write("/peers\n")
        _ = try await alice.line { $0.contains("[SYSTEM]   bob at ") && $0.hasSuffix(", key \(bobKey)") }
        let carol = try mesh("0", "localhost:\(port)", "--json", key: "carol")
        let started = try await carol.line { $0.contains("\"event\":\"started\"") }
        let connected = try await carol.line { $0.contains("\"event\":\"connected\"") && $0.contains("\"alice\"") }
        #expect(started.contains("\"secure\":true") && started.contains("\"fingerprint\":\"12D3KooW"))
        #expect(connected.contains("\"fingerprint\":\"\(aliceKey)\""))
        _ = try await carol.line {
            $0.contains("\"event\":\"connected\"") && $0.contains("\"fingerprint\":\"\(bobKey)\"")
        }
        bob.write("hello\n")
        _ = try await alice.line { $0.hasSuffix("] [bob] hello") }
        _ = try await carol.line { $0.contains("\"text\":\"hello\"") }
        for program in [alice, bob, carol] { program.write("/quit\n") }
        for program in [alice, bob, carol] { #expect(try await program.end() == 0) }
    }

    @Test("netcat, and a mesh that is not encrypted, are told in one line why they are refused")
    func refusals() async throws {
        let alice = try mesh("0", "--debug", key: "alice")
        let port = try await port(of: alice)
        let netcat = try TestProgram("/usr/bin/env", ["nc", "localhost", port])
        netcat.write("dave:Dave\n")
        _ = try await netcat.line { $0.hasPrefix("REFUSED - this mesh is encrypted") }
        // It waits for the end of its input as well.
        netcat.endInput()
        #expect(try await netcat.end() == 0)
        #expect(netcat.text.split(separator: "\n").count == 1)
        let plain = try TestProgram(TestProgram.path(of: "martlet"), ["mesh", "0", "localhost:\(port)"])
        _ = try await plain.line { $0.contains("failed: ") && $0.contains("'REFUSED - this mesh is encrypted") }
        _ = try await alice.line { $0.hasSuffix(": its connection is not encrypted") }
        let plainPort = try await self.port(of: plain)
        let bob = try mesh("0", "localhost:\(plainPort)", key: "bob")
        _ = try await bob.line { $0.contains("Bootstrap via localhost:\(plainPort) failed: it takes no encrypted") }
        for program in [alice, plain, bob] { program.endInput() }
        for program in [alice, plain, bob] { #expect(try await program.end() == 0) }
    }

    @Test("the key is made once, for its owner alone, and kept")
    func kept() async throws {
        var keys: [String] = []
        for _ in 0..<2 {
            let alice = try mesh("0")
            keys.append(try await key(of: alice))
            alice.endInput()
            #expect(try await alice.end() == 0)
        }
        #expect(keys[0] == keys[1])
        let path = "\(folder)/data/martlet/identity"
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/data/martlet") == ["identity"])
    }

    @Test("several that start at once with no key yet end with the same one")
    func together() async throws {
        let programs = try (0..<4).map { _ in try mesh("0", key: "together") }
        var keys: Set<String> = []
        for program in programs { keys.insert(try await key(of: program)) }
        #expect(keys.count == 1)
        for program in programs { program.endInput() }
        for program in programs { #expect(try await program.end() == 0) }
    }

    @Test(
        "a key that others may have read, or that is none, is not used",
        arguments: [
            (0o644, 68, "can be read by others (mode 644)"), (0o640, 68, "can be read by others (mode 640)"),
            (0o600, 0, "holds no key"), (0o600, 67, "holds no key"), (0o600, 100_000, "holds no key"),
        ])
    func unusable(mode: Int, size: Int, message: String) async throws {
        let path = "\(folder)/key"
        _ = try IdentityFile(path).key()
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        let content = size <= whole.count ? whole.prefix(size) : Data(count: size)
        try content.write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        let alice = try mesh("0", key: "key")
        _ = try await alice.line { $0.contains("martlet mesh: the key's file \(path) \(message)") }
        #expect(try await alice.end() == 1)
    }

    @Test(
        "what is no file, or cannot be one, is said to be that",
        arguments: [(".", "is no file"), ("key/key", "cannot")])
    func noFile(name: String, message: String) async throws {
        _ = try IdentityFile("\(folder)/key").key()
        let alice = try mesh("0", key: name)
        _ = try await alice.line { $0.contains("martlet mesh: the key's file") && $0.contains(message) }
        #expect(try await alice.end() == 1)
    }

    @Test("a key without encryption is of no use, and said to be")
    func identityAlone() async throws {
        let alice = try TestProgram(TestProgram.path(of: "martlet"), ["mesh", "0", "--identity", "\(folder)/key"])
        _ = try await alice.line { $0.contains("--identity is of use with --secure alone") }
        #expect(try await alice.end() == 2)
    }
}
