internal import CLinux
internal import Glibc
internal import MartletWire

/// A TCP connection of the kernel.
///
/// What is written during a turn of the loop leaves at its end, in one call of the system. The descriptor is watched
/// for changes only, so `hasInput` and `hasRoom` keep what the kernel last told.
final class SystemTCPStream: ByteStream, PollTarget {
    /// How much of what nobody will read is taken in by `close`, so that it does not turn into a reset.
    private static let discardLimit = 1 << 20

    let activity: StaticString = "tcp"
    private let poller: Poller
    private let options: TCPOptions
    private let remote: SocketAddress
    private var local: SocketAddress?
    private var descriptor: Int32
    private var registration: Poller.Registration?
    private var queue = WriteQueue()
    private var broken: NetworkError.Reason?
    private var flushAction: (() -> Void)?
    private var lingerTimer: LoopTimer?

    private var hasInput = false
    private var hasRoom = true
    private var hasPeerEnded = false
    private var hasReadEnd = false
    private var isReadPlanned = false
    private var isFlushPlanned = false
    private var owesWritable = false
    private var isFinishing = false
    private var isClosed = false
    /// Whether it is counted as one that is closed and still sends what was queued.
    private var isLingering = false

    /// Takes over `descriptor`, which is connected to `remote`.
    init(_ descriptor: Int32, remote: SocketAddress, options: TCPOptions, poller: Poller) throws(NetworkError) {
        self.descriptor = descriptor
        self.remote = remote
        self.options = options
        self.poller = poller
        super.init(loop: poller.loop)
        do throws(NetworkError) {
            registration = try poller.register(descriptor, [.readable, .writable, .edgeTriggered], self)
        } catch {
            Glibc.close(descriptor)
            self.descriptor = -1
            throw error
        }
    }

    /// Sets what `options` say of a connection; those that a listener accepts have it from the listener.
    static func configure(_ socket: borrowing RawSocket, _ options: TCPOptions) {
        let level = Int32(IPPROTO_TCP)
        if options.noDelay { socket.set(level, TCP_NODELAY, 1) }
        guard let keepAlive = options.keepAlive else { return }
        let seconds = Int32(clamping: max(1, keepAlive.components.seconds))
        socket.set(SOL_SOCKET, SO_KEEPALIVE, 1)
        socket.set(level, TCP_KEEPIDLE, seconds)
        socket.set(level, TCP_KEEPINTVL, max(1, seconds / 4))
        socket.set(level, TCP_KEEPCNT, 4)
    }

    override var localAddress: SocketAddress? {
        if local == nil, descriptor >= 0 { local = SocketOption.localAddress(descriptor) }
        return local
    }
    override var remoteAddress: SocketAddress? { remote }
    override var segmentSize: Int? {
        descriptor < 0 ? nil : Int(SocketOption.get(descriptor, Int32(IPPROTO_TCP), TCP_MAXSEG))
    }
    override var failure: NetworkError.Reason? { broken }
    override var queued: Int { queue.count }

    override var onReadable: (() -> Void)? {
        // Whoever begins to listen hears of what came before.
        didSet { if hasInput, onReadable != nil { readLater() } }
    }

    // MARK: Reading

    override func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
        precondition(!buffer.isEmpty, "no room to read into")
        if isClosed { return .failed(.closed) }
        if hasReadEnd { return broken.map { .failed($0) } ?? .end }
        guard hasInput || broken != nil else { return .wouldBlock }
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 {
                poller.traffic += count
                // Less than there was room for is all there was; an end behind it is not told again.
                if count < buffer.count, !hasPeerEnded { hasInput = false }
                return .bytes(count)
            }
            if count == 0 {
                hasReadEnd = true
                return broken.map { .failed($0) } ?? .end
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                hasInput = false
                guard let broken else { return .wouldBlock }
                return .failed(broken)
            default:
                hasReadEnd = true
                fail(NetworkError.Reason(errno: errno))
                return .failed(broken ?? .reset)
            }
        }
    }

    override func readLater() {
        guard !isReadPlanned, let registration else { return }
        isReadPlanned = true
        poller.callAgain(registration)
    }

    func ready(_ readiness: Poller.Readiness) {
        if readiness.isCalledAgain {
            isReadPlanned = false
        } else {
            if readiness.isFailed {
                let number = SocketOption.get(descriptor, SOL_SOCKET, SO_ERROR)
                if number != 0 { fail(NetworkError.Reason(errno: number)) }
            }
            if readiness.isPeerEnded { hasPeerEnded = true }
            if readiness.isReadable { hasInput = true }
            if readiness.isWritable, !hasRoom {
                hasRoom = true
                flush()
            }
        }
        if readiness.isReadable, let onReadable {
            loop.activity = "tcp readable"
            onReadable()
        }
    }

    // MARK: Writing

    @discardableResult
    override func write(_ bytes: Bytes) -> Bool {
        guard broken == nil, !isFinishing, !isClosed else { return true }
        guard !bytes.isEmpty else { return queue.count < options.highWaterMark }
        queue.append(bytes)
        flushLater()
        guard queue.count >= options.highWaterMark else { return true }
        owesWritable = true
        return false
    }

    override func finish() {
        guard broken == nil, !isFinishing, !isClosed else { return }
        isFinishing = true
        flushLater()
    }

    private func flushLater() {
        guard !isFlushPlanned, hasRoom, registration != nil else { return }
        isFlushPlanned = true
        if let flushAction { return loop.atTurnEnd(flushAction) }
        // Made once, not for each turn; `release` ends the circle.
        let action = { [self] in
            isFlushPlanned = false
            flush()
        }
        flushAction = action
        loop.atTurnEnd(action)
    }

    private func flush() {
        guard descriptor >= 0, broken == nil else { return }
        let before = queue.count
        let outcome = queue.flush(to: descriptor)
        poller.traffic += before - queue.count
        switch outcome {
        case .empty:
            if isFinishing { shutdown(descriptor, Int32(SHUT_WR)) }
            if isClosed { return release() }
        case .full:
            hasRoom = false
            if isClosed { countAsLingering() }
        case .failed(let number): return fail(NetworkError.Reason(errno: number))
        }
        guard owesWritable, queue.count <= options.lowWaterMark else { return }
        tellWritable()
    }

    private func tellWritable() {
        owesWritable = false
        guard let onWritable else { return }
        loop.activity = "tcp writable"
        onWritable()
    }

    // MARK: Ending

    /// The connection is broken: what is queued goes nowhere, and both sides of the owner hear of it.
    private func fail(_ reason: NetworkError.Reason) {
        guard broken == nil else { return }
        broken = reason
        hasInput = true
        queue.removeAll()
        if isClosed { return release() }
        readLater()
        if owesWritable { tellWritable() }
    }

    override func close() {
        guard !isClosed else { return }
        detach()
        guard broken == nil, !queue.isEmpty else { return release() }
        isFinishing = true
        let timer = LoopTimer(on: loop, label: "tcp linger") { [weak self] in self?.abandon() }
        timer.arm(after: poller.lingering.limits.time)
        lingerTimer = timer
        // What the kernel takes at the end of this turn does not wait for the other side.
        if !hasRoom { countAsLingering() }
    }

    /// The other side keeps it waiting: from now on it takes a place among those that linger.
    private func countAsLingering() {
        guard !isLingering else { return }
        isLingering = true
        for socket in poller.lingering.add(self, to: remote.ip, queued: queue.count) {
            socket.isLingering = false
            socket.abandon()
        }
    }

    override func reset() {
        detach()
        abandon()
    }

    private func abandon() {
        if descriptor >= 0 {
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        }
        queue.removeAll()
        hasReadEnd = true
        release()
    }

    private func detach() {
        isClosed = true
        onReadable = nil
        onWritable = nil
    }

    func shutDown() {
        if !isClosed, broken == nil, hasRoom { _ = queue.flush(to: descriptor) }
        let readable = onReadable
        let writable = owesWritable ? onWritable : nil
        let wasClosed = isClosed
        detach()
        if !wasClosed { broken = broken ?? .closed }
        release()
        readable?()
        writable?()
    }

    /// Closes the descriptor.
    private func release() {
        guard let registration else { return }
        self.registration = nil
        lingerTimer = nil
        flushAction = nil
        if isLingering { poller.lingering.remove(self) }
        discardInput()
        poller.unregister(registration)
        Glibc.close(descriptor)
        descriptor = -1
    }

    /// What came in and was not read would make the kernel reset the connection, and what was sent be lost.
    private func discardInput() {
        guard !hasReadEnd, broken == nil, hasInput else { return }
        withUnsafeTemporaryAllocation(byteCount: 1 << 14, alignment: 8) { buffer in
            var left = Self.discardLimit
            while left > 0 {
                let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
                guard count > 0 else { return }
                left -= count
            }
        }
    }
}
