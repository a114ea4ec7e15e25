import MartletRuntime
import Synchronization
import Testing

@Suite("Event loop")
struct EventLoopTests {
    @Test("a conversation runs on the loop, after the callback that started it")
    func spawn() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            var order: [String] = []
            let task = loop.spawn {
                #expect(loop.isCurrent)
                order.append("conversation")
            }
            order.append("callback")
            await task.value
            #expect(loop.isCurrent)
            #expect(order == ["callback", "conversation"])
        }
    }

    @Test("sleeping conversations wake in the order of their deadlines, none early")
    func sleep() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            var woken: [Int] = []
            let start = loop.now
            let tasks = [3, 1, 2].map { turn in
                loop.spawn {
                    try? await loop.sleep(until: start + .milliseconds(5 * turn))
                    #expect(loop.now >= start + .milliseconds(5 * turn))
                    woken.append(turn)
                }
            }
            for task in tasks { await task.value }
            #expect(woken == [1, 2, 3])
            #expect(loop.timers.armed == 1, "the test's own deadline")
        }
    }
}
