import Foundation
import Martlet
import TestSupport
import Testing

@testable import MartletOperator

/// A client that says exactly what a test wants it to say. It waits at most 20 seconds for anything.
final class RawClient: Sendable {
    private let descriptor: Int32

    /// Connects to `port` of this machine.
    init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        try #require(isConnected, "\(String(cString: strerror(errno)))")
        bePatient()
    }

    /// Connects to the socket at `path`.
    init(path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        try #require(isConnected, "\(String(cString: strerror(errno)))")
        bePatient()
    }

    deinit { close(descriptor) }

    private func bePatient() {
        var time = timeval()
        time.tv_sec = 20
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Writes all of `text`; says whether the other side took it.
    @discardableResult
    func send(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// What comes next, until there is `text` in it or the other side ends.
    func receive(until text: String) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while !String(decoding: bytes, as: UTF8.self).contains(text) {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Everything until the other side ends.
    func receiveAll() -> String { String(decoding: receiveBytes(), as: UTF8.self) }

    /// Everything until the other side ends.
    func receiveBytes() -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while case let count = recv(descriptor, &buffer, buffer.count, 0), count > 0 { bytes += buffer[..<count] }
        return bytes
    }
}

/// What was answered: the status, the head's lines and the body.
struct Answer: Sendable {
    var status = 0
    var head: [String] = []
    var body: [UInt8] = []
    var text: String { String(decoding: body, as: UTF8.self) }

    init(_ bytes: [UInt8]) {
        let separator = Array("\r\n\r\n".utf8)
        guard let end = bytes.firstRange(of: separator) else { return }
        head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        status = Int(head.first?.split(separator: " ").dropFirst().first ?? "") ?? 0
        body = Array(bytes[end.upperBound...])
    }
}

/// Asks `client` once and reads to the end.
func ask(
    _ client: RawClient, _ method: String = "GET", _ target: String, _ fields: [String] = [], body: String = ""
) -> Answer {
    let length = body.isEmpty && method == "GET" ? [] : ["Content-Length: \(body.utf8.count)"]
    let lines = ["\(method) \(target) HTTP/1.1", "Host: localhost", "Connection: close"] + length + fields
    client.send(lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
    return Answer(client.receiveBytes())
}

/// Asks the server at `port`, from a thread of its own.
func get(_ port: UInt16, _ target: String, _ fields: [String] = []) async throws -> Answer {
    try await onOwnThread { ask(try RawClient(port: port), "GET", target, fields) }
}

/// Runs `body` on the loop of a new environment, and shuts that down.
func withEnvironment<Result: Sendable>(
    log sink: any LogSink = CollectingLogSink(),
    _ body: nonisolated(nonsending) @escaping @Sendable (SystemEnvironment) async throws -> Result
) async throws -> Result {
    let environment = try SystemEnvironment(
        log: Logger(subsystem: "test", sink: sink, levels: LogLevels(.info)))
    let outcome: Swift.Result<Result, any Error>
    do {
        outcome = .success(try await environment.loop.run { try await body(environment) })
    } catch {
        outcome = .failure(error)
    }
    await environment.shutdown()
    return try outcome.get()
}

/// Runs `body` with the port of a server that answers as `handler` does.
func withServer(
    _ limits: HTTPLimits = HTTPLimits(), registry: MetricsRegistry = MetricsRegistry(),
    handler: nonisolated(nonsending) @escaping @Sendable (HTTPRequest) async -> HTTPAnswer,
    _ body: @escaping @Sendable (UInt16) async throws -> Void
) async throws {
    try await withEnvironment { environment in
        let socket = try ListeningSocket.tcp(SocketAddress(.loopbackV4, port: 0))
        let server = try HTTPServer(
            on: environment, listener: socket.descriptor, limits: limits,
            metrics: HTTPMetrics(registry, name: "http"), refuse: { _ in nil }, handler: handler)
        defer { server.stop() }
        try await body(socket.address.port)
    }
}

extension MetricsRegistry {
    /// How often the server called `http` has refused for `reason`.
    func refused(_ reason: HTTPRefusal) -> UInt64 {
        for snapshot in snapshot where snapshot.description.name == "martlet_http_refused" {
            for series in snapshot.series where series.labels == [reason.rawValue] {
                if case .counter(let value) = series.value { return value }
            }
        }
        return 0
    }

    /// Waits until it has done so `count` times at least.
    func wait(for reason: HTTPRefusal, atLeast count: UInt64) async throws {
        try await onOwnThread {
            let deadline = Date(timeIntervalSinceNow: 20)
            while self.refused(reason) < count, Date() < deadline { usleep(5000) }
        }
        try #require(refused(reason) >= count, "\(reason)")
    }
}

/// A folder of a test's own, which is gone afterwards.
final class TestFolder: Sendable {
    let path: String

    init() throws {
        path =
            FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID().uuidString.prefix(8))").path
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
