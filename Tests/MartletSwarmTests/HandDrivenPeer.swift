import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletTransport
import MartletWire

/// A peer whose handshake and frames are made by hand from the machines of the rooms below, so that it can do what no
/// honest peer does. It is on its own host of a world, and talks to the server of `SwarmTests.world` over TCP.
final class HandDrivenPeer {
    private let environment: SimulatedEnvironment
    private let conversation: StreamConversation
    /// The connection below.
    let stream: ByteStream
    private var noise: NoiseTransport!
    private var input = Bytes()
    private var opened = Bytes()
    /// What the server sent, but for pings, by the number of the stream: how many frames, and how many bytes of data.
    private(set) var frames: [UInt32: Int] = [:]
    private(set) var received: [UInt32: Int] = [:]
    /// The streams that the server reset.
    private(set) var resets: Set<UInt32> = []
    /// With which codes the server said goodbye.
    private(set) var farewells: [UInt32] = []
    /// Whether the server has closed the connection.
    private(set) var isClosed = false

    /// Connects, and says nothing.
    init(_ environment: SimulatedEnvironment) async throws {
        self.environment = environment
        stream = try await rawTCP(environment)
        conversation = StreamConversation(stream)
    }

    /// A whole handshake with what `payload` says of the static key.
    func shakeHands(_ payload: (X25519PrivateKey) -> Bytes) async throws {
        var random = environment.random
        let staticKey = X25519PrivateKey(using: &random)
        let name = try NoiseProtocol("Noise_XX_25519_ChaChaPoly_SHA256")
        var handshake = try NoiseHandshake(name, role: .initiator, staticKey: staticKey)
        var first = Writer()
        for line in [Multistream.header, SecurityProtocol.noise.rawValue] { first.line(line) }
        var message = Writer()
        try handshake.writeMessage(into: &message, using: &random)
        first.bytes(Self.framed(message.finish()))
        stream.write(first.finish())
        _ = try await take(28)
        _ = try handshake.readMessage(try await takeFramed())
        var last = Writer()
        try handshake.writeMessage(payload(staticKey).span, into: &last, using: &random)
        stream.write(Self.framed(last.finish()))
        noise = try handshake.finish()
    }

    /// The handshake of an honest peer with the key `number`.
    func shakeHands(as number: UInt8, muxers: [String] = [Upgrader.yamuxName]) async throws {
        try await shakeHands { staticKey in
            NoisePayload(identity: key(number), staticKey: staticKey.publicKey, muxers: muxers).encoded
        }
    }

    // MARK: Saying

    /// Sends `plain` in records.
    func send(_ plain: Bytes) async throws {
        var start = 0
        while start < plain.count {
            let end = min(start + 60_000, plain.count)
            try await conversation.send(try noise.sending.record(plain.slice(start..<end)))
            start = end
        }
    }

    /// Sends frames, each with what follows it.
    func send(_ frames: [(YamuxHeader, Bytes)]) async throws {
        var writer = Writer()
        for (header, body) in frames {
            writer.append(count: YamuxHeader.size) { header.write(to: $0.baseAddress.unsafelyUnwrapped) }
            writer.bytes(body)
        }
        try await send(writer.finish())
    }

    /// Opens the stream `id` of the protocol `name`, and says `body`.
    func open(_ id: UInt32, _ name: String, _ body: Bytes = Bytes(), window: UInt32 = 0) async throws {
        var writer = Writer()
        for line in [Multistream.header, name] { writer.line(line) }
        writer.bytes(body)
        let first = writer.finish()
        try await send([
            (YamuxHeader(.windowUpdate, .syn, stream: id, length: window), Bytes()),
            (YamuxHeader(.data, stream: id, length: UInt32(first.count)), first),
        ])
    }

    // MARK: Hearing

    /// Reads what comes, answers pings and takes note of the rest, until the server closes the connection.
    func attend() {
        environment.loop.spawn { [self] in
            do {
                while true { try await takeFrame() }
            } catch {
                isClosed = true
            }
        }
    }

    private func takeFrame() async throws {
        let header = try await takeOpened(YamuxHeader.size).withUnsafeBytes { bytes throws(YamuxError) in
            try YamuxHeader(reading: bytes.baseAddress.unsafelyUnwrapped)
        }
        switch header.kind {
        case .ping where header.flags.contains(.syn):
            try await send([(YamuxHeader(.ping, .ack, length: header.length), Bytes())])
        case .ping: break
        case .goAway: farewells.append(header.length)
        case .data, .windowUpdate:
            frames[header.stream, default: 0] += 1
            if header.flags.contains(.rst) { resets.insert(header.stream) }
            guard header.kind == .data else { break }
            received[header.stream, default: 0] += Int(header.length)
            _ = try await takeOpened(Int(header.length))
        }
    }

    private struct Ended: Error {}

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
            let record = try await takeFramed()
            var writer = Writer()
            writer.bytes(opened)
            try writer.append(upTo: record.count) { buffer in
                record.withUnsafeBytes { buffer.copyMemory(from: $0) }
                return try noise.receiving.open(buffer)
            }
            opened = writer.finish()
        }
        defer { opened = opened.slice(count..<opened.count) }
        return opened.slice(0..<count)
    }

    private static func framed(_ message: Bytes) -> Bytes {
        var writer = Writer()
        writer.integer(UInt16(message.count))
        writer.bytes(message)
        return writer.finish()
    }
}
