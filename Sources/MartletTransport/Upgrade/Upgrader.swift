public import MartletCrypto
public import MartletIdentity
public import MartletRuntime
public import MartletTLS
public import MartletWire

/// The bounds of an upgrade.
public struct UpgradeLimits: Hashable, Sendable {
    /// How long each stage of an upgrade may take, within the deadline of the whole.
    public var stageTimeout = Duration.seconds(10)
    /// How many bytes may come in until there are streams.
    public var upgradeBytes = 128 << 10
    /// How many bytes of streams and their headers go into one record, at most 65,519. By default, a record with its
    /// length and its tag is 64 KiB long.
    public var recordSize = 65_518
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
/// It speaks Noise (`/noise`) and TLS 1.3 (`/tls/1.0.0`), and Yamux (`/yamux/1.0.0`). Where both sides can, the muxer is
/// agreed on within the handshake, so that a dialer's first stream costs two round trips on the stream of bytes, and one
/// more where it leaves the other side a choice of what secures it.
public final class Upgrader {
    static let yamuxName = "/yamux/1.0.0"
    private static let noise: NoiseProtocol = {
        guard let noise = try? NoiseProtocol("Noise_XX_25519_ChaChaPoly_SHA256") else {
            preconditionFailure("libp2p's Noise protocol has this name")
        }
        return noise
    }()

    /// What may secure a connection, best first.
    public let security: [SecurityProtocol]
    let environment: any Environment
    let buffers = ConnectionBuffers()
    private let limits: UpgradeLimits
    private let identity: PrivateKey
    private let certificateKey: TLSCredentials.CertificateKey
    private let staticKey: X25519PrivateKey
    /// What this side says in each handshake of Noise. It is the same in all, so it is signed once.
    private let payload: Bytes
    /// What this side shows in each handshake of TLS.
    private(set) lazy var credentials: TLSCredentials = {
        var random = environment.random
        return TLSCredentials(
            hostKey: identity, certificateKey: certificateKey, at: environment.wallTime.seconds, using: &random)
    }()
    /// What one who dials and speaks something else than libp2p is told before the stream is closed; nothing by itself.
    public var answerToOthers = Bytes()

    /// An upgrader for the holder of `identity`, on the loop of `environment`, which secures connections by any of
    /// `security`, best first. In TLS it shows a certificate with a key of the kind `certificateKey`.
    public init(
        environment: any Environment, identity: PrivateKey, security: [SecurityProtocol] = [.noise, .tls],
        certificateKey: TLSCredentials.CertificateKey = .ecdsaP256, limits: UpgradeLimits = UpgradeLimits()
    ) {
        precondition(!security.isEmpty, "something has to secure a connection")
        self.environment = environment
        self.identity = identity
        self.security = security
        self.certificateKey = certificateKey
        self.limits = limits
        var random = environment.random
        staticKey = X25519PrivateKey(using: &random)
        payload = NoisePayload(identity: identity, staticKey: staticKey.publicKey, muxers: [Self.yamuxName]).encoded
    }

    /// Makes a connection of `stream`, which is closed where it throws.
    ///
    /// A dialer that knows but one way to secure it begins with that at once, and saves a round trip.
    public nonisolated(nonsending) func upgrade(
        _ stream: ByteStream, _ request: UpgradeRequest
    ) async throws(TransportError) -> Connection {
        guard let connection = try await upgrade(stream, request, by: security) else {
            throw .negotiation(.noneInCommon)
        }
        return connection
    }

    /// Makes a connection of `stream`, secured by one of `choices`, in this order of preference. Where it throws, and
    /// where it gives `nil` since the other side speaks none of them, `stream` is closed.
    nonisolated(nonsending) func upgrade(
        _ stream: ByteStream, _ request: UpgradeRequest, by choices: [SecurityProtocol]
    ) async throws(TransportError) -> Connection? {
        let channel = UpgradeChannel(stream, limits: limits, deadline: request.deadline)
        do throws(TransportError) {
            guard let secured = try await secure(channel, request, by: choices) else {
                _ = channel.finish()
                stream.close()
                return nil
            }
            if !secured.hasMuxer { try await agreeOnMuxer(channel, request) }
            return connection(channel, secured, request)
        } catch {
            _ = channel.finish()
            if error == .negotiation(.wrongHeader), request.direction == .inbound { stream.write(answerToOthers) }
            channel.stream.close()
            throw error
        }
    }

    /// What a handshake has led to.
    struct Secured {
        var security: SecurityProtocol
        /// What seals and opens; `nil` where the channel's stream of bytes does.
        var noise: NoiseTransport?
        var remotePublicKey: PublicKey
        /// What the two ends know of this handshake alone.
        var binding: Bytes
        /// Whether Yamux was agreed on along with it.
        var hasMuxer: Bool
    }

    private nonisolated(nonsending) func secure(
        _ channel: UpgradeChannel, _ request: UpgradeRequest, by choices: [SecurityProtocol]
    ) async throws(TransportError) -> Secured? {
        let names = choices.map(\.rawValue)
        // What begins a handshake goes out together with the proposal where there is but one. Nobody can be trusted to
        // pass it over who does not speak the protocol, so with a choice the answer is waited for.
        var dialer: MultistreamDialer?
        var chosen = choices[0]
        if request.direction == .inbound {
            chosen = SecurityProtocol(rawValue: try await channel.agree(on: names)) ?? chosen
        } else if choices.count == 1 {
            dialer = MultistreamDialer(proposing: names)
        } else {
            guard let name = try await channel.propose(names) else { return nil }
            chosen = SecurityProtocol(rawValue: name) ?? chosen
        }
        switch (chosen, request.direction) {
        case (.tls, _): return try await shakeHandsByTLS(channel, request, behind: dialer)
        case (.noise, .outbound): return try await initiate(channel, request, behind: dialer)
        case (.noise, .inbound): return try await respond(channel, request)
        }
    }

    private func connection(
        _ channel: UpgradeChannel, _ secured: Secured, _ request: UpgradeRequest
    ) -> Connection {
        var nature = ConnectionNature(
            direction: request.direction, transport: request.transport, security: secured.security.rawValue,
            muxer: Self.yamuxName)
        nature.isRelayed = request.isRelayed
        nature.isLimited = request.isLimited
        nature.isReplaceable = request.isReplaceable
        let connection = YamuxConnection(
            channel.stream, noise: secured.noise, remotePublicKey: secured.remotePublicKey,
            localAddress: request.localAddress, remoteAddress: request.remoteAddress, nature: nature, limits: limits,
            buffers: buffers, random: environment.random)
        connection.binding = secured.binding
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
            guard try await channel.propose([Self.yamuxName]) != nil else { throw .negotiation(.noneInCommon) }
        case .inbound:
            _ = try await channel.agree(on: [Self.yamuxName])
        }
    }
}

// MARK: - Noise

extension Upgrader {
    private nonisolated(nonsending) func initiate(
        _ channel: UpgradeChannel, _ request: UpgradeRequest, behind dialer: consuming MultistreamDialer?
    ) async throws(TransportError) -> Secured? {
        var noise = try begin(.initiator)
        let first = try message(of: &noise, carrying: Bytes())
        guard try await channel.send(first, behind: dialer) else { return nil }
        channel.enter(.handshake)
        let answer = try read(try await channel.receiveFramed(), by: &noise)
        let other = try verify(answer, noise.remoteStatic, request)
        channel.send(try message(of: &noise, carrying: payload))
        return secured(channel, by: try finish(noise), other)
    }

    private nonisolated(nonsending) func respond(
        _ channel: UpgradeChannel, _ request: UpgradeRequest
    ) async throws(TransportError) -> Secured {
        channel.enter(.handshake)
        var noise = try begin(.responder)
        _ = try read(try await channel.receiveFramed(), by: &noise)
        channel.send(try message(of: &noise, carrying: payload))
        let last = try read(try await channel.receiveFramed(), by: &noise)
        let other = try verify(last, noise.remoteStatic, request)
        return secured(channel, by: try finish(noise), other)
    }

    private func secured(_ channel: UpgradeChannel, by noise: NoiseTransport, _ other: NoisePayload) -> Secured {
        channel.secure(by: noise)
        return Secured(
            security: .noise, noise: noise, remotePublicKey: other.identityKey, binding: noise.handshakeHash.bytes,
            hasMuxer: other.muxers.contains(Self.yamuxName))
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
