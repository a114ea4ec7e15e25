import Foundation
import TestSupport
import Testing

/// Nodes as people run them: processes with folders of their own, that find each other on this machine.
@Suite("The story of three nodes")
final class NodeStoryTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID())")
    private static let patience: TimeInterval = 60

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// What `martlet up --json` tells, and `martlet peers --json`, as far as it is looked at.
    private struct Beginning: Decodable {
        var id: String
        var listening: [String]
    }

    private struct Peers: Decodable {
        struct Peer: Decodable {
            struct Link: Decodable { var transport: String }
            var id: String
            var name: String
            var link: Link?
        }
        var peers: [Peer]
    }

    private struct Status: Decodable {
        struct Store: Decodable { var waiting: Int }
        var store: Store
    }

    private struct Trouble: Error, CustomStringConvertible { let description: String }

    private struct Running {
        var name: String
        var program: TestProgram
        var beginning: Beginning
    }

    private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    /// Starts a node of its own private DHT, which begins at `bootstrap`.
    private func start(_ name: String, topic: String?, bootstrap: String?) async throws -> Running {
        var words = ["up", "--json", "--name", name, "--data-dir", path(name), "--log-level", "warning"]
        words += ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"]
        if let topic { words += ["--topic", topic] }
        var variables = ["MARTLET_DHT_PRIVATE": "true", "XDG_CONFIG_HOME": folder.path]
        if let bootstrap { variables["MARTLET_DHT_BOOTSTRAP"] = bootstrap }
        let program = try TestProgram(TestProgram.path(of: "martlet"), words, variables: variables)
        // A line of the log, which comes by the same way here, is an object as well.
        let line = try await program.line { $0.hasPrefix("{") && $0.contains("\"listening\":[") }
        return Running(
            name: name, program: program,
            beginning: try JSONDecoder().decode(Beginning.self, from: Data(line.utf8)))
    }

    /// What the node `name` answers to a command.
    private func ask<Answer: Decodable>(_ name: String, _ word: String, _ type: Answer.Type) async throws -> Answer {
        let asked = try TestProgram(
            TestProgram.path(of: "martlet"), [word, "--json", "--data-dir", path(name)],
            variables: ["XDG_CONFIG_HOME": folder.path])
        _ = try await asked.end()
        try await asked.waitForEndOfOutput()
        return try JSONDecoder().decode(type, from: Data(asked.text.utf8))
    }

    /// How many changes wait to be written by the node `name`.
    private func waiting(_ name: String) async throws -> Int {
        try await ask(name, "status", Status.self).store.waiting
    }

    /// Who is connected to the node `name` now, by name.
    private func connected(to name: String) async throws -> [String: String] {
        let peers = try await ask(name, "peers", Peers.self).peers
        return Dictionary(peers.filter { $0.link != nil }.map { ($0.name, $0.id) }) { $1 }
    }

    /// Waits until each of `names` is connected to all others. Says how long it took.
    private func meet(_ names: [String], _ what: String) async throws -> TimeInterval {
        let began = Date()
        while true {
            var isDone = true
            for name in names where isDone {
                isDone = Set(try await connected(to: name).keys).isSuperset(of: names.filter { $0 != name })
            }
            if isDone { return Date().timeIntervalSince(began) }
            guard Date().timeIntervalSince(began) < Self.patience else {
                throw Trouble(description: what)
            }
        }
    }

    @Test("three find each other by a private DHT; one is killed and comes back by its database alone")
    func story() async throws {
        let first = try await start("first", topic: nil, bootstrap: nil)
        let quic = try #require(first.beginning.listening.first { $0.contains("/quic-v1") })
        let port = try #require(quic.split(separator: "/").dropFirst(3).first)
        let names = ["kestrel", "swift", "martin"]
        var running: [Running] = []
        for name in names {
            running.append(try await start(name, topic: "harbour", bootstrap: "127.0.0.1:\(port)"))
        }
        let met = try await meet(names, "the three never met")
        print("three processes have met \(met) s after the last of them was up")
        let ids = try await connected(to: "kestrel")
        #expect(ids["swift"] == running[1].beginning.id && ids["martin"] == running[2].beginning.id)

        // Once its database has all of it, the node where they began goes, and one is killed.
        while try await waiting("kestrel") > 0 {}
        first.program.signal(SIGKILL)
        _ = try await first.program.end()
        running[0].program.signal(SIGKILL)
        _ = try await running[0].program.end()
        let back = try await start("kestrel", topic: "harbour", bootstrap: nil)
        #expect(back.beginning.id == running[0].beginning.id)
        let again = try await meet(names, "the one that came back did not find the others")
        print("one that was killed has met the others again after \(again) s")

        for one in [back, running[1], running[2]] {
            let began = Date()
            one.program.signal(SIGINT)
            #expect(try await one.program.end() == 0)
            #expect(Date().timeIntervalSince(began) < 10)
        }
    }
}
