import Martlet

/// As much of Redis's protocol (RESP2) as two tests need to find each other: one question at a time.
struct Redis {
    enum Reply: Hashable, Sendable {
        case text(String)
        case number(Int)
        case nothing
        case list([Reply])
        case error(String)
    }

    enum Failure: Error, Hashable, Sendable {
        case hungUp
        case malformed
        case refused(String)
    }

    private let conversation: StreamConversation
    private let reader = Pending()

    private final class Pending {
        var bytes = Bytes()
    }

    /// Connects to `address`, which is a name or an IP address with a port. The server may start later than this.
    nonisolated(nonsending) init(_ address: String, environment: any Environment, deadline: Instant) async throws {
        let parts = address.split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1]) else { throw Failure.malformed }
        while true {
            do {
                let stream = try await environment.connectTCP(name: String(parts[0]), port: port, deadline: deadline)
                conversation = StreamConversation(stream)
                return
            } catch {
                guard environment.loop.now + Self.retry < deadline else { throw error }
                try await environment.loop.sleep(for: Self.retry)
            }
        }
    }

    /// How long it is waited before a server that does not answer is tried again.
    private static let retry = Duration.milliseconds(50)

    /// Sends a command and waits for what the server says. An error that it says is thrown.
    nonisolated(nonsending) func ask(_ words: String...) async throws -> Reply {
        var writer = Writer()
        writer.utf8("*\(words.count)\r\n")
        for word in words { writer.utf8("$\(word.utf8.count)\r\n\(word)\r\n") }
        try await conversation.send(writer.finish())
        let reply = try await self.reply(depth: 2)
        if case .error(let text) = reply { throw Failure.refused(text) }
        return reply
    }

    private nonisolated(nonsending) func reply(depth: Int) async throws -> Reply {
        let line = try await line()
        let rest = String(line.dropFirst())
        switch line.first {
        case "+": return .text(rest)
        case "-": return .error(rest)
        case ":": return .number(Int(rest) ?? 0)
        case "$":
            guard let size = Int(rest), size <= 1 << 20 else { throw Failure.malformed }
            guard size >= 0 else { return .nothing }
            return .text(try await take(size + 2).slice(0..<size).utf8 ?? "")
        case "*":
            guard depth > 0, let count = Int(rest), count <= 1024 else { throw Failure.malformed }
            guard count >= 0 else { return .nothing }
            var list: [Reply] = []
            for _ in 0..<count { list.append(try await reply(depth: depth - 1)) }
            return .list(list)
        default: throw Failure.malformed
        }
    }

    private nonisolated(nonsending) func line() async throws -> String {
        while true {
            if let end = reader.bytes.firstIndex(of: UInt8(ascii: "\n")), end > 0 {
                return try await take(end + 1).slice(0..<end - 1).utf8 ?? ""
            }
            guard reader.bytes.count < 4096 else { throw Failure.malformed }
            try await fill()
        }
    }

    private nonisolated(nonsending) func take(_ count: Int) async throws -> Bytes {
        while reader.bytes.count < count { try await fill() }
        defer { reader.bytes = reader.bytes.slice(count..<reader.bytes.count) }
        return reader.bytes.slice(0..<count)
    }

    private nonisolated(nonsending) func fill() async throws {
        guard let more = try await conversation.receive() else { throw Failure.hungUp }
        var writer = Writer(capacity: reader.bytes.count + more.count)
        writer.bytes(reader.bytes)
        writer.bytes(more)
        reader.bytes = writer.finish()
    }
}
