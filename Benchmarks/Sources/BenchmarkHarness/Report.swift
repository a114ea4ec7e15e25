import Foundation

/// Columns under their titles: the first to the left, the others to the right.
func table(_ titles: [String], _ rows: [[String]]) -> String {
    let widths = titles.indices.map { column in
        ([titles] + rows).map { $0[column].count }.max() ?? 0
    }
    return ([titles] + rows).map { row in
        row.enumerated().map { column, text in
            let blanks = String(repeating: " ", count: widths[column] - text.count)
            return column == 0 ? text + blanks : blanks + text
        }.joined(separator: "  ")
    }.joined(separator: "\n")
}

/// A number with about three digits that mean something.
func rounded(_ value: Double) -> String {
    let digits = value == value.rounded() || abs(value) >= 1000 ? 0 : abs(value) >= 10 ? 1 : 2
    return String(format: "%.\(digits)f", value)
}

/// A time in the unit that suits it.
func time(_ nanoseconds: Double) -> String {
    switch nanoseconds {
    case ..<1000: rounded(nanoseconds) + " ns"
    case ..<1_000_000: rounded(nanoseconds / 1000) + " µs"
    default: rounded(nanoseconds / 1_000_000) + " ms"
    }
}

/// The table for people.
func table(_ measurements: [Measurement]) -> String {
    table(
        ["benchmark", "median", "p99", "spread", "allocations", "per second", "yardstick", "its median", "ratio"],
        measurements.map { each in
            [
                each.name, time(each.median), time(each.p99), rounded(each.spread * 100) + " %",
                rounded(each.allocations), rounded(each.operationsPerSecond), each.yardstick ?? "-",
                each.yardstickMedian.map(time) ?? "-", each.ratio.map { String(format: "%.2f", $0) } ?? "-",
            ]
        })
}

/// The same for programs: an array of objects, times in nanoseconds, keys in alphabetical order.
func json(_ measurements: [Measurement]) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return String(decoding: try encoder.encode(measurements), as: UTF8.self)
}
