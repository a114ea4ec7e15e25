import Glibc
import Martlet

/// What connections and streams cost, over the machine's own loopback: a node a side, each with its own loop, used by
/// tasks that live on neither.
///
///     swift run -c release --package-path Benchmarks SwarmBenchmarks WHAT [--seconds N] [--rounds N]
///
/// WHAT is one of `measurements`.
@main
struct SwarmBenchmarks {
    static func main() async throws {
        var arguments = Array(CommandLine.arguments.dropFirst())
        var settings = Settings()
        if let seconds = option("--seconds", of: &arguments) { settings.seconds = seconds }
        if let rounds = option("--rounds", of: &arguments) { settings.rounds = Int(rounds) }
        guard let name = arguments.first, let measurement = measurements.first(where: { $0.name == name }) else {
            print("SwarmBenchmarks WHAT [--seconds N] [--rounds N], where WHAT is one of")
            for measurement in measurements { print("  \(measurement.name): \(measurement.meaning)") }
            exit(64)
        }
        do {
            try await measurement.body(settings)
        } catch {
            print("\(name): \(error)")
            exit(1)
        }
    }

    private static func option(_ name: String, of arguments: inout [String]) -> Double? {
        guard let index = arguments.firstIndex(of: name), index + 1 < arguments.count else { return nil }
        defer { arguments.removeSubrange(index...index + 1) }
        return Double(arguments[index + 1])
    }
}

/// How long and how often to measure.
struct Settings: Sendable {
    /// How long each measurement takes.
    var seconds = 2.0
    /// How many there are of each; the median is told.
    var rounds = 3
}

/// Something that can be measured.
struct Measurement: Sendable {
    var name: String
    var meaning: String
    var body: @Sendable (Settings) async throws -> Void
}

/// All that can be measured.
let measurements: [Measurement] =
    bulkMeasurements + requestMeasurements + connectingMeasurements + idlingMeasurements

/// A measurement that did not work.
struct Failure: Error, CustomStringConvertible {
    var description: String
}

extension Array where Element: Comparable {
    /// The one in the middle.
    var median: Element { sorted()[count / 2] }
}
