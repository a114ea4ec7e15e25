import Foundation
import Martlet
import TestSupport
import Testing

@testable import MartletOperator

@Suite("Control of a running node")
struct ControlTests {
    /// A node on this machine, and where it is controlled.
    struct Controlled: Sendable {
        var node: Node
        var path: String

        func ask(_ method: String = "GET", _ target: String, body: String = "") async throws -> Answer {
            let path = path
            return try await onOwnThread {
                MartletOperatorTests.ask(try RawClient(path: path), method, target, body: body)
            }
        }

        func get<Shape: Decodable & Sendable>(_ target: String, _ shape: Shape.Type) async throws -> Shape {
            let answer = try await ask("GET", target)
            #expect(answer.status == 200, "\(answer.text)")
            return try decoded(answer, shape)
        }

        func order(_ target: String, _ order: ControlOrder) async throws -> Answer {
            try await ask("POST", target, body: String(decoding: JSONEncoder().encode(order), as: UTF8.self))
        }
    }

    /// Runs `body` with a node on loopback that is controlled.
    private func withNode(
        _ name: String, log sink: any LogSink = CollectingLogSink(),
        _ body: @escaping @Sendable (Controlled) async throws -> Void
    ) async throws {
        let folder = try TestFolder()
        try await withEnvironment(log: sink) { environment in
            var configuration = NodeConfiguration(topics: ["chess"], name: name)
            configuration.dht = nil
            configuration.keepsFiles = false
            configuration.listen = [
                Multiaddr(.ip(.loopbackV4), .udp(0), .quicV1), Multiaddr(.ip(.loopbackV4), .tcp(0)),
            ]
            let node = Node(configuration, environment: environment)
            try await node.start()
            let socket = try ControlSocket(of: folder.path, path: folder.path + "/control.sock")
            let server = try ControlServer(of: node, on: environment, at: socket)
            let outcome: Result<Void, any Error>
            do {
                outcome = .success(try await body(Controlled(node: node, path: socket.path)))
            } catch {
                outcome = .failure(error)
            }
            server.stop()
            await node.stop()
            try outcome.get()
        }
        withExtendedLifetime(folder) {}
    }

    @Test("two nodes are connected, looked at and parted by their control sockets alone")
    func twoNodes() async throws {
        try await withNode("alpha") { alpha in
            try await withNode("beta") { beta in
                let identity = try await beta.get("/v1/id", ControlIdentity.self)
                #expect(identity.name == "beta" && identity.id == "\(beta.node.id)" && !identity.addresses.isEmpty)

                let connected = try await alpha.order("/v1/connect", ControlOrder(address: identity.addresses[0]))
                #expect(connected.status == 200, "\(connected.text)")
                #expect(try decoded(connected, ControlDone.self).peer == identity.id)

                let status = try await alpha.get("/v1/status", ControlStatus.self)
                #expect(status.schemaVersion == 1 && status.name == "alpha" && status.control == alpha.path)
                #expect(status.connections.total == 1 && status.connections.outbound == 1)
                #expect(status.process == Int(getpid()) && status.memory.residentBytes > 1 << 20)

                let peers = try await alpha.get("/v1/peers?connected=true", ControlPeers.self)
                #expect(peers.peers.map(\.id) == [identity.id])
                #expect(peers.peers.first?.link?.direction == "outbound")
                #expect(try await alpha.get("/v1/peers?limit=1&topic=nothing", ControlPeers.self).peers.isEmpty)
                let details = try await alpha.get("/v1/peers/\(identity.id)", ControlPeerDetails.self)
                #expect(details.peer.id == identity.id)

                let health = try await alpha.get("/v1/health", ControlHealth.self)
                #expect(!health.checks.isEmpty)
                let metrics = try await alpha.get("/v1/metrics?format=json", ControlMetrics.self)
                #expect(metrics.metrics.contains { $0.name == "martlet_swarm_connections" })
                #expect(try await alpha.ask("GET", "/v1/metrics").text.contains("martlet_swarm_connections 1\n"))

                let parted = try await alpha.order("/v1/disconnect", ControlOrder(peer: identity.id))
                #expect(parted.status == 200)
            }
        }
    }

    @Test("what cannot be done is answered by an error with its code and a sentence")
    func failures() async throws {
        try await withNode("alpha") { node in
            let stranger = "12D3KooWSahP5pFRCEfaziPEba7urXGeif6T1y8jmodzdFUvzBHj"
            let cases: [(String, String, String, Int, String)] = [
                ("GET", "/", "", 404, "not_found"), ("GET", "/v1", "", 404, "not_found"),
                ("GET", "/v2/status", "", 404, "not_found"), ("GET", "/v1/nothing", "", 404, "not_found"),
                ("GET", "/v1/status/more", "", 404, "not_found"), ("POST", "/v1/status", "{}", 405, "method"),
                ("GET", "/v1/connect", "", 405, "method"), ("DELETE", "/v1/peers/\(stranger)", "", 405, "method"),
                ("GET", "/v1/peers/nobody", "", 400, "invalid_request"),
                ("GET", "/v1/peers/\(stranger)", "", 404, "unknown_peer"),
                ("GET", "/v1/peers?limit=0", "", 400, "invalid_request"),
                ("GET", "/v1/peers?limit=10001", "", 400, "invalid_request"),
                ("GET", "/v1/peers?connected=perhaps", "", 400, "invalid_request"),
                ("POST", "/v1/connect", "", 400, "invalid_request"),
                ("POST", "/v1/connect", "{", 400, "invalid_request"),
                ("POST", "/v1/connect", "[]", 400, "invalid_request"),
                ("POST", "/v1/connect", "{}", 400, "invalid_request"),
                ("POST", "/v1/connect", #"{"address":"x"}"#, 400, "invalid_request"),
                ("POST", "/v1/connect", #"{"peer":"x"}"#, 400, "invalid_request"),
                (
                    "POST", "/v1/connect", #"{"peer":"\#(stranger)","address":"/ip4/127.0.0.1/tcp/1"}"#, 400,
                    "invalid_request"
                ),
                ("POST", "/v1/connect", #"{"address":"/ip4/127.0.0.1/tcp/9"}"#, 502, "unreachable"),
                ("POST", "/v1/connect", #"{"peer":"\#(stranger)"}"#, 502, "unreachable"),
                ("POST", "/v1/disconnect", "{}", 400, "invalid_request"),
                ("POST", "/v1/disconnect", #"{"peer":"x"}"#, 400, "invalid_request"),
            ]
            for (method, target, body, status, code) in cases {
                let answer = try await node.ask(method, target, body: body)
                #expect(answer.status == status, "\(method) \(target) \(body): \(answer.text)")
                let failure = try decoded(answer, ControlFailure.self)
                #expect(failure.error.code == code && !failure.error.message.isEmpty, "\(target) \(body)")
                #expect(failure.schemaVersion == 1)
            }
        }
    }

    @Test("each reader of events has all of them, and one that sleeps holds up nobody")
    func events() async throws {
        try await withNode("alpha") { alpha in
            let (first, second, sleeper) = try await onOwnThread {
                let clients = (
                    try RawClient(path: alpha.path), try RawClient(path: alpha.path), try RawClient(path: alpha.path)
                )
                for client in [clients.0, clients.1, clients.2] {
                    client.send("GET /v1/events HTTP/1.0\r\n\r\n")
                }
                _ = clients.0.receive(until: "heartbeat")
                _ = clients.1.receive(until: "heartbeat")
                return clients
            }
            try await withNode("beta") { beta in
                try await alpha.node.connect(await beta.node.status.listening[0])
                for client in [first, second] {
                    let text = try await onOwnThread { client.receive(until: "\"joined\"") }
                    #expect(text.contains("\"connected\"") && text.contains("\(beta.node.id)"), "\(text)")
                }
            }
            let text = try await onOwnThread { first.receive(until: "\"disconnected\"") }
            #expect(text.contains("disconnected"))
            withExtendedLifetime(sleeper) {}
        }
    }

    @Test("a reader that can take no more is told how many events it missed")
    func missed() async throws {
        try await withEnvironment { environment in
            let stream = HTTPStream(capacity: 400)
            let reader = ControlEventReader(stream, environment)
            for number in 0..<10 { reader.tell(.missed(number)) }
            var taken = ""
            withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
                taken = String(decoding: buffer[..<stream.take(into: buffer)], as: UTF8.self)
            }
            let whole = taken.split(separator: "\n").count
            reader.tell(.warning("again"))
            withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
                taken = String(decoding: buffer[..<stream.take(into: buffer)], as: UTF8.self)
            }
            let lines = taken.split(separator: "\n").map(String.init)
            #expect(lines.count == 2 && lines[0].contains("\"count\":\(10 - whole),\"event\":\"missed\""), "\(lines)")
            #expect(lines.last?.contains("again") == true)
        }
    }

    @Test("neither a secret nor a private address stands in the log at its usual level")
    func log() async throws {
        let sink = CollectingLogSink()
        try await withNode("alpha", log: sink) { alpha in
            try await withNode("beta", log: sink) { beta in
                try await alpha.node.connect(await beta.node.status.listening[0])
                _ = try await alpha.order("/v1/connect", ControlOrder(address: "/ip4/127.0.0.1/tcp/9"))
                _ = try await alpha.order("/v1/connect", ControlOrder(address: "/ip4/10.1.2.3/tcp/0"))
            }
        }
        let privateAddress = /\b(?:10\.\d|127\.\d|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|fe80:|f[cd][0-9a-f]{2}:)/
        for record in sink.records {
            let text = record.message + record.fields.map { " \($0.key)=\($0.value)" }.joined()
            #expect(!text.contains(privateAddress), "\(record.subsystem): \(text)")
            #expect(!text.contains("chess"), "\(record.subsystem): \(text)")
        }
    }

    @Test("the socket goes away with its server, and events end with their node")
    func ends() async throws {
        let folder = try TestFolder()
        let path = folder.path + "/control.sock"
        try await withEnvironment { environment in
            var configuration = NodeConfiguration(topics: [], name: "x")
            configuration.dht = nil
            configuration.keepsFiles = false
            configuration.listen = [Multiaddr(.ip(.loopbackV4), .tcp(0))]
            let node = Node(configuration, environment: environment)
            try await node.start()
            let server = try ControlServer(
                of: node, on: environment, at: try ControlSocket(of: folder.path, path: path))
            let client = try await onOwnThread {
                let client = try RawClient(path: path)
                client.send("GET /v1/events HTTP/1.0\r\n\r\n")
                _ = client.receive(until: "heartbeat")
                return client
            }
            await node.stop()
            let rest = try await onOwnThread { client.receiveAll() }
            #expect(!rest.contains("error"))
            #expect(
                try await onOwnThread { ask(try RawClient(path: path), "GET", "/v1/health").text.contains("false") })
            server.stop()
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }
}

/// An answer's body as a `Shape`.
func decoded<Shape: Decodable>(_ answer: Answer, _ shape: Shape.Type) throws -> Shape {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(shape, from: Data(answer.body))
}
