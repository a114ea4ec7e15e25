internal import MartletCrypto
internal import MartletIdentity
internal import MartletRuntime
public import MartletWire

/// What the machines of an upgrade do for the fuzzer, which stands in a package of its own and sees only what is public.
@_spi(Fuzzing)
public enum UpgradeExercise {
    /// Reads `input` as the payload of a Noise handshake from the holder of the static key of 32 nines. Traps where what
    /// is taken is not read again from its encoding, or goes beyond a bound.
    public static func readNoisePayload(_ input: Bytes) throws {
        guard let staticKey = X25519PublicKey(Bytes([UInt8](repeating: 9, count: X25519PublicKey.size))) else { return }
        let payload = try NoisePayload(input, from: staticKey)
        precondition(payload.muxers.count <= NoisePayload.maximumMuxers, "muxers without end")
        let again = try NoisePayload(payload.encoded, from: staticKey)
        precondition(again.muxers == payload.muxers && again.identityKey == payload.identityKey, "another payload")
    }

    /// Plays `input` as what happens to one side of a Yamux connection: each byte chooses what the other side sends, or
    /// what the users of this side do. Traps where a bound does not hold, or more is sent than was granted.
    public static func playYamux(_ input: Bytes) throws {
        var play = YamuxPlay(isClient: input.first.map { $0 & 1 == 0 } ?? false)
        var reader = Reader(input.span)
        _ = try reader.byte()
        while !reader.isAtEnd { try play.step(&reader) }
    }
}

/// A stream's owner that sends nines, and counts what comes.
private final class YamuxPlayer: YamuxUser {
    var received = 0
    var consumed = 0
    var outgoing = 0
    var closes = false
    var isDetached = false
    private var endIsTaken = false

    func deliver(_ bytes: Bytes) {
        precondition(!isDetached, "bytes for a stream that is over")
        received += bytes.count
    }

    func deliverEnd() { precondition(!isDetached, "the end of a stream that is over") }
    func deliverBreak(code: UInt64) { precondition(!isDetached, "the break of a stream that is over") }
    func setCreditStep(_ step: Int) {}
    var hasMemoryToGrow: Bool { received % 3 != 0 }

    func detach() {
        precondition(!isDetached, "a stream that ends twice")
        isDetached = true
    }

    var output: StreamLink.Output { StreamLink.Output(count: outgoing, ends: closes && !endIsTaken) }

    func takeOutput(into buffer: UnsafeMutableRawBufferPointer) -> (count: Int, rest: StreamLink.Output) {
        let count = min(buffer.count, outgoing)
        buffer.prefix(count).withMemoryRebound(to: UInt8.self) { $0.update(repeating: 9) }
        outgoing -= count
        var rest = output
        if rest.count > 0 { rest.ends = false } else if rest.ends { endIsTaken = true }
        return (count, rest)
    }
}

/// One side of a Yamux connection, and its users.
private struct YamuxPlay {
    private static let limits = {
        var limits = YamuxLimits()
        limits.inboundStreams = 8
        limits.outboundStreams = 8
        limits.unacknowledgedStreams = 4
        limits.streamWindow = 1 << 20
        limits.windowBudget = 2 << 20
        limits.waitingAnswers = 64
        limits.waitingFramesWhileReading = 16
        return limits
    }()

    private let yamux: Yamux<YamuxPlayer>
    private var users: [UInt32: YamuxPlayer] = [:]
    /// What the other side has granted on each stream beyond the first window, at most, and what was sent.
    private var granted: [UInt32: Int] = [:]
    private var sent: [UInt32: Int] = [:]
    /// Whether all that came was whole frames, so that the book of what was granted holds.
    private var isWhole = true
    private var now = Instant.start + .seconds(1)
    private var numbers = Numbers()

    /// One number after the other in place of random ones, so that an input can hold the answers to pings.
    private struct Numbers: RandomNumberGenerator {
        private var last: UInt64 = 0

        mutating func next() -> UInt64 {
            last += 1
            return last
        }
    }

    init(isClient: Bool) {
        yamux = Yamux(isClient: isClient, limits: Self.limits, now: now)
    }

    mutating func step(_ reader: inout Reader) throws {
        let choice = try reader.byte()
        switch choice & 7 {
        case 0, 1:
            // What the other side sends, as it stands.
            isWhole = false
            let size = min(Int(choice >> 3) + 1, reader.remaining)
            try take(Bytes(copying: try reader.span(size)))
        case 2, 3: try takeFrame(&reader)
        case 4: try send(512 + Int(try reader.byte()) * 64)
        case 5: try use(&reader)
        case 6:
            now += .milliseconds(Int64(try reader.byte()) * 100)
            if yamux.deadline <= now { try yamux.handleTimeout(at: now, using: &numbers) }
        default:
            for (id, user) in users.sorted(by: { $0.key < $1.key }) where user.received > user.consumed {
                yamux.freed(id, credit: user.received - user.consumed, at: now)
                user.consumed = user.received
            }
        }
        precondition(yamux.inboundCount <= 8 && yamux.outboundCount <= 8, "more streams than may be")
        for user in users.values {
            precondition(user.received - user.consumed <= 1 << 20, "more than the largest window")
        }
        users = users.filter { !$0.value.isDetached }
    }

    /// A frame of which each part is chosen.
    private mutating func takeFrame(_ reader: inout Reader) throws {
        let (kind, flags) = (try reader.byte(), try reader.byte())
        let stream = UInt32(try reader.byte())
        let length = try reader.integer(UInt32.self)
        guard let kind = YamuxHeader.Kind(rawValue: kind & 3) else { return }
        let header = YamuxHeader(kind, YamuxHeader.Flags(rawValue: UInt16(flags & 15)), stream: stream, length: length)
        var writer = Writer()
        writer.append(count: YamuxHeader.size) { header.write(to: $0.baseAddress.unsafelyUnwrapped) }
        if kind == .data {
            if length <= 300_000 { writer.append(count: Int(length)) { _ in } } else { isWhole = false }
        }
        let bytes = writer.finish()
        if kind == .windowUpdate { granted[stream, default: 0] += Int(length) }
        // Opened anew it begins with a window of its own.
        if header.flags.contains(.syn) { granted[stream, default: 0] += Yamux<YamuxPlayer>.initialWindow }
        try take(bytes)
    }

    private mutating func take(_ bytes: Bytes) throws {
        var newcomers: [UInt32: YamuxPlayer] = [:]
        defer { users.merge(newcomers) { $1 } }
        try yamux.handle(bytes, at: now) { id in
            guard id % 16 != 15 else { return nil }
            let user = YamuxPlayer()
            newcomers[id] = user
            return user
        }
    }

    /// A user opens, writes, closes, resets or stops a stream.
    private mutating func use(_ reader: inout Reader) throws {
        let choice = try reader.byte()
        let id = UInt32(choice >> 3)
        switch choice & 7 {
        case 0:
            var opened: (UInt32, YamuxPlayer)?
            _ = try? yamux.open(at: now) { id in
                let user = YamuxPlayer()
                opened = (id, user)
                return user
            }
            if let (id, user) = opened { users[id] = user }
        case 1: yamux.reset(id, code: UInt64(choice))
        case 2: yamux.stop(id, at: now)
        case 3:
            users[id]?.closes = true
            yamux.hasOutput(id)
        default:
            guard let user = users[id], !user.closes else { break }
            user.outgoing += Int(try reader.byte()) << 10
            yamux.hasOutput(id)
        }
    }

    /// Takes what is to be sent, which must be frames that the other side allows.
    private mutating func send(_ size: Int) throws {
        var buffer = [UInt8](repeating: 0, count: size)
        let count = buffer.withUnsafeMutableBytes { yamux.transmit(into: $0) }
        precondition(count <= size, "more than there is room for")
        var start = 0
        while start < count {
            precondition(count - start >= YamuxHeader.size, "half a header")
            let header = try buffer.withUnsafeBytes { bytes throws(YamuxError) in
                try YamuxHeader(reading: bytes.baseAddress.unsafelyUnwrapped + start)
            }
            start += YamuxHeader.size
            guard header.kind == .data else { continue }
            start += Int(header.length)
            sent[header.stream, default: 0] += Int(header.length)
            let most = Yamux<YamuxPlayer>.initialWindow + granted[header.stream, default: 0]
            precondition(!isWhole || sent[header.stream, default: 0] <= most, "more than was granted")
        }
        precondition(start == count, "a frame that is cut off")
    }
}
