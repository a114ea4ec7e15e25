import MartletRuntime
import Testing

@Suite("Queues of events")
struct EventQueueTests {
    /// How many are held.
    private final class Count: Sendable {
        private let number = Lock(0)

        var value: Int { number.withLock { $0 } }

        func add(_ change: Int) { number.withLock { $0 += change } }
    }

    /// Something that is held, and tells when it no longer is.
    private final class Held: Sendable {
        private let count: Count

        init(_ count: Count) {
            self.count = count
            count.add(1)
        }

        deinit { count.add(-1) }
    }

    private enum Event: Sendable {
        case held(Held)
        case missed(Int)
    }

    @Test("what nobody takes is bounded by number and by bytes, and what was dropped or taken is held no longer")
    func bounds() async {
        let alive = Count()
        let queue = EventQueue<Event>(capacity: 100, bytes: 1000) { .missed($0) }
        for _ in 0..<500 { queue.append(.held(Held(alive)), size: 100) }
        #expect(alive.value == 10)
        for _ in 0..<500 { queue.append(.held(Held(alive))) }
        #expect(alive.value == 100)
        guard case .missed(900) = await queue.next() else {
            Issue.record("the number of those that were dropped is told first")
            return
        }
        for left in (0..<100).reversed() {
            _ = await queue.next()
            #expect(alive.value == left)
        }
        queue.finish()
        #expect(await queue.next() == nil)
    }
}
