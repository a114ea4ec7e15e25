import MartletIdentity
import MartletRuntime
@testable import MartletTransport
import MartletWire

/// What a node in a play gets from outside: the play's time, numbers in their order, and no network.
///
/// It is `@unchecked Sendable` because libFuzzer runs one input at a time, on one thread.
final class PlayedEnvironment: Environment, @unchecked Sendable {
    private final class Silence: LogSink {
        func write(_ record: LogRecord) {}
    }

    private final class NoFiles: FileStore {
        func read(_ path: String, maximum: Int) async throws(FileError) -> Bytes? { nil }
        func replace(_ path: String, with bytes: Bytes, isPrivate: Bool) async throws(FileError) {}
        func append(_ bytes: Bytes, to path: String) async throws(FileError) {}
        func remove(_ path: String) async throws(FileError) {}
        func move(_ path: String, to other: String) async throws(FileError) {}
        func place(of path: String) async throws(FileError) -> String? { nil }
        func list(_ path: String) async throws(FileError) -> [String] { [] }
    }

    /// What the calendar shows when a play begins: the first of January 2026.
    static let beginning = WallTime(nanoseconds: 1_767_225_600_000_000_000)

    let loop: EventLoop
    let random: RandomSource
    let log = Logger(subsystem: "play", sink: Silence(), levels: LogLevels(.critical))
    let files: any FileStore = NoFiles()
    /// Opens sockets, if there are any.
    var makeSocket: ((SocketAddress) -> UDPSocket)?
    /// By how much the calendar clock has been set.
    var clockIsAhead = Duration.zero

    init(_ loop: EventLoop) {
        self.loop = loop
        var number: UInt64 = 0
        random = RandomSource { buffer in
            for offset in stride(from: 0, to: buffer.count, by: 8) {
                number &+= 0x9E37_79B9_7F4A_7C15
                buffer.storeBytes(of: number, toByteOffset: offset, as: UInt64.self)
            }
        }
    }

    var wallTime: WallTime {
        WallTime(
            nanoseconds: Self.beginning.nanoseconds + Int64(clamping: loop.now.nanoseconds) + clockIsAhead.nanoseconds)
    }

    var bootTime: Instant { loop.now }

    func bindUDP(_ address: SocketAddress, options: UDPOptions) throws(NetworkError) -> UDPSocket {
        guard let makeSocket else { throw NetworkError(.unreachable, "bind", address) }
        return makeSocket(address)
    }

    func listenTCP(_ address: SocketAddress, options: TCPOptions) throws(NetworkError) -> TCPListener {
        throw NetworkError(.unreachable, "listen", address)
    }

    nonisolated(nonsending) func connectTCP(
        _ address: SocketAddress, from local: SocketAddress?, options: TCPOptions, deadline: Instant
    ) async throws(NetworkError) -> ByteStream {
        throw NetworkError(.unreachable, "connect", address)
    }

    nonisolated(nonsending) func lookUp(
        _ name: String, _ type: RecordType, deadline: Instant
    ) async throws(NameError) -> [NameRecord] { throw .noRecords }

    func interfaces() throws(NetworkError) -> [NetworkInterface] { [] }

    func watchInterfaces(_ change: @escaping () -> Void) throws(NetworkError) -> InterfaceWatch { InterfaceWatch() }

    nonisolated(nonsending) func background<Result: Sendable>(
        _ work: @escaping @Sendable () throws -> Result
    ) async throws -> Result { try work() }
}

/// A transport that dials nobody, and by which a play hands in connections.
final class PlayedTransport: Transport {
    private final class Listener: TransportListener {
        override func close() {}
    }

    var memory: ResourceScope?
    private var inbound: Inbound?

    var name: String { "play" }
    func canDial(_ address: Multiaddr) -> Bool { false }
    func canListen(on address: Multiaddr) -> Bool { true }

    nonisolated(nonsending) func dial(
        _ address: Multiaddr, expecting peer: PeerID?, deadline: Instant
    ) async throws(TransportError) -> Connection { throw .unsupportedAddress(address) }

    func listen(on address: Multiaddr, _ inbound: Inbound) throws(TransportError) -> TransportListener {
        self.inbound = inbound
        return Listener(address: address)
    }

    /// Hands in `connection`. Whether it was let in.
    func arrive(_ connection: Connection) -> Bool {
        guard let inbound, case .admitted(let place) = inbound.admit(connection.remoteAddress, true) else {
            return false
        }
        connection.memory = memory
        inbound.connected(connection, place)
        return connection.closeReason == nil
    }
}

/// A connection whose streams end in the play: it hands in what comes on them and takes what goes out.
final class PlayedConnection: Connection {
    private var links: [UInt64: StreamLink] = [:]
    private var nextID: UInt64 = 0
    /// Which directions of which stream are over.
    private var ended: [UInt64: (input: Bool, output: Bool)] = [:]
    /// Streams that the node has opened and the play has not looked at.
    private var opened: [StreamLink] = []

    override func openStream() throws(ConnectionError) -> MartletTransport.Stream {
        if let closeReason { throw closeReason }
        guard links.count < 32 else { throw .tooManyStreams }
        let link = make(isOutbound: true)
        opened.append(link)
        return MartletTransport.Stream(link)
    }

    private func make(isOutbound: Bool) -> StreamLink {
        nextID += 1
        let link = StreamLink(connection: self, id: nextID, isOutbound: isOutbound, creditStep: 64 << 10)
        links[nextID] = link
        ended[nextID] = (false, false)
        return link
    }

    override func forEachStream(_ body: (StreamLink) -> Void) {
        for id in links.keys.sorted() { if let link = links[id] { body(link) } }
    }

    override func close(code: UInt64) { end(.closed(code: code)) }
    override func abort() { end(.closed(code: 0)) }
    override var statistics: ConnectionStatistics { ConnectionStatistics() }
    override func streamHasOutput(_ link: StreamLink) {}
    override func streamFreed(_ link: StreamLink, credit: Int) {}
    override func streamReset(_ link: StreamLink, code: UInt64) { remove(link) }
    override func streamStopped(_ link: StreamLink, code: UInt64) { over(link, input: true) }

    private func remove(_ link: StreamLink) {
        guard links.removeValue(forKey: link.id) != nil else { return }
        ended[link.id] = nil
        link.detach()
    }

    private func over(_ link: StreamLink, input: Bool = false, output: Bool = false) {
        guard var state = ended[link.id] else { return }
        state = (state.input || input, state.output || output)
        ended[link.id] = state
        if state.input, state.output { remove(link) }
    }

    // MARK: The play's end

    /// Opens a stream. What comes first on it is handed in behind that.
    func arrive(with bytes: [UInt8]) -> StreamLink {
        let link = make(isOutbound: false)
        bytes.withUnsafeBytes { link.deliver(copying: $0) }
        accepted(link)
        return link
    }

    func takeOpened() -> [StreamLink] {
        defer { opened = [] }
        return opened
    }

    func isOpen(_ link: StreamLink) -> Bool { links[link.id] === link }

    func deliver(_ bytes: UnsafeRawBufferPointer, on link: StreamLink) {
        guard let state = ended[link.id], !state.input, isOpen(link) else { return }
        link.deliver(copying: bytes)
    }

    func deliverEnd(on link: StreamLink) {
        guard isOpen(link) else { return }
        link.deliverEnd()
        over(link, input: true)
    }

    func deliverReset(on link: StreamLink) {
        guard isOpen(link) else { return }
        link.deliverReset(code: 1)
        link.deliverStop(code: 1)
        remove(link)
    }

    /// Takes at most `count` bytes of what the node has written on `link`.
    func take(_ count: Int, on link: StreamLink) -> [UInt8] {
        guard isOpen(link) else { return [] }
        var buffer = [UInt8](repeating: 0, count: min(count, link.output.count))
        let (taken, rest) = buffer.withUnsafeMutableBytes { link.takeOutput(into: $0) }
        if rest.ends { over(link, output: true) }
        return Array(buffer.prefix(taken))
    }

    func end(_ reason: ConnectionError) {
        guard closeReason == nil else { return }
        let all = links.values.sorted { $0.id < $1.id }
        (links, ended, opened) = ([:], [:], [])
        for link in all {
            link.fail(reason)
            link.detach()
        }
        ended(reason)
    }
}
