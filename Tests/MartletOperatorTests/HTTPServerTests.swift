import Foundation
import Martlet
import TestSupport
import Testing

@testable import MartletOperator

@Suite("HTTP server")
struct HTTPServerTests {
    private func echo(_ request: HTTPRequest) async -> HTTPAnswer {
        let query = request.query.map { "\($0.name)=\($0.value)" }.joined(separator: ";")
        return .text("\(request.method) \(request.path) \(query) \(String(decoding: request.body, as: UTF8.self))")
    }

    @Test("a request is answered with its path, query and body as they were sent, one after another on one connection")
    func requests() async throws {
        try await withServer(handler: echo) { port in
            let text = try await onOwnThread {
                let client = try RawClient(port: port)
                client.send("GET /a%20b?x=1&y=%32 HTTP/1.1\r\nHost: h\r\n\r\n")
                var text = client.receive(until: "x=1;y=2")
                client.send("POST /post HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo")
                client.send("dy")
                text += client.receive(until: "body")
                client.send("POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
                text += client.receive(until: "abc")
                client.send("HEAD /head HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                return text + client.receiveAll()
            }
            #expect(text.contains("GET /a b x=1;y=2 "))
            #expect(text.contains("POST /post  body"))
            #expect(text.contains("POST /p  abc"))
            #expect(text.components(separatedBy: "200 OK").count == 5)
        }
    }

    @Test("a body that is too large is refused, whether its length was said or not")
    func bodies() async throws {
        var limits = HTTPLimits()
        limits.bodyBytes = 1000
        let registry = MetricsRegistry()
        try await withServer(limits, registry: registry, handler: echo) { port in
            let said = try await onOwnThread {
                ask(try RawClient(port: port), "POST", "/", body: String(repeating: "x", count: 1001))
            }
            #expect(said.status == 413)
            let unsaid = try await onOwnThread {
                let client = try RawClient(port: port)
                client.send("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in 0..<20 { client.send("64\r\n" + String(repeating: "x", count: 100) + "\r\n") }
                client.send("0\r\n\r\n")
                return Answer(client.receiveBytes())
            }
            #expect(unsaid.status == 413)
            #expect(registry.refused(.body) == 2)
        }
    }

    @Test("a head that is too large is refused and its connection ended")
    func heads() async throws {
        let registry = MetricsRegistry()
        try await withServer(registry: registry, handler: echo) { port in
            let text = try await onOwnThread {
                let client = try RawClient(port: port)
                client.send("GET / HTTP/1.1\r\nHost: h\r\n")
                for number in 0..<2000 {
                    guard client.send("X-\(number): \(String(repeating: "y", count: 100))\r\n") else { break }
                }
                return client.receiveAll()
            }
            #expect(text.isEmpty || text.contains(" 431 ") || text.contains(" 413 "), "\(text.prefix(100))")
            try await registry.wait(for: .head, atLeast: 1)
            #expect(try await get(port, "/still").status == 200)
        }
    }

    @Test("who says something else than HTTP, or nothing, is turned away and harms nobody", arguments: 0..<8)
    func garbage(seed: UInt64) async throws {
        let registry = MetricsRegistry()
        try await withServer(registry: registry, handler: echo) { port in
            try await onOwnThread {
                var generator = SeededGenerator(seed: seed)
                for _ in 0..<40 {
                    let client = try RawClient(port: port)
                    let count = Int.random(in: 0..<600, using: &generator)
                    let bytes = (0..<count).map { _ in
                        Character(Unicode.Scalar(UInt8.random(in: 0...127, using: &generator)))
                    }
                    client.send(String(bytes) + "\r\n\r\n")
                    // Now and then it does not even wait for what is said to that.
                    if Bool.random(using: &generator) { _ = client.receive(until: "\r\n\r\n") }
                }
            }
            #expect(try await get(port, "/still").status == 200)
        }
    }

    @Test("who sends a byte now and then has his time and no more, and neither has who sends nothing")
    func slowLoris() async throws {
        var limits = HTTPLimits()
        limits.requestTime = .seconds(2)
        let registry = MetricsRegistry()
        try await withServer(limits, registry: registry, handler: echo) { port in
            let isCut = try await onOwnThread {
                let silent = try RawClient(port: port)
                let slow = try RawClient(port: port)
                slow.send("GET / HTTP/1.1\r\n")
                let deadline = Date(timeIntervalSinceNow: 15)
                while Date() < deadline, slow.send("X: y\r\n") { usleep(100_000) }
                return Date() < deadline && silent.receiveAll().isEmpty
            }
            #expect(isCut)
            #expect(registry.refused(.slow) == 1)
            #expect(registry.refused(.silent) == 1)
        }
    }

    @Test("a thousand connections are turned away beyond the limit of their address, and then there is room again")
    func manyConnections() async throws {
        let registry = MetricsRegistry()
        try await withServer(registry: registry, handler: echo) { port in
            try await onOwnThread {
                var clients: [RawClient] = []
                for _ in 0..<1000 { clients.append(try RawClient(port: port)) }
                // The loop takes them one after another; those in the queue are its business, too.
                let deadline = Date(timeIntervalSinceNow: 20)
                while registry.refused(.address) < 984, Date() < deadline { usleep(5000) }
                withExtendedLifetime(clients) {}
            }
            #expect(registry.refused(.address) == 984)
            let isRoomAgain = try await onOwnThread {
                let deadline = Date(timeIntervalSinceNow: 20)
                while Date() < deadline {
                    if let client = try? RawClient(port: port), ask(client, "GET", "/").status == 200 { return true }
                }
                return false
            }
            #expect(isRoomAgain)
        }
    }

    @Test("an answer that goes on and on is cut off when its reader sleeps for too long, and others go on")
    func streams() async throws {
        var limits = HTTPLimits()
        limits.answerTime = .seconds(2)
        let registry = MetricsRegistry()
        try await withServer(
            limits, registry: registry,
            handler: { request in
                // More than the system keeps for a reader that takes nothing.
                let stream = HTTPStream(capacity: 64 << 20)
                let count = request.path == "/much" ? 32 << 20 : 0
                _ = stream.write(Array("begun\n".utf8) + [UInt8](repeating: 0x78, count: count))
                if request.path == "/end" { stream.end() }
                return HTTPAnswer(type: "text/plain", content: .stream(stream))
            }
        ) { port in
            #expect(try await get(port, "/end").text.contains("begun"))
            let (sleeper, reader) = try await onOwnThread {
                let clients = (try RawClient(port: port), try RawClient(port: port))
                clients.0.send("GET /much HTTP/1.1\r\nHost: h\r\n\r\n")
                clients.1.send("GET /open HTTP/1.1\r\nHost: h\r\n\r\n")
                return clients
            }
            try await registry.wait(for: .slow, atLeast: 1)
            let text = try await onOwnThread { reader.receive(until: "begun") }
            #expect(text.contains("Transfer-Encoding: chunked"))
            #expect(registry.refused(.slow) == 1)
            withExtendedLifetime(sleeper) {}
        }
    }

    @Test("there are only so many answers that go on and on")
    func streamLimit() async throws {
        var limits = HTTPLimits()
        limits.streams = 2
        let registry = MetricsRegistry()
        try await withServer(
            limits, registry: registry,
            handler: { _ in
                let stream = HTTPStream(capacity: 100)
                _ = stream.write(Array("begun\n".utf8))
                return HTTPAnswer(type: "text/plain", content: .stream(stream))
            }
        ) { port in
            let texts = try await onOwnThread {
                let clients = [try RawClient(port: port), try RawClient(port: port), try RawClient(port: port)]
                return clients.map { client in
                    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                    return client.receive(until: "n\n")
                }
            }
            #expect(texts.map { $0.contains("begun") } == [true, true, false])
            #expect(texts[2].contains(" 503 "))
            #expect(registry.refused(.streams) == 1)
        }
    }

    @Test("a server that is stopped cancels what it was about to answer")
    func stopping() async throws {
        let registry = MetricsRegistry()
        try await withEnvironment { environment in
            let socket = try ListeningSocket.tcp(SocketAddress(.loopbackV4, port: 0))
            let asked = Signal(on: environment.loop)
            let server = try HTTPServer(
                on: environment, listener: socket.descriptor, limits: HTTPLimits(),
                metrics: HTTPMetrics(registry, name: "http"), refuse: { _ in nil },
                handler: { _ in
                    asked.signal()
                    try? await environment.loop.sleep(until: .never)
                    return .text("late")
                })
            let port = socket.address.port
            async let answer = onOwnThread { ask(try RawClient(port: port), "GET", "/") }
            try await asked.wait()
            server.stop()
            #expect(try await answer.status == 0)
        }
    }
}
