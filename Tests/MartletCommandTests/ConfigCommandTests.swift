import Foundation
import MartletConfiguration
import TestSupport
import Testing

@testable import MartletCommand

@Suite("martlet config")
struct ConfigCommandTests {
    /// A folder that is there while `body` runs, with these files in it.
    private func inFolder(_ files: [String: String], _ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for (name, text) in files {
            let path = "\(folder)/\(name)"
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try text.write(toFile: path, atomically: false, encoding: .utf8)
        }
        try await body(folder)
    }

    /// What the command says and how it ends.
    private func run(
        _ words: [String], environment: [String: String] = [:]
    ) async throws -> (output: String, errors: String, code: Int32) {
        try await onOwnThread {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: TestProgram.path(of: "martlet"))
            process.arguments = ["config"] + words
            process.environment = ["HOME": "/nonexistent", "PATH": "/usr/bin"].merging(environment) { $1 }
            let (output, errors) = (Pipe(), Pipe())
            (process.standardOutput, process.standardError) = (output, errors)
            process.standardInput = FileHandle.nullDevice
            try process.run()
            // Both together are shorter than a pipe is long.
            let said = output.fileHandleForReading.readDataToEndOfFile()
            let complained = errors.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return (
                String(decoding: said, as: UTF8.self), String(decoding: complained, as: UTF8.self),
                process.terminationStatus
            )
        }
    }

    @Test("validate tells every mistake on standard error and ends with 1, and with 0 where there is none")
    func validate() async throws {
        let files = ["bad.yaml": "node:\n  rol: peer\n  listen_port: x\n", "good.yaml": "node: {role: worker}\n"]
        try await inFolder(files) { folder in
            let bad = try await run(["validate", "\(folder)/bad.yaml"])
            #expect(bad.code == 1 && bad.output.isEmpty)
            #expect(
                bad.errors == """
                    \(folder)/bad.yaml:2:3: node has no key 'rol'; did you mean 'role'?
                    \(folder)/bad.yaml:3:16: node.listen_port is 'x'; write a whole number from 0 to 65535
                    see: martlet config reference

                    """)
            let good = try await run(["validate", "\(folder)/good.yaml"])
            #expect(good.code == 0 && good.output == "\(folder)/good.yaml is fine\n")
            #expect(good.errors.hasPrefix("\(folder)/good.yaml:1:8: warning: node.role is 'worker'"))
            let json = try await run(["validate", "\(folder)/bad.yaml", "--json"])
            #expect(json.code == 1 && json.errors.isEmpty)
            let answer = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
            #expect(answer["schema_version"] as? Int == 1 && answer["is_valid"] as? Bool == false)
            #expect((answer["mistakes"] as? [[String: Any]])?.map { $0["line"] as? Int } == [2, 3])
        }
    }

    @Test("a file that is named must be there, and be a file; used wrongly it ends with 2")
    func unreadable() async throws {
        try await inFolder(["a/b": ""]) { folder in
            let missing = try await run(["validate", "\(folder)/c"])
            #expect(
                missing.code == 1
                    && missing.errors.contains("cannot read the configuration \(folder)/c: it does not exist;"))
            let folderAsFile = try await run(["show", "\(folder)/a"])
            #expect(
                folderAsFile.code == 1 && folderAsFile.errors.contains("cannot read the configuration \(folder)/a:"))
        }
        #expect(try await run(["validate", "--zzz"]).code == 2)
        #expect(try await run(["reference", "--json", "--markdown"]).code == 2)
    }

    @Test("show says where each value comes from, and no file is fine")
    func show() async throws {
        try await inFolder(["martlet/martlet.yaml": "node:\n  name: kestrel\nlog: {levels: {quicPort: debug}}\n"]) {
            folder in
            let environment = ["XDG_CONFIG_HOME": folder, "MARTLET_NETWORK_TOPICS": "chess"]
            let shown = try await run(["show"], environment: environment)
            #expect(shown.code == 0 && shown.errors.isEmpty)
            let lines = shown.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(lines.count == ConfigurationKey.all.count)
            #expect(lines.contains(["node.name", "kestrel", "\(folder)/martlet/martlet.yaml:2"]))
            #expect(lines.contains(["network.topics", "[chess]", "MARTLET_NETWORK_TOPICS"]))
            #expect(lines.contains(["node.heartbeat_interval", "15s", "default"]))
            let json = try await run(["show", "--json"], environment: environment)
            let answer = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
            let keys = try #require(answer["keys"] as? [[String: Any]])
            let levels = keys.first { $0["key"] as? String == "log.levels" }
            #expect(levels?["value"] as? [String: String] == ["quicPort": "debug"])
        }
        let none = try await run(["validate"], environment: ["XDG_CONFIG_HOME": "/nonexistent"])
        #expect(none.code == 0 && none.output.hasPrefix("there is no configuration file"))
    }

    @Test("reference writes a file that validates")
    func reference() async throws {
        let reference = try await run(["reference"])
        #expect(reference.code == 0 && reference.output == ConfigurationReference.file)
        try await inFolder(["martlet.yaml": reference.output]) { folder in
            let validated = try await run(["validate"], environment: ["MARTLET_CONFIG": "\(folder)/martlet.yaml"])
            #expect(validated.code == 0 && validated.errors.isEmpty)
        }
        let json = try await run(["reference", "--json"])
        let answer = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect((answer["keys"] as? [Any])?.count == ConfigurationKey.all.count)
    }

    @Test("the user's file comes before the system's, and a relative place of the environment counts for nothing")
    func places() {
        #expect(
            ConfigurationFile.places(["XDG_CONFIG_HOME": "/x", "HOME": "/h"]) == [
                "/x/martlet/martlet.yaml", "/etc/martlet/martlet.yaml",
            ])
        #expect(
            ConfigurationFile.places(["XDG_CONFIG_HOME": "x", "HOME": "/h"]) == [
                "/h/.config/martlet/martlet.yaml", "/etc/martlet/martlet.yaml",
            ])
        #expect(
            ConfigurationFile.places([:]) == [
                "\(NSHomeDirectory())/.config/martlet/martlet.yaml", "/etc/martlet/martlet.yaml",
            ])
        #expect(UserFolders(["HOME": "/h"]).martlet == "/h/.local/share/martlet")
        #expect(UserFolders(["HOME": "/h", "XDG_DATA_HOME": "/x"]).martlet == "/x/martlet")
        #expect(
            UserFolders(["HOME": "h", "XDG_DATA_HOME": "x"]).martlet == NSHomeDirectory() + "/.local/share/martlet")
        #expect(UserFolders(["HOME": "/h"]).expanded("~/a") == "/h/a")
        #expect(UserFolders(["HOME": "/h"]).expanded("~other/a") == "~other/a")
    }
}
