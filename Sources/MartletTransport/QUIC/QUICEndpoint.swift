internal import CQUIC
internal import MartletCrypto
internal import MartletIdentity
internal import MartletRuntime
internal import MartletTLS
internal import MartletWire

/// All QUIC connections of one UDP port: the table of their ids, who may write next, and what they share.
///
/// Connections are found by the ids that we gave them, so they live on when the peer's address changes.
final class QUICEndpoint {
    let environment: any Environment
    let loop: EventLoop
    let port: Demultiplexer
    let credentials: TLSCredentials
    let limits: QUICLimits
    var statistics = QUICStatistics()
    /// What connections draw from, from the next one on.
    var memory: ResourceScope?
    /// Takes connections that others dial; without it there are none.
    var inbound: Inbound?
    /// Room for the addresses of a packet that came in, and of one that goes out.
    let inPath = QUICPath()
    let outPath = QUICPath()
    let callbacks: UnsafeMutablePointer<ngtcp2_callbacks>
    let batch: PacketBatch
    /// Where streams keep what comes in large packets until it is read.
    let slabs = SlabRing(size: 64 << 10, limit: 64)
    /// From which reset tokens follow: the same after a restart, so that peers can be told that we know nothing.
    private let resetSecret: Secret
    let retrySecret: Secret
    private var random: RandomSource
    private var table: [ConnectionID: QUICSession] = [:]
    private var tokens: [ResetToken: QUICSession] = [:]
    /// Who dials and is not yet in.
    var door: QUICDoor
    private var lastNumber: UInt64 = 0
    /// Sessions by number: those that are over too, until late packets have died out.
    private(set) var sessions: [UInt64: QUICSession] = [:]
    private var waiting: [QUICSession] = []
    private var isFlushPlanned = false
    private var isClosed = false

    /// The endpoint at `port`, which it registers with. `hostKey` is the key that `credentials` prove.
    init(
        _ port: Demultiplexer, environment: any Environment, hostKey: PrivateKey, credentials: TLSCredentials,
        limits: QUICLimits
    ) {
        self.port = port
        self.environment = environment
        self.credentials = credentials
        self.limits = limits
        loop = environment.loop
        random = environment.random
        batch = PacketBatch(port.socket)
        callbacks = .allocate(capacity: 1)
        callbacks.initialize(to: .sessions)
        resetSecret = HKDF.derive(
            .sha256, input: hostKey.protobuf.span, salt: Bytes().span,
            info: Bytes(utf8: "martlet QUIC stateless reset").span, count: 32)
        retrySecret = Secret(count: 32, using: &random)
        door = QUICDoor(limits)
        // The transport closes a port before it lets go of its endpoint. Weak references would make every other slow.
        port.register(.quic) { [unowned self] in receive($0) }
        // The same holds here.
        port.onBatchEnd { [unowned self] in flush() }
        // And here.
        port.onWritable { [unowned self] in resume() }
    }

    deinit {
        callbacks.deallocate()
    }

    // MARK: Dialling

    /// Connects to `remote` by `deadline`. What it returns is open at that moment.
    nonisolated(nonsending) func dial(
        _ remote: SocketAddress, expecting peer: PeerID?, deadline: Instant
    ) async throws(TransportError) -> QUICConnection {
        guard !isClosed else { throw .cancelled }
        guard statistics.connections < limits.connections else {
            throw .network(NetworkError(.exhausted, "connect", remote))
        }
        guard memory?.isExhausted != true else {
            statistics[.memory] += 1
            throw .network(NetworkError(.exhausted, "connect", remote))
        }
        let done = Signal(on: loop)
        var result: Result<QUICConnection, TransportError>?
        let session = try begin(remote, expecting: peer) {
            result = $0
            done.signal()
        }
        let timer = LoopTimer(on: loop, label: "QUIC dial") { done.signal() }
        timer.arm(at: deadline)
        defer { timer.cancel() }
        do {
            try await done.wait()
        } catch {
            if case .success(let connection)? = result { connection.close(code: 0) } else { session.close(code: 0) }
            throw .cancelled
        }
        guard let result else {
            session.close(code: 0)
            throw .timedOut(.handshake)
        }
        let connection = try result.get()
        try connection.mustBeOpen()
        return connection
    }

    private func begin(
        _ remote: SocketAddress, expecting peer: PeerID?, outcome: @escaping QUICSession.Outcome
    ) throws(TransportError) -> QUICSession {
        let session = QUICSession(
            self, role: .client, local: local(nil), remote: remote, expecting: peer, outcome: outcome)
        // The first id of the other side is a guess of ours, long enough that nobody else makes it.
        var destination = ConnectionID(using: &random).cid
        var source = makeID(for: session).cid
        var settings = settings(for: remote)
        var params = params()
        inPath.set(local: session.localAddress, remote: remote)
        var core: OpaquePointer?
        let result = cq_client_new(
            &core, &destination, &source, inPath.path, callbacks, &settings, &params,
            session.memory, Unmanaged.passUnretained(session).toOpaque())
        guard result == 0, let core else {
            forget(session)
            throw .network(NetworkError(.exhausted, "connect", remote))
        }
        session.adopt(core)
        keep(session)
        session.changed()
        return session
    }

    func settings(for remote: SocketAddress) -> ngtcp2_settings {
        var settings = ngtcp2_settings()
        cq_settings_default(&settings)
        settings.initial_ts = loop.now.nanoseconds
        settings.handshake_timeout = UInt64(limits.handshakeTimeout.nanoseconds)
        // The windows grow by our own rule: see `QUICConnection.pay`.
        settings.max_window = 0
        settings.max_stream_window = 0
        if remote.ip.isLoopback {
            // There is nothing to probe; see `LargePackets`.
            settings.no_pmtud = 1
            settings.no_tx_udp_payload_size_shaping = 1
            settings.max_tx_udp_payload_size = PacketBatch.largestPacket
        } else {
            settings.max_tx_udp_payload_size = PacketBatch.packetSize
        }
        settings.rand_ctx.native_handle = Unmanaged.passUnretained(self).toOpaque()
        return settings
    }

    func params() -> ngtcp2_transport_params {
        var params = ngtcp2_transport_params()
        cq_transport_params_default(&params)
        params.initial_max_streams_bidi = UInt64(limits.streams)
        // libp2p has streams of two directions only.
        params.initial_max_streams_uni = 0
        let window = UInt64(limits.streamWindow.lowerBound)
        params.initial_max_stream_data_bidi_local = window
        params.initial_max_stream_data_bidi_remote = window
        params.initial_max_data = UInt64(limits.connectionWindow.lowerBound)
        params.max_idle_timeout = UInt64(limits.idleTimeout.nanoseconds)
        params.active_connection_id_limit = 4
        return params
    }

    // MARK: Datagrams

    /// The address of this side for a datagram that came to `ip`, as far as that is known.
    func local(_ ip: IPAddress?) -> SocketAddress {
        let bound = port.socket.localAddress
        guard let ip, ip.isV4 == bound.ip.isV4 else { return bound }
        return SocketAddress(ip, port: bound.port)
    }

    private func receive(_ datagram: borrowing Datagram) {
        let bytes = datagram.bytes
        if bytes[0] & 0x80 == 0 {
            guard let id = ConnectionID(ofShortHeader: bytes) else { return unknown(datagram) }
            guard let session = table[id] else { return unknown(datagram) }
            return session.receive(bytes, from: datagram.source, to: datagram.localAddress, ecn: datagram.ecn)
        }
        var header = ngtcp2_version_cid()
        let result = bytes.withUnsafeBytes {
            ngtcp2_pkt_decode_version_cid(
                &header, $0.baseAddress!.assumingMemoryBound(to: UInt8.self), $0.count, ConnectionID.localSize)
        }
        guard result == 0 || result == NGTCP2_ERR_VERSION_NEGOTIATION else {
            statistics[.malformed] += 1
            return
        }
        let destination = UnsafeRawBufferPointer(start: header.dcid, count: header.dcidlen)
        if result == 0, let id = ConnectionID(destination.bytes), let session = table[id] {
            return session.receive(bytes, from: datagram.source, to: datagram.localAddress, ecn: datagram.ecn)
        }
        stranger(datagram, header, needsVersion: result != 0)
    }

    /// A packet with a short header for none of our connections.
    private func unknown(_ datagram: borrowing Datagram) {
        if let token = ResetToken(endOf: datagram.bytes), let session = tokens[token] {
            return session.receive(
                datagram.bytes, from: session.remoteAddress, to: datagram.localAddress, ecn: datagram.ecn)
        }
        statistics[.unknownConnection] += 1
        sendReset(datagram)
    }

    /// Sends a packet beside the batches.
    func send(_ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress?) -> SendResult {
        port.socket.send(bytes, to: destination, from: source)
    }

    // MARK: Writing

    /// `session` has something to write: it gets its turn when all that came in has been looked at.
    func wantsToWrite(_ session: QUICSession) {
        waiting.append(session)
        guard !isFlushPlanned else { return }
        isFlushPlanned = true
        // Not at the end of the turn: py-libp2p cannot cope with a consent, what follows, the end and a refusal to read in
        // one packet.
        loop.afterThis { [self] in flush() }
    }

    private func flush() {
        isFlushPlanned = false
        var turn = 0
        while turn < waiting.count, !batch.isBlocked {
            let session = waiting[turn]
            turn += 1
            session.isWaiting = false
            session.write(to: batch)
        }
        waiting.removeFirst(turn)
        statistics.sendFailures = batch.failures
    }

    private func resume() {
        if batch.resume() { flush() }
    }

    // MARK: Sessions

    func nextNumber() -> UInt64 {
        lastNumber += 1
        return lastNumber
    }

    /// `session` has begun.
    func keep(_ session: QUICSession) {
        sessions[session.number] = session
        statistics.connections += 1
        guard let newcomer = session.newcomer else { return }
        door.began(newcomer)
        statistics.halfOpen = door.halfOpen
    }

    /// The handshake of `session` is done.
    func established(_ session: QUICSession) {
        statistics.established += 1
        noLongerHalfOpen(session)
    }

    /// `session` is over.
    func ended(_ session: QUICSession, wasHandshaking: Bool) {
        for token in session.resetTokens { tokens[token] = nil }
        session.resetTokens = []
        statistics.connections -= 1
        guard wasHandshaking else { return }
        if session.isInbound { statistics[.handshake] += 1 }
        noLongerHalfOpen(session)
    }

    private func noLongerHalfOpen(_ session: QUICSession) {
        guard let newcomer = session.newcomer else { return }
        door.finished(newcomer)
        statistics.halfOpen = door.halfOpen
    }

    /// Packets for `session` are those of a stranger from now on.
    func forget(_ session: QUICSession) {
        for id in session.ids where table[id] === session { table[id] = nil }
        session.ids = []
        sessions[session.number] = nil
    }

    /// Tells all other sides that it is over, and leaves the port.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        inbound = nil
        port.register(.quic, nil)
        for session in sessions.values.sorted(by: { $0.number < $1.number }) {
            session.close(code: 0)
            forget(session)
        }
        batch.send()
    }

    /// This host's addresses have changed: connections that were dialled from one that `isGone` go on from `ip`.
    func moveAll(to ip: IPAddress, awayFrom isGone: (IPAddress) -> Bool) {
        let local = SocketAddress(ip, port: port.socket.localAddress.port)
        for session in sessions.values.sorted(by: { $0.number < $1.number }) {
            if let before = session.arrivalAddress, isGone(before) { session.move(to: local) }
        }
    }

    // MARK: Ids and tokens

    /// A new id for `session`.
    func makeID(for session: QUICSession) -> ConnectionID {
        var id = ConnectionID(using: &random)
        while table[id] != nil { id = ConnectionID(using: &random) }
        add(id, of: session)
        return id
    }

    func add(_ id: ConnectionID, of session: QUICSession) {
        table[id] = session
        session.ids.append(id)
    }

    func removeID(_ id: ConnectionID, of session: QUICSession) {
        table[id] = nil
        session.ids.removeAll { $0 == id }
    }

    func add(_ token: ResetToken, of session: QUICSession) { tokens[token] = session }
    func remove(_ token: ResetToken) { tokens[token] = nil }

    /// Writes the reset token that belongs to one of our ids. Fails only where memory is out.
    func writeResetToken(for id: UnsafePointer<ngtcp2_cid>, to target: UnsafeMutablePointer<UInt8>) -> Bool {
        resetSecret.withUnsafeBytes {
            ngtcp2_crypto_generate_stateless_reset_token(
                target, $0.baseAddress!.assumingMemoryBound(to: UInt8.self), $0.count, id) == 0
        }
    }

    /// Fills `target` from the environment's random source.
    func fill(_ target: UnsafeMutableRawBufferPointer) {
        var offset = 0
        while offset < target.count {
            withUnsafeBytes(of: random.next()) { drawn in
                let count = min(8, target.count - offset)
                UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: drawn[..<count]))
                offset += count
            }
        }
    }

    /// A number below 256.
    func randomByte() -> UInt8 { UInt8(truncatingIfNeeded: random.next()) }
}
