internal import CLinux
internal import Glibc
public import MartletWire

/// A listening TCP socket of the kernel.
final class SystemTCPListener: TCPListener, PollTarget {
    /// How many connections are accepted before others have their turn.
    private static let acceptsPerCall = 64
    /// How long it waits when there are no descriptors or no memory left.
    private static let pause = Duration.milliseconds(100)

    let activity: StaticString = "tcp connection"
    private let poller: Poller
    private let options: TCPOptions
    private let log: Logger
    private var descriptor: Int32
    private var registration: Poller.Registration?
    private var pauseTimer: LoopTimer?
    private var isExhausted = false
    /// Someone may wait to be accepted.
    private var hasBacklog = false
    private let peer = SystemAddress()

    init(_ address: SocketAddress, options: TCPOptions, poller: Poller, log: Logger) throws(NetworkError) {
        let socket = try RawSocket(address, SOCK_STREAM, for: "listen")
        socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
        if options.reusesPort { socket.set(SOL_SOCKET, SO_REUSEPORT, 1) }
        // Accepted connections have the listener's options.
        SystemTCPStream.configure(socket, options)
        try socket.bind(to: address)
        guard listen(socket.descriptor, Int32(clamping: options.backlog)) == 0,
            let localAddress = SocketOption.localAddress(socket.descriptor)
        else { throw NetworkError(.ofErrno(), "listen", address) }
        self.poller = poller
        self.options = options
        self.log = log
        descriptor = socket.take()
        super.init(loop: poller.loop, localAddress: localAddress)
    }

    /// Begins to accept.
    func start() throws(NetworkError) {
        do throws(NetworkError) {
            registration = try poller.register(descriptor, [.readable, .edgeTriggered], self)
        } catch {
            Glibc.close(descriptor)
            descriptor = -1
            throw error
        }
        pauseTimer = LoopTimer(on: loop, label: "tcp connection") { [weak self] in self?.accept() }
    }

    override var onConnection: ((ByteStream) -> Void)? {
        didSet { if hasBacklog, let registration, onConnection != nil { poller.callAgain(registration) } }
    }

    func ready(_ readiness: Poller.Readiness) {
        hasBacklog = true
        if pauseTimer?.deadline == nil { accept() }
    }

    private func accept() {
        for _ in 0..<Self.acceptsPerCall {
            guard registration != nil, let onConnection else { return }
            var size = socklen_t(SystemAddress.capacity)
            let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
            let accepted = cl_accept4(descriptor, peer.memory, &size, flags)
            if accepted >= 0 {
                isExhausted = false
                guard let remote = peer.value else {
                    Glibc.close(accepted)
                    continue
                }
                // Where the poller can take no more the connection is closed, and the next may fare better.
                guard let stream = try? SystemTCPStream(accepted, remote: remote, options: options, poller: poller)
                else { continue }
                onConnection(stream)
            } else {
                switch errno {
                case EAGAIN:
                    hasBacklog = false
                    return
                case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                    return pause(errno)
                default:
                    // One connection broke while it waited; the next is another.
                    continue
                }
            }
        }
        if let registration { poller.callAgain(registration) }
    }

    private func pause(_ number: Int32) {
        if !isExhausted {
            log.warning(
                "new TCP connections wait: the system has no room for them",
                ["address": localAddress, "error": wordsOfError(number)])
        }
        isExhausted = true
        pauseTimer?.arm(after: Self.pause)
    }

    override func close() {
        guard let registration else { return }
        self.registration = nil
        pauseTimer = nil
        onConnection = nil
        poller.unregister(registration)
        Glibc.close(descriptor)
        descriptor = -1
    }

    func shutDown() { close() }
}

extension SystemEnvironment {
    /// Accepts TCP connections at `address`, whose port may be 0 for any. It lives until it is closed.
    public func listenTCP(_ address: SocketAddress, options: TCPOptions) throws(NetworkError) -> TCPListener {
        loop.preconditionCurrent()
        let listener = try SystemTCPListener(
            address, options: options, poller: poller, log: log.subsystem("tcp"))
        try listener.start()
        return listener
    }
}
