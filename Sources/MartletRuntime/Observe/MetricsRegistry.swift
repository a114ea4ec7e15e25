internal import Synchronization

/// The metrics of an environment, by name, for those who show them.
///
/// Names are as Prometheus wants them, without the unit: an exporter adds that and, for counters, `_total`. What is
/// registered stays. Registering the same again gives the same metric, so that whatever is made twice counts together;
/// a name used for something else is a programmer's error. Labels come from types whose values are all known, so
/// nothing that a stranger says can make a new series.
public final class MetricsRegistry: Sendable {
    private struct Family {
        var description: MetricDescription
        var series: [(labels: [String], cells: Cells)]
    }

    private enum Cells {
        case one(MetricCell)
        case many(HistogramCells)
    }

    private let families = Mutex<[String: Family]>([:])

    /// No metrics yet.
    public init() {}

    /// A counter. `help` says in one line what it counts.
    public func counter(_ name: String, help: String, unit: MetricUnit = .none) -> Counter {
        counters(name, help: help, unit: unit, by: NoLabels.self)[NoLabels()]
    }

    /// A counter for each value of `labels`.
    public func counters<Labels: MetricLabels>(
        _ name: String, help: String, unit: MetricUnit = .none, by labels: Labels.Type
    ) -> Labelled<Labels, Counter> {
        Labelled(single(name, help, unit, .counter, labels).map(Counter.init))
    }

    /// A gauge. `help` says in one line what it shows.
    public func gauge(_ name: String, help: String, unit: MetricUnit = .none) -> Gauge {
        gauges(name, help: help, unit: unit, by: NoLabels.self)[NoLabels()]
    }

    /// A gauge for each value of `labels`.
    public func gauges<Labels: MetricLabels>(
        _ name: String, help: String, unit: MetricUnit = .none, by labels: Labels.Type
    ) -> Labelled<Labels, Gauge> {
        Labelled(single(name, help, unit, .gauge, labels).map(Gauge.init))
    }

    /// A histogram. `help` says in one line what it measures.
    public func histogram(
        _ name: String, help: String, unit: MetricUnit = .nanoseconds, bounds: HistogramBounds = .latency
    ) -> Histogram {
        histograms(name, help: help, unit: unit, bounds: bounds, by: NoLabels.self)[NoLabels()]
    }

    /// A histogram for each value of `labels`.
    public func histograms<Labels: MetricLabels>(
        _ name: String, help: String, unit: MetricUnit = .nanoseconds, bounds: HistogramBounds = .latency,
        by labels: Labels.Type
    ) -> Labelled<Labels, Histogram> {
        let description = MetricDescription(
            name: name, help: help, unit: unit, kind: .histogram(bounds), labelNames: labels.names)
        let cells = register(description, labels) { .many(HistogramCells(bounds: bounds)) }
        return Labelled(cells.compactMap { if case .many(let cells) = $0 { Histogram(cells: cells) } else { nil } })
    }

    /// All metrics as they are now, by name in ascending order, each metric's series in the order of its labels.
    public var snapshot: [MetricSnapshot] {
        families.withLock { families in
            families.values.sorted { $0.description.name < $1.description.name }.map { family in
                let series = family.series.map { labels, cells in
                    MetricSnapshot.Series(labels: labels, value: Self.value(of: cells, family.description.kind))
                }
                return MetricSnapshot(description: family.description, series: series)
            }
        }
    }

    private func single<Labels: MetricLabels>(
        _ name: String, _ help: String, _ unit: MetricUnit, _ kind: MetricKind, _ labels: Labels.Type
    ) -> [MetricCell] {
        let description = MetricDescription(name: name, help: help, unit: unit, kind: kind, labelNames: labels.names)
        let cells = register(description, labels) { .one(MetricCell()) }
        return cells.compactMap { if case .one(let cell) = $0 { cell } else { nil } }
    }

    private func register<Labels: MetricLabels>(
        _ description: MetricDescription, _ labels: Labels.Type, make: () -> Cells
    ) -> [Cells] {
        precondition(Self.isName(description.name), "no name for a metric: \(description.name)")
        precondition(labels.names.allSatisfy(Self.isName), "no names for labels: \(labels.names)")
        return families.withLock { families in
            let values = labels.allCases.map(\.values)
            if let known = families[description.name] {
                precondition(
                    known.description == description && known.series.map(\.labels) == values,
                    "registered as something else before: \(description.name)")
                return known.series.map(\.cells)
            }
            let series = values.map { (labels: $0, cells: make()) }
            families[description.name] = Family(description: description, series: series)
            return series.map(\.cells)
        }
    }

    private static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return text.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
            default: false
            }
        }
    }

    private static func value(of cells: Cells, _ kind: MetricKind) -> MetricSnapshot.Value {
        switch cells {
        case .one(let cell): kind == .counter ? .counter(Counter(cell: cell).value) : .gauge(Gauge(cell: cell).value)
        case .many(let cells): .histogram(cells.snapshot)
        }
    }
}

/// Labels of a metric: a type whose values are all known in advance, most often an enumeration of text.
public protocol MetricLabels: CaseIterable, Hashable, Sendable {
    /// The labels' names.
    static var names: [String] { get }
    /// This value's text for each of the names.
    var values: [String] { get }
}

extension MetricLabels where Self: RawRepresentable<String> {
    /// The text of the enumeration's case.
    public var values: [String] { [rawValue] }
}

private struct NoLabels: MetricLabels {
    static let names: [String] = []
    static let allCases = [NoLabels()]
    var values: [String] { [] }
}

/// A metric for each value of some labels. Where it is hot, look the metric up once and keep it.
public struct Labelled<Labels: MetricLabels, Metric> {
    private let metrics: [Labels: Metric]

    init(_ metrics: [Metric]) {
        self.metrics = Dictionary(uniqueKeysWithValues: zip(Labels.allCases, metrics))
    }

    /// The metric of `labels`.
    public subscript(labels: Labels) -> Metric {
        // There is one for each of all cases.
        metrics[labels].unsafelyUnwrapped
    }
}

/// What a metric's numbers are numbers of.
public enum MetricUnit: Hashable, Sendable {
    /// Things, which the name says.
    case none
    /// Bytes.
    case bytes
    /// Nanoseconds; exporters show seconds.
    case nanoseconds
}

/// What a metric does.
public enum MetricKind: Hashable, Sendable {
    /// It only grows.
    case counter
    /// It grows and shrinks.
    case gauge
    /// It counts values by their size.
    case histogram(HistogramBounds)
}

/// All about a metric but its numbers.
public struct MetricDescription: Hashable, Sendable {
    /// Its name, without the unit.
    public var name: String
    /// What it shows, in one line.
    public var help: String
    /// What its numbers are numbers of.
    public var unit: MetricUnit
    /// What it does.
    public var kind: MetricKind
    /// The names of its labels.
    public var labelNames: [String]
}

/// A metric as it was at some moment.
public struct MetricSnapshot: Hashable, Sendable {
    /// One of its numbers, or of its groups of them.
    public enum Value: Hashable, Sendable {
        /// A counter's.
        case counter(UInt64)
        /// A gauge's.
        case gauge(Int64)
        /// A histogram's.
        case histogram(HistogramValue)
    }

    /// The value under some labels.
    public struct Series: Hashable, Sendable {
        /// The labels' texts, one for each of the description's names.
        public var labels: [String]
        /// The value.
        public var value: Value
    }

    /// What it is.
    public var description: MetricDescription
    /// Its values.
    public var series: [Series]
}
