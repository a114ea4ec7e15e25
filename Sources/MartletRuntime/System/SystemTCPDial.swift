internal import CLinux
internal import Glibc
public import MartletWire

/// A TCP connection that is being made.
private final class SystemTCPDial: PollTarget {
    let activity: StaticString = "tcp connect"
    private let poller: Poller
    private let remote: SocketAddress
    private var descriptor: Int32
    private var registration: Poller.Registration?
    /// Called once it has ended, well or not.
    var onEnd: (() -> Void)?
    private var outcome: NetworkError.Reason?

    /// Takes over a `socket` whose connecting to `remote` has begun.
    init(_ socket: consuming RawSocket, to remote: SocketAddress, poller: Poller) throws(NetworkError) {
        self.poller = poller
        self.remote = remote
        descriptor = socket.take()
        do throws(NetworkError) {
            registration = try poller.register(descriptor, [.writable, .edgeTriggered], self)
        } catch {
            Glibc.close(descriptor)
            descriptor = -1
            throw error
        }
    }

    func ready(_ readiness: Poller.Readiness) {
        let number = SocketOption.get(descriptor, SOL_SOCKET, SO_ERROR)
        if number != 0 { return end(NetworkError.Reason(errno: number)) }
        // A socket that dials a free port of its own host may be given that very port, and reach itself.
        if SocketOption.localAddress(descriptor) == remote { return end(.refused) }
        unregister()
    }

    func shutDown() { end(.closed) }

    /// Gives up, for `reason`.
    func end(_ reason: NetworkError.Reason) {
        guard registration != nil else { return }
        unregister()
        outcome = reason
        Glibc.close(descriptor)
        descriptor = -1
    }

    private func unregister() {
        guard let registration else { return }
        self.registration = nil
        poller.unregister(registration)
        onEnd?()
        onEnd = nil
    }

    /// The connected descriptor, which is the caller's to close from now on, or why there is none.
    func take() throws(NetworkError) -> Int32 {
        if let outcome { throw NetworkError(outcome, "connect", remote) }
        defer { descriptor = -1 }
        return descriptor
    }

    deinit {
        if descriptor >= 0 { Glibc.close(descriptor) }
    }
}

extension SystemEnvironment {
    /// Connects to `address` over TCP, from `local` where that is given, by `deadline`. The connection lives until it is
    /// closed.
    public nonisolated(nonsending) func connectTCP(
        _ address: SocketAddress, from local: SocketAddress?, options: TCPOptions, deadline: Instant
    ) async throws(NetworkError) -> ByteStream {
        loop.preconditionCurrent()
        guard deadline > loop.now else { throw NetworkError(.timedOut, "connect", address) }
        let dial = try SystemTCPDial(begin(address, from: local, options: options), to: address, poller: poller)
        let ended = Signal(on: loop)
        dial.onEnd = { ended.signal() }
        let timer = LoopTimer(on: loop, label: "tcp connect deadline") { [weak dial] in dial?.end(.timedOut) }
        if deadline < .never { timer.arm(at: deadline) }
        do {
            try await ended.wait()
        } catch {
            dial.onEnd = nil
            dial.end(.cancelled)
        }
        timer.cancel()
        return try SystemTCPStream(dial.take(), remote: address, options: options, poller: poller)
    }

    private func begin(
        _ address: SocketAddress, from local: SocketAddress?, options: TCPOptions
    ) throws(NetworkError) -> RawSocket {
        let socket = try RawSocket(address, SOCK_STREAM, for: "connect")
        SystemTCPStream.configure(socket, options)
        if let local {
            socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
            if options.reusesPort { socket.set(SOL_SOCKET, SO_REUSEPORT, 1) }
            // A port is then only taken for this one destination.
            if local.port == 0 { socket.set(Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1) }
            try socket.bind(to: local)
        }
        let system = SystemAddress()
        let size = SystemAddress.store(address, at: system.memory)
        let result = connect(socket.descriptor, system.memory.assumingMemoryBound(to: sockaddr.self), size)
        guard result == 0 || errno == EINPROGRESS else { throw NetworkError(.ofErrno(), "connect", address) }
        return socket
    }
}
