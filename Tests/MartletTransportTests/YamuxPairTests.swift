import MartletRuntime
@testable import MartletTransport
import MartletWire
import TestSupport
import Testing

/// Two Yamux machines with a line between them that cuts bytes anywhere.
private struct Pair {
    let sides: [Yamux<TestUser>]
    var users: [[UInt32: TestUser]] = [[:], [:]]
    var expected: [[UInt32: [UInt8]]] = [[:], [:]]
    var now = Instant.start
    var random: SeededGenerator
    var lines: [[UInt8]] = [[], []]

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        sides = [true, false].map { Yamux(isClient: $0, limits: YamuxLimits(), now: .start) }
    }

    mutating func step() throws {
        now += .microseconds(Int.random(in: 1...20_000, using: &random))
        let side = Int.random(in: 0...1, using: &random)
        let yamux = sides[side]
        let mine = users[side].keys.sorted()
        switch Int.random(in: 0..<10, using: &random) {
        case 0:
            if let user = try? yamux.open(at: now, { _ in TestUser() }) {
                let id = UInt32(
                    2 * users[side].keys.filter { $0 % 2 == (side == 0 ? 1 : 0) }.count + (side == 0 ? 1 : 2))
                users[side][id] = user
            }
        case 1...4:
            guard let id = mine.randomElement(using: &random), let user = users[side][id] else { break }
            guard !user.closes, !user.isDetached, user.brokenBy == nil else { break }
            let value = UInt8(truncatingIfNeeded: now.nanoseconds)
            let bytes = [UInt8](repeating: value, count: Int.random(in: 0...40_000, using: &random))
            user.outgoing += bytes
            expected[1 - side][id, default: []] += bytes
            if Int.random(in: 0..<8, using: &random) == 0 { user.closes = true }
            yamux.hasOutput(id)
        case 5:
            guard Int.random(in: 0..<6, using: &random) == 0, let id = mine.randomElement(using: &random) else { break }
            users[side][id]?.brokenBy = .max
            yamux.reset(id, code: 1)
        case 6:
            for id in mine {
                guard let user = users[side][id], user.received.count > user.consumed else { continue }
                yamux.freed(id, credit: user.received.count - user.consumed, at: now)
                user.consumed = user.received.count
            }
        case 7:
            try yamux.handleTimeout(at: now, using: &random)
        default:
            try exchange(from: side)
        }
    }

    mutating func exchange(from side: Int) throws {
        lines[side] += sides[side].drain(Int.random(in: 512...5000, using: &random))
        while !lines[side].isEmpty {
            let size = Int.random(in: 1...min(7000, lines[side].count), using: &random)
            let bytes = Bytes(lines[side][..<size])
            lines[side].removeFirst(size)
            try sides[1 - side].handle(bytes, at: now) { id in
                let user = TestUser()
                users[1 - side][id] = user
                return user
            }
        }
    }

    /// Whatever arrived is the beginning of what was sent.
    func check() -> Bool {
        for side in 0...1 {
            for (id, user) in users[side] {
                guard (expected[side][id] ?? []).starts(with: user.received) else { return false }
            }
        }
        return true
    }
}

@Suite("Two Yamux machines")
struct YamuxPairTests {
    @Test(
        "whatever two honest sides do, neither finds fault, and what arrives is what was sent",
        arguments: UInt64(1)...Sanitizer.amount(6, reduced: 2))
    func honest(seed: UInt64) throws {
        var pair = Pair(seed: seed)
        for _ in 0..<300 { try pair.step() }
        #expect(pair.check(), "seed \(seed)")
        // Then all is said and consumed: every stream that was not broken has all of it.
        for _ in 0..<60 {
            for side in 0...1 {
                for (id, user) in pair.users[side].sorted(by: { $0.key < $1.key }) where !user.isDetached {
                    pair.sides[side].freed(id, credit: user.received.count - user.consumed, at: pair.now)
                    user.consumed = user.received.count
                    pair.sides[side].hasOutput(id)
                }
                try pair.exchange(from: side)
            }
        }
        for side in 0...1 {
            for (id, user) in pair.users[side] where user.brokenBy == nil {
                let isBroken = pair.users[1 - side][id]?.brokenBy != nil
                #expect(isBroken || user.received == pair.expected[side][id] ?? [], "seed \(seed), stream \(id)")
            }
        }
    }

    @Test("the same seed leads to the same bytes")
    func deterministic() throws {
        func bytes() throws -> [UInt8] {
            var pair = Pair(seed: 77)
            for _ in 0..<300 { try pair.step() }
            return pair.sides.flatMap { $0.drain() }
        }
        #expect(try bytes() == bytes())
    }
}
