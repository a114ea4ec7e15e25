import MartletRuntime
@testable import MartletTransport
import MartletWire
import TestSupport
import Testing

/// A stream's owner that keeps what comes and sends what it is told to.
final class TestUser: YamuxUser {
    var received: [UInt8] = []
    var hasEnded = false
    var brokenBy: UInt64?
    var isDetached = false
    var step = 0
    var consumed = 0
    var outgoing: [UInt8] = []
    var closes = false
    private var endIsTaken = false

    func deliver(_ bytes: Bytes) { received += Array(bytes) }
    func deliverEnd() { hasEnded = true }
    func deliverBreak(code: UInt64) { brokenBy = code }
    var hasMemoryToGrow = true
    func setCreditStep(_ step: Int) { self.step = step }
    func detach() { isDetached = true }
    var output: StreamLink.Output { StreamLink.Output(count: outgoing.count, ends: closes && !endIsTaken) }

    func takeOutput(into buffer: UnsafeMutableRawBufferPointer) -> (count: Int, rest: StreamLink.Output) {
        let count = min(buffer.count, outgoing.count)
        outgoing.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        outgoing.removeFirst(count)
        var rest = output
        if rest.count > 0 { rest.ends = false } else if rest.ends { endIsTaken = true }
        return (count, rest)
    }
}

/// The same number again and again.
struct Constant: RandomNumberGenerator {
    var value: UInt64
    mutating func next() -> UInt64 { value }
}

extension Yamux where User == TestUser {
    /// Does what is due; a ping of its own bears the value 1.
    func handleTimeout(at now: Instant) throws(YamuxError) {
        var random = Constant(value: 1)
        try handleTimeout(at: now, using: &random)
    }

    /// Everything there is to send, in pieces of at most `size`.
    func drain(_ size: Int = 4096) -> [UInt8] {
        var all: [UInt8] = []
        while true {
            var buffer = [UInt8](repeating: 0, count: size)
            let count = buffer.withUnsafeMutableBytes { transmit(into: $0) }
            guard count > 0 else { return all }
            all += buffer[..<count]
        }
    }
}

private func frame(
    _ type: UInt8, _ flags: UInt16, _ stream: UInt32, _ length: UInt32, _ body: [UInt8] = [], version: UInt8 = 0
) -> [UInt8] {
    [version, type, UInt8(flags >> 8), UInt8(flags & 0xFF)]
        + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: stream >> $0) }
        + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + body
}

@Suite("Yamux")
struct YamuxTests {
    let now = Instant.start + .seconds(5)

    /// A listener that has been quiet for a while, after its first ping.
    private func listener(_ limits: YamuxLimits = YamuxLimits()) -> Yamux<TestUser> {
        Yamux(isClient: false, limits: limits, now: now)
    }

    private func refusal(
        of bytes: [UInt8], _ limits: YamuxLimits = YamuxLimits(), by yamux: Yamux<TestUser>? = nil
    ) -> YamuxError? {
        let yamux = yamux ?? listener(limits)
        do throws(YamuxError) {
            try yamux.handle(Bytes(bytes), at: now) { _ in TestUser() }
            return nil
        } catch {
            return error
        }
    }

    @Test("it says in good time that numbers run out, and never gives one twice")
    func drains() throws {
        var limits = YamuxLimits()
        limits.highestNumber = 63
        let yamux = Yamux<TestUser>(isClient: true, limits: limits, now: now)
        var opened = 0
        var openedBefore = 0
        while (try? yamux.open(at: now) { _ in TestUser() }) != nil {
            opened += 1
            if !yamux.isDraining { openedBefore += 1 }
        }
        #expect(opened == 32 && openedBefore == 29)
        limits.highestNumber = .max
        let other = Yamux<TestUser>(isClient: true, limits: limits, now: now)
        #expect(!other.isDraining)
        #expect(refusal(of: frame(3, 0, 0, 0), by: other) == nil)
        #expect(other.isDraining)
    }

    @Test("two that both open as many streams as they can have no more together than rust-yamux takes: 512")
    func streamsOfBothSides() throws {
        let sides = [true, false].map { Yamux<TestUser>(isClient: $0, limits: YamuxLimits(), now: now) }
        for round in 0..<20 {
            let now = now + .milliseconds(10) * round
            for (side, other) in [(sides[0], sides[1]), (sides[1], sides[0])] {
                while (try? side.open(at: now) { _ in TestUser() }) != nil {}
                try side.handleTimeout(at: now)
                try other.handle(Bytes(side.drain()), at: now) { _ in TestUser() }
                #expect(other.inboundCount + other.outboundCount <= 512)
            }
        }
        for side in sides {
            #expect(side.outboundCount == YamuxLimits().outboundStreams && side.inboundCount == side.outboundCount)
        }
    }

    @Test("frames that no honest peer sends end the connection, each with its reason")
    func hostileFrames() {
        let window = UInt32(256 << 10)
        let table: [(String, [UInt8], YamuxError)] = [
            ("another version", frame(0, 1, 1, 0, version: 1), .wrongVersion(1)),
            ("a type that does not exist", frame(4, 0, 1, 0), .unknownType(4)),
            ("data of the session", frame(0, 1, 0, 0), .wrongStream(0)),
            ("a window of the session", frame(1, 0, 0, 1), .wrongStream(0)),
            ("a ping of a stream", frame(2, 1, 1, 7), .wrongStream(1)),
            ("a farewell of a stream", frame(3, 0, 1, 0), .wrongStream(1)),
            ("data for a stream never opened", frame(0, 0, 1, 4), .neverOpened(1)),
            ("a window for a stream of ours that we never opened", frame(1, 0, 2, 4), .neverOpened(2)),
            ("a stream opened under our numbers", frame(0, 1, 2, 0), .wrongNumber(2)),
            ("a stream opened twice", frame(0, 1, 1, 0) + frame(1, 1, 1, 0), .wrongNumber(1)),
            (
                "more than the window", frame(0, 1, 1, window + 1),
                .windowExceeded(stream: 1, size: window + 1, window: window)
            ),
            ("a window beyond 4 GiB", frame(1, 1, 1, .max), .windowOverflow(stream: 1)),
            ("data behind the end", frame(0, 5, 1, 0) + frame(0, 0, 1, 1, [0]), .dataAfterEnd(1)),
            (
                "a huge frame of a stream that is over", frame(0, 1, 1, 0) + frame(1, 8, 1, 0) + frame(0, 0, 1, .max),
                .windowExceeded(stream: 1, size: .max, window: 16 << 20)
            ),
            ("pings without end", (0..<65).flatMap { frame(2, 1, 0, $0) }, .tooManyPings),
            ("a storm of farewells", (0..<17).flatMap { _ in frame(3, 0, 0, 0) }, .tooManyFarewells),
            (
                "streams opened without end and no answer taken",
                (0..<3000).flatMap { frame(0, 1, 2 * $0 + 1, 0) }, .tooManyAnswers
            ),
        ]
        for (what, bytes, expected) in table {
            #expect(refusal(of: bytes) == expected, "\(what)")
            // Cut at each byte it is the same in the end.
            let yamux = listener()
            var error: YamuxError?
            for byte in bytes where error == nil { error = refusal(of: [byte], by: yamux) }
            let whole = bytes.count < 2000 ? error : expected
            #expect(whole == expected, "\(what), byte by byte")
        }
    }

    @Test("what is late or odd without harm is passed over and counted")
    func oddFrames() throws {
        let yamux = listener()
        // A stream that was opened and broken off; then data, a window and another break for it; then a stray answer.
        let bytes =
            frame(0, 1, 1, 0) + frame(1, 8, 1, 3) + frame(0, 0, 1, 3, [1, 2, 3]) + frame(1, 0, 1, 9)
            + frame(1, 8, 1, 0) + frame(2, 2, 0, 77) + frame(3, 0, 0, 0) + frame(3, 0, 0, 0)
        var users: [TestUser] = []
        try yamux.handle(Bytes(bytes), at: now) { _ in
            users.append(TestUser())
            return users.last
        }
        #expect(users.count == 1)
        #expect(users.first?.brokenBy == 3)
        #expect(users.first?.isDetached == true)
        #expect(yamux.counters.lateFrames == 3)
        #expect(yamux.counters.strayAnswers == 1)
        #expect(yamux.counters.repeatedFarewells == 1)
        #expect(yamux.takeEvents().farewell == 0)
    }

    @Test("one stream more than is allowed is refused, and one fewer makes room again")
    func backlog() throws {
        var limits = YamuxLimits()
        limits.inboundStreams = 2
        let yamux = listener(limits)
        try yamux.handle(Bytes((0..<3).flatMap { frame(0, 1, 2 * $0 + 1, 0) }), at: now) { _ in TestUser() }
        #expect(yamux.inboundCount == 2)
        #expect(yamux.counters.refusedStreams == 1)
        #expect(yamux.drain() == frame(1, 8, 5, 0))
        try yamux.handle(Bytes(frame(1, 8, 1, 0) + frame(0, 1, 7, 0)), at: now) { _ in TestUser() }
        #expect(yamux.inboundCount == 2)
        #expect(yamux.counters.refusedStreams == 1)
    }

    @Test("a ping is answered with its own value, and a question of ours measures the round trip")
    func pings() throws {
        let yamux = listener()
        try yamux.handle(Bytes(frame(2, 1, 0, 0xDEAD_BEEF)), at: now) { _ in nil }
        #expect(yamux.drain() == frame(2, 2, 0, 0xDEAD_BEEF))
        #expect(yamux.deadline == now)
        try yamux.handleTimeout(at: now)
        #expect(yamux.drain() == frame(2, 1, 0, 1))
        try yamux.handle(Bytes(frame(2, 2, 0, 1)), at: now + .milliseconds(40)) { _ in nil }
        #expect(yamux.roundTripTime == .milliseconds(40))
        #expect(yamux.deadline == now + .milliseconds(40) + .seconds(30))
    }

    @Test("a ping that is not answered ends the connection")
    func unanswered() throws {
        let yamux = listener()
        try yamux.handleTimeout(at: now)
        #expect(yamux.deadline == now + .seconds(20))
        #expect(throws: YamuxError.unanswered) { try yamux.handleTimeout(at: yamux.deadline) }
    }

    @Test("a stream's first frame carries what opens it, and without one it is opened after a moment")
    func opening() throws {
        let yamux = Yamux<TestUser>(isClient: true, limits: YamuxLimits(), now: now)
        let first = try yamux.open(at: now) { _ in TestUser() }
        first.outgoing = [1, 2]
        first.closes = true
        yamux.hasOutput(1)
        #expect(yamux.drain() == frame(0, 1, 1, 2, [1, 2]) + frame(0, 4, 1, 0))
        _ = try yamux.open(at: now) { _ in TestUser() }
        #expect(yamux.drain().isEmpty)
        try yamux.handleTimeout(at: now + .milliseconds(5))
        #expect(yamux.drain() == frame(2, 1, 0, 1) + frame(1, 1, 3, 0))
        #expect(yamux.drain().isEmpty)
    }

    @Test("the end goes out in a frame of its own, behind the data, in the next buffer if this one is full")
    func end() throws {
        let yamux = Yamux<TestUser>(isClient: true, limits: YamuxLimits(), now: now)
        let user = try yamux.open(at: now) { _ in TestUser() }
        // 600 bytes and their header leave 11 bytes, one too few for another header.
        user.outgoing = [UInt8](repeating: 7, count: 600)
        user.closes = true
        yamux.hasOutput(1)
        let frames = frame(0, 1, 1, 600, user.outgoing) + frame(0, 4, 1, 0)
        #expect(yamux.drain(623) == frames)
        // One who ends without a word says so in the frame that opens the stream.
        let silent = try yamux.open(at: now) { _ in TestUser() }
        silent.closes = true
        yamux.hasOutput(3)
        #expect(yamux.drain() == frame(0, 5, 3, 0))
        #expect(!yamux.hasOutput)
    }

    @Test("streams that had output and were broken off leave nothing behind, however many there were")
    func brokenStreams() throws {
        struct Box { weak var user: TestUser? }
        let yamux = listener()
        var users: [Box] = []
        var newest: TestUser?
        // One that stays makes the line one of living and dead.
        let open = { (id: UInt32) in
            try yamux.handle(Bytes(frame(0, 1, id, 0)), at: now) { _ in
                newest = TestUser()
                newest?.outgoing = [1]
                users.append(Box(user: newest))
                return newest
            }
            yamux.hasOutput(id)
        }
        try open(1)
        for id in stride(from: UInt32(3), to: 100_003, by: 2) {
            try open(id)
            try yamux.handle(Bytes(frame(1, 8, id, 0)), at: now) { _ in nil }
        }
        newest = nil
        #expect(users.count { $0.user != nil } < 100)
        #expect(yamux.inboundCount == 1)
        #expect(yamux.drain() == frame(0, 2, 1, 1, [1]))
        #expect(yamux.drain().isEmpty)
    }

    @Test("the value of a ping cannot be told from those before")
    func pingValues() throws {
        let yamux = listener()
        var random = SeededGenerator(seed: 5)
        var values: [UInt32] = []
        var time = now
        for _ in 0..<4 {
            try yamux.handleTimeout(at: time, using: &random)
            let ping = yamux.drain()
            let value = ping[8...11].reduce(0) { $0 << 8 | UInt32($1) }
            values.append(value)
            // Whoever counts on has no luck.
            try yamux.handle(Bytes(frame(2, 2, 0, value &+ 1)), at: time) { _ in nil }
            #expect(yamux.counters.strayAnswers == UInt64(values.count))
            try yamux.handle(Bytes(frame(2, 2, 0, value)), at: time) { _ in nil }
            time = yamux.deadline
        }
        #expect(zip(values, values.dropFirst()).allSatisfy { $1 &- $0 > 1000 })
    }

    @Test("one who takes nothing and has its streams broken off breaks the rules when too many breaks wait")
    func provokedBreaks() throws {
        let yamux = listener()
        var error: YamuxError?
        var opened = 0
        while error == nil, opened < 10_000 {
            let id = UInt32(2 * opened + 1)
            error = refusal(of: frame(0, 1, id, 0), by: yamux)
            yamux.reset(id, code: 0)
            opened += 1
            #expect(yamux.shouldPauseReading == (opened >= yamux.limits.waitingFramesWhileReading))
        }
        #expect(error == .tooManyAnswers)
        #expect(opened == yamux.limits.waitingAnswers + 2)
        #expect(yamux.waitingFrames == opened)
    }

    @Test("streams take turns: a small one is not behind all of a large one")
    func fairness() throws {
        let yamux = Yamux<TestUser>(isClient: true, limits: YamuxLimits(), now: now)
        let bulk = try yamux.open(at: now) { _ in TestUser() }
        let small = try yamux.open(at: now) { _ in TestUser() }
        bulk.outgoing = [UInt8](repeating: 1, count: 200 << 10)
        small.outgoing = [2, 2, 2]
        yamux.hasOutput(1)
        yamux.hasOutput(3)
        let bytes = yamux.drain(64 << 10)
        #expect(bytes.count > 200 << 10)
        let position = try #require(bytes.firstIndex(of: 2))
        #expect(position < 20 << 10)
    }

    @Test("nothing is sent beyond the window, and it goes on when the window grows")
    func sendWindow() throws {
        let yamux = Yamux<TestUser>(isClient: true, limits: YamuxLimits(), now: now)
        let user = try yamux.open(at: now) { _ in TestUser() }
        user.outgoing = [UInt8](repeating: 9, count: (256 << 10) + 100)
        yamux.hasOutput(1)
        _ = yamux.drain()
        #expect(user.outgoing.count == 100)
        try yamux.handle(Bytes(frame(1, 2, 1, 60)), at: now) { _ in nil }
        _ = yamux.drain()
        #expect(user.outgoing.count == 40)
    }

    @Test("a window grows when it is used up within a few round trips, and never beyond its bounds")
    func growth() throws {
        var limits = YamuxLimits()
        limits.streamWindow = 1 << 20
        let yamux = listener(limits)
        try yamux.handleTimeout(at: now)
        _ = yamux.drain()
        try yamux.handle(Bytes(frame(2, 2, 0, 1) + frame(0, 1, 1, 0)), at: now + .milliseconds(20)) { _ in TestUser() }
        var time = now + .milliseconds(20)
        var credit: [Int] = []
        let half = Bytes(repeatElement(0, count: 128 << 10))
        for _ in 0..<8 {
            time += .milliseconds(10)
            try yamux.handle(Bytes(frame(0, 0, 1, UInt32(half.count))), at: time) { _ in nil }
            try yamux.handle(half, at: time) { _ in nil }
            yamux.freed(1, credit: half.count, at: time)
            let bytes = yamux.drain()
            if !bytes.isEmpty { credit.append(Int(bytes[8...11].reduce(0) { $0 << 8 | UInt32($1) })) }
        }
        // 128 KiB consumed and 256 more; then 256 consumed and 512 more; then half of a megabyte and no more.
        #expect(credit == [384 << 10, 768 << 10, 512 << 10])
    }

    @Test("no window grows while there is no memory for it, and it does when there is again")
    func growthWithoutMemory() throws {
        let yamux = listener()
        try yamux.handleTimeout(at: now)
        _ = yamux.drain()
        let user = TestUser()
        user.hasMemoryToGrow = false
        try yamux.handle(Bytes(frame(2, 2, 0, 1) + frame(0, 1, 1, 0)), at: now + .milliseconds(20)) { _ in user }
        var credit: [Int] = []
        let half = Bytes(repeatElement(0, count: 128 << 10))
        for round in 0..<4 {
            let time = now + .milliseconds(30 + 10 * Int64(round))
            if round == 3 { user.hasMemoryToGrow = true }
            try yamux.handle(Bytes(frame(0, 0, 1, UInt32(half.count))), at: time) { _ in nil }
            try yamux.handle(half, at: time) { _ in nil }
            yamux.freed(1, credit: half.count, at: time)
            credit.append(Int(yamux.drain()[8...11].reduce(0) { $0 << 8 | UInt32($1) }))
        }
        #expect(credit == [128 << 10, 128 << 10, 128 << 10, 384 << 10])
    }

    @Test("a stream that is not wanted any more is broken off a while after this side has ended it, whenever that was")
    func stopped() throws {
        var limits = YamuxLimits()
        limits.pingTimeout = .seconds(100_000)
        for stopsFirst in [true, false] {
            let yamux = Yamux<TestUser>(isClient: true, limits: limits, now: now)
            try yamux.handleTimeout(at: now)
            let user = try yamux.open(at: now) { _ in TestUser() }
            user.outgoing = [1]
            yamux.hasOutput(1)
            if stopsFirst { yamux.stop(1, at: now) }
            _ = yamux.drain()
            // A user that still writes may do so for as long as it likes.
            var time = now + .seconds(3600)
            try yamux.handleTimeout(at: time)
            #expect(!user.isDetached)
            user.closes = true
            yamux.hasOutput(1)
            #expect(yamux.drain() == frame(0, 4, 1, 0))
            if !stopsFirst { yamux.stop(1, at: time) }
            if yamux.deadline < time { try yamux.handleTimeout(at: time) }
            time += .seconds(30)
            #expect(yamux.deadline == time)
            try yamux.handleTimeout(at: time - .seconds(1))
            #expect(!user.isDetached)
            #expect(yamux.drain().isEmpty)
            try yamux.handleTimeout(at: time)
            #expect(user.isDetached)
            #expect(yamux.drain() == frame(1, 8, 1, 0))
        }
    }
}
