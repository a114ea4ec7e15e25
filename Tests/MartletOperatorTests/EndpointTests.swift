import Foundation
import Martlet
import Synchronization
import TestSupport
import Testing

@testable import MartletOperator

@Suite("Operator's endpoint")
struct EndpointTests {
    private enum Color: String, MetricLabels {
        case red
        case odd = "odd \"\\\n"
        static let names = ["color"]
    }

    /// A registry in which there is something of each kind.
    private func registry() -> MetricsRegistry {
        let registry = MetricsRegistry()
        registry.counters("martlet_test_things", help: "Things \\ by\ncolor.", by: Color.self)[.odd].increment(by: 3)
        registry.counter("dht_received", help: "Bytes that came in", unit: .bytes).increment(by: 77)
        registry.gauge("martlet_test_level", help: "A level.").record(-5)
        let times = registry.histogram("martlet_test_round_trip", help: "Round trips.")
        times.record(Duration.milliseconds(3))
        times.record(Duration.seconds(500))
        return registry
    }

    /// Runs `body` with the port of an endpoint whose node is ready as `isReady` says.
    private func withEndpoint(
        token: AccessToken? = nil, isReady: Bool = true, profiling: Profiling? = nil,
        _ body: @escaping @Sendable (UInt16) async throws -> Void
    ) async throws {
        try await withEnvironment { environment in
            let endpoint = try OperatorEndpoint(
                at: EndpointAddress("127.0.0.1:0", token: token), on: environment,
                .init(
                    registries: [registry()],
                    health: {
                        [
                            .init(name: "loop", isOk: true, isRequired: true, detail: "it turns"),
                            .init(
                                name: "listening", isOk: isReady, isRequired: true,
                                detail: isReady ? "at 2 addresses" : "nothing listens any more"),
                            .init(name: "dht", isOk: false, isRequired: false, detail: "nobody answers"),
                        ]
                    }), profiling: profiling, limits: HTTPLimits())
            defer { endpoint.stop() }
            try await body(endpoint.address.port)
        }
    }

    @Test("metrics are what promtool takes for good metrics")
    func promtool() async throws {
        try await withEndpoint { port in
            let answer = try await get(port, "/metrics")
            #expect(answer.status == 200)
            #expect(answer.head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"))
            let lines = answer.text.split(separator: "\n").map(String.init)
            #expect(lines.contains(#"martlet_test_things_total{color="odd \"\\\n"} 3"#))
            #expect(lines.contains("martlet_dht_received_bytes_total 77"))
            #expect(lines.contains("martlet_test_level -5"))
            #expect(lines.contains(#"martlet_test_round_trip_seconds_bucket{le="0.005"} 1"#))
            #expect(lines.contains(#"martlet_test_round_trip_seconds_bucket{le="+Inf"} 2"#))
            #expect(lines.contains("martlet_test_round_trip_seconds_sum 500.003"))
            #expect(lines.contains { $0.hasPrefix("process_resident_memory_bytes ") })
            let program = try TestProgram("/usr/bin/promtool", ["check", "metrics"])
            program.write(answer.text)
            program.endInput()
            #expect(try await program.end() == 0, "\(program.text)")
            try await program.waitForEndOfOutput()
            #expect(program.text.isEmpty, "\(program.text)")
        }
    }

    @Test("a node whose network side is dead is alive and not ready, and says why")
    func readiness() async throws {
        try await withEndpoint(isReady: false) { port in
            #expect(try await get(port, "/healthz").status == 200)
            let ready = try await get(port, "/readyz")
            #expect(ready.status == 503)
            #expect(ready.text.hasPrefix("not ready\n+ loop: it turns\n- listening: nothing listens any more\n~ dht:"))
            let json = try await get(port, "/readyz?format=json")
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            let health = try decoder.decode(ControlHealth.self, from: Data(json.body))
            #expect(!health.isReady && health.checks.count == 3 && health.schemaVersion == 1)
        }
        try await withEndpoint { port in
            let ready = try await get(port, "/readyz")
            #expect(ready.status == 200)
        }
    }

    @Test("who has no token, or a wrong one, learns only whether the node lives and is ready")
    func token() async throws {
        let word = "0123456789abcdef0123456789abcdef"
        try await withEndpoint(token: try AccessToken(word)) { port in
            let wrong = [
                [], ["Authorization: Bearer 0123456789abcdef0123456789abcdee"], ["Authorization: \(word)"],
                ["Authorization: Bearer"], ["Authorization: Basic \(word)"], ["Authorization: Bearer \(word)0"],
            ]
            for fields in wrong {
                for target in ["/metrics", "/", "/debug/pprof/heap", "/nothing"] {
                    let answer = try await get(port, target, fields)
                    #expect(answer.status == 401 && !answer.text.contains("martlet_"), "\(target) \(fields)")
                    #expect(answer.head.contains("WWW-Authenticate: Bearer"))
                }
                #expect(try await get(port, "/readyz", fields).text == "ok\n")
            }
            for field in ["Authorization: Bearer \(word)", "authorization: bearer  \(word)"] {
                #expect(try await get(port, "/metrics", [field]).status == 200)
                #expect(try await get(port, "/readyz", [field]).text.contains("listening"))
            }
        }
    }

    @Test("without a token only this host's own addresses are taken for its name")
    func hosts() async throws {
        try await withEndpoint { port in
            for (host, status) in [
                ("localhost", 200), ("localhost:\(port)", 200), ("127.0.0.1:\(port)", 200), ("[::1]:\(port)", 200),
                ("evil.example", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example:80", 403),
            ] {
                let answer = try await onOwnThread {
                    let client = try RawClient(port: port)
                    client.send("GET /metrics HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
                    return Answer(client.receiveBytes())
                }
                #expect(answer.status == status, "\(host)")
            }
        }
    }

    @Test("what is not there, and what is not to be done, is said so")
    func refusals() async throws {
        try await withEndpoint { port in
            #expect(try await get(port, "/nothing").status == 404)
            #expect(try await get(port, "/debug/pprof/heap").status == 501)
            let posted = try await onOwnThread { ask(try RawClient(port: port), "POST", "/metrics", body: "x") }
            #expect(posted.status == 405)
        }
    }

    @Test("profiles are taken one at a time and for no longer than they may")
    func profiles() async throws {
        let begun = Mutex(0)
        let profiling = Profiling(
            heap: { Array("heap profile: 1: 8 [ 1: 8] @ heap_v2/524288\n 1: 8 [ 1: 8] @ 0x10\n".utf8) },
            sampleEvery: { _ in },
            begin: {
                begun.withLock { $0 += 1 }
                return true
            },
            end: {
                [0, 3, 0, 10_000, 0, 0, 1, 0].flatMap { (word: UInt64) in withUnsafeBytes(of: word) { Array($0) } }
            },
            liveBytes: { 1234 }, demangled: { _ in nil })
        try await withEndpoint(profiling: profiling) { port in
            for seconds in ["0", "121", "x", "-1"] {
                #expect(try await get(port, "/debug/pprof/profile?seconds=\(seconds)").status == 400)
            }
            async let first = get(port, "/debug/pprof/profile?seconds=2")
            try await onOwnThread {
                let deadline = Date(timeIntervalSinceNow: 20)
                while begun.withLock({ $0 }) == 0, Date() < deadline { usleep(1000) }
            }
            #expect(try await get(port, "/debug/pprof/profile?seconds=1").status == 409)
            #expect(try await first.status == 200)
            #expect(try await get(port, "/debug/pprof/heap").status == 200)
            #expect(try await get(port, "/debug/pprof/symbol").text == "num_symbols: 1\n")
            #expect(try await get(port, "/debug/pprof/cmdline").text.contains(CommandLine.arguments[0]))
            #expect(try await get(port, "/metrics").text.contains("martlet_live_bytes 1234\n"))
            let symbols = try await onOwnThread {
                ask(try RawClient(port: port), "POST", "/debug/pprof/symbol", body: "0x10+0xzz+0x20")
            }
            #expect(symbols.text == "num_symbols: 1\n0x10\t0x10\n0x20\t0x20\n")
        }
    }

    @Test(
        "an endpoint that others could reach has a token or is none",
        arguments: [
            ("127.0.0.1:9000", true), ("[::1]:9000", true), ("localhost:9000", true), ("9000", true), (":9000", true),
            ("127.0.0.1", true), ("0.0.0.0:9000", false), ("[::]:9000", false), ("192.0.2.1:9000", false),
            ("[::ffff:192.0.2.1]:80", false),
        ])
    func binding(text: String, isLocal: Bool) throws {
        let token = try AccessToken("0123456789abcdef")
        #expect(throws: Never.self) { try EndpointAddress(text, token: token) }
        if isLocal {
            #expect(throws: Never.self) { try EndpointAddress(text) }
        } else {
            let error = #expect(throws: OperatorError.self) { try EndpointAddress(text) }
            #expect(error?.code == .unprotected && error?.message.contains("token") == true)
        }
    }

    @Test(
        "what is no address is said to be none", arguments: ["", "x", "1.2.3.4:99999", "host:1", "-1", "/ip4/1.2.3.4"])
    func noAddress(text: String) {
        #expect(throws: OperatorError.self) { try EndpointAddress(text) }
    }

    @Test("a token's file that others can read, or without a good token, is refused")
    func tokenFiles() throws {
        let folder = try TestFolder()
        func file(_ name: String, _ text: String, mode: Int) -> String {
            let path = folder.path + "/" + name
            _ = FileManager.default.createFile(
                atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: mode])
            return path
        }
        let good = "0123456789abcdef"
        #expect(try AccessToken(file: file("a", " \(good)\n", mode: 0o600)).isIn("Bearer \(good)"))
        for (name, text, mode) in [
            ("b", good, 0o640), ("c", "short", 0o600), ("d", "", 0o600), ("e", good + " x", 0o600),
            ("f", String(repeating: "x", count: 5000), 0o600),
        ] {
            #expect(throws: OperatorError.self) { try AccessToken(file: file(name, text, mode: mode)) }
        }
        #expect(throws: OperatorError.self) { try AccessToken(file: folder.path + "/none") }
        #expect(throws: OperatorError.self) { try AccessToken(file: folder.path) }
    }
}

@Suite("Control socket")
struct ControlSocketTests {
    @Test("only one has it, others are told who, and when that one is gone the next takes its place")
    func one() throws {
        let folder = try TestFolder()
        let path = folder.path + "/control.sock"
        let first = try ControlSocket(of: folder.path, path: path)
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        // Wherever else it would be talked to.
        let other = path + ".other"
        let error = #expect(throws: OperatorError.self) { try ControlSocket(of: folder.path, path: other) }
        #expect(error?.code == .alreadyRunning && stat(other, &status) != 0)
        #expect(error?.message.contains("(process \(getpid()))") == true && error?.message.contains(path) == true)
        first.release()
        close(first.descriptor)
        #expect(stat(path, &status) != 0)
        let second = try ControlSocket(of: folder.path, path: path)
        second.release()
        close(second.descriptor)
    }

    @Test("a socket that somebody left behind is no node that runs")
    func stale() throws {
        let folder = try TestFolder()
        let path = folder.path + "/control.sock"
        close(try ListeningSocket.unix(path))
        try "12345 /nowhere\n".write(
            toFile: folder.path + "/" + ControlSocket.lockName, atomically: true, encoding: .utf8)
        let socket = try ControlSocket(of: folder.path, path: path)
        socket.release()
        close(socket.descriptor)
    }

    @Test("what stands at a socket's path and is none stays where it is")
    func foreign() throws {
        let folder = try TestFolder()
        let path = folder.path + "/precious"
        try "a letter".write(toFile: path, atomically: true, encoding: .utf8)
        let link = folder.path + "/link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        for name in [path, link, folder.path] {
            let error = #expect(throws: OperatorError.self) { try ListeningSocket.unix(name) }
            #expect(error?.code == .file && error?.message.contains("is no socket") == true)
        }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "a letter")
    }

    @Test("a socket at which another program listens is left to it")
    func taken() throws {
        let folder = try TestFolder()
        let path = folder.path + "/control.sock"
        let first = try ListeningSocket.unix(path)
        defer { close(first) }
        let error = #expect(throws: OperatorError.self) { try ListeningSocket.unix(path) }
        #expect(error?.code == .alreadyRunning)
        var status = stat()
        #expect(stat(path, &status) == 0)
    }

    @Test("a path that is too long for a socket is said to be")
    func long() throws {
        let folder = try TestFolder()
        let error = #expect(throws: OperatorError.self) {
            try ControlSocket(of: folder.path, path: folder.path + "/" + String(repeating: "x", count: 100))
        }
        #expect(error?.message.contains("too long") == true)
    }
}
