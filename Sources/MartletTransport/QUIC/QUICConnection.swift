internal import CQUIC
internal import MartletCrypto
internal import MartletIdentity
internal import MartletRuntime
internal import MartletTLS
internal import MartletWire

/// A connection over QUIC v1 (RFC 9000), whose streams are QUIC's own.
final class QUICConnection: Connection {
    let session: QUICSession
    private var streams: [Int64: QUICStream] = [:]
    /// Streams that may have something to send, the next one first.
    private var ready: [QUICStream] = []
    private var firstReady = 0
    /// How many of them have been dropped since.
    private var droppedReady = 0
    /// How many packets the first stream has had in its turn.
    private var packetsInTurn = 0
    /// Streams that have something to send and no credit for it.
    private var blocked: [QUICStream] = []
    /// Streams that the other side has opened since they were last handed out.
    private var arrivals: [StreamLink] = []
    private var gainedStreams = false
    private var counts = ConnectionStatistics()
    /// How many bytes of streams went out, and how many of them the other side has.
    var bytesSent: UInt64 { counts.bytesSent }
    private(set) var bytesAcknowledged: UInt64 = 0
    /// How many bytes streams may be ahead of their readers together, and how many the other side may still use that
    /// streams which are over have left behind.
    private var window: Int
    private var excess = 0
    /// How much credit a stream may keep back, so that all together never keep back what the other side needs to go on.
    private var creditShare = Int.max
    /// With what code it is closed when everything is sent.
    private var closing: UInt64?
    private var closeTimer: LoopTimer?

    init(session: QUICSession, peer: PublicKey) {
        self.session = session
        window = session.endpoint.limits.connectionWindow.lowerBound
        super.init(
            loop: session.endpoint.loop, remotePublicKey: peer,
            localAddress: .quic(session.localAddress), remoteAddress: .quic(session.remoteAddress),
            nature: ConnectionNature(
                direction: session.handshake.role == .client ? .outbound : .inbound, transport: "quic-v1"))
        memory = session.endpoint.memory
        session.account = ownAccount
    }

    override var memory: ResourceScope? {
        didSet { session.account = ownAccount }
    }

    override func forEachStream(_ body: (StreamLink) -> Void) {
        for stream in streams.values.sorted(by: { $0.id < $1.id }) { body(stream.link) }
    }

    // MARK: Using it

    override func openStream() throws(ConnectionError) -> Stream {
        if let closeReason { throw closeReason }
        guard closing == nil, let core = session.core else { throw .noMoreStreams }
        var id: Int64 = -1
        switch ngtcp2_conn_open_bidi_stream(core, &id, nil) {
        case 0: break
        case NGTCP2_ERR_STREAM_ID_BLOCKED: throw .tooManyStreams
        default: throw .noMoreStreams
        }
        counts.streamsOpened += 1
        return Stream(add(id, isOutbound: true).link)
    }

    override func close(code: UInt64) {
        guard closeReason == nil, closing == nil else { return }
        closing = code
        let timer = LoopTimer(on: loop, label: "QUIC close") { [weak self] in self?.closeNow() }
        timer.arm(after: session.endpoint.limits.closeTimeout)
        closeTimer = timer
        session.changed()
        // Later, so that what has just been written is taken up first.
        loop.atTurnEnd { [self] in closeIfFlushed() }
    }

    override func abort() {
        session.abandon(.closed(code: 0))
    }

    override var statistics: ConnectionStatistics {
        var counts = counts
        counts.openStreams = streams.count
        counts.roundTripTime = session.roundTripTime
        return counts
    }

    private func closeNow() {
        session.close(code: closing ?? 0)
    }

    private func closeIfFlushed() {
        guard closing != nil, closeReason == nil, streams.values.allSatisfy({ $0.isFlushed }) else { return }
        closeNow()
    }

    // MARK: What its streams ask of it

    override func streamHasOutput(_ link: StreamLink) {
        guard let stream = link.attachment as? QUICStream else { return }
        stream.hasMore = true
        makeReady(stream)
        session.changed()
    }

    override func streamFreed(_ link: StreamLink, credit: Int) {
        guard let stream = link.attachment as? QUICStream else { return }
        pay(stream, credit)
    }

    override func streamReset(_ link: StreamLink, code: UInt64) {
        guard let stream = link.attachment as? QUICStream, let core = session.core else { return }
        ngtcp2_conn_shutdown_stream(core, 0, stream.id, code & Self.maximumCode)
        drop(stream)
        stopInput(of: stream)
        session.changed()
    }

    override func streamStopped(_ link: StreamLink, code: UInt64) {
        guard let stream = link.attachment as? QUICStream, let core = session.core else { return }
        ngtcp2_conn_shutdown_stream_read(core, 0, stream.id, code & Self.maximumCode)
        stopInput(of: stream)
        session.changed()
    }

    /// Codes are varints of at most 62 bits.
    static let maximumCode: UInt64 = 1 << 62 - 1

    private func stopInput(of stream: QUICStream) {
        stream.isInputClosed = true
        pay(stream, stream.unpaid)
    }

    /// Gives the other side credit for `count` bytes of `stream`, and a larger window where that holds it back.
    ///
    /// The connection's window grows by as much as those of its streams, so that one whose reader has stopped never
    /// takes the credit of the others.
    private func pay(_ stream: QUICStream, _ count: Int) {
        let credit = stream.paid(count)
        guard credit > 0, let core = session.core else { return }
        var more = 0
        if !stream.isInputClosed, stream.link.hasMemoryToGrow,
            stream.outgrowsWindow(at: loop.now, roundTripTime: session.roundTripTime ?? .zero)
        {
            let limits = session.endpoint.limits
            let room = min(
                limits.streamWindow.upperBound - stream.window, limits.connectionWindow.upperBound - window)
            more = max(min(stream.window, room), 0)
            stream.grow(by: more)
            window += more
            stream.link.setCreditStep(creditStep(of: stream))
            shareCredit()
        }
        let withheld = min(excess, credit)
        excess -= withheld
        // It fails only where the stream is no more, and then only the connection's credit counts.
        ngtcp2_conn_extend_max_stream_offset(core, stream.id, UInt64(credit + more))
        ngtcp2_conn_extend_max_offset(core, UInt64(credit - withheld + more))
        session.changed()
    }

    /// The window of a stream that is over shrinks back.
    private func shrink(_ stream: QUICStream) {
        window -= stream.growth
        excess += stream.growth
        shareCredit()
    }

    /// From how much on the credit of `stream` is reported. The rest of its window carries on while that is on its way.
    private func creditStep(of stream: QUICStream) -> Int { min(stream.window / 4, creditShare) }

    /// Sees to it that the streams keep back a quarter of the connection's window at most.
    private func shareCredit() {
        let fair = window / (4 * max(streams.count, 1))
        // Half of what is fair now, so that it changes only with every doubling.
        guard fair < creditShare || fair > 4 * creditShare else { return }
        creditShare = max(fair / 2, 1)
        for stream in streams.values.sorted(by: { $0.id < $1.id }) { stream.link.setCreditStep(creditStep(of: stream)) }
    }

    // MARK: From ngtcp2

    /// Takes note of a stream, opened by this side or the other.
    @discardableResult
    private func add(_ id: Int64, isOutbound: Bool) -> QUICStream {
        let step = min(session.endpoint.limits.streamWindow.lowerBound / 4, creditShare)
        let link = StreamLink(connection: self, id: UInt64(id), isOutbound: isOutbound, creditStep: step)
        let stream = QUICStream(
            id: id, link: link, window: session.endpoint.limits.streamWindow.lowerBound,
            memory: link.account)
        link.attachment = stream
        streams[id] = stream
        shareCredit()
        ngtcp2_conn_set_stream_user_data(session.core, id, Unmanaged.passUnretained(stream).toOpaque())
        return stream
    }

    /// The other side has opened a stream.
    func opened(_ id: Int64) {
        counts.streamsAccepted += 1
        arrivals.append(add(id, isOutbound: false).link)
    }

    /// `bytes` came in on `stream`, and its end with them where it `ends`.
    func received(_ bytes: UnsafeRawBufferPointer, on stream: QUICStream, ends: Bool) {
        counts.bytesReceived += UInt64(bytes.count)
        stream.received(bytes.count)
        if stream.isInputClosed {
            pay(stream, bytes.count)
        } else {
            if bytes.count > 0 { stream.link.deliver(copying: bytes, in: session.endpoint.slabs) }
            if ends { stream.link.deliverEnd() }
        }
    }

    /// The other side has everything of `stream` before `offset`, `count` bytes of which are new.
    func acknowledged(_ stream: QUICStream, upTo offset: UInt64, _ count: UInt64) {
        bytesAcknowledged += count
        stream.acknowledge(upTo: offset)
    }

    /// The other side has broken off its direction of `stream`.
    func wasReset(_ stream: QUICStream, code: UInt64) {
        stream.link.deliverReset(code: code)
        stopInput(of: stream)
    }

    /// The other side wants no more on `stream`. ngtcp2 resets this direction by itself, and version 1.11 does not tell
    /// the code that came with STOP_SENDING: the writer sees 0 in its place.
    func wasStopped(_ stream: QUICStream) {
        stream.link.deliverStop(code: 0)
        drop(stream)
        passOver(stream)
    }

    /// `stream` has room for more, as far as the other side is concerned.
    func gainedCredit(_ stream: QUICStream) {
        makeReady(stream)
    }

    /// ngtcp2 has done with `stream`.
    func ended(_ stream: QUICStream, wasLocal: Bool) {
        stopInput(of: stream)
        shrink(stream)
        drop(stream)
        // A writer that was silent has not heard yet that the other side wanted no more, and nobody else would tell it.
        stream.link.deliverStop(code: 0)
        stream.link.detach()
        streams[stream.id] = nil
        if !wasLocal, let core = session.core { ngtcp2_conn_extend_max_streams_bidi(core, 1) }
    }

    /// More streams can be opened.
    func mayOpenStreams() { gainedStreams = true }

    /// Hands out what came in, now that ngtcp2 is not in the middle of something.
    func deliverEvents() {
        // What has ended makes room for what has begun.
        tellUsers()
        while !arrivals.isEmpty {
            let links = arrivals
            arrivals = []
            for link in links {
                if closeReason != nil { return }
                accepted(link)
            }
        }
        if gainedStreams {
            gainedStreams = false
            streamsBecameAvailable()
        }
        if closing != nil { closeIfFlushed() }
    }

    /// The connection is over: so are its streams.
    func end(_ reason: ConnectionError) {
        closeTimer = nil
        let all = streams.values.sorted { $0.id < $1.id }
        streams = [:]
        ready = []
        blocked = []
        firstReady = 0
        droppedReady = 0
        arrivals = []
        for stream in all {
            stream.link.fail(reason)
            stream.link.detach()
        }
        ended(reason)
    }

    // MARK: Who sends next

    /// The next stream that has something to send, filled up from its writer.
    func nextToSend() -> QUICStream? {
        while firstReady < ready.count {
            let stream = ready[firstReady]
            stream.refill()
            if stream.hasOutput { return stream }
            passOver(stream)
        }
        ready.removeAll(keepingCapacity: true)
        firstReady = 0
        droppedReady = 0
        return nil
    }

    /// The first stream has no credit. It is tried again later, since only then ngtcp2 says that it was refused.
    func block(_ stream: QUICStream) {
        passOver(stream)
        blocked.append(stream)
    }

    /// Streams without credit get another try.
    func retryBlocked() {
        guard !blocked.isEmpty else { return }
        let streams = blocked
        blocked = []
        for stream in streams { makeReady(stream) }
    }

    /// The first stream cannot send now, or has nothing more to.
    func passOver(_ stream: QUICStream) {
        stream.isReady = false
        if stream.isDropped { droppedReady -= 1 }
        packetsInTurn = 0
        firstReady += 1
        if firstReady >= 64 {
            ready.removeFirst(firstReady)
            firstReady = 0
        }
    }

    /// The first stream has had a packet: when it has had as many as belong to a turn, the others come before it.
    func rotate(afterPackets count: Int) {
        guard firstReady + 1 < ready.count else { return }
        packetsInTurn += 1
        guard packetsInTurn >= count else { return }
        let stream = ready[firstReady]
        passOver(stream)
        makeReady(stream)
    }

    /// `count` bytes of streams went out.
    func sent(_ count: Int) { counts.bytesSent += UInt64(count) }

    /// `stream` sends nothing more. If it stands in the queue, behind a stream that may wait for credit for ever, it is
    /// taken out, together with others that have been dropped.
    private func drop(_ stream: QUICStream) {
        guard !stream.isDropped else { return }
        stream.dropOutput()
        blocked.removeAll { $0 === stream }
        guard stream.isReady else { return }
        droppedReady += 1
        guard droppedReady >= Self.mostDropped, droppedReady * 2 >= ready.count - firstReady else { return }
        // Not the first, which may just be written; this may be called from within that.
        var kept = ready[firstReady...].prefix(1)
        for other in ready.dropFirst(firstReady + 1) {
            if other.isDropped { other.isReady = false } else { kept.append(other) }
        }
        droppedReady = kept.first?.isDropped == true ? 1 : 0
        ready = Array(kept)
        firstReady = 0
    }

    /// From how many dropped streams in the queue on it is gone through. Each may hold a piece of output.
    private static let mostDropped = 8

    /// How many streams are kept in the queue of those that send next.
    var queueLength: Int { ready.count - firstReady + blocked.count }

    private func makeReady(_ stream: QUICStream) {
        guard !stream.isReady, !stream.isDropped else { return }
        stream.isReady = true
        ready.append(stream)
    }
}

extension Multiaddr {
    /// QUIC v1 at an address.
    static func quic(_ address: SocketAddress) -> Multiaddr {
        let host = Multiaddr.udp(address)
        // One more protocol without a value is never too long.
        return (try? host.appending(.quicV1)) ?? host
    }
}
