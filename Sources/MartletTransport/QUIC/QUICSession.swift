internal import CQUIC
internal import MartletIdentity
internal import MartletRuntime
internal import MartletTLS
internal import MartletWire

/// A QUIC connection below its streams: ngtcp2's state and TLS's, its ids, its paths and its end.
///
/// Datagrams come in by `receive`; whatever changes it says so by `changed`, and the endpoint then has it write what
/// may go out. What ngtcp2 says in the middle of that is taken note of, and told to others when it has returned.
final class QUICSession {
    /// Where it stands.
    enum Phase {
        case handshaking
        case open
        /// It said that it is over, and says so again when it is spoken to.
        case closing(Farewell)
        /// Nothing is said any more; late packets are swallowed.
        case over
    }

    /// The packet that says that a connection is over.
    struct Farewell {
        var packet: Bytes
        var destination: SocketAddress
        var source: IPAddress?
        /// How many packets have come since, and how many it takes for the next answer.
        var received = 0
        var answerAt = 1
    }

    typealias Outcome = (Result<QUICConnection, TransportError>) -> Void

    let endpoint: QUICEndpoint
    let number: UInt64
    let handshake: TLSHandshake
    private var lateMessages: LateMessages
    /// Whether nobody dialled it from here.
    var isInbound: Bool { handshake.role == .server }
    /// For one that somebody else dialled, under what it is counted as unfinished.
    let newcomer: QUICNewcomer?
    /// The peer that was dialled, where that matters.
    private let expected: PeerID?
    /// Where ngtcp2 has its memory from.
    let memory = UnsafeMutablePointer<cq_memory>.allocate(capacity: 1)
    /// What its memory is drawn from, and how much of it is: the node's account until the connection has one.
    var account: ResourceAccount? {
        didSet {
            oldValue?.draw(-drawn)
            account?.draw(drawn)
        }
    }
    private var drawn = 0
    /// About how much TLS holds for a connection, which GnuTLS allocates by itself: during the handshake, and for the keys
    /// afterwards.
    private static let memoryOfTLS = 16 << 10
    private static let memoryOfKeys = 4 << 10
    /// ngtcp2's connection, as long as it is not over.
    private(set) var core: OpaquePointer?
    private(set) var connection: QUICConnection?
    private(set) var phase = Phase.handshaking
    /// The address on this side; for one that was dialled, the one that it was last moved to.
    private(set) var localAddress: SocketAddress
    private(set) var remoteAddress: SocketAddress
    /// The address of this host that the last packet came to, where that is known.
    private(set) var arrivalAddress: IPAddress?
    /// By which ids packets find it.
    var ids: [ConnectionID] = []
    /// By which tokens the other side can say that it knows nothing of it.
    var resetTokens: [ResetToken] = []
    /// Whether it waits for its turn to write.
    var isWaiting = false
    /// Whether packets may be large.
    var largePackets: LargePackets
    private var packets = 0
    private var outcome: Outcome?
    private var timer: LoopTimer!
    private var isEstablishing = false
    private var hasMoved = false
    private var wasReset = false
    /// Whether ngtcp2 is in the middle of something, so that it must not be deleted.
    private var isInside = false

    /// A session over `path`, made for `role` by `make`, which is given what ngtcp2 keeps as its user's data.
    init(
        _ endpoint: QUICEndpoint, role: TLSRole, local: SocketAddress, remote: SocketAddress, expecting: PeerID? = nil,
        newcomer: QUICNewcomer? = nil, outcome: @escaping Outcome
    ) {
        self.endpoint = endpoint
        self.newcomer = newcomer
        self.outcome = outcome
        expected = expecting
        localAddress = local
        remoteAddress = remote
        largePackets = remote.ip.isLoopback ? .notYet : .never
        number = endpoint.nextNumber()
        account = endpoint.memory.map { ResourceAccount(of: $0, role == .server ? .inbound : .outbound) }
        memory.initialize(to: cq_memory())
        cq_memory_init(memory)
        handshake = TLSHandshake(
            role, credentials: endpoint.credentials, protocols: ["libp2p"], at: endpoint.environment.wallTime.seconds
        ) { expecting == nil || PeerID($0) == expecting }
        lateMessages = LateMessages(to: role)
        // The timer is the session's own and does not fire once that is gone.
        timer = LoopTimer(on: endpoint.loop, label: "QUIC") { [unowned self] in expire() }
    }

    deinit {
        if let core { ngtcp2_conn_del(core) }
        memory.deallocate()
        account?.draw(-drawn)
    }

    /// Takes over ngtcp2's connection, made with this session as its user's data.
    func adopt(_ core: OpaquePointer) {
        self.core = core
        handshake.attach(to: core)
        drawMemory()
    }

    /// The time from a packet to its acknowledgement.
    var roundTripTime: Duration? {
        guard let core else { return nil }
        var info = ngtcp2_conn_info()
        cq_info(core, &info)
        return info.smoothed_rtt == 0 ? nil : .nanoseconds(Int64(clamping: info.smoothed_rtt))
    }

    // MARK: Input

    /// Takes in a datagram.
    func receive(_ bytes: RawSpan, from source: SocketAddress, to local: IPAddress?, ecn: ECN) {
        guard let core else { return answerLate() }
        if let local { arrivalAddress = local }
        let path = endpoint.inPath
        // A dialer knows its own address only as the one that it chose; a listener answers from the one it is called by.
        path.set(local: isInbound ? endpoint.local(local) : localAddress, remote: source)
        isInside = true
        let result = bytes.withUnsafeBytes { buffer in
            cq_read(
                core, path.path, ecn.rawValue, buffer.baseAddress!.assumingMemoryBound(to: UInt8.self), buffer.count,
                endpoint.loop.now.nanoseconds)
        }
        isInside = false
        settle(result)
        drawMemory()
        if isMemoryExhausted, holdsTooMuch { giveUp() }
    }

    /// Acts on what ngtcp2 returned, and tells what it has said meanwhile.
    private func settle(_ result: Int32) {
        switch result {
        case 0: break
        case NGTCP2_ERR_DRAINING: return drain()
        case NGTCP2_ERR_CLOSING, NGTCP2_ERR_DROP_CONN: return abandon(.network(.reset))
        case NGTCP2_ERR_RETRY: return abandon(.network(.reset))
        case NGTCP2_ERR_IDLE_CLOSE: return abandon(.idle)
        case NGTCP2_ERR_HANDSHAKE_TIMEOUT: return abandon(.timedOut)
        case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
            return abandon(.violation(.quic, detail: "the other side does not speak QUIC v1"))
        default: return fail(result)
        }
        if isEstablishing { establish() }
        if hasMoved { follow() }
        connection?.deliverEvents()
        changed()
    }

    private func establish() {
        isEstablishing = false
        guard let core, let connection else { return }
        phase = .open
        ngtcp2_conn_set_tls_native_handle(core, nil)
        handshake.release()
        if let params = ngtcp2_conn_get_remote_transport_params(core) {
            if params.pointee.stateless_reset_token_present != 0 {
                withUnsafePointer(to: params.pointee.stateless_reset_token) { addResetToken($0) }
            }
            if !isInbound { keepAlive(theirs: params.pointee.max_idle_timeout) }
        }
        endpoint.established(self)
        outcome.take()?(.success(connection))
    }

    /// Lets the dialer say something before either side takes the other for gone.
    private func keepAlive(theirs: UInt64) {
        let ours = UInt64(endpoint.limits.idleTimeout.nanoseconds)
        let idle = theirs == 0 ? ours : min(theirs, ours)
        ngtcp2_conn_set_keep_alive_timeout(core, min(UInt64(endpoint.limits.keepAlive.nanoseconds), idle / 2))
    }

    /// The other side has been found at another address.
    private func follow() {
        hasMoved = false
        guard let core, let path = ngtcp2_conn_get_path(core) else { return }
        let remote = SocketAddress(path.pointee.remote)
        guard remote != remoteAddress else { return }
        remoteAddress = remote
        connection?.moved(to: .quic(remote))
    }

    /// A packet for a connection that is over: it is told so, ever more rarely.
    private func answerLate() {
        guard case .closing(var farewell) = phase else { return }
        farewell.received += 1
        if farewell.received >= farewell.answerAt {
            farewell.received = 0
            farewell.answerAt *= 2
            _ = endpoint.send(farewell.packet.span, to: farewell.destination, from: farewell.source)
        }
        phase = .closing(farewell)
    }

    // MARK: Memory

    /// Whether its peer should hold no more.
    var isMemoryExhausted: Bool { account?.scope.isTight ?? false }

    /// Brings what is drawn up to date.
    func drawMemory() {
        let ofTLS = handshake.isReleased ? Self.memoryOfKeys : Self.memoryOfTLS
        let held = core == nil ? 0 : memory.pointee.used + ofTLS
        account?.draw(held - drawn)
        drawn = held
    }

    /// Whether more is held than a connection may have where memory is used up: what came in out of order.
    private var holdsTooMuch: Bool {
        guard let core, memory.pointee.used > endpoint.limits.memoryWhenExhausted else { return false }
        var info = ngtcp2_conn_info()
        cq_info(core, &info)
        // What is kept of a packet in flight is a fifth of it, where it is full.
        return memory.pointee.used - Int(info.bytes_in_flight) / 4 > endpoint.limits.memoryWhenExhausted
    }

    private func giveUp() {
        endpoint.statistics[.memory] += 1
        var error = ngtcp2_ccerr()
        ngtcp2_ccerr_set_transport_error(&error, UInt64(NGTCP2_INTERNAL_ERROR), nil, 0)
        sayFarewell(&error, .network(.exhausted), .network(NetworkError(.exhausted, "receive", remoteAddress)))
    }

    // MARK: Time and output

    func countPacket() { packets += 1 }

    /// Whether as many packets were sent as may go out at once in the beginning.
    var hasUsedFirstBurst: Bool { packets > 10 }

    /// There may be something to write: asks the endpoint for a turn.
    func changed() {
        guard core != nil, !isWaiting else { return }
        isWaiting = true
        endpoint.wantsToWrite(self)
    }

    private func expire() {
        guard let core else { return endpoint.forget(self) }
        if ngtcp2_conn_get_expiry(core) <= endpoint.loop.now.nanoseconds {
            isInside = true
            let result = ngtcp2_conn_handle_expiry(core, endpoint.loop.now.nanoseconds)
            isInside = false
            guard result == 0 else { return settle(result) }
        }
        changed()
    }

    /// Wakes it up when ngtcp2 wants to.
    func armTimer() {
        guard let core else { return }
        let expiry = ngtcp2_conn_get_expiry(core)
        timer.arm(at: expiry == .max ? nil : Instant(nanoseconds: expiry))
    }

    // MARK: Moving

    /// Goes on from another address of this host. Only the side that dialled can.
    func move(to local: SocketAddress) {
        guard !isInbound, let core, case .open = phase, local != localAddress else { return }
        let path = endpoint.inPath
        path.set(local: local, remote: remoteAddress)
        guard ngtcp2_conn_initiate_immediate_migration(core, path.path, endpoint.loop.now.nanoseconds) == 0 else {
            return
        }
        localAddress = local
        connection?.moved(from: .quic(local))
        changed()
    }

    /// Begins to use new keys, as it does by itself after very many packets. Whether it could.
    func updateKeys() -> Bool {
        guard let core, ngtcp2_conn_initiate_key_update(core, endpoint.loop.now.nanoseconds) == 0 else { return false }
        changed()
        return true
    }

    // MARK: The end

    /// Ends it with an application's code.
    func close(code: UInt64) {
        var error = ngtcp2_ccerr()
        ngtcp2_ccerr_set_application_error(&error, code & QUICConnection.maximumCode, nil, 0)
        sayFarewell(&error, .closed(code: code), .cancelled)
    }

    /// ngtcp2 cannot go on, mostly because of what the other side did.
    func fail(_ result: Int32) {
        guard let core else { return }
        var error = ngtcp2_ccerr()
        let detail: String
        if result == NGTCP2_ERR_CRYPTO {
            ngtcp2_ccerr_set_tls_alert(&error, ngtcp2_conn_get_tls_alert(core), nil, 0)
            detail = handshake.refusal.map { "\($0)" } ?? "TLS alert \(ngtcp2_conn_get_tls_alert(core))"
        } else {
            ngtcp2_ccerr_set_liberr(&error, result, nil, 0)
            detail = ngtcp2_strerror(result).map { String(cString: $0) } ?? "error \(result)"
        }
        sayFarewell(&error, .violation(.quic, detail: detail), failure(detail))
    }

    /// Ends it without a word, as if it had never been.
    func abandon(_ reason: ConnectionError) {
        guard core != nil else { return }
        if isInside { return endpoint.loop.afterThis { [self] in abandon(reason) } }
        end(reason, failure("\(reason)"), for: nil)
    }

    /// The other side says that it is over, or that it knows nothing of it.
    private func drain() {
        guard let core else { return }
        let error = ngtcp2_conn_get_ccerr(core)?.pointee
        let pto = ngtcp2_conn_get_pto(core)
        if wasReset { return end(.network(.reset), .ended(.handshake), for: pto) }
        switch error?.type {
        case NGTCP2_CCERR_TYPE_APPLICATION?:
            end(.closedByPeer(code: error?.error_code ?? 0), .ended(.handshake), for: pto)
        case NGTCP2_CCERR_TYPE_TRANSPORT? where error?.error_code == UInt64(NGTCP2_NO_ERROR):
            end(.closedByPeer(code: 0), .ended(.handshake), for: pto)
        default:
            let detail = "the other side gave up with error 0x\(String(error?.error_code ?? 0, radix: 16))"
            end(.violation(.quic, detail: detail), failure(detail), for: pto)
        }
    }

    private func failure(_ detail: String) -> TransportError {
        switch handshake.refusal {
        case .unexpectedPeer(let key):
            if let expected { return .wrongPeer(expected: expected, actual: PeerID(key)) }
            return .handshake(detail)
        case let refusal?: return .handshake("\(refusal)")
        case nil: return .handshake(detail)
        }
    }

    private func sayFarewell(_ error: inout ngtcp2_ccerr, _ reason: ConnectionError, _ failure: TransportError) {
        guard let core else { return }
        let path = endpoint.outPath
        var written: ngtcp2_ssize = 0
        var writer = Writer(capacity: PacketBatch.packetSize)
        writer.append(upTo: PacketBatch.packetSize) { room in
            written = cq_write_close(
                core, path.path, room.baseAddress!.assumingMemoryBound(to: UInt8.self), room.count, &error,
                endpoint.loop.now.nanoseconds)
            return max(written, 0)
        }
        let pto = ngtcp2_conn_get_pto(core)
        let packet = writer.finish().compacted()
        guard written > 0 else { return end(reason, failure, for: nil) }
        let source = path.local.ip
        let farewell = Farewell(
            packet: packet, destination: path.remote, source: source.isUnspecified ? nil : source)
        _ = endpoint.send(packet.span, to: farewell.destination, from: farewell.source)
        end(reason, failure, for: pto)
        phase = .closing(farewell)
    }

    /// Gives up all but the ids, by which late packets are known for three times `pto`.
    private func end(_ reason: ConnectionError, _ failure: TransportError, for pto: UInt64?) {
        let wasHandshaking = if case .handshaking = phase { true } else { false }
        phase = .over
        ngtcp2_conn_del(core)
        core = nil
        drawMemory()
        endpoint.ended(self, wasHandshaking: wasHandshaking)
        if let pto {
            timer.arm(after: .nanoseconds(Int64(clamping: 3 &* min(pto, 10_000_000_000))))
        } else {
            timer.cancel()
            endpoint.forget(self)
        }
        let connection = connection
        self.connection = nil
        outcome.take()?(.failure(failure))
        connection?.end(reason)
    }

    // MARK: What ngtcp2 says in the middle

    /// The handshake is done. Whether the peer is known, as it must be.
    func handshakeCompleted() -> Bool {
        guard let peer = handshake.peer else { return false }
        let connection = QUICConnection(session: self, peer: peer)
        connection.binding = handshake.exported("EXPORTER-martlet-binding", count: 32) ?? Bytes()
        self.connection = connection
        isEstablishing = true
        return true
    }

    /// TLS has something to say. Whether it may.
    func receivedCrypto(
        _ core: OpaquePointer?, _ level: ngtcp2_encryption_level, _ offset: UInt64, _ bytes: UnsafeRawBufferPointer
    ) -> Int32 {
        guard handshake.isReleased else {
            return ngtcp2_crypto_recv_crypto_data_cb(
                core, level, offset, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count,
                Unmanaged.passUnretained(self).toOpaque())
        }
        guard level == NGTCP2_ENCRYPTION_LEVEL_1RTT, lateMessages.pass(bytes.bytes) else {
            ngtcp2_conn_set_tls_alert(core, UInt8(truncatingIfNeeded: GNUTLS_A_UNEXPECTED_MESSAGE.rawValue))
            return NGTCP2_ERR_CRYPTO
        }
        return 0
    }

    func pathValidated() { hasMoved = true }
    func statelessResetReceived() { wasReset = true }

    func addResetToken(_ token: UnsafeRawPointer) {
        let token = ResetToken(token)
        guard resetTokens.count < 16 else { return }
        resetTokens.append(token)
        endpoint.add(token, of: self)
    }

    func removeResetToken(_ token: UnsafeRawPointer) {
        let token = ResetToken(token)
        resetTokens.removeAll { $0 == token }
        endpoint.remove(token)
    }
}
