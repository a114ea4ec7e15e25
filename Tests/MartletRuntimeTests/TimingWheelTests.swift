import MartletRuntime
import TestSupport
import Testing

@Suite("Timing wheel")
struct TimingWheelTests {
    @Test(
        "entries come out in the order of their deadlines, equal ones as they went in",
        arguments: 1...20 as ClosedRange<UInt64>)
    func order(seed: UInt64) {
        var draw = SeededGenerator(seed: seed)
        var now = Instant(nanoseconds: UInt64.random(in: 0...(1 << 40), using: &draw))
        var wheel = TimingWheel(now: now)
        // The model: what waits, by deadline and then by turn.
        var model: [(deadline: UInt64, turn: Int, index: TimingWheel.Index)] = []
        var turn = 0
        let entries = (0..<200).map { _ in wheel.makeEntry() }
        for _ in 0..<3000 {
            let index = entries.randomElement(using: &draw)!
            switch Int.random(in: 0..<4, using: &draw) {
            case 0, 1:
                let spread = UInt64(1) << UInt64.random(in: 0...50, using: &draw)
                let deadline = now.nanoseconds + UInt64.random(in: 0...spread, using: &draw)
                wheel.insert(index, at: Instant(nanoseconds: deadline))
                model.removeAll { $0.index == index }
                model.append((deadline, turn, index))
                turn += 1
            case 2:
                wheel.remove(index)
                model.removeAll { $0.index == index }
            default:
                now = Instant(
                    nanoseconds: now.nanoseconds + UInt64.random(in: 0...(1 << 45), using: &draw)
                        >> UInt64.random(in: 0...40, using: &draw))
                model.sort { ($0.deadline, $0.turn) < ($1.deadline, $1.turn) }
                while let index = wheel.popExpired(at: now) {
                    #expect(model.first?.index == index, "seed \(seed)")
                    model.removeFirst()
                }
                #expect(model.first.map { $0.deadline > now.nanoseconds } ?? true, "seed \(seed)")
            }
            #expect(wheel.count == model.count)
            let first = model.min { $0.deadline < $1.deadline }
            #expect((wheel.nextDeadline == nil) == (first == nil))
            if let first, let next = wheel.nextDeadline {
                #expect(next.nanoseconds <= max(first.deadline, now.nanoseconds))
            }
        }
    }
}

@Suite("Instants and durations")
struct InstantTests {
    @Test("durations that no clock can tell are held within what it can")
    func saturation() {
        let huge = Duration(attoseconds: .max)
        let tiny = Duration(attoseconds: .min)
        #expect(huge.nanoseconds == .max && tiny.nanoseconds == .min + 1)
        #expect(Instant.start + huge < .never && Instant.never + huge == .never)
        #expect(Instant(nanoseconds: 5) + tiny == .start && Instant(nanoseconds: 5) - huge == .start)
        #expect(Duration.seconds(-3).nanoseconds == -3_000_000_000 && Duration.milliseconds(7).nanoseconds == 7_000_000)
    }

    @Test("a pause that doubles stops at its bound, after any number of attempts")
    func doubling() {
        #expect(Duration.seconds(5).doubled(atMost: .seconds(60)) == .seconds(10))
        #expect(Duration.seconds(5).doubled(3, atMost: .seconds(60)) == .seconds(40))
        for times in [4, 61, 125, 126, 127, 100_000, Int.max] {
            #expect(Duration.seconds(5).doubled(times, atMost: .seconds(60)) == .seconds(60))
        }
        #expect(Duration.seconds(5).doubled(-1, atMost: .seconds(60)) == .seconds(5))
    }
}
