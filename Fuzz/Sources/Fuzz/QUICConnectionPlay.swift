import MartletIdentity
import MartletRuntime
import MartletTLS
@testable import MartletTransport
import MartletWire

/// A UDP socket whose packets the play carries, or does not.
final class PlayedSocket: UDPSocket {
    var onSend: ((Bytes) -> Void)?

    override func send(
        _ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress?, segmentSize: Int?, ecn: ECN
    ) -> SendResult {
        onSend?(Bytes(copying: bytes))
        return .sent
    }

    override func close() {
        (onDatagram, onBatchEnd, onWritable, onSend) = (nil, nil, nil, nil)
    }

    func receive(_ bytes: Bytes, from source: SocketAddress) {
        guard let onDatagram else { return }
        let onBatchEnd = onBatchEnd
        onDatagram(Datagram(bytes: bytes.span, source: source, localAddress: localAddress.ip, ecn: .notCapable))
        onBatchEnd?()
    }
}

/// A real QUIC connection with users, between a program of moves and an adversary.
///
/// The adversary has a real connection as well, by which it opens streams, writes, reads or does not, and breaks off. In
/// place of what one of its packets carries it may put frames of its own making. The program also loses and doubles
/// packets and lets time pass.
final class QUICConnectionPlay {
    private static let limits = {
        var limits = QUICLimits()
        limits.streams = 8
        limits.streamWindow = 16 << 10...128 << 10
        limits.connectionWindow = 64 << 10...512 << 10
        return limits
    }()
    private static let memory = 4 << 20
    // Only one play runs at a time. To make and sign certificates is dear.
    nonisolated(unsafe) private static let credentials = (0..<2).map { number in
        var random = SystemRandomNumberGenerator()
        return TLSCredentials(
            hostKey: PlayedIdentity.of(number), certificateKey: .ed25519, at: PlayedEnvironment.beginning.seconds,
            using: &random)
    }

    private final class End {
        let environment: PlayedEnvironment
        let transport: QUICTransport
        let address: SocketAddress
        var socket: PlayedSocket?
        var connection: QUICConnection?
        var users: [PlayedUser] = []
        /// What it has sent and has not arrived.
        var packets: [Bytes] = []

        init(_ loop: EventLoop, number: Int) {
            address = SocketAddress(IPAddress(192, 0, 2, UInt8(number + 1)), port: 4001)
            environment = PlayedEnvironment(loop)
            transport = QUICTransport(
                environment: environment, hostKey: PlayedIdentity.of(number),
                credentials: QUICConnectionPlay.credentials[number], limits: QUICConnectionPlay.limits)
        }
    }

    private let play = PlayedLoop()
    private let tree = ResourceTree(ResourceLimits(memory: memory))
    private let node: End
    private let adversary: End
    private var scope: ResourceScope?
    private var accounts: [ResourceAccount] = []
    private var carrier: PlayedUser?
    private var closures = 0
    private var isReading = true
    private var holdsContent = true
    private var lost = 0
    private var doubles = false

    init(isClient: Bool) {
        node = End(play.loop, number: 0)
        adversary = End(play.loop, number: 1)
        node.transport.memory = tree.node
        play.run { [self] in
            for end in [node, adversary] {
                end.environment.makeSocket = { [play, weak end] address in
                    let socket = PlayedSocket(loop: play.loop, localAddress: address)
                    socket.onSend = { end?.packets.append($0) }
                    end?.socket = socket
                    return socket
                }
                let inbound = Inbound { [weak self, weak end] connection in
                    if let end { self?.came(connection, to: end) }
                }
                _ = try? end.transport.listen(on: .quic(end.address), inbound)
            }
            adversary.transport.endpoints.first?.callbacks.pointee.encrypt = {
                QUICFrames.seal($0, $1, $2, $3, $4, $5, $6, $7, $8)
            }
            let (from, to) = isClient ? (node, adversary) : (adversary, node)
            let deadline = play.loop.now + .seconds(5)
            play.loop.spawn { [weak self, from, to] in
                if let made = try? await from.transport.dial(.quic(to.address), expecting: nil, deadline: deadline) {
                    self?.came(made, to: from)
                }
            }
        }
        for _ in 0..<20 where node.connection == nil || adversary.connection == nil { carry() }
        expect(node.connection != nil && adversary.connection != nil, "two who mean well are connected")
        carry()
        play.run { [self] in carrier = open(adversary) }
    }

    private func came(_ connection: Connection, to end: End) {
        guard let connection = connection as? QUICConnection else { return }
        end.connection = connection
        connection.onStream = { [weak self, weak end] stream in
            guard let self, let end, end.users.count < 48 else { return stream.reset() }
            add(stream, to: end)
        }
        guard end === node else { return }
        scope = tree.add(connection)
        accounts = [ResourceSide.inbound, .outbound].compactMap { connection.account($0) }
        connection.onClosed = { [weak self, weak connection] _ in
            guard let self, let connection else { return }
            closures += 1
            tree.remove(connection)
        }
    }

    @discardableResult
    private func add(_ stream: MartletTransport.Stream, to end: End) -> PlayedUser? {
        guard let connection = end.connection else { return nil }
        let user = PlayedUser(stream, isAdversary: end === adversary)
        user.checksContent = holdsContent || end === adversary
        end.users.append(user)
        user.watch(on: connection)
        return user
    }

    @discardableResult
    private func open(_ end: End) -> PlayedUser? {
        guard end.users.count < 48, let stream = try? end.connection?.openStream() else { return nil }
        return add(stream, to: end)
    }

    /// Carries what was sent, a millisecond each way.
    private func carry() {
        for (from, to) in [(node, adversary), (adversary, node)] {
            play.pass(.milliseconds(1))
            let packets = from.packets
            from.packets = []
            play.run { [self] in
                for packet in packets {
                    if lost > 0 {
                        lost -= 1
                        continue
                    }
                    to.socket?.receive(packet, from: from.address)
                    if doubles { to.socket?.receive(packet, from: from.address) }
                }
            }
        }
    }

    // MARK: Moves

    func step(_ reader: inout Reader) throws {
        let move = try reader.byte()
        let detail = Int(move >> 4)
        switch move & 15 {
        case 0, 1, 2: try frames(1 + (detail & 3), &reader)
        case 3, 4: try use(adversary, detail, &reader)
        case 5, 6, 7: try use(node, detail, &reader)
        case 8: isReading = detail & 1 != 0
        case 9: (lost, doubles) = (detail & 7, detail & 8 != 0)
        case 10, 11:
            let units: [Duration] = [.milliseconds(1), .milliseconds(30), .milliseconds(300), .seconds(2)]
            play.pass(units[detail & 3] * Int(try reader.byte() & 31))
        case 12: end(detail)
        case 13: for _ in 0..<detail { carry() }
        default: break
        }
        carry()
        if isReading {
            play.run { [self] in for user in adversary.users { user.read(upTo: .max) } }
            carry()
        }
        check()
    }

    /// Puts some frames in place of what the adversary's next full packet carries.
    private func frames(_ count: Int, _ reader: inout Reader) throws {
        var frames: [UInt8] = []
        for _ in 0..<count where frames.count < 900 && !reader.isAtEnd { frames += try QUICFrames.make(&reader) }
        holdsContent = false
        for user in node.users { user.checksContent = false }
        QUICFrames.next = frames
        play.run { [self] in carrier?.write(1400) }
    }

    private func use(_ end: End, _ detail: Int, _ reader: inout Reader) throws {
        let choice = try reader.byte()
        let size = choice & 15 < 5 ? min(try YamuxConnectionPlay.size(&reader), 256 << 10) : 0
        let code = UInt64(choice >> 4)
        let users = end.users.filter { $0 !== carrier }
        play.run {
            guard choice & 15 != 0, !users.isEmpty else {
                self.open(end)?.write(size + 1)
                return
            }
            let user = users[users.count - 1 - detail % users.count]
            switch choice & 15 {
            case 1, 2: user.write(size)
            case 3, 4: user.read(upTo: size)
            case 5: user.closeWrite()
            case 6: user.closeRead(code: code)
            case 7: user.reset(code: code)
            case 8: user.letGo()
            case 9: user.cancel()
            case 10: user.setReadDeadline(code == 0 ? nil : .seconds(Int64(code)))
            case 11: user.setWriteDeadline(code == 0 ? nil : .seconds(Int64(code)))
            case 12: user.closeWrite(); user.letGo()
            default: user.write(Int(code + 1) << 9, thenCloses: true)
            }
        }
    }

    private func end(_ detail: Int) {
        play.run { [self] in
            switch detail & 7 {
            case 0: node.connection?.close(code: 7)
            case 1: node.connection?.abort()
            case 2: adversary.connection?.close(code: 5)
            case 3: adversary.connection?.abort()
            default: break
            }
        }
    }

    // MARK: What must hold

    private func check() {
        for user in node.users { user.check() }
        node.users.removeAll { $0.isDone && $0.isOver && $0.link.held == 0 }
        adversary.users.removeAll { $0 !== carrier && $0.isDone && $0.isOver }
        expect(closures <= 1, "a connection ends once")
        guard let connection = node.connection, let scope else { return }
        if connection.closeReason != nil {
            expect(node.users.allSatisfy(\.isOver), "no stream outlives its connection")
        }
        let inbound = node.users.filter { !$0.isOver && !$0.link.isOutbound }.count
        expect(inbound <= Self.limits.streams, "streams of the other side are bounded")
        expect(connection.queueLength <= 128, "what waits to be sent is bounded")
        var sums = [0, 0]
        for user in node.users { sums[user.link.isOutbound ? 1 : 0] += user.link.held + (user.isOver ? 0 : 1 << 10) }
        for (account, sum) in zip(accounts, sums) {
            expect(account.used >= sum, "what is held is drawn")
            if connection.closeReason != nil { expect(account.used == sum, "what is drawn is what is held") }
        }
        expect(scope.used <= scope.limit + (256 << 10), "a peer makes the node hold no more than its share")
        expect(node.transport.statistics.connections <= 1, "there is one connection")
    }

    /// Ends the play. Nothing may be left of it.
    func finish() {
        QUICFrames.next = nil
        play.run { [self] in
            node.connection?.abort()
            adversary.connection?.abort()
        }
        check()
        expect(closures == 1, "a connection that is broken off has ended")
        let all = node.users + adversary.users
        play.run { for user in all { user.letGo() } }
        (carrier, adversary.users) = (nil, [])
        // As long as its last words may have to be said again, something is left of it.
        play.pass(.seconds(5))
        for user in node.users {
            user.check()
            expect(user.isOver && user.isDone, "whoever waits hears of the end")
            expect(user.link.held == 0, "nobody holds what was let go of")
        }
        node.users = []
        for account in accounts { expect(account.used == 0, "all memory is given back") }
        weak let ended = node.connection
        (node.connection, adversary.connection) = (nil, nil)
        play.run { [self] in
            node.packets = []
            node.transport.close()
            adversary.transport.close()
        }
        expect(ended == nil, "nobody keeps a connection that is over")
        accounts = []
        expect(tree.node.used == 0, "the node holds nothing")
    }
}
