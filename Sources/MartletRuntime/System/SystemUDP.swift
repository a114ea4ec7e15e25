internal import CLinux
internal import Glibc
public import MartletWire

/// A UDP socket of the kernel.
///
/// It asks the kernel to put datagrams of one sender together on the way in (`UDP_GRO`) and to take those for one
/// receiver apart on the way out (`UDP_SEGMENT`); where the kernel refuses, it does without. Datagrams are never
/// fragmented: one that is too large for the way is dropped.
final class SystemUDPSocket: UDPSocket, PollTarget {
    /// What the kernel takes apart at most, in one send.
    private static let segmentLimit = 64
    private static let sizeLimit = 65_000
    /// How many receives happen before others have their turn.
    private static let receivesPerCall = 32

    let activity: StaticString = "udp datagram"
    private let poller: Poller
    private let memory: DatagramMemory
    private let log: Logger
    private let options: UDPOptions
    private var descriptor: Int32
    private var registration: Poller.Registration?
    private var segments: Bool
    private var isBlocked = false
    private var outgoing: DatagramPost?
    private var isPostPlanned = false

    /// Binds a socket to `address`.
    init(
        _ address: SocketAddress, options: UDPOptions, poller: Poller, memory: DatagramMemory, log: Logger,
        segments: Bool, coalesces: Bool
    ) throws(NetworkError) {
        let socket = try RawSocket(address, SOCK_DGRAM, for: "bind")
        if options.reusesPort { socket.set(SOL_SOCKET, SO_REUSEPORT, 1) }
        if address.ip.isV6 {
            let level = Int32(IPPROTO_IPV6)
            socket.set(level, IPV6_RECVPKTINFO, 1)
            socket.set(level, IPV6_RECVTCLASS, 1)
            socket.set(level, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)
        } else {
            let level = Int32(IPPROTO_IP)
            socket.set(level, IP_PKTINFO, 1)
            socket.set(level, IP_RECVTOS, 1)
            socket.set(level, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        }
        // The first of each pair goes past the system's limit, where this process may.
        if !socket.set(SOL_SOCKET, SO_RCVBUFFORCE, Int32(clamping: options.receiveBufferSize)) {
            socket.set(SOL_SOCKET, SO_RCVBUF, Int32(clamping: options.receiveBufferSize))
        }
        if !socket.set(SOL_SOCKET, SO_SNDBUFFORCE, Int32(clamping: options.sendBufferSize)) {
            socket.set(SOL_SOCKET, SO_SNDBUF, Int32(clamping: options.sendBufferSize))
        }
        if !coalesces || !socket.set(Int32(IPPROTO_UDP), UDP_GRO, 1) {
            log.notice("the kernel does not coalesce received datagrams, each is received alone")
        }
        try socket.bind(to: address)
        guard let localAddress = SocketOption.localAddress(socket.descriptor) else {
            throw NetworkError(.ofErrno(), "bind", address)
        }
        self.poller = poller
        self.memory = memory
        self.log = log
        self.segments = segments
        self.options = options
        descriptor = socket.take()
        super.init(loop: poller.loop, localAddress: localAddress)
    }

    /// Begins to receive.
    func start() throws(NetworkError) {
        do throws(NetworkError) {
            registration = try poller.register(descriptor, [.readable, .edgeTriggered], self)
        } catch {
            Glibc.close(descriptor)
            descriptor = -1
            throw error
        }
        let sizes = bufferSizes
        log.debug(
            "a UDP socket is open",
            ["address": localAddress, "receiveBuffer": sizes?.receive ?? 0, "sendBuffer": sizes?.send ?? 0])
        if let sizes, sizes.isLess(than: options) { Self.complain(of: sizes, options, log) }
    }

    /// Says that the kernel granted smaller buffers than it was asked for, and what to do about it.
    static func complain(of sizes: BufferSizes, _ options: UDPOptions, _ log: Logger) {
        log.notice(
            "the kernel granted smaller UDP buffers than were asked for, so fast senders will lose datagrams; "
                + "install Deploy/sysctl.d/90-martlet.conf in /etc/sysctl.d and run 'sysctl --system'",
            [
                "receiveBuffer": sizes.receive, "receiveBufferAsked": options.receiveBufferSize,
                "sendBuffer": sizes.send, "sendBufferAsked": options.sendBufferSize,
            ])
    }

    override var maximumSegments: Int { segments ? Self.segmentLimit : 1 }

    override var bufferSizes: BufferSizes? {
        guard descriptor >= 0 else { return nil }
        // The kernel doubles what it is asked for, to have room for its own records, and tells the double.
        return BufferSizes(
            receive: Int(SocketOption.get(descriptor, SOL_SOCKET, SO_RCVBUF)) / 2,
            send: Int(SocketOption.get(descriptor, SOL_SOCKET, SO_SNDBUF)) / 2)
    }

    override func close() {
        guard let registration else { return }
        sendPosted()
        self.registration = nil
        poller.unregister(registration)
        Glibc.close(descriptor)
        descriptor = -1
        outgoing = nil
        onDatagram = nil
        onBatchEnd = nil
        onWritable = nil
    }

    func shutDown() { close() }

    // MARK: Receiving

    func ready(_ readiness: Poller.Readiness) {
        if isBlocked, readiness.isWritable { unblock() }
        if readiness.isReadable { receive() }
    }

    private func receive() {
        var isDrained = false
        var hasDelivered = false
        for _ in 0..<Self.receivesPerCall where registration != nil && !isDrained {
            let count = memory.receive(from: descriptor)
            if count >= 0 {
                deliver(count)
                hasDelivered = true
            } else {
                // Anything else is news of some datagram sent before, and the next receive goes on.
                isDrained = errno == EAGAIN
            }
        }
        if hasDelivered { onBatchEnd?() }
        if !isDrained, let registration { poller.callAgain(registration) }
    }

    private func deliver(_ count: Int) {
        guard let source = memory.sender else { return }
        poller.traffic += count
        let bytes = memory.received(count)
        let control = memory.control
        let size = max(1, control.segmentSize ?? count)
        var start = 0
        repeat {
            let end = min(start + size, count)
            let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
            onDatagram?(
                Datagram(bytes: span, source: source, localAddress: control.localAddress, ecn: control.ecn))
            start = end
        } while start < count
    }

    // MARK: Sending

    override func send(
        _ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress?, segmentSize: Int?, ecn: ECN
    ) -> SendResult {
        guard registration != nil else { return .dropped(.closed) }
        return bytes.withUnsafeBytes { buffer in
            let size = segmentSize ?? buffer.count
            if buffer.count <= size {
                memory.prepare(to: destination, from: source, segmentSize: nil, ecn: ecn)
                return outcome(sendOnce(buffer))
            }
            precondition(size > 0, "segments without bytes")
            guard segments, buffer.count <= Self.sizeLimit, buffer.count <= size * Self.segmentLimit else {
                memory.prepare(to: destination, from: source, segmentSize: nil, ecn: ecn)
                return outcome(sendEach(buffer, size))
            }
            memory.prepare(to: destination, from: source, segmentSize: size, ecn: ecn)
            let number = sendOnce(buffer)
            guard number == EIO || number == EINVAL || number == ENOPROTOOPT else { return outcome(number) }
            // The kernel or the device can't take datagrams apart, or can't send them whichever way.
            memory.prepare(to: destination, from: source, segmentSize: nil, ecn: ecn)
            let other = sendEach(buffer, size)
            if other == 0 {
                segments = false
                log.notice("the kernel does not segment sent datagrams, each is sent alone", ["error": number])
            }
            return outcome(other)
        }
    }

    override func post(_ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress?) {
        guard registration != nil else { return }
        let post = outgoing ?? DatagramPost()
        outgoing = post
        if !post.add(bytes, to: destination, from: source, joins: segments) {
            sendPosted()
            // It has room for the largest that there is.
            guard post.add(bytes, to: destination, from: source, joins: segments) else { return }
        }
        guard !isPostPlanned else { return }
        isPostPlanned = true
        loop.atTurnEnd { [self] in
            isPostPlanned = false
            sendPosted()
        }
    }

    private func sendPosted() {
        guard let outgoing, !outgoing.isEmpty else { return }
        guard !outgoing.send(through: descriptor, refusal: memory.segmentRefusal) else { return }
        segments = false
        log.notice("the kernel does not segment sent datagrams, each is sent alone")
    }

    /// Sends once more where the first attempt only told what had become of a datagram sent before.
    private func sendOnce(_ buffer: UnsafeRawBufferPointer) -> Int32 {
        let number = memory.send(buffer, through: descriptor)
        guard number == ECONNREFUSED || number == EHOSTUNREACH || number == ENETUNREACH else { return number }
        return memory.send(buffer, through: descriptor)
    }

    /// Sends the segments one by one. Where the first has left, the network may lose the others, and so may this.
    private func sendEach(_ buffer: UnsafeRawBufferPointer, _ size: Int) -> Int32 {
        var start = 0
        while start < buffer.count {
            let end = min(start + size, buffer.count)
            let number = sendOnce(UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
            if number != 0 { return start == 0 ? number : 0 }
            start = end
        }
        return 0
    }

    private func outcome(_ number: Int32) -> SendResult {
        guard number != 0 else { return .sent }
        guard number == EAGAIN else { return .dropped(NetworkError.Reason(errno: number)) }
        // Only now: each datagram that leaves makes the kernel say that there is room.
        if !isBlocked, let registration {
            isBlocked = true
            try? poller.change(registration, to: [.readable, .writable, .edgeTriggered])
        }
        return .blocked
    }

    private func unblock() {
        isBlocked = false
        if let registration { try? poller.change(registration, to: [.readable, .edgeTriggered]) }
        loop.activity = "udp writable"
        onWritable?()
    }
}

extension SystemEnvironment {
    /// Opens a UDP socket at `address`, whose port may be 0 for any. It lives until it is closed.
    public func bindUDP(_ address: SocketAddress, options: UDPOptions) throws(NetworkError) -> UDPSocket {
        try bindUDP(address, options: options, segments: true, coalesces: true)
    }

    /// The same as on a kernel that can't segment, or can't coalesce.
    func bindUDP(
        _ address: SocketAddress, options: UDPOptions, segments: Bool, coalesces: Bool
    ) throws(NetworkError) -> UDPSocket {
        loop.preconditionCurrent()
        let socket = try SystemUDPSocket(
            address, options: options, poller: poller, memory: datagramMemory, log: log.subsystem("udp"),
            segments: segments, coalesces: coalesces)
        try socket.start()
        return socket
    }
}
