import MartletRuntime
import MartletWire

/// One end of a simulated TCP connection.
final class SimulatedTCPStream: ByteStream {
    private enum State {
        case connecting
        case accepting
        case established
        case over
    }

    /// How long a segment that was lost is waited for, the first time; the wait doubles up to `longestWait`.
    private static let firstWait = Duration.milliseconds(200)
    private static let firstHandshakeWait = Duration.seconds(1)
    private static let longestWait = Duration.seconds(10)
    /// After so long without any of it having helped, the connection is given up.
    private static let patience = Duration.seconds(120)

    let ends: SimulatedTCP.Ends
    let number: Int
    private let tcp: SimulatedTCP
    private let options: TCPOptions
    private var state = State.connecting
    private var broken: NetworkError.Reason?
    private weak var listener: SimulatedTCPListener?
    /// Tells the one who connects that it has, or has not.
    var onConnected: ((NetworkError.Reason?) -> Void)?

    // Sending. Sequence numbers count the bytes of the stream from 1; the FIN takes one of its own.
    private var unsent: [Bytes] = []
    private var unsentBytes = 0
    private var sequence: UInt64 = 1
    private var acknowledged: UInt64 = 1
    private var windowEnd: UInt64 = 0
    private var isFinishing = false
    private var finSequence: UInt64?
    private var isFlushPlanned = false
    private var owesWritable = false
    private var lastProgress = Instant.start

    // Receiving.
    private var expected: UInt64 = 1
    /// What came before its turn, by where it belongs.
    private var early: [UInt64: (payload: Bytes, fin: Bool)] = [:]
    private var unread: [Bytes] = []
    private var unreadFirst = 0
    private var unreadBytes = 0
    private var isEnded = false
    private var promised: UInt64 = 0
    private var isReadPlanned = false
    private var isClosed = false

    init(tcp: SimulatedTCP, ends: SimulatedTCP.Ends, number: Int, options: TCPOptions) {
        self.tcp = tcp
        self.ends = ends
        self.number = number
        self.options = options
        super.init(loop: tcp.environment.loop)
        lastProgress = loop.now
    }

    override var localAddress: SocketAddress? { ends.local }
    override var remoteAddress: SocketAddress? { ends.remote }
    override var failure: NetworkError.Reason? { broken }

    // MARK: Beginning

    func connect() {
        state = .connecting
        transmit(.syn)
    }

    func accept(for listener: SimulatedTCPListener) {
        self.listener = listener
        state = .accepting
        transmit([.syn, .ack])
    }

    private func establish() {
        state = .established
        if let onConnected {
            self.onConnected = nil
            onConnected(nil)
        } else {
            listener?.connected(self)
        }
        listener = nil
        pump()
    }

    // MARK: Sending

    override func write(_ bytes: Bytes) -> Bool {
        guard broken == nil, !isFinishing, !isClosed else { return true }
        guard !bytes.isEmpty else { return unsentBytes < options.highWaterMark }
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
        guard state == .established, broken == nil else { return }
        var index = 0
        var start = 0
        while index < unsent.count {
            let room = Int(clamping: windowEnd &- sequence)
            guard windowEnd > sequence, room > 0 else { break }
            let size = min(room, SimulatedTCP.maximumSegment, unsentBytes)
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
        promised = expected &+ UInt64(max(0, receiveBuffer - unreadBytes))
        tcp.send(
            TCPHeader(
                flags: flags, sequence: flags.contains(.syn) ? 0 : sequence, acknowledgement: expected,
                window: promised), payload, ends, stream: number)
    }

    private var receiveBuffer: Int { tcp.environment.livingHost?.tcpReceiveBuffer ?? 0 }

    /// The network has lost a segment of this end; `attempt` says how often that has happened to it.
    func lost(_ packet: Packet, attempt: Int) {
        guard broken == nil, state != .over else { return }
        guard loop.now - lastProgress < Self.patience else { return fail(.timedOut, tellPeer: false) }
        let first = state == .established ? Self.firstWait : Self.firstHandshakeWait
        let wait = min(first * Double(1 << min(attempt, 10)), Self.longestWait)
        guard let host = tcp.environment.livingHost else { return }
        var again = packet
        again.source = ends.local
        again.destination = ends.remote
        again.hopsLeft = 16
        again.lossReport = LossReport(host: host.number, stream: number, attempt: attempt + 1)
        host.world.at(loop.now + wait) { [weak self] in
            guard let self, self.broken == nil, self.state != .over, let host = self.tcp.environment.livingHost else {
                return
            }
            host.world.send(again, from: host)
        }
    }

    // MARK: Receiving

    func arrive(_ packet: Packet, _ header: TCPHeader) {
        if header.flags.contains(.rst) { return fail(state == .connecting ? .refused : .reset, tellPeer: false) }
        if header.flags.contains(.syn) { return arriveSYN(header) }
        guard state == .established || state == .accepting else { return }
        lastProgress = loop.now
        windowEnd = max(windowEnd, header.window)
        acknowledged = max(acknowledged, header.acknowledgement)
        if state == .accepting { establish() }
        if isClosed, !packet.payload.isEmpty { return fail(.closed, tellPeer: true) }
        let fin = header.flags.contains(.fin)
        if !packet.payload.isEmpty || fin {
            take(packet.payload, at: header.sequence, fin: fin)
        }
        pump()
    }

    private func arriveSYN(_ header: TCPHeader) {
        windowEnd = max(windowEnd, header.window)
        switch state {
        case .connecting where header.flags.contains(.ack):
            lastProgress = loop.now
            transmit(.ack)
            establish()
        case .connecting:
            // Both ends dial each other: each answers the other's SYN, and that is the connection.
            state = .accepting
            transmit([.syn, .ack])
        case .accepting where header.flags.contains(.ack):
            lastProgress = loop.now
            transmit(.ack)
            establish()
        case .accepting:
            transmit([.syn, .ack])
        case .established:
            transmit(.ack)
        case .over:
            break
        }
    }

    private func take(_ payload: Bytes, at sequence: UInt64, fin: Bool) {
        guard sequence >= expected, sequence <= expected + UInt64(receiveBuffer) else { return transmit(.ack) }
        guard sequence == expected else {
            early[sequence] = (payload, fin)
            return
        }
        deliver(payload, fin)
        while let next = early.removeValue(forKey: expected) { deliver(next.payload, next.fin) }
        onReadable?()
        if fin || isEnded { transmit(.ack) }
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
                unreadFirst += 1
            } else {
                unread[unreadFirst] = piece.slice(size..<piece.count)
            }
        }
        guard filled > 0 else {
            if isEnded { return .end }
            return broken.map { .failed($0) } ?? .wouldBlock
        }
        if unreadFirst == unread.count || unreadFirst > 1024 {
            unread.removeFirst(unreadFirst)
            unreadFirst = 0
        }
        unreadBytes -= filled
        // A quarter of the window is worth a word to the sender.
        let window = expected &+ UInt64(max(0, receiveBuffer - unreadBytes))
        if broken == nil, !isEnded, window > promised &+ UInt64(receiveBuffer / 4) { transmit(.ack) }
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

    /// Both directions have ended: nothing will come any more.
    private func endIfDone() {
        guard let finSequence, isEnded, acknowledged > finSequence, state != .over else { return }
        state = .over
        tcp.remove(self)
    }

    private func fail(_ reason: NetworkError.Reason, tellPeer: Bool) {
        guard broken == nil, state != .over else { return }
        broken = reason
        state = .over
        unsent = []
        unsentBytes = 0
        early = [:]
        if tellPeer {
            tcp.send(
                TCPHeader(flags: [.rst, .ack], sequence: sequence, acknowledgement: expected, window: 0), Bytes(), ends,
                stream: nil)
        }
        tcp.remove(self)
        if let onConnected {
            self.onConnected = nil
            onConnected(reason)
        }
        onReadable?()
        onWritable?()
    }

    /// The host has been killed.
    func die() {
        guard state != .over else { return }
        broken = .closed
        state = .over
        onReadable?()
        onWritable?()
        onConnected?(.closed)
        detach()
    }
}
