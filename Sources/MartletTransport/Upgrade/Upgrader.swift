public import MartletCrypto
public import MartletIdentity
public import MartletRuntime
internal import MartletWire

/// The bounds of an upgrade.
public struct UpgradeLimits: Hashable, Sendable {
    /// How long each stage of an upgrade may take, within the deadline of the whole.
    public var stageTimeout = Duration.seconds(10)
    /// How many bytes may come in until there are streams.
    public var upgradeBytes = 128 << 10
    /// How many bytes of streams and their headers go into one record.
    public var recordSize = 32 << 10
    /// How much a connection reads in one turn before it is another's.
    public var bytesPerTurn = 1 << 20
    /// The bounds of what divides a connection into streams.
    public var yamux = YamuxLimits()

    /// The defaults.
    public init() {}
}

/// What is known of an ordered stream of bytes before it is upgraded.
public struct UpgradeRequest {
    /// Whether this side dialled, and so begins.
    public var direction: ConnectionNature.Direction
    /// The peer that must be on the other side; `nil` for whoever it is.
    public var expectedPeer: PeerID?
    /// This end's address.
    public var localAddress: Multiaddr
    /// The other end's address.
    public var remoteAddress: Multiaddr
    /// The name of the transport.
    public var transport: String
    /// Whether a third peer passes the bytes on.
    public var isRelayed = false
    /// Whether time or bytes are rationed.
    public var isLimited = false
    /// Whether a better connection should take its place.
    public var isReplaceable = false
    /// When it must be done.
    public var deadline: Instant

    /// A request for a direct connection.
    public init(
        direction: ConnectionNature.Direction, expectedPeer: PeerID? = nil, localAddress: Multiaddr,
        remoteAddress: Multiaddr, transport: String, deadline: Instant
    ) {
        self.direction = direction
        self.expectedPeer = expectedPeer
        self.localAddress = localAddress
        self.remoteAddress = remoteAddress
        self.transport = transport
        self.deadline = deadline
    }
}

/// Makes connections of ordered streams of bytes: agrees on what secures them, proves who is there, divides them into
/// streams. It runs on any `ByteStream`: TCP, or a stream of another connection.
///
/// It speaks Noise (`/noise`) and Yamux (`/yamux/1.0.0`). Where both sides can, the muxer is agreed on within the
/// handshake, so that a dialer's first stream costs two round trips on the stream of bytes.
public final class Upgrader {
    static let noiseName = "/noise"
    static let yamuxName = "/yamux/1.0.0"
    private static let noise: NoiseProtocol = {
        guard let noise = try? NoiseProtocol("Noise_XX_25519_ChaChaPoly_SHA256") else {
            preconditionFailure("libp2p's Noise protocol has this name")
        }
        return noise
    }()

    private let environment: any Environment
    private let limits: UpgradeLimits
    private let staticKey: X25519PrivateKey
    /// What this side says in each handshake. It is the same in all, so it is signed once.
    private let payload: Bytes
    private let buffers = ConnectionBuffers()

    /// An upgrader for the holder of `identity`, on the loop of `environment`.
    public init(environment: any Environment, identity: PrivateKey, limits: UpgradeLimits = UpgradeLimits()) {
        self.environment = environment
        self.limits = limits
        var random = environment.random
        staticKey = X25519PrivateKey(using: &random)
        payload = NoisePayload(identity: identity, staticKey: staticKey.publicKey, muxers: [Self.yamuxName]).encoded
    }

    /// Makes a connection of `stream`, which is closed where it throws.
    public nonisolated(nonsending) func upgrade(
        _ stream: ByteStream, _ request: UpgradeRequest
    ) async throws(TransportError) -> Connection {
        let channel = UpgradeChannel(stream, limits: limits, deadline: request.deadline)
        do throws(TransportError) {
            let (noise, payload) = try await handshake(channel, request)
            channel.secure(by: noise)
            if !payload.muxers.contains(Self.yamuxName) { try await agreeOnMuxer(channel, request) }
            return connection(channel, noise, payload, request)
        } catch {
            _ = channel.finish()
            stream.close()
            throw error
        }
    }

    private func connection(
        _ channel: UpgradeChannel, _ noise: NoiseTransport, _ payload: NoisePayload, _ request: UpgradeRequest
    ) -> Connection {
        var nature = ConnectionNature(
            direction: request.direction, transport: request.transport, security: Self.noiseName,
            muxer: Self.yamuxName)
        nature.isRelayed = request.isRelayed
        nature.isLimited = request.isLimited
        nature.isReplaceable = request.isReplaceable
        let connection = YamuxConnection(
            channel.stream, noise: noise, remotePublicKey: payload.identityKey, localAddress: request.localAddress,
            remoteAddress: request.remoteAddress, nature: nature, limits: limits, buffers: buffers)
        connection.binding = noise.handshakeHash.bytes
        let (input, opened) = channel.finish()
        connection.begin(opened: opened, input: input)
        return connection
    }

    private nonisolated(nonsending) func agreeOnMuxer(
        _ channel: UpgradeChannel, _ request: UpgradeRequest
    ) async throws(TransportError) {
        channel.enter(.muxerNegotiation)
        switch request.direction {
        case .outbound:
            let dialer = MultistreamDialer(proposing: [Self.yamuxName])
            var first = Writer()
            dialer.begin(into: &first)
            try channel.sendSealed(first.finish())
            _ = try await channel.agree(dialer)
        case .inbound:
            _ = try await channel.agree(on: [Self.yamuxName])
        }
    }
}

// MARK: - Noise

extension Upgrader {
    private nonisolated(nonsending) func handshake(
        _ channel: UpgradeChannel, _ request: UpgradeRequest
    ) async throws(TransportError) -> (NoiseTransport, NoisePayload) {
        switch request.direction {
        case .outbound: try await initiate(channel, request)
        case .inbound: try await respond(channel, request)
        }
    }

    private nonisolated(nonsending) func initiate(
        _ channel: UpgradeChannel, _ request: UpgradeRequest
    ) async throws(TransportError) -> (NoiseTransport, NoisePayload) {
        var noise = try begin(.initiator)
        let dialer = MultistreamDialer(proposing: [Self.noiseName])
        var first = Writer(capacity: 128)
        dialer.begin(into: &first)
        // Everybody speaks Noise, so its first message need not wait for the answer.
        first.bytes(try message(of: &noise, carrying: Bytes()))
        channel.send(first.finish())
        _ = try await channel.agree(dialer)
        channel.enter(.handshake)
        let answer = try read(try await channel.receiveFramed(), by: &noise)
        let other = try verify(answer, noise.remoteStatic, request)
        channel.send(try message(of: &noise, carrying: payload))
        return (try finish(noise), other)
    }

    private nonisolated(nonsending) func respond(
        _ channel: UpgradeChannel, _ request: UpgradeRequest
    ) async throws(TransportError) -> (NoiseTransport, NoisePayload) {
        _ = try await channel.agree(on: [Self.noiseName])
        channel.enter(.handshake)
        var noise = try begin(.responder)
        _ = try read(try await channel.receiveFramed(), by: &noise)
        channel.send(try message(of: &noise, carrying: payload))
        let last = try read(try await channel.receiveFramed(), by: &noise)
        let other = try verify(last, noise.remoteStatic, request)
        return (try finish(noise), other)
    }

    private func verify(
        _ payload: Bytes, _ staticKey: X25519PublicKey?, _ request: UpgradeRequest
    ) throws(TransportError) -> NoisePayload {
        guard let staticKey else { preconditionFailure("XX sends the static keys with the payloads") }
        let other: NoisePayload
        do throws(NoisePayloadError) {
            other = try NoisePayload(payload, from: staticKey)
        } catch {
            throw .handshake("\(error)")
        }
        let actual = PeerID(other.identityKey)
        if let expected = request.expectedPeer, expected != actual {
            throw .wrongPeer(expected: expected, actual: actual)
        }
        return other
    }

    private func begin(_ role: NoiseRole) throws(TransportError) -> NoiseHandshake {
        do throws(NoiseError) {
            return try NoiseHandshake(Self.noise, role: role, staticKey: staticKey)
        } catch {
            throw .handshake("\(error)")
        }
    }

    private func message(of noise: inout NoiseHandshake, carrying payload: Bytes) throws(TransportError) -> Bytes {
        var random = environment.random
        let size = noise.messageSize(payloadSize: payload.count)
        var writer = Writer(capacity: 2 + size)
        writer.integer(UInt16(size))
        do throws(NoiseError) {
            try noise.writeMessage(payload.span, into: &writer, using: &random)
        } catch {
            throw .handshake("\(error)")
        }
        return writer.finish()
    }

    private func read(_ message: Bytes, by noise: inout NoiseHandshake) throws(TransportError) -> Bytes {
        do throws(NoiseError) {
            return try noise.readMessage(message)
        } catch {
            throw .handshake("\(error)")
        }
    }

    private func finish(_ noise: consuming NoiseHandshake) throws(TransportError) -> NoiseTransport {
        do throws(NoiseError) {
            return try noise.finish()
        } catch {
            throw .handshake("\(error)")
        }
    }
}
