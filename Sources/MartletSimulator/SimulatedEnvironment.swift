public import MartletRuntime
public import MartletWire

/// The outside of a simulated host: what a node there is given as its `Environment`.
///
/// It lasts from a host's start until it is killed; a restart gives a new one. It is `@unchecked Sendable` because
/// a world runs on one thread at a time.
public final class SimulatedEnvironment: Environment, @unchecked Sendable {
    /// The host's own loop, turned by the world.
    public let loop: EventLoop
    /// Random bytes that follow from the world's seed.
    public let random: RandomSource
    /// Log lines, stamped with virtual time and the host's name.
    public let log: Logger
    /// The files on the host's disk.
    public let files: any FileStore
    let life: HostLife
    private var udp: [UInt16: [SimulatedUDPSocket]] = [:]
    /// The socket that got the last datagram, where it has its port for itself.
    private var recent: SimulatedUDPSocket?
    private(set) var tcp: SimulatedTCP! = nil
    private var watches: [WeakWatch] = []
    private var nextPort: UInt16
    private let conversations = Conversations()
    private var draw: SeededRandom

    /// The first of the ports that are given out where 0 is asked for.
    static let firstEphemeralPort: UInt16 = 32768

    init(host: Host) {
        life = HostLife(host)
        let world = host.world
        loop = world.makeLoop(for: host)
        var bytes = world.random.split()
        random = RandomSource { buffer in
            for offset in stride(from: 0, to: buffer.count, by: 8) {
                buffer.storeBytes(of: bytes.next(), toByteOffset: offset, as: UInt64.self)
            }
        }
        draw = world.random.split()
        nextPort = Self.firstEphemeralPort + UInt16.random(in: 0..<16384, using: &draw)
        log = Logger(
            subsystem: host.name, sink: WorldLogSink(host: host.name, timers: world.timers), levels: world.logLevels)
        files = SimulatedFiles(of: host, life: life, loop: loop)
        loop.conversations = conversations
        tcp = SimulatedTCP(environment: self)
    }

    /// Puts `packet` on the host's line as it is, whoever its source is said to be; see `World.inject`.
    public func inject(_ packet: Packet) {
        guard let host = livingHost else { return }
        host.world.inject(packet, at: host)
    }

    /// The host, as long as this is what it runs on.
    var livingHost: Host? { life.host }

    /// The world's date, which begins with 2026, and what the host's clock is ahead of it.
    public var wallTime: WallTime {
        // The first of January 2026, so that dates look like dates.
        let start: Int64 = 1_767_225_600_000_000_000
        let offset = livingHost?.wallClockOffset.nanoseconds ?? 0
        return WallTime(nanoseconds: start &+ Int64(loop.now.nanoseconds) &+ offset)
    }

    /// The world's time, and how long the host has been asleep.
    public var bootTime: Instant { loop.now + (livingHost?.sleptFor ?? .zero) }

    /// A loopback interface, and one for each address.
    public func interfaces() throws(NetworkError) -> [NetworkInterface] {
        guard let host = livingHost else { throw NetworkError(.closed, "interfaces") }
        return [
            NetworkInterface(
                name: "lo", index: 1, address: .loopbackV4, prefixLength: 8, isUp: true, isLoopback: true)
        ] + host.addresses
    }

    /// Calls `change` when the host is attached, detached or moved.
    public func watchInterfaces(_ change: @escaping () -> Void) throws(NetworkError) -> InterfaceWatch {
        let watch = SimulatedWatch(change)
        watches.append(WeakWatch(watch: watch))
        return watch
    }

    /// Runs `work` on the spot, and comes back after a drawn while.
    public nonisolated(nonsending) func background<Result: Sendable>(
        _ work: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        // Done at once, and known after a while: nothing else in the world can tell the difference.
        let outcome = Swift.Result { try work() }
        try await loop.sleep(for: .microseconds(50) + draw.duration(upTo: .milliseconds(1)))
        return try outcome.get()
    }

    // MARK: UDP

    /// Opens a socket that sends and receives over the host's line.
    public func bindUDP(_ address: SocketAddress, options: UDPOptions) throws(NetworkError) -> UDPSocket {
        let bound = try bindable(address, "bind") { port in
            udp[port]?.contains {
                overlaps($0.localAddress.ip, address.ip) && !($0.reusesPort && options.reusesPort)
            } ?? false
        }
        let socket = SimulatedUDPSocket(environment: self, localAddress: bound, reusesPort: options.reusesPort)
        udp[bound.port, default: []].append(socket)
        recent = nil
        return socket
    }

    func udpClosed(_ socket: SimulatedUDPSocket) {
        recent = nil
        udp[socket.localAddress.port]?.removeAll { $0 === socket }
        if udp[socket.localAddress.port]?.isEmpty ?? false { udp[socket.localAddress.port] = nil }
    }

    func arrive(_ packet: borrowing Packet) {
        guard let host = livingHost else { return }
        if case .tcp(let header) = packet.transport {
            let packet = copy packet
            host.world.delivered(packet, to: host)
            return host.world.deliver(to: loop) { tcp.arrive(packet, header) }
        }
        guard let socket = socket(for: packet) else { return host.world.drop(copy packet, .noSocket) }
        host.world.delivered(packet, to: host)
        let packet = copy packet
        host.world.deliver(to: loop) { socket.receive(packet) }
    }

    private func socket(for packet: borrowing Packet) -> SimulatedUDPSocket? {
        let destination = packet.destination.ip
        if let recent, recent.localAddress.port == packet.destination.port,
            overlaps(recent.localAddress.ip, destination)
        {
            return recent
        }
        guard let sockets = udp[packet.destination.port] else { return nil }
        if sockets.count == 1 {
            guard overlaps(sockets[0].localAddress.ip, destination) else { return nil }
            recent = sockets[0]
            return recent
        }
        // One that is bound to this very address goes before one bound to any; those that share it share by sender.
        var matching = sockets.filter { $0.localAddress.ip == destination }
        if matching.isEmpty { matching = sockets.filter { overlaps($0.localAddress.ip, destination) } }
        guard !matching.isEmpty else { return nil }
        var digest = TraceDigest()
        digest.mix(UInt64(truncatingIfNeeded: packet.source.ip.number) ^ UInt64(packet.source.port) << 48)
        return matching[Int(digest.value >> 1) % matching.count]
    }

    // MARK: TCP

    /// The number with which a TCP stream begins: one that no earlier connection has.
    func drawSequence() -> UInt64 { draw.next() >> 2 }

    /// Accepts simulated connections.
    public func listenTCP(_ address: SocketAddress, options: TCPOptions) throws(NetworkError) -> TCPListener {
        try tcp.listen(address, options: options)
    }

    /// Opens a simulated connection, with a real handshake over the world's network.
    public nonisolated(nonsending) func connectTCP(
        _ address: SocketAddress, from local: SocketAddress?, options: TCPOptions, deadline: Instant
    ) async throws(NetworkError) -> ByteStream {
        let stream = try tcp.connect(address, from: local, options: options)
        let done = Signal(on: loop)
        var outcome: NetworkError.Reason??
        stream.onConnected = {
            outcome = .some($0)
            done.signal()
        }
        let timer = LoopTimer(on: loop, label: "connect") {
            outcome = .timedOut
            done.signal()
        }
        timer.arm(at: deadline)
        defer { timer.cancel() }
        do {
            try await done.wait()
        } catch {
            outcome = .cancelled
        }
        guard let reason = outcome ?? .closed else { return stream }
        stream.reset()
        throw NetworkError(reason, "connect", address)
    }

    // MARK: Addresses

    /// `address` with a port that `isTaken` does not say of, checked to be an address of this host.
    func bindable(
        _ address: SocketAddress, _ operation: String, isTaken: (UInt16) -> Bool
    ) throws(NetworkError) -> SocketAddress {
        guard let host = livingHost else { throw NetworkError(.closed, operation, address) }
        guard address.ip.isUnspecified || address.ip.isLoopback || host.owns(address.ip) else {
            throw NetworkError(.addressNotAvailable, operation, address)
        }
        var bound = address
        if address.port != 0 {
            guard !isTaken(address.port) else { throw NetworkError(.addressInUse, operation, address) }
            return bound
        }
        for _ in 0..<28_000 {
            nextPort = nextPort == .max ? Self.firstEphemeralPort : nextPort + 1
            if !isTaken(nextPort) {
                bound.port = nextPort
                return bound
            }
        }
        throw NetworkError(.exhausted, operation, address)
    }

    private func overlaps(_ left: IPAddress, _ right: IPAddress) -> Bool {
        left == right || left.isV4 == right.isV4 && (left.isUnspecified || right.isUnspecified)
    }

    /// The address from which something for `destination` is sent.
    func sourceAddress(for destination: IPAddress, bound: IPAddress) -> IPAddress? {
        if !bound.isUnspecified { return bound }
        if destination.isLoopback { return destination }
        return livingHost?.sourceAddress(for: destination)
    }

    // MARK: The host's life

    func interfacesChanged() {
        watches.removeAll { $0.watch == nil }
        guard let host = livingHost, !watches.isEmpty else { return }
        let watches = watches
        host.world.deliver(to: loop) {
            for entry in watches { entry.watch?.change() }
        }
    }

    /// The host has been killed: nothing goes in or out any more, and what runs is told to end.
    func die() {
        guard let host = livingHost else { return }
        life.end()
        recent = nil
        for socket in udp.values.joined() { socket.die() }
        udp = [:]
        watches = []
        host.world.deliver(to: loop) {
            tcp.die()
            conversations.cancelAll()
        }
    }

    private struct WeakWatch {
        weak var watch: SimulatedWatch?
    }

    private final class SimulatedWatch: InterfaceWatch {
        let change: () -> Void
        init(_ change: @escaping () -> Void) { self.change = change }
    }
}

/// The host that an environment belongs to, until it is killed.
///
/// Sockets and files share it instead of holding the host weakly, which would make every use of the host slower.
final class HostLife {
    // A world owns its hosts, and ends their lives before it goes.
    private unowned(unsafe) let owner: Host
    private var isOver = false

    init(_ host: Host) { owner = host }

    var host: Host? { isOver ? nil : owner }

    func end() { isOver = true }
}
