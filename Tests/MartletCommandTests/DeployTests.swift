import Foundation
import MartletRuntime
import Testing

@testable import MartletCommand

/// What can be told of the files in Deploy without installing them.
@Suite("Deploy")
struct DeployTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The settings of a file of systemd by section and name; a name may occur more than once.
    private func unit() throws -> [String: [(name: String, value: String)]] {
        var settings: [String: [(name: String, value: String)]] = [:]
        var section = ""
        for line in try text("Deploy/systemd/martlet.service").split(separator: "\n") where !line.hasPrefix("#") {
            if line.hasPrefix("[") {
                section = line.trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
            } else {
                let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                try #require(parts.count == 2 && !section.isEmpty, "\(line)")
                settings[section, default: []].append((String(parts[0]), String(parts[1])))
            }
        }
        return settings
    }

    @Test("the service starts the command by options that it has, and gives it no rights")
    func service() throws {
        let unit = try unit()
        #expect(Set(unit.keys) == ["Unit", "Service", "Install"])
        let service = Dictionary(unit["Service"] ?? [], uniquingKeysWith: { $0 + " " + $1 })
        var words = try #require(service["ExecStart"]).split(separator: " ").map(String.init)
        #expect(words.removeFirst() == "/usr/local/bin/martlet" && words.first == "up")
        #expect(parse(words, root: MartletCommand.self).problem == nil)
        // The folder that the options name is the one that systemd makes.
        #expect(words.contains("/var/lib/" + (service["StateDirectory"] ?? "?")))
        #expect(service["RestartPreventExitStatus"] == "\(ExitCode.usage.rawValue)")
        for name in ["NoNewPrivileges", "PrivateDevices", "ProtectHome", "DynamicUser", "MemoryDenyWriteExecute"] {
            #expect(service[name] == "yes", "\(name)")
        }
        #expect(service["CapabilityBoundingSet"] == "" && service["ProtectSystem"] == "strict")
        // Sockets to others, to commands, and to the kernel for its interfaces.
        #expect(service["RestrictAddressFamilies"] == "AF_INET AF_INET6 AF_UNIX AF_NETLINK")
    }

    @Test("the kernel's limits are at least what a node asks for")
    func sysctl() throws {
        let lines = try text("Deploy/sysctl.d/90-martlet.conf").split(separator: "\n").filter { !$0.hasPrefix("#") }
        let values = try lines.map { line in
            let match = try #require(try /([a-z._]+) = (\d+)/.wholeMatch(in: line), "\(line)")
            return (String(match.1), Int(match.2) ?? 0)
        }
        let limits = Dictionary(uniqueKeysWithValues: values)
        #expect(Set(limits.keys) == ["net.core.rmem_max", "net.core.wmem_max"])
        #expect(limits["net.core.rmem_max"] ?? 0 >= UDPOptions().receiveBufferSize)
        #expect(limits["net.core.wmem_max"] ?? 0 >= UDPOptions().sendBufferSize)
    }

    @Test("the image is made from plain images, in stages, and runs as nobody of importance")
    func docker() throws {
        let text = try text("Deploy/docker/Dockerfile").replacing("\\\n", with: " ")
        let lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { $0.split(separator: " ") }
        func all(_ word: String) -> [[Substring]] { lines.filter { $0.first == Substring(word) } }
        let stages = all("FROM").compactMap { $0.count == 4 ? $0[3] : nil }
        for from in all("FROM") {
            let image = try #require(from.dropFirst().first)
            #expect(image.hasPrefix("debian:") || image.hasPrefix("swift:") || stages.contains(image), "\(image)")
        }
        #expect(all("FROM").count > 1 && stages.count == all("FROM").count - 1)
        #expect(all("USER").map { $0.dropFirst().first } == ["martlet"])
        #expect(all("ENTRYPOINT").map { $0[1] } == ["[\"/usr/local/bin/martlet\"]"])
        #expect(text.contains("MARTLET_NODE_DATA_DIR=/var/lib/martlet") && text.contains("VOLUME /var/lib/martlet"))
        // Whatever the package is built from is installed.
        let package = try self.text("Package.swift")
        let needed = package.matches(of: /\.apt\(\[([^\]]*)\]/).flatMap { $0.1.matches(of: /"([^"]+)"/).map { $0.1 } }
        #expect(!needed.isEmpty)
        let words = Set(lines.joined())
        for name in needed { #expect(words.contains(name), "\(name) is not installed in the image") }
    }
}
