import MartletRuntime
import MartletWire

/// One end of a simulated TCP connection.
final class SimulatedTCPStream: ByteStream {
    private enum State {
        case connecting
        case accepting
        case established
        /// Both directions have ended well. What was lost of the last words may still have to be said again.
        case lingering
        case over
    }

    /// How long a segment that was lost is waited for, the first time; the wait doubles up to `longestWait`.
    private static let firstWait = Duration.milliseconds(200)
    private static let firstHandshakeWait = Duration.seconds(1)
    private static let longestWait = Duration.seconds(10)
    /// A segment that is lost more often than this ends the connection, after about two minutes.
    private static let mostAttempts: UInt8 = 16
    private static let lingerTime = Duration.seconds(30)

    let ends: SimulatedTCP.Ends
    let number: UInt32
    private let tcp: SimulatedTCP
    private let options: TCPOptions
    private var state = State.connecting
    private var broken: NetworkError.Reason?
    private weak var listener: SimulatedTCPListener?
    /// Tells the one who connects that it has, or has not.
    var onConnected: ((NetworkError.Reason?) -> Void)?

    // Sending. The SYN has the number `initial`, the bytes those behind it, and the FIN one of its own.
    private let initial: UInt64
    private var unsent: [Bytes] = []
    private var unsentBytes = 0
    private var sequence: UInt64
    private var acknowledged: UInt64
    private var windowEnd: UInt64 = 0
    private var isFinishing = false
    private var finSequence: UInt64?
    private var isFlushPlanned = false
    private var owesWritable = false

    // Receiving, in the other side's numbers.
    private var initialOfPeer: UInt64 = 0
    private var expected: UInt64 = 0
    /// What came before its turn, by where it belongs.
    private var early: [UInt64: (payload: Bytes, fin: Bool)] = [:]
    private var unread: [Bytes] = []
    private var unreadFirst = 0
    private var unreadBytes = 0
    private var isEnded = false
    /// Up to where the other side was told that there is room. It never shrinks.
    private var promised: UInt64 = 0
    private var isReadPlanned = false
    private var isClosed = false

    // Waiting. One timer serves all that a stream waits for.
    private var timer: LoopTimer?
    private var resends: [(time: Instant, packet: Packet)] = []
    private var lingersUntil = Instant.never
    private var lastHeard: Instant

    init(tcp: SimulatedTCP, ends: SimulatedTCP.Ends, number: UInt32, initial: UInt64, options: TCPOptions) {
        self.tcp = tcp
        self.ends = ends
        self.number = number
        self.options = options
        self.initial = initial
        sequence = initial + 1
        acknowledged = initial
        lastHeard = tcp.loop.now
        super.init(loop: tcp.loop)
    }

    override var localAddress: SocketAddress? { ends.local }
    override var remoteAddress: SocketAddress? { ends.remote }
    override var failure: NetworkError.Reason? { broken }

    var isLingering: Bool { state == .lingering }

    private var world: World? { tcp.life.host?.world }

    // MARK: Beginning

    func connect() {
        transmit(.syn)
    }

    func accept(_ header: TCPHeader, for listener: SimulatedTCPListener) {
        self.listener = listener
        answer(header)
    }

    /// Takes the other side's SYN, and sends one that acknowledges it.
    private func answer(_ header: TCPHeader) {
        state = .accepting
        learn(header)
        transmit([.syn, .ack])
    }

    private func learn(_ header: TCPHeader) {
        initialOfPeer = header.sequence
        expected = header.sequence + 1
        // So much the SYN, where one was sent, has promised; nothing has used it up yet.
        promised = expected + UInt64(receiveBuffer)
        windowEnd = initial + 1 + header.window
    }

    private func establish() {
        state = .established
        defer {
            listener = nil
            rearm()
            pump()
        }
        if let onConnected {
            self.onConnected = nil
            onConnected(nil)
        } else if let listener {
            listener.connected(self)
        } else {
            // Who listened has stopped while the two ends shook hands.
            reset()
        }
    }

    // MARK: Sending

    override func write(_ bytes: Bytes) -> Bool {
        guard broken == nil, !isFinishing, !isClosed else { return true }
        guard !bytes.isEmpty else { return unsentBytes < options.highWaterMark }
        world?.wrote(bytes, to: initial, on: loop.number)
        unsent.append(bytes)
        unsentBytes += bytes.count
        flushLater()
        guard unsentBytes >= options.highWaterMark else { return true }
        owesWritable = true
        return false
    }

    override var queued: Int { unsentBytes }

    override func finish() {
        guard broken == nil, !isFinishing else { return }
        isFinishing = true
        flushLater()
    }

    override func close() {
        guard !isClosed else { return }
        detach()
        finish()
        // What was not read will never be, and the other side is to know it (RFC 2525 §2.17).
        if unreadBytes > 0 { fail(.closed, tellPeer: true) }
    }

    override func reset() {
        detach()
        fail(.closed, tellPeer: true)
    }

    private func detach() {
        isClosed = true
        onReadable = nil
        onWritable = nil
        onConnected = nil
    }

    private func flushLater() {
        guard !isFlushPlanned else { return }
        isFlushPlanned = true
        loop.afterThis { [self] in
            isFlushPlanned = false
            pump()
        }
    }

    /// Sends what the other side has room for.
    private func pump() {
        guard state == .established else { return }
        var index = 0
        var start = 0
        while index < unsent.count, windowEnd > sequence {
            let size = min(Int(windowEnd - sequence), SimulatedTCP.maximumSegment, unsentBytes)
            let segment = take(size, &index, &start)
            unsentBytes -= segment.count
            transmit(.ack, segment)
            sequence += UInt64(segment.count)
        }
        if start > 0 { unsent[index] = unsent[index].slice(start..<unsent[index].count) }
        unsent.removeFirst(index)
        if isFinishing, unsent.isEmpty, finSequence == nil {
            finSequence = sequence
            transmit([.fin, .ack])
            sequence += 1
        }
        if owesWritable, unsentBytes <= options.lowWaterMark {
            owesWritable = false
            onWritable?()
        }
        endIfDone()
    }

    /// The next `size` bytes of what is unsent: a slice where one piece has them, else a copy.
    private func take(_ size: Int, _ index: inout Int, _ start: inout Int) -> Bytes {
        if unsent[index].count - start >= size {
            let segment = unsent[index].slice(start..<start + size)
            start += size
            if start == unsent[index].count { (index, start) = (index + 1, 0) }
            return segment
        }
        var writer = Writer(capacity: size)
        while writer.count < size {
            let part = min(size - writer.count, unsent[index].count - start)
            writer.bytes(unsent[index].slice(start..<start + part))
            start += part
            if start == unsent[index].count { (index, start) = (index + 1, 0) }
        }
        return writer.finish()
    }

    private func transmit(_ flags: TCPHeader.Flags, _ payload: Bytes = Bytes()) {
        let isFirst = flags.contains(.syn)
        if flags.contains(.ack) { promised = max(promised, room) }
        tcp.send(
            TCPHeader(
                flags: flags, sequence: isFirst ? initial : sequence,
                acknowledgement: flags.contains(.ack) ? expected : 0,
                window: flags.contains(.ack) ? promised - min(promised, expected) : UInt64(receiveBuffer)),
            payload, ends, stream: number)
    }

    private var receiveBuffer: Int { tcp.life.host?.tcpReceiveBuffer ?? 0 }

    /// Up to where there is room for what comes.
    private var room: UInt64 { expected + UInt64(max(0, receiveBuffer - unreadBytes)) }

    // MARK: Waiting

    /// The network has lost a segment of this end, `attempt` times before. It is sent again after a while.
    func lost(_ packet: Packet, attempt: UInt8) {
        guard state != .over else { return }
        let isHandshake = state == .connecting || state == .accepting
        let first = isHandshake ? Self.firstHandshakeWait : Self.firstWait
        var again = packet
        again.source = ends.local
        again.destination = ends.remote
        again.hopsLeft = Packet.hops
        again.lossReport?.attempt = attempt + 1
        resends.append((loop.now + min(first * (1 << min(attempt, 8)), Self.longestWait), again))
        rearm()
    }

    private func rearm() {
        var next = lingersUntil
        for resend in resends { next = min(next, resend.time) }
        if state == .established, let idle = options.keepAlive { next = min(next, lastHeard + idle) }
        guard next != .never, state != .over else {
            timer?.cancel()
            return
        }
        if timer == nil {
            timer = LoopTimer(on: loop, label: "simulated TCP") { [weak self] in self?.timerFired() }
        }
        timer?.arm(at: next)
    }

    private func timerFired() {
        let now = loop.now
        guard now < lingersUntil else {
            state = .over
            return tcp.remove(self)
        }
        let due = resends.filter { $0.time <= now }
        resends.removeAll { $0.time <= now }
        for (_, packet) in due {
            guard (packet.lossReport?.attempt ?? 0) <= Self.mostAttempts else {
                return fail(.timedOut, tellPeer: false)
            }
            guard let host = tcp.life.host else { return }
            host.world.send(packet, from: host)
        }
        if state == .established, let idle = options.keepAlive, now - lastHeard >= idle {
            // What becomes of this tells whether the other side is there: its loss is told here, and one who does not
            // know the connection any more resets it.
            lastHeard = now
            transmit(.ack)
        }
        rearm()
    }

    // MARK: Receiving

    func arrive(_ packet: Packet, _ header: TCPHeader) {
        lastHeard = loop.now
        if header.flags.contains(.syn) { return arriveSYN(packet, header) }
        if header.flags.contains(.rst) { return arriveRST(header) }
        let fin = header.flags.contains(.fin)
        switch state {
        case .connecting:
            // The other side holds on to an earlier connection of the same ends. It is told, and the SYN said again.
            tcp.refuse(packet, header)
            var again = packet
            again.payload = Bytes()
            again.transport = .tcp(
                TCPHeader(flags: .syn, sequence: initial, acknowledgement: 0, window: UInt64(receiveBuffer)))
            again.lossReport = LossReport(host: UInt32(loop.number), stream: number, attempt: 0)
            return lost(again, attempt: 0)
        case .accepting, .established:
            // Another number was said to an earlier connection of the same ends.
            guard header.acknowledgement > initial, header.acknowledgement <= sequence else { return }
        case .lingering:
            if fin || !packet.payload.isEmpty { transmit(.ack) }
            return
        case .over:
            return
        }
        windowEnd = max(windowEnd, header.acknowledgement + header.window)
        acknowledged = max(acknowledged, header.acknowledgement)
        if state == .accepting { establish() }
        guard broken == nil else { return }
        if isClosed, header.sequence >= expected, !packet.payload.isEmpty { return fail(.closed, tellPeer: true) }
        if fin || !packet.payload.isEmpty {
            take(packet.payload, at: header.sequence, fin: fin)
        }
        pump()
    }

    private func arriveSYN(_ packet: Packet, _ header: TCPHeader) {
        let isAnswer = header.flags.contains(.ack)
        switch state {
        case .connecting where isAnswer:
            guard header.acknowledgement == initial + 1 else { return tcp.refuse(packet, header) }
            learn(header)
            transmit(.ack)
            establish()
        case .connecting:
            // Both ends dial each other: each answers the other's SYN, and that is the connection.
            answer(header)
        case .accepting where header.sequence == initialOfPeer && isAnswer:
            transmit(.ack)
            establish()
        case .accepting where header.sequence == initialOfPeer:
            transmit([.syn, .ack])
        case .accepting, .lingering:
            // The other side has begun anew.
            guard !isAnswer else { return }
            fail(.reset, tellPeer: false)
            tcp.remove(self)
            tcp.arrive(packet, header)
        case .established:
            // To one who has begun anew this says that there is an earlier connection, and is reset.
            transmit(.ack)
        case .over:
            break
        }
    }

    private func arriveRST(_ header: TCPHeader) {
        switch state {
        case .connecting:
            let isMeant = header.flags.contains(.ack) && header.acknowledgement == initial + 1
            if isMeant { fail(.refused, tellPeer: false) }
        case .accepting, .established:
            // One for an earlier connection is outside of the window, and none of this one is: a FIN may stand behind.
            let isMeant = header.sequence >= expected && header.sequence <= promised + 1
            if isMeant { fail(.reset, tellPeer: false) }
        case .lingering, .over:
            break
        }
    }

    private func take(_ payload: Bytes, at sequence: UInt64, fin: Bool) {
        guard sequence >= expected, sequence + UInt64(payload.count) <= promised else { return transmit(.ack) }
        guard sequence == expected else {
            early[sequence] = (payload, fin)
            return
        }
        deliver(payload, fin)
        while let next = early.removeValue(forKey: expected) { deliver(next.payload, next.fin) }
        onReadable?()
        if isEnded, broken == nil { transmit(.ack) }
        endIfDone()
    }

    private func deliver(_ payload: Bytes, _ fin: Bool) {
        guard !isEnded else { return }
        if !payload.isEmpty {
            unread.append(payload)
            unreadBytes += payload.count
            expected += UInt64(payload.count)
        }
        if fin {
            isEnded = true
            expected += 1
        }
    }

    override func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
        precondition(!buffer.isEmpty, "nothing can be read into no room")
        guard !isClosed else { return .failed(.closed) }
        var filled = 0
        while filled < buffer.count, unreadFirst < unread.count {
            let piece = unread[unreadFirst]
            let size = min(piece.count, buffer.count - filled)
            piece.withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<size]))
            }
            filled += size
            if size == piece.count {
                unread[unreadFirst] = Bytes()
                unreadFirst += 1
            } else {
                unread[unreadFirst] = piece.slice(size..<piece.count)
            }
        }
        guard filled > 0 else {
            if isEnded {
                world?.readEnd(of: initialOfPeer, on: loop.number)
                return .end
            }
            return broken.map { .failed($0) } ?? .wouldBlock
        }
        if unreadFirst == unread.count || unreadFirst > 1024 {
            unread.removeFirst(unreadFirst)
            unreadFirst = 0
        }
        unreadBytes -= filled
        world?.read(UnsafeRawBufferPointer(rebasing: buffer[..<filled]), from: initialOfPeer, on: loop.number)
        // An eighth of the window is worth a word to the sender.
        if broken == nil, !isEnded, room > promised + UInt64(receiveBuffer / 8) { transmit(.ack) }
        return .bytes(filled)
    }

    override func readLater() {
        guard !isReadPlanned else { return }
        isReadPlanned = true
        loop.afterThis { [self] in
            isReadPlanned = false
            onReadable?()
        }
    }

    // MARK: Ending

    /// Both directions have ended and this side's end is known to have come: nothing will come any more.
    private func endIfDone() {
        guard let finSequence, isEnded, acknowledged > finSequence, state == .established else { return }
        state = .lingering
        lingersUntil = loop.now + Self.lingerTime
        rearm()
    }

    private func fail(_ reason: NetworkError.Reason, tellPeer: Bool) {
        guard broken == nil, state != .over, state != .lingering else { return }
        let isKnownToPeer = state != .connecting || initialOfPeer != 0
        end(reason)
        if tellPeer {
            tcp.send(
                TCPHeader(
                    flags: isKnownToPeer ? [.rst, .ack] : .rst, sequence: sequence,
                    acknowledgement: isKnownToPeer ? expected : 0, window: 0),
                Bytes(), ends, stream: nil)
        }
        tcp.remove(self)
        if let onConnected {
            self.onConnected = nil
            onConnected(reason)
        }
        onReadable?()
        onWritable?()
    }

    private func end(_ reason: NetworkError.Reason) {
        broken = reason
        state = .over
        unsent = []
        unsentBytes = 0
        early = [:]
        resends = []
        timer?.cancel()
    }

    /// The host has been killed.
    func die() {
        let wasOver = state == .over || state == .lingering
        end(broken ?? .closed)
        if !wasOver {
            onReadable?()
            onWritable?()
            onConnected?(.closed)
        }
        detach()
    }
}
