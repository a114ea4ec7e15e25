import Foundation
import TestSupport
import Testing

/// The README's chapter on the mesh, followed word for word, each command on a terminal of its own. Only the build
/// differs, and the ports, which may be in use.
@Suite("The README's three terminals")
final class ReadmeTests {
    /// The folder of the package.
    private static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID())").path
    /// The ports that stand for those in the README.
    private let ports: [String: String]
    /// The chapter, with those.
    private let chapter: String

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let readme = try String(contentsOf: Self.package.appendingPathComponent("README.md"), encoding: .utf8)
        let start = try #require(readme.range(of: "\n## Three terminals\n"))
        let rest = readme[start.upperBound...]
        let whole = rest[..<(try #require(rest.range(of: "\n## ")).lowerBound)]
        let named = Set(whole.matches(of: /\b800[0-9]\b/).map { String($0.output) })
        ports = Dictionary(uniqueKeysWithValues: zip(named, freePorts(named.count)))
        chapter = ports.reduce(into: String(whole)) { $0.replace($1.key, with: $1.value) }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// The commands that it says to type, in their order.
    private var commands: [String] {
        chapter.matches(of: /```sh\n([^`]*?)\n```/).map { match in
            String(match.1).replacing(".build/release/martlet", with: TestProgram.path(of: "martlet"))
        }
    }

    private func type(_ command: String) throws -> TestProgram {
        try TestProgram("/bin/sh", ["-c", "exec \(command)"], onTerminal: true, variables: ["XDG_DATA_HOME": folder])
    }

    /// Types the commands of the three terminals, each behind what the one before has to say.
    private func threeTerminals(_ more: String = "") async throws -> [TestProgram] {
        var terminals: [TestProgram] = []
        for (number, command) in commands.prefix(3).enumerated() {
            terminals.append(try type(command + more))
            let port = ports["800\(number + 1)"] ?? ""
            _ = try await terminals[number].line { $0.contains("listening on port \(port)") }
        }
        return terminals
    }

    /// Waits until `terminal` tells that `name` is connected, and `more` in the same line.
    private func shows(_ terminal: TestProgram, _ name: String, _ more: String = "/20 peers)") async throws {
        let ways = ["[NETWORK] Peer \(name) connected from ", "[NETWORK] Connected to peer \(name) at "]
        _ = try await terminal.line { line in ways.contains { line.contains($0) } && line.contains(more) }
    }

    @Test("three terminals chat, netcat joins, and each leaves as the README says")
    func chat() async throws {
        #expect(commands.count == 4)
        let terminals = try await threeTerminals()
        let names = ["alice", "bob", "carol"]
        for (terminal, own) in zip(terminals, names) {
            for name in names where name != own { try await shows(terminal, name) }
        }
        // What is typed in one is shown in the two others, just as the README shows it.
        let shown = try #require(
            chapter.firstMatch(of: /\n\[[0-9:]{8}\] (\[NETWORK\] .*)\n\[[0-9:]{8}\] (\[carol\] (.*))\n/))
        let (arrival, line) = (String(shown.1), String(shown.2))
        #expect(terminals[0].text.contains(arrival) || terminals[1].text.contains(arrival))
        terminals[2].write("\(shown.3)\n")
        for terminal in terminals[..<2] { _ = try await terminal.line { $0.hasSuffix("] \(line)") } }

        let netcat = try type(commands[3])
        netcat.write("dave:Dave\n")
        let answer = "peer-\(ports["8001"] ?? ""):alice"
        #expect(chapter.contains("Type `dave:Dave` first") && chapter.contains("`\(answer)` is the answer"))
        _ = try await netcat.line { $0 == answer }
        netcat.write("hello from netcat\n")
        _ = try await terminals[0].line { $0.hasSuffix("] [Dave] hello from netcat") }

        terminals[0].write("/help\n")
        _ = try await terminals[0].line { $0.contains("/quit") }
        for terminal in terminals { terminal.write("/quit\n") }
        for terminal in terminals { #expect(try await terminal.end() == 0) }
    }

    @Test("with --secure behind each command, the three chat with their keys shown, and netcat is told why not")
    func secure() async throws {
        #expect(chapter.contains("With `--secure` behind each of the three commands"))
        let terminals = try await threeTerminals(" --secure")
        for (terminal, name) in zip(terminals, ["bob", "carol", "alice"]) {
            try await shows(terminal, name, " with key 12D3KooW")
        }
        try await shows(terminals[0], "carol", " with key 12D3KooW")
        let netcat = try type(commands[3])
        netcat.write("dave:Dave\n")
        _ = try await netcat.line { $0.hasPrefix("REFUSED - this mesh is encrypted") }
        terminals[2].write("hello, you two\n")
        for terminal in terminals[..<2] { _ = try await terminal.line { $0.hasSuffix("] [carol] hello, you two") } }
    }
}

/// TCP ports that nobody uses just now, from among those that the system gives to nobody by itself.
private func freePorts(_ count: Int) -> [String] {
    // All are held until all are known, so that they differ.
    var held: [UInt16: Int32] = [:]
    defer { for descriptor in held.values { close(descriptor) } }
    while held.count < count {
        let port = UInt16.random(in: 10_000..<30_000)
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) == 0 }
        }
        if isBound { held[port] = descriptor } else { close(descriptor) }
    }
    return held.keys.map(String.init)
}
