import MartletRuntime
import Testing

@testable import MartletOperator

@Suite("Leak watch")
struct LeakWatchTests {
    /// The growths that are found where live bytes are what `live` says of each minute.
    private func growths(minutes: Int, live: (Int) -> Int) -> [LeakWatch.Growth] {
        var watch = LeakWatch()
        var found: [LeakWatch.Growth] = []
        for minute in 0..<minutes {
            let bytes = live(minute)
            let reading = LeakWatch.Reading(resident: bytes * 2, live: bytes)
            if let growth = watch.handle(reading, at: .start + .seconds(60) * minute) { found.append(growth) }
        }
        return found
    }

    @Test("memory that grows by a megabyte a minute is said to once for each hour of it")
    func leak() {
        let found = growths(minutes: 4 * 60) { 50 << 20 + $0 << 20 }
        #expect((2...4).contains(found.count))
        #expect(found.first?.over == .seconds(3600))
        let perHour = found.first?.bytesPerHour ?? 0
        #expect((55 << 20...65 << 20).contains(perHour), "\(perHour)")
    }

    @Test(
        "memory that comes and goes, that grew once, or that grows by little is not complained of",
        arguments: ["steady", "sawtooth", "once", "little"])
    func fine(kind: String) {
        let found = growths(minutes: 24 * 60) { minute in
            switch kind {
            case "sawtooth": 50 << 20 + (minute % 47) << 20
            case "once": minute < 100 ? 50 << 20 : 200 << 20
            case "little": 50 << 20 + minute << 10
            default: 50 << 20
            }
        }
        #expect(found.isEmpty)
    }

    @Test("growth is over when memory stops growing")
    func over() {
        var watch = LeakWatch()
        var last: LeakWatch.Growth?
        for minute in 0..<120 {
            let bytes = (50 + min(minute, 75)) << 20
            last = watch.handle(.init(resident: bytes, live: bytes), at: .start + .seconds(60) * minute) ?? last
        }
        #expect(last != nil)
        #expect(watch.growth == nil)
    }
}
