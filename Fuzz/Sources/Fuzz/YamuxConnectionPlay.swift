@testable import MartletCrypto
import MartletIdentity
import MartletRuntime
@testable import MartletTransport
import MartletWire

/// A real Yamux connection with users, between a program of moves and what its adversary reads of it.
///
/// The adversary sends frames as it likes, whole or cut or merged, reads or does not, and lets time pass. Users open, write,
/// read, set deadlines, close and reset. After each move all that a connection promises is checked, by what comes out of it
/// and by what it draws from the node's memory.
final class YamuxConnectionPlay {
    static let limits = {
        var limits = UpgradeLimits()
        limits.bytesPerTurn = 64 << 10
        limits.yamux.inboundStreams = 8
        limits.yamux.outboundStreams = 8
        limits.yamux.unacknowledgedStreams = 4
        limits.yamux.streamWindow = 1 << 20
        limits.yamux.windowBudget = 2 << 20
        limits.yamux.waitingAnswers = 64
        limits.yamux.waitingFramesWhileReading = 16
        return limits
    }()
    // Only one play runs at a time. They share buffers as the connections of an upgrader do, and since fresh memory is dear.
    nonisolated(unsafe) private static let buffers = ConnectionBuffers()
    /// What the node may hold at most; its only peer may hold a quarter. If that is much, windows are what bounds a stream.
    private static let memory = (little: 4 << 20, much: 64 << 20)

    private let play = PlayedLoop()
    private let tree: ResourceTree
    private let stream: PlayedStream
    private var connection: YamuxConnection!
    private let scope: ResourceScope
    private let accounts: [ResourceAccount]
    private let isClient: Bool
    private var wire: YamuxWire
    private var users: [PlayedUser] = []
    private var closeReason: ConnectionError?
    private var closures = 0
    /// What the adversary has made and not yet sent.
    private var held: [UInt8] = []
    private var isHolding = false
    private var isReading = true
    /// Whether the next stream that ends makes its user close the connection.
    private var closesWhenEnded = false

    init(isClient: Bool, sealed: Bool, hasMuchMemory: Bool) {
        self.isClient = isClient
        tree = ResourceTree(ResourceLimits(memory: hasMuchMemory ? Self.memory.much : Self.memory.little))
        stream = PlayedStream(loop: play.loop)
        wire = YamuxWire(isSealed: sealed, connectionIsClient: isClient)
        var made: YamuxConnection!
        play.loop.asCurrent { [stream, wire] in
            var number: UInt64 = 0
            let random = RandomSource { buffer in
                for offset in stride(from: 0, to: buffer.count, by: 8) {
                    number += 1
                    buffer.storeBytes(of: number, toByteOffset: offset, as: UInt64.self)
                }
            }
            let address = Multiaddr.tcp(SocketAddress(IPAddress(192, 0, 2, 1), port: 4001))
            made = YamuxConnection(
                stream, noise: wire.noise, remotePublicKey: PlayedIdentity.of(2).publicKey, localAddress: address,
                remoteAddress: address,
                nature: ConnectionNature(direction: isClient ? .outbound : .inbound, transport: "tcp"),
                limits: Self.limits, buffers: Self.buffers, random: random)
        }
        connection = made
        scope = tree.add(made)
        accounts = [ResourceSide.inbound, .outbound].compactMap { made.account($0) }
        made.onStream = { [weak self] in self?.took($0) }
        made.onClosed = { [weak self] reason in
            guard let self else { return }
            closures += 1
            closeReason = reason
            tree.remove(connection)
        }
        play.run { made.begin(opened: Bytes(), input: Bytes()) }
    }

    private func took(_ stream: MartletTransport.Stream) {
        guard users.count < 64 else { return stream.reset() }
        add(stream)
    }

    private func add(_ stream: MartletTransport.Stream) {
        let user = PlayedUser(stream)
        user.checksContent = wire.isWhole
        users.append(user)
        user.watch(on: connection) { [weak self] in
            guard let self, closesWhenEnded else { return }
            closesWhenEnded = false
            connection.close(code: 3)
        }
    }

    // MARK: Moves

    func step(_ reader: inout Reader) throws {
        let move = try reader.byte()
        let detail = Int(move >> 4)
        switch move & 15 {
        case 0: send(try wire.raw(detail + 1, &reader))
        case 1: send(try wire.frame(&reader))
        case 2: send(try wire.opening(detail, &reader))
        case 3, 4: send(try wire.data(detail, &reader))
        case 5: send(try wire.windowUpdate(detail, &reader))
        case 6: send(wire.breaking(detail))
        case 7: send(detail & 1 == 0 ? wire.ping(detail) : wire.answer(isTrue: detail & 2 != 0))
        case 8: try cut(detail, &reader)
        case 9: try read(detail, &reader)
        case 10: try pass(detail, &reader)
        case 11, 12: try use(detail, &reader)
        case 13, 14:
            let size = try Self.size(&reader)
            play.run { move & 15 == 13 ? user(detail)?.read(upTo: size) : user(detail)?.write(min(size, 256 << 10)) }
        default: end(detail)
        }
        play.run {}
        if isReading { take(.max) }
        check()
    }

    /// A size of any magnitude, in a byte.
    static func size(_ reader: inout Reader) throws -> Int {
        let byte = Int(try reader.byte())
        return ((byte & 31) + 1) << ((byte >> 5) * 2)
    }

    private func send(_ frames: [UInt8]) {
        held += frames
        if !isHolding { flush(.max) }
    }

    private func flush(_ count: Int) {
        guard !held.isEmpty else { return }
        let count = min(count, held.count)
        held.withUnsafeBytes { bytes in
            let plain = UnsafeRawBufferPointer(rebasing: bytes[..<count])
            wire.seal(plain) { sealed in play.run { stream.send(sealed) } }
        }
        held.removeFirst(count)
    }

    /// Holds frames back, so that they go out merged, or sends the first bytes of what is held.
    private func cut(_ detail: Int, _ reader: inout Reader) throws {
        switch detail & 3 {
        case 0: isHolding = true
        case 1:
            isHolding = false
            flush(.max)
        default: flush(try Self.size(&reader))
        }
    }

    private func read(_ detail: Int, _ reader: inout Reader) throws {
        isReading = detail & 1 != 0
        if detail & 2 != 0 { take(try Self.size(&reader)) }
    }

    /// Takes what the connection has written, and sees to it that it is what it may write.
    private func take(_ most: Int) {
        var rest = most
        while rest > 0 {
            var taken: [UInt8] = []
            play.run { taken = stream.take(min(rest, 256 << 10)) }
            guard !taken.isEmpty else { return }
            rest -= taken.count
            wire.took(taken)
        }
    }

    private func pass(_ detail: Int, _ reader: inout Reader) throws {
        let units: [Duration] = [.milliseconds(1), .milliseconds(10), .milliseconds(100), .seconds(1)]
        play.pass(units[detail & 3] * Int(try reader.byte()))
    }

    private func user(_ number: Int) -> PlayedUser? {
        users.isEmpty ? nil : users[users.count - 1 - number % users.count]
    }

    private func use(_ detail: Int, _ reader: inout Reader) throws {
        let choice = try reader.byte()
        let code = UInt64(choice >> 4)
        play.run { [self] in
            guard choice & 15 != 0 else {
                guard users.count < 64, let stream = try? connection.openStream() else { return }
                return add(stream)
            }
            guard let user = user(detail) else { return }
            switch choice & 15 {
            case 1, 2: user.closeWrite()
            case 3: user.closeRead(code: code)
            case 4: user.reset(code: code)
            case 5: user.letGo()
            case 6: user.cancel()
            case 7: user.setReadDeadline(code == 0 ? nil : .seconds(Int64(code)))
            case 8: user.setWriteDeadline(code == 0 ? nil : .seconds(Int64(code)))
            case 9: closesWhenEnded = true
            case 10: user.closeWrite(); user.letGo()
            default: user.write(Int(code + 1) << 10, thenCloses: true)
            }
        }
    }

    private func end(_ detail: Int) {
        play.run { [self] in
            switch detail {
            case 0: connection.close(code: 7)
            case 1: connection.abort()
            case 2: stream.sendEnd()
            case 3: stream.breakOff()
            default: break
            }
        }
        if detail >= 4 { send(wire.farewell(detail - 4)) }
    }

    // MARK: What must hold

    private func check() {
        if !wire.isWhole { for user in users { user.checksContent = false } }
        for user in users { user.check() }
        users.removeAll { user in user.isDone && user.isOver && user.link.held == 0 }
        expect(closures <= 1, "a connection ends once")
        expect((closeReason != nil) == stream.isClosed, "a connection ends with its stream of bytes")
        if closeReason != nil { expect(users.allSatisfy(\.isOver), "no stream outlives its connection's end") }
        for user in users {
            expect(user.unread <= Self.limits.yamux.streamWindow, "a stream holds no more than the largest window")
        }
        let open = connection.statistics.openStreams
        expect(open <= 16, "open streams are bounded")
        checkMemory()
    }

    /// Compares what is drawn with what is held.
    private func checkMemory() {
        var sums = [0, 0]
        for user in users { sums[user.link.isOutbound ? 1 : 0] += user.link.held + (user.isOver ? 0 : 1 << 10) }
        let own = isClient ? 1 : 0
        for (index, account) in accounts.enumerated() {
            let rest = account.used - sums[index]
            if index == own, stream.isBlocked, closeReason == nil {
                // What waits in front of a peer that takes nothing is drawn as well: frames at most as many as may wait.
                let frames = Self.limits.yamux.waitingAnswers + Self.limits.yamux.waitingFramesWhileReading + 64
                expect(rest >= stream.queued, "what waits is drawn")
                expect(rest <= stream.queuedWhenBlocked + frames * 16, "frames that wait are bounded")
            } else {
                expect(rest == 0, "what is drawn is what is held")
            }
        }
        expect(stream.queued <= PlayedStream.mostQueued, "what waits for the system is bounded")
        let most = scope.limit + Self.limits.bytesPerTurn + PlayedStream.mostQueued
        expect(scope.used <= most, "a peer makes the node hold no more than its share")
    }

    /// Ends the play. Nothing may be left of it.
    func finish() {
        held = []
        play.run { connection.abort() }
        check()
        expect(closures == 1, "a connection that is broken off has ended")
        let all = users
        play.run { for user in all { user.letGo() } }
        play.pass(.seconds(1))
        for user in users {
            user.check()
            expect(user.isOver && user.isDone, "whoever waits hears of the end")
            expect(user.link.held == 0, "nobody holds what was let go of")
        }
        users = []
        for account in accounts { expect(account.used == 0, "all memory is given back") }
        expect(scope.streams(.inbound) == 0 && scope.streams(.outbound) == 0, "all streams are given back")
        weak let ended = connection
        connection = nil
        play.run {}
        expect(ended == nil, "nobody keeps a connection that is over")
    }
}

/// The keys of those who play.
enum PlayedIdentity {
    private static let keys: [PrivateKey] = (0..<16).map { number in
        let seed = Bytes([UInt8](repeating: UInt8(number + 1), count: 32))
        guard let key = try? PrivateKey(ed25519Seed: seed.span) else { preconditionFailure("32 bytes are a seed") }
        return key
    }

    static func of(_ number: Int) -> PrivateKey { keys[number % keys.count] }
}
