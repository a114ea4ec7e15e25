internal import MartletRuntime
internal import MartletWire

/// Metrics as Prometheus reads them: its text format, version 0.0.4. A machine: it shows what it is given.
///
/// Names get the prefix `martlet_` where they have none, the unit (`_bytes`, `_seconds`) and, for counters, `_total`.
struct PrometheusText: ~Copyable {
    /// What the format calls itself.
    static let type = "text/plain; version=0.0.4; charset=utf-8"

    private var writer = Writer(capacity: 16 << 10)

    /// Appends all of `snapshots`. Of two with the same name the first is shown.
    mutating func append(_ snapshots: [MetricSnapshot]) {
        var last = ""
        for snapshot in snapshots where snapshot.description.name != last {
            last = snapshot.description.name
            append(snapshot)
        }
    }

    /// Appends a number that is no metric of a registry. `name` is whole.
    mutating func append(_ name: String, help: String, isCounter: Bool = false, _ value: Double) {
        head(name, help, isCounter ? "counter" : "gauge")
        line(name, [], [], nil, Self.text(value))
    }

    /// Everything so far.
    consuming func finish() -> [UInt8] {
        let bytes = writer.finish()
        return bytes.span.withUnsafeBytes { Array($0) }
    }

    /// The whole name of a metric.
    static func name(of description: MetricDescription) -> String {
        var name = description.name.hasPrefix("martlet_") ? description.name : "martlet_" + description.name
        switch description.unit {
        case .none: break
        case .bytes: name += "_bytes"
        case .nanoseconds: name += "_seconds"
        }
        return description.kind == .counter ? name + "_total" : name
    }

    private mutating func append(_ snapshot: MetricSnapshot) {
        let description = snapshot.description
        let name = Self.name(of: description)
        switch description.kind {
        case .counter: head(name, description.help, "counter")
        case .gauge: head(name, description.help, "gauge")
        case .histogram: head(name, description.help, "histogram")
        }
        for series in snapshot.series {
            let names = description.labelNames
            switch series.value {
            case .counter(let value):
                line(name, names, series.labels, nil, Self.text(value, description.unit))
            case .gauge(let value):
                line(name, names, series.labels, nil, Self.text(value, description.unit))
            case .histogram(let value):
                histogram(name, names, series.labels, value, description.unit)
            }
        }
    }

    private mutating func histogram(
        _ name: String, _ names: [String], _ labels: [String], _ value: HistogramValue, _ unit: MetricUnit
    ) {
        var sum: UInt64 = 0
        for (bound, count) in zip(value.bounds.upper, value.counts) {
            sum &+= count
            line(name + "_bucket", names, labels, Self.text(bound, unit), "\(sum)")
        }
        line(name + "_bucket", names, labels, "+Inf", "\(value.count)")
        line(name + "_sum", names, labels, nil, Self.text(value.sum, unit))
        line(name + "_count", names, labels, nil, "\(value.count)")
    }

    private mutating func head(_ name: String, _ help: String, _ type: String) {
        writer.utf8("# HELP \(name) ")
        escaped(help, quotes: false)
        writer.utf8("\n# TYPE \(name) \(type)\n")
    }

    private mutating func line(
        _ name: String, _ names: [String], _ labels: [String], _ bound: String?, _ value: String
    ) {
        writer.utf8(name)
        var mark = "{"
        for (name, label) in zip(names, labels) {
            writer.utf8("\(mark)\(name)=\"")
            escaped(label, quotes: true)
            writer.utf8("\"")
            mark = ","
        }
        if let bound {
            writer.utf8("\(mark)le=\"\(bound)\"")
            mark = ","
        }
        writer.utf8(mark == "," ? "} " : " ")
        writer.utf8(value)
        writer.utf8("\n")
    }

    private mutating func escaped(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\n"): writer.utf8("\\n")
            case UInt8(ascii: "\\"): writer.utf8("\\\\")
            case UInt8(ascii: "\"") where quotes: writer.utf8("\\\"")
            default: writer.byte(byte)
            }
        }
    }

    private static func text(_ value: some FixedWidthInteger, _ unit: MetricUnit) -> String {
        unit == .nanoseconds ? text(Double(value) / 1e9) : value.description
    }

    private static func text(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "-Inf" : "+Inf" }
        let whole = Int64(exactly: value)
        return whole.map(\.description) ?? value.description
    }
}
