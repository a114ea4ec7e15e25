// A mesh over encrypted connections: what the plain core knows nothing of.

extension MeshTransport {
    /// Encrypted connections on which each side proves that it has a key: libp2p's, over TCP with Noise and Yamux. This
    /// node proves `identity`, and a key's fingerprint is its peer id. Who has which key is for people to compare:
    /// nobody is turned away for it.
    ///
    /// A mesh is encrypted for all of its nodes or for none. Who dials without is told so in a line of plain text.
    public static func encrypted(by identity: PrivateKey) -> MeshTransport {
        .secure(fingerprint: PeerID(identity.publicKey).description) { environment in
            let secure = SecureMesh(environment, identity)
            return { stream, isDialler, deadline throws(MeshFailure) in
                try await secure.upgrade(stream, isDialler, by: deadline)
            }
        }
    }
}

/// Makes the encrypted connections of a node of a mesh: each has one stream, which the dialler opens, and which carries
/// the lines.
private final class SecureMesh {
    /// What the stream is agreed on to be.
    static let protocolName = "/martlet/mesh/1.0.0"
    /// What a plain peer is told. Without a colon, for then it would be read as a greeting.
    static let answerToOthers =
        "REFUSED - this mesh is encrypted and takes no plain connections (martlet mesh --secure joins it)\n"

    private let loop: EventLoop
    private let upgrader: Upgrader

    init(_ environment: any Environment, _ identity: PrivateKey) {
        loop = environment.loop
        // One way for all: then a dialler begins with it at once.
        upgrader = Upgrader(environment: environment, identity: identity, security: [.noise])
        upgrader.answerToOthers = Bytes(utf8: Self.answerToOthers)
    }

    nonisolated(nonsending) func upgrade(
        _ stream: ByteStream, _ isDialler: Bool, by deadline: Instant
    ) async throws(MeshFailure) -> MeshTransport.Link {
        func address(_ address: SocketAddress?) -> Multiaddr { .tcp(address ?? SocketAddress(.anyV4, port: 0)) }
        let request = UpgradeRequest(
            direction: isDialler ? .outbound : .inbound, localAddress: address(stream.localAddress),
            remoteAddress: address(stream.remoteAddress), transport: "tcp", deadline: deadline)
        let connection: Connection
        do throws(TransportError) {
            connection = try await upgrader.upgrade(stream, request)
        } catch {
            throw MeshFailure(error, isDialler)
        }
        do throws(MeshFailure) {
            let lines = isDialler ? try await open(on: connection) : try await accept(from: connection)
            return MeshTransport.Link(
                SecureLines(lines, of: connection, over: stream), fingerprint: connection.remotePeer.description)
        } catch {
            connection.abort()
            throw error
        }
    }

    private nonisolated(nonsending) func open(on connection: Connection) async throws(MeshFailure) -> Stream {
        let stream: Stream
        do throws(ConnectionError) {
            stream = try connection.openStream()
        } catch {
            throw .insecure("it hung up behind the handshake")
        }
        do throws(StreamError) {
            _ = try await stream.negotiate([Self.protocolName])
        } catch {
            throw MeshFailure(error)
        }
        return stream
    }

    /// The first stream that the other side opens, which must be of the mesh.
    private nonisolated(nonsending) func accept(from connection: Connection) async throws(MeshFailure) -> Stream {
        let signal = Signal(on: loop)
        var opened: Stream?
        connection.onStream = { stream in
            connection.onStream = nil
            opened = stream
            signal.signal()
        }
        connection.onClosed = { _ in signal.signal() }
        do {
            try await signal.wait()
        } catch {
            throw .network(.cancelled)
        }
        guard let opened else { throw .insecure("it hung up behind the handshake") }
        do throws(StreamError) {
            _ = try await opened.answerProposals(all: [Self.protocolName]) { $0 == Self.protocolName }
        } catch {
            throw MeshFailure(error)
        }
        return opened
    }
}

/// The lines of a mesh on a stream of an encrypted connection, which ends with them.
private final class SecureLines: ByteStream {
    /// How long what is queued may take to leave, and the other side to take leave, before the connection ends.
    private static let farewellLimit = Duration.seconds(5)

    private let lines: NestedStream
    private let connection: Connection
    private let below: ByteStream
    private let timer: LoopTimer

    init(_ stream: Stream, of connection: Connection, over below: ByteStream) {
        lines = NestedStream(stream)
        self.connection = connection
        self.below = below
        timer = LoopTimer(on: below.loop, label: "mesh farewell") { connection.close() }
        super.init(loop: below.loop)
        lines.onReadable = { [weak self] in self?.onReadable?() }
        lines.onWritable = { [weak self] in self?.onWritable?() }
        connection.whenEnded(stream) { connection.close() }
        // The timer lives as long as the connection, whoever lets go of this.
        connection.onClosed = { [timer] _ in timer.cancel() }
    }

    override var localAddress: SocketAddress? { below.localAddress }
    override var remoteAddress: SocketAddress? { below.remoteAddress }
    override var failure: NetworkError.Reason? { lines.failure ?? below.failure }
    override var queued: Int { lines.queued + below.queued }

    override func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult { lines.read(into: buffer) }
    override func readLater() { lines.readLater() }
    @discardableResult
    override func write(_ bytes: Bytes) -> Bool { lines.write(bytes) }
    override func finish() { lines.finish() }

    override func close() {
        onReadable = nil
        onWritable = nil
        lines.close()
        if connection.closeReason == nil { timer.arm(after: Self.farewellLimit) }
    }

    override func reset() {
        onReadable = nil
        onWritable = nil
        connection.abort()
    }
}

extension MeshFailure {
    fileprivate init(_ error: TransportError, _ isDialler: Bool) {
        switch error {
        case .timedOut: self = .timedOut
        case .cancelled: self = .network(.cancelled)
        case .handshake(let reason): self = .insecure("its proof of who it is does not hold: \(reason)")
        case .negotiation, .ended(.securityNegotiation):
            self = .insecure(
                isDialler
                    ? "it takes no encrypted connections; a mesh is encrypted for all of its nodes or for none"
                    : "its connection is not encrypted")
        case .network(let error) where error.reason != .reset: self = .network(error.reason)
        default: self = .insecure("it hung up while the connection was made secure")
        }
    }

    fileprivate init(_ error: StreamError) {
        switch error {
        case .timedOut: self = .timedOut
        case .cancelled: self = .network(.cancelled)
        case .protocolsNotSupported, .negotiation: self = .insecure("it is no node of a mesh")
        default: self = .insecure("it hung up behind the handshake")
        }
    }
}
