import MartletRuntime
import Testing

@Suite("Metrics")
struct MetricsTests {
    private enum Direction: String, MetricLabels {
        case inbound, outbound
        static let names = ["direction"]
    }

    private struct Route: MetricLabels {
        var direction: Direction
        var isRelayed: Bool
        static let names = ["direction", "relayed"]
        static let allCases = Direction.allCases.flatMap {
            [Route(direction: $0, isRelayed: false), Route(direction: $0, isRelayed: true)]
        }
        var values: [String] { [direction.rawValue, "\(isRelayed)"] }
    }

    @Test("counters and gauges show what was counted")
    func counting() {
        let registry = MetricsRegistry()
        let counter = registry.counter("datagrams", help: "Datagrams received")
        let gauge = registry.gauge("streams", help: "Open streams")
        counter.increment()
        counter.increment(by: 41)
        gauge.increment(by: 3)
        gauge.decrement(by: 5)
        #expect(counter.value == 42)
        #expect(gauge.value == -2)
        gauge.record(7)
        #expect(gauge.value == 7)
    }

    @Test("a histogram counts a value in the first bucket whose bound it does not exceed")
    func buckets() {
        let histogram = MetricsRegistry().histogram(
            "size", help: "Sizes", unit: .bytes, bounds: HistogramBounds([10, 20, 40]))
        for value: UInt64 in [0, 10, 11, 20, 21, 40, 41, 1_000_000] { histogram.record(value) }
        #expect(histogram.value.counts == [2, 2, 2, 2])
        #expect(histogram.value.sum == 1_000_143)
        #expect(histogram.value.count == 8)
    }

    @Test("latencies are counted from 10 µs to 100 s, negative ones as nothing")
    func latency() {
        let bounds = HistogramBounds.latency.upper
        #expect(bounds.first == 10_000 && bounds.last == 100_000_000_000 && bounds.count == 22)
        let histogram = MetricsRegistry().histogram("latency", help: "Latency")
        histogram.record(Duration.milliseconds(-3))
        histogram.record(Duration.microseconds(15))
        histogram.record(Duration.seconds(101))
        #expect(histogram.value.counts.first == 1)
        #expect(histogram.value.counts[1] == 1)
        #expect(histogram.value.counts.last == 1)
        #expect(histogram.value.sum == 101_000_015_000)
    }

    @Test("each value of the labels counts for itself")
    func labels() {
        let counters = MetricsRegistry().counters("bytes", help: "Bytes", unit: .bytes, by: Route.self)
        counters[Route(direction: .outbound, isRelayed: true)].increment(by: 5)
        counters[Route(direction: .inbound, isRelayed: true)].increment(by: 2)
        #expect(Route.allCases.map { counters[$0].value } == [0, 2, 0, 5])
    }

    @Test("a snapshot lists metrics by name and series by label, and does not change afterwards")
    func snapshot() {
        let registry = MetricsRegistry()
        registry.histogram("c", help: "C", bounds: HistogramBounds([1])).record(UInt64(1))
        let counters = registry.counters("b", help: "B", by: Direction.self)
        counters[.outbound].increment()
        registry.gauge("a", help: "A", unit: .bytes).record(-1)
        let snapshot = registry.snapshot
        counters[.outbound].increment()
        #expect(snapshot.map(\.description.name) == ["a", "b", "c"])
        #expect(snapshot[0].description.unit == .bytes && snapshot[0].description.help == "A")
        #expect(snapshot[1].description.labelNames == ["direction"])
        #expect(
            snapshot.flatMap { $0.series.map(\.labels) } == [[], ["inbound"], ["outbound"], []])
        let counted = HistogramValue(bounds: HistogramBounds([1]), counts: [1, 0], sum: 1)
        #expect(
            snapshot.flatMap { $0.series.map(\.value) }
                == [.gauge(-1), .counter(0), .counter(1), .histogram(counted)])
    }

    @Test("registering the same again gives the same metric")
    func again() {
        let registry = MetricsRegistry()
        registry.counter("a", help: "A").increment()
        registry.counter("a", help: "A").increment()
        #expect(registry.snapshot.count == 1)
        #expect(registry.counter("a", help: "A").value == 2)
    }

    @Test("another thread may read while the loop counts")
    func readers() async {
        let registry = MetricsRegistry()
        let reader = Task.detached {
            var last: UInt64 = 0
            while last < 100_000 {
                guard case .counter(let value)? = registry.snapshot.first?.series.first?.value else { continue }
                #expect(value >= last)
                last = value
                await Task.yield()
            }
        }
        let counter = registry.counter("a", help: "A")
        for _ in 0..<100_000 { counter.increment() }
        await reader.value
    }
}
