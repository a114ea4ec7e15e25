public import Synchronization

/// A number of one metric that its loop writes and anyone may read.
///
/// There is one writer, so an addition is a plain load and store: the bus is not locked, and readers on other threads
/// see a whole number that is at most a moment old.
@usableFromInline
final class MetricCell: Sendable {
    @usableFromInline let value = Atomic<UInt64>(0)

    @usableFromInline
    init() {}

    @inlinable
    func add(_ amount: UInt64) {
        value.store(value.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    @inlinable
    func set(_ amount: UInt64) {
        value.store(amount, ordering: .relaxed)
    }
}

/// Counts events; it only grows. It belongs to its loop, as all that counts there does, and costs one addition.
public struct Counter {
    @usableFromInline let cell: MetricCell

    init(cell: MetricCell) { self.cell = cell }

    /// Counts `amount` events.
    @inlinable
    public func increment(by amount: UInt64 = 1) { cell.add(amount) }

    /// How many events there were.
    public var value: UInt64 { cell.value.load(ordering: .relaxed) }
}

/// A quantity that grows and shrinks. It belongs to its loop and costs one addition.
public struct Gauge {
    @usableFromInline let cell: MetricCell

    init(cell: MetricCell) { self.cell = cell }

    /// The quantity is `value` now.
    @inlinable
    public func record(_ value: Int64) { cell.set(UInt64(bitPattern: value)) }

    /// There is `amount` more of it.
    @inlinable
    public func increment(by amount: Int64 = 1) { cell.add(UInt64(bitPattern: amount)) }

    /// There is `amount` less of it.
    @inlinable
    public func decrement(by amount: Int64 = 1) { cell.add(UInt64(bitPattern: 0 &- amount)) }

    /// The quantity.
    public var value: Int64 { Int64(bitPattern: cell.value.load(ordering: .relaxed)) }
}

/// How values are spread: how many there were up to each of some fixed bounds, and their sum. It belongs to its loop.
public struct Histogram {
    @usableFromInline let cells: HistogramCells

    init(cells: HistogramCells) { self.cells = cells }

    /// Counts `value`.
    @inlinable
    public func record(_ value: UInt64) { cells.record(value) }

    /// Counts `duration` in nanoseconds; what is negative counts as nothing.
    @inlinable
    public func record(_ duration: Duration) { cells.record(UInt64(max(0, duration.nanoseconds))) }

    /// What was counted so far.
    public var value: HistogramValue { cells.snapshot }
}

/// The bounds of a histogram's buckets: ascending, each the largest value of its bucket. Above the last comes one more.
public struct HistogramBounds: Hashable, Sendable {
    /// The bounds.
    public let upper: [UInt64]

    /// These bounds, which must ascend; at most 64.
    public init(_ upper: [UInt64]) {
        precondition(!upper.isEmpty && upper.count <= 64, "a histogram has 1 to 64 bounds")
        precondition(zip(upper, upper.dropFirst()).allSatisfy { $0 < $1 }, "a histogram's bounds ascend")
        self.upper = upper
    }

    /// Durations in nanoseconds from 10 µs to 100 s, three bounds for each power of ten.
    public static let latency = HistogramBounds(oneTwoFive(from: 10_000, decades: 7))

    /// Sizes in bytes from 64 B to 64 MiB, each bound four times the one before.
    public static let size = HistogramBounds((3...13).map { 1 << (2 * UInt64($0)) })

    private static func oneTwoFive(from least: UInt64, decades: Int) -> [UInt64] {
        var upper: [UInt64] = []
        var unit = least
        for _ in 0..<decades {
            upper += [unit, 2 * unit, 5 * unit]
            unit *= 10
        }
        return upper + [unit]
    }
}

/// What a histogram counted up to some moment.
public struct HistogramValue: Hashable, Sendable {
    /// The bounds of the buckets.
    public var bounds: HistogramBounds
    /// How many values each bucket has, one for each bound and one for what is above the last.
    public var counts: [UInt64]
    /// The sum of all values.
    public var sum: UInt64

    /// A value with all its parts.
    public init(bounds: HistogramBounds, counts: [UInt64], sum: UInt64) {
        self.bounds = bounds
        self.counts = counts
        self.sum = sum
    }

    /// How many values there were.
    public var count: UInt64 { counts.reduce(0, &+) }
}

/// The numbers of a histogram: a count for each bound, one for what is above, and the sum.
@usableFromInline
final class HistogramCells: Sendable {
    @usableFromInline let bounds: [UInt64]
    @usableFromInline let counts: [MetricCell]
    @usableFromInline let sum = MetricCell()

    init(bounds: HistogramBounds) {
        self.bounds = bounds.upper
        counts = (0...bounds.upper.count).map { _ in MetricCell() }
    }

    @inlinable
    func record(_ value: UInt64) {
        var low = 0
        var high = bounds.count
        while low < high {
            let middle = (low &+ high) / 2
            if bounds[middle] < value { low = middle &+ 1 } else { high = middle }
        }
        counts[low].add(1)
        sum.add(value)
    }

    var snapshot: HistogramValue {
        HistogramValue(
            bounds: HistogramBounds(bounds), counts: counts.map { $0.value.load(ordering: .relaxed) },
            sum: sum.value.load(ordering: .relaxed))
    }
}

// The loop alone writes: a metric that is sent to another thread could lose counts.
@available(*, unavailable)
extension Counter: Sendable {}
@available(*, unavailable)
extension Gauge: Sendable {}
@available(*, unavailable)
extension Histogram: Sendable {}
