internal import MartletRuntime

/// Metrics as `/v1/metrics?format=json` has them, under the names that Prometheus sees and in its units.
public struct ControlMetrics: Codable, Hashable, Sendable {
    /// A number, or a group of them.
    public struct Series: Codable, Hashable, Sendable {
        /// Its labels.
        public var labels: [String: String]
        /// The number; of a histogram the sum.
        public var value: Double
        /// How many values a histogram has seen.
        public var count: UInt64?
    }

    /// A metric.
    public struct Metric: Codable, Hashable, Sendable {
        /// Its name.
        public var name: String
        /// `counter`, `gauge` or `histogram`.
        public var type: String
        /// What it shows.
        public var help: String
        /// Its numbers.
        public var series: [Series]
    }

    /// The version of this shape.
    public var schemaVersion = 1
    /// The metrics by name.
    public var metrics: [Metric]

    init(_ registries: [MetricsRegistry]) {
        metrics = registries.flatMap(\.snapshot).map { snapshot in
            let description = snapshot.description
            let scale = description.unit == .nanoseconds ? 1e-9 : 1
            let series = snapshot.series.map { series in
                let labels = Dictionary(
                    zip(description.labelNames, series.labels).map { ($0, $1) }, uniquingKeysWith: { $1 })
                return switch series.value {
                case .counter(let value): Series(labels: labels, value: Double(value) * scale)
                case .gauge(let value): Series(labels: labels, value: Double(value) * scale)
                case .histogram(let value):
                    Series(labels: labels, value: Double(value.sum) * scale, count: value.count)
                }
            }
            let type =
                switch description.kind {
                case .counter: "counter"
                case .gauge: "gauge"
                case .histogram: "histogram"
                }
            return Metric(
                name: PrometheusText.name(of: description), type: type, help: description.help, series: series)
        }.sorted { $0.name < $1.name }
    }
}
