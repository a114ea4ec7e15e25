import Martlet
import MartletRuntime
import MartletSimulator
import NodeWorlds

/// A peer over TCP, Noise and Yamux whose frames are made by hand, so that it can do what no honest peer does.
final class RawPeer {
    /// A Yamux frame's kind and flags, as they stand in its header.
    enum Frame: UInt32 {
        case data = 0x0000_0000
        case opening = 0x0001_0001
        case reset = 0x0001_0008
        case pong = 0x0002_0002
        case goodbye = 0x0003_0000
    }

    private struct Ended: Error {}

    private let conversation: StreamConversation
    private let stream: ByteStream
    private var noise: NoiseTransport!
    private var input = Bytes()
    private var opened = Bytes()

    /// Connects to `member` and shakes hands in the name of `key`.
    init(_ stranger: Stranger, to member: NodeWorld.Member, as key: PrivateKey) async throws {
        stream = try await stranger.environment.connectTCP(
            SocketAddress(member.host.address, port: NodeWorld.port), from: nil, options: TCPOptions(),
            deadline: stranger.environment.loop.now + .seconds(10))
        conversation = StreamConversation(stream)
        try await shakeHands(key, stranger.environment)
    }

    private func shakeHands(_ key: PrivateKey, _ environment: SimulatedEnvironment) async throws {
        var random = environment.random
        let staticKey = X25519PrivateKey(using: &random)
        var handshake = try NoiseHandshake(
            NoiseProtocol("Noise_XX_25519_ChaChaPoly_SHA256"), role: .initiator, staticKey: staticKey)
        var first = Writer()
        Self.lines(["/multistream/1.0.0", "/noise"], into: &first)
        var message = Writer()
        try handshake.writeMessage(into: &message, using: &random)
        first.bytes(Self.framed(message.finish()))
        stream.write(first.finish())
        _ = try await take(28)
        _ = try handshake.readMessage(try await takeFramed())
        var signed = Writer()
        signed.utf8("noise-libp2p-static-key:")
        signed.bytes(staticKey.publicKey.span)
        var payload = Writer()
        payload.field(1, bytes: key.publicKey.protobuf)
        payload.field(2, bytes: key.sign(signed.finish()))
        payload.field(4) { $0.field(2, string: "/yamux/1.0.0") }
        var last = Writer()
        try handshake.writeMessage(payload.span, into: &last, using: &random)
        stream.write(Self.framed(last.finish()))
        noise = try handshake.finish()
    }

    /// Sends `frames`: kind, stream, length and what follows.
    func send(_ frames: [(Frame, stream: UInt32, length: UInt32, body: Bytes)]) async throws {
        var plain = Writer()
        for (frame, id, length, body) in frames {
            plain.integer(frame.rawValue)
            plain.integer(id)
            plain.integer(length)
            plain.bytes(body)
        }
        let size = plain.count + NoiseCipher.tagSize
        precondition(size <= NoiseCipher.maximumMessageSize, "a record holds that much")
        plain.bytes(Bytes([UInt8](repeating: 0, count: NoiseCipher.tagSize)))
        var span = plain.mutableSpan
        try noise.sending.seal(&span)
        try await conversation.send(Self.framed(plain.finish()))
    }

    /// Opens the stream `id` for the protocol `name`, with no window beyond the first.
    static func opening(_ id: UInt32, _ name: String) -> [(Frame, stream: UInt32, length: UInt32, body: Bytes)] {
        var writer = Writer()
        lines(["/multistream/1.0.0", name], into: &writer)
        let body = writer.finish()
        return [(.opening, id, 0, Bytes()), (.data, id, UInt32(body.count), body)]
    }

    /// Reads what comes and answers pings, and nothing else, until the connection is over.
    func answerPings() async throws {
        while true {
            let header = try await takeOpened(12)
            var reader = Reader(header.span)
            let kind = try reader.integer(UInt32.self)
            _ = try reader.integer(UInt32.self)
            let length = try reader.integer(UInt32.self)
            switch kind {
            case 0x0002_0001: try await send([(.pong, 0, length, Bytes())])
            case ..<0x0001_0000: _ = try await takeOpened(Int(length))
            default: break
            }
        }
    }

    /// Breaks the connection off.
    func reset() { stream.reset() }

    private static func lines(_ lines: [String], into writer: inout Writer) {
        for line in lines { writer.lengthPrefixed("\(line)\n".utf8Span.span.bytes) }
    }

    private static func framed(_ message: Bytes) -> Bytes {
        var writer = Writer()
        writer.integer(UInt16(message.count))
        writer.bytes(message)
        return writer.finish()
    }

    private func take(_ count: Int) async throws -> Bytes {
        while input.count < count {
            guard let more = try await conversation.receive(upTo: 70_000) else { throw Ended() }
            var writer = Writer()
            writer.bytes(input)
            writer.bytes(more)
            input = writer.finish()
        }
        defer { input = input.slice(count..<input.count) }
        return input.slice(0..<count)
    }

    private func takeFramed() async throws -> Bytes {
        let size = try await take(2)
        return try await take(Int(size[0]) << 8 | Int(size[1]))
    }

    private func takeOpened(_ count: Int) async throws -> Bytes {
        while opened.count < count {
            var record = Writer()
            record.bytes(try await takeFramed())
            var span = record.mutableSpan
            let size = try noise.receiving.open(&span)
            var writer = Writer()
            writer.bytes(opened)
            writer.bytes(record.finish().slice(0..<size))
            opened = writer.finish()
        }
        defer { opened = opened.slice(count..<opened.count) }
        return opened.slice(0..<count)
    }
}
