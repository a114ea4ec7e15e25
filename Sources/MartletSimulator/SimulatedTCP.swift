import MartletRuntime
import MartletWire

/// TCP on a simulated host: which connections and listeners there are, and what comes in for which.
///
/// Simulated TCP has handshakes, ordered delivery, bounded windows, FIN and RST, half-close and simultaneous open.
/// A segment that the network loses is sent again after a growing delay, so that loss is seen as delay, and a
/// connection fails when that has not helped for two minutes. There is no congestion control: a sender fills the
/// receiver's window as fast as its line takes it.
final class SimulatedTCP {
    /// What tells a host's connections apart.
    struct Ends: Hashable {
        var local: SocketAddress
        var remote: SocketAddress
    }

    /// A listener's connections that nobody has taken yet.
    static let maximumSegment = 1400

    // An environment owns this, and outlives it.
    unowned(unsafe) let environment: SimulatedEnvironment
    private var streams: [Ends: SimulatedTCPStream] = [:]
    private var listeners: [SimulatedTCPListener] = []
    private var nextNumber = 0

    init(environment: SimulatedEnvironment) {
        self.environment = environment
    }

    // MARK: From this host

    func listen(_ address: SocketAddress, options: TCPOptions) throws(NetworkError) -> SimulatedTCPListener {
        let bound = try environment.bindable(address, "listen") { port in
            listeners.contains { $0.localAddress.port == port && $0.covers(address.ip) && !options.reusesPort }
        }
        let listener = SimulatedTCPListener(tcp: self, localAddress: bound, options: options)
        listeners.append(listener)
        return listener
    }

    func connect(
        _ remote: SocketAddress, from local: SocketAddress?, options: TCPOptions
    ) throws(NetworkError) -> SimulatedTCPStream {
        let bound = local?.ip ?? (remote.ip.isV4 ? .anyV4 : .anyV6)
        guard let source = environment.sourceAddress(for: remote.ip, bound: bound), remote.port != 0 else {
            throw NetworkError(.unreachable, "connect", remote)
        }
        let wanted = SocketAddress(source, port: local?.port ?? 0)
        let address = try environment.bindable(wanted, "connect") { port in
            let ends = Ends(local: SocketAddress(source, port: port), remote: remote)
            let isListening = listeners.contains { $0.localAddress.port == port }
            return streams[ends] != nil || isListening && !options.reusesPort
        }
        let stream = makeStream(Ends(local: address, remote: remote), options: options)
        stream.connect()
        return stream
    }

    func makeStream(_ ends: Ends, options: TCPOptions) -> SimulatedTCPStream {
        nextNumber += 1
        let stream = SimulatedTCPStream(tcp: self, ends: ends, number: nextNumber, options: options)
        streams[ends] = stream
        return stream
    }

    func remove(_ stream: SimulatedTCPStream) {
        if streams[stream.ends] === stream { streams[stream.ends] = nil }
    }

    func remove(_ listener: SimulatedTCPListener) {
        listeners.removeAll { $0 === listener }
    }

    func send(_ header: TCPHeader, _ payload: Bytes, _ ends: Ends, stream: Int?) {
        guard let host = environment.livingHost else { return }
        var packet = Packet(
            source: ends.local, destination: ends.remote, transport: .tcp(header), payload: payload)
        if let stream { packet.lossReport = LossReport(host: host.number, stream: stream, attempt: 0) }
        host.world.send(packet, from: host)
    }

    // MARK: From the network

    func arrive(_ packet: Packet, _ header: TCPHeader) {
        let ends = Ends(local: packet.destination, remote: packet.source)
        if let stream = streams[ends] {
            stream.arrive(packet, header)
        } else if header.flags == .syn, let listener = listener(for: packet.destination), listener.hasRoom {
            let stream = makeStream(ends, options: listener.options)
            stream.accept(for: listener)
        } else if !header.flags.contains(.rst) {
            refuse(ends, header)
        }
    }

    /// Answers what no connection wants.
    private func refuse(_ ends: Ends, _ header: TCPHeader) {
        send(
            TCPHeader(
                flags: [.rst, .ack], sequence: header.acknowledgement, acknowledgement: header.sequence, window: 0),
            Bytes(),
            ends, stream: nil)
    }

    private func listener(for address: SocketAddress) -> SimulatedTCPListener? {
        listeners.first { $0.localAddress.port == address.port && $0.covers(address.ip) }
    }

    /// The network has lost a segment: its sender's timer will find out.
    func lost(_ packet: Packet, _ report: LossReport) {
        let ends = Ends(local: packet.source, remote: packet.destination)
        // Behind a NAT the packet no longer says who sent it; the number does.
        let stream = streams[ends] ?? streams.values.first { $0.number == report.stream }
        stream?.lost(packet, attempt: report.attempt)
    }

    func die() {
        let all = streams.values.sorted { $0.number < $1.number }
        streams = [:]
        listeners = []
        for stream in all { stream.die() }
    }
}

/// A listening TCP socket of a simulated host.
final class SimulatedTCPListener: TCPListener {
    let options: TCPOptions
    private let tcp: SimulatedTCP
    private var waiting: [SimulatedTCPStream] = []

    init(tcp: SimulatedTCP, localAddress: SocketAddress, options: TCPOptions) {
        self.tcp = tcp
        self.options = options
        super.init(loop: tcp.environment.loop, localAddress: localAddress)
    }

    override var onConnection: ((ByteStream) -> Void)? {
        didSet {
            guard let onConnection else { return }
            let taken = waiting
            waiting = []
            for stream in taken { onConnection(stream) }
        }
    }

    var hasRoom: Bool { waiting.count < options.backlog }

    func covers(_ address: IPAddress) -> Bool {
        let own = localAddress.ip
        return own == address || own.isV4 == address.isV4 && (own.isUnspecified || address.isUnspecified)
    }

    func connected(_ stream: SimulatedTCPStream) {
        if let onConnection { onConnection(stream) } else { waiting.append(stream) }
    }

    override func close() {
        tcp.remove(self)
        onConnection = nil
        for stream in waiting { stream.reset() }
        waiting = []
    }
}
