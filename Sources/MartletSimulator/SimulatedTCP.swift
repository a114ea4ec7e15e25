import MartletRuntime
import MartletWire

/// TCP on a simulated host: which connections and listeners there are, and what comes in for which.
///
/// Simulated TCP has handshakes, ordered delivery, bounded windows, FIN and RST, half-close, simultaneous open and
/// keep-alive. A segment that the network loses is sent again after a growing delay, so that loss is seen as delay,
/// and a connection fails when that has not helped for about two minutes. There is no congestion control: a sender
/// fills the receiver's window as fast as its line takes it. Bytes are acknowledged only where something depends on it.
final class SimulatedTCP {
    /// What tells a host's connections apart.
    struct Ends: Hashable {
        var local: SocketAddress
        var remote: SocketAddress
    }

    /// How many bytes a segment carries at the most, so that it fits into 1500 with IPv6's headers and some to spare.
    static let maximumSegment = 1400

    // The environment owns this, and its connections call it only while its host lives.
    private unowned(unsafe) let environment: SimulatedEnvironment
    let life: HostLife
    let loop: EventLoop
    private var streams: [Ends: SimulatedTCPStream] = [:]
    /// The same by number, for what is told of lost segments: behind a NAT their addresses say nothing.
    private var numbered: [UInt32: SimulatedTCPStream] = [:]
    private var listeners: [SimulatedTCPListener] = []

    init(environment: SimulatedEnvironment) {
        self.environment = environment
        life = environment.life
        loop = environment.loop
    }

    // MARK: From this host

    func listen(_ address: SocketAddress, options: TCPOptions) throws(NetworkError) -> SimulatedTCPListener {
        let bound = try environment.bindable(address, "listen") { port in
            listeners.contains {
                $0.localAddress.port == port && $0.covers(address.ip) && !($0.options.reusesPort && options.reusesPort)
            }
        }
        let listener = SimulatedTCPListener(tcp: self, localAddress: bound, options: options)
        listeners.append(listener)
        return listener
    }

    func connect(
        _ remote: SocketAddress, from local: SocketAddress?, options: TCPOptions
    ) throws(NetworkError) -> SimulatedTCPStream {
        let bound = local?.ip ?? (remote.ip.isV4 ? .anyV4 : .anyV6)
        guard let source = environment.sourceAddress(for: remote.ip, bound: bound), source.isV4 == remote.ip.isV4,
            remote.port != 0
        else {
            throw NetworkError(.unreachable, "connect", remote)
        }
        let wanted = SocketAddress(source, port: local?.port ?? 0)
        let address = try environment.bindable(wanted, "connect") { port in
            isTaken(Ends(local: SocketAddress(source, port: port), remote: remote), isChosen: wanted.port != 0, options)
        }
        let stream = makeStream(Ends(local: address, remote: remote), options: options)
        stream.connect()
        return stream
    }

    /// Whether no connection may have these ends. A port that was chosen by the caller may serve several connections
    /// only where all of them say so.
    private func isTaken(_ ends: Ends, isChosen: Bool, _ options: TCPOptions) -> Bool {
        let port = ends.local.port
        if let stream = streams[ends], !(isChosen && stream.isLingering) { return true }
        if listeners.contains(where: {
            $0.localAddress.port == port && $0.covers(ends.local.ip) && !($0.options.reusesPort && options.reusesPort)
        }) {
            return true
        }
        guard isChosen, !options.reusesPort else { return false }
        return streams.contains {
            $0.key.local.port == port && $0.key.local.ip == ends.local.ip && !$0.value.isLingering
        }
    }

    private func makeStream(_ ends: Ends, options: TCPOptions) -> SimulatedTCPStream {
        if let former = streams[ends] { remove(former) }
        let world = life.host?.world
        world?.streamCount &+= 1
        let stream = SimulatedTCPStream(
            tcp: self, ends: ends, number: world?.streamCount ?? 0, initial: environment.drawSequence(),
            options: options)
        streams[ends] = stream
        numbered[stream.number] = stream
        return stream
    }

    func remove(_ stream: SimulatedTCPStream) {
        numbered[stream.number] = nil
        if streams[stream.ends] === stream { streams[stream.ends] = nil }
    }

    func remove(_ listener: SimulatedTCPListener) {
        listeners.removeAll { $0 === listener }
    }

    /// Sends a segment. The loss of one that belongs to a stream will be told to it.
    func send(_ header: TCPHeader, _ payload: Bytes, _ ends: Ends, stream: UInt32?) {
        guard let host = life.host else { return }
        var packet = Packet(
            source: ends.local, destination: ends.remote, transport: .tcp(header), payload: payload)
        if let stream { packet.lossReport = LossReport(host: UInt32(host.number), stream: stream, attempt: 0) }
        host.world.send(packet, from: host)
    }

    // MARK: From the network

    func arrive(_ packet: Packet, _ header: TCPHeader) {
        let ends = Ends(local: packet.destination, remote: packet.source)
        if let stream = streams[ends] {
            stream.arrive(packet, header)
        } else if header.flags == .syn, let listener = listener(for: packet.destination), listener.hasRoom {
            let stream = makeStream(ends, options: listener.options)
            stream.accept(header, for: listener)
        } else {
            refuse(packet, header)
        }
    }

    /// Answers what no connection wants (RFC 9293 §3.10.7.1).
    func refuse(_ packet: Packet, _ header: TCPHeader) {
        guard !header.flags.contains(.rst) else { return }
        var answer = TCPHeader(flags: .rst, sequence: header.acknowledgement, acknowledgement: 0, window: 0)
        if !header.flags.contains(.ack) {
            let length = packet.payload.count + (header.flags.isDisjoint(with: [.syn, .fin]) ? 0 : 1)
            answer = TCPHeader(
                flags: [.rst, .ack], sequence: 0, acknowledgement: header.sequence &+ UInt64(length), window: 0)
        }
        send(answer, Bytes(), Ends(local: packet.destination, remote: packet.source), stream: nil)
    }

    private func listener(for address: SocketAddress) -> SimulatedTCPListener? {
        listeners.first { $0.localAddress.port == address.port && $0.covers(address.ip) }
    }

    /// The network has lost a segment: its sender's timer will find out.
    func lost(_ packet: Packet, _ report: LossReport) {
        numbered[report.stream]?.lost(packet, attempt: report.attempt)
    }

    func die() {
        let all = streams.values.sorted { $0.number < $1.number }
        let listeners = listeners
        streams = [:]
        numbered = [:]
        self.listeners = []
        for stream in all { stream.die() }
        for listener in listeners { listener.die() }
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
        super.init(loop: tcp.loop, localAddress: localAddress)
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
        for stream in waiting { stream.reset() }
        die()
    }

    /// Lets go of everything; nothing is called back any more.
    func die() {
        waiting = []
        onConnection = nil
    }
}
