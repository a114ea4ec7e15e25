import Foundation

/// What one operation of a benchmark may cost. Time is not among it: it flickers.
struct Threshold: Equatable {
    var name: String
    /// At most this many allocations; `nil` where they are not gated.
    var allocations: Double?
    /// About this many instructions; 10 % more are tolerated. `nil` where they are not gated.
    var instructions: Double?

    /// How much more than the threshold is still good: compilers and libraries differ a little.
    static let slack = 1.1

    /// Reads a table of lines `name allocations instructions`. `-` means not gated, `#` begins a comment.
    static func parse(_ text: String) throws -> [Threshold] {
        try text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
            let words = line.prefix { $0 != "#" }.split(separator: " ")
            if words.isEmpty { return nil }
            func number(_ word: Substring) throws -> Double? {
                if word == "-" { return nil }
                guard let value = Double(word) else { throw HarnessError("line \(index + 1): \(word) is no number") }
                return value
            }
            guard words.count == 3 else { throw HarnessError("line \(index + 1) has no three columns: \(line)") }
            return Threshold(
                name: String(words[0]), allocations: try number(words[1]), instructions: try number(words[2]))
        }
    }
}

/// What one operation really cost.
struct Cost {
    var allocations: Double
    var instructions: Double?

    /// What is wrong with it by `threshold`, in words; nothing if it holds.
    func excess(over threshold: Threshold) -> [String] {
        var problems: [String] = []
        if let most = threshold.allocations, allocations > most {
            problems.append("allocations \(rounded(allocations)), at most \(rounded(most))")
        }
        if let aim = threshold.instructions, let instructions, instructions > aim * Threshold.slack {
            problems.append("instructions \(rounded(instructions)), at most \(rounded(aim * Threshold.slack))")
        }
        return problems
    }
}

extension Benchmark {
    /// Instructions for one operation, counted by callgrind in this executable started twice, with different numbers
    /// of iterations: the difference leaves out what starting and preparing cost.
    func instructions() throws -> Double {
        // Callgrind is some fifty times slower: what takes long is done less often.
        let isLong = try ContinuousClock().measure { try prepare()(4) } > .milliseconds(1)
        let (few, many) = isLong ? (4, 20) : (64, 320)
        let difference = try total(iterations: many) - total(iterations: few)
        return Double(difference) / Double((many - few) * operations)
    }

    private func total(iterations: Int) throws -> Int {
        let output = try run(
            [
                "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", CommandLine.arguments[0],
                "--iterate", name, String(iterations),
            ],
            // Otherwise each process would hash by a seed of its own.
            environment: ["SWIFT_DETERMINISTIC_HASHING": "1"])
        guard let match = output.firstMatch(of: /Collected : (\d+)/), let count = Int(match.1) else {
            throw HarnessError("callgrind told no count:\n\(output)")
        }
        return count
    }
}

/// Checks benchmarks against the thresholds in the file at `path` and prints what it found. Returns whether all hold.
/// A benchmark without a threshold fails and, unless only some benchmarks were chosen, a threshold without a benchmark.
func gate(_ benchmarks: [Benchmark], filtered: Bool, path: String) throws -> Bool {
    let thresholds = try Threshold.parse(String(contentsOfFile: path, encoding: .utf8))
    var rows: [[String]] = []
    var problems: [String] = []
    for benchmark in benchmarks {
        guard let threshold = thresholds.first(where: { $0.name == benchmark.name }) else {
            problems.append("\(benchmark.name) has no line in \(path)")
            continue
        }
        // What is not gated is named, and not run.
        guard threshold.allocations != nil || threshold.instructions != nil else { continue }
        let cost = Cost(
            allocations: try benchmark.allocations(of: benchmark.prepare()),
            instructions: threshold.instructions == nil ? nil : try benchmark.instructions())
        let excess = cost.excess(over: threshold)
        problems += excess.map { "\(benchmark.name): \($0)" }
        rows.append([
            benchmark.name, rounded(cost.allocations), threshold.allocations.map(rounded) ?? "-",
            cost.instructions.map(rounded) ?? "-", threshold.instructions.map(rounded) ?? "-",
            excess.isEmpty ? "good" : "TOO MUCH",
        ])
    }
    for threshold in thresholds where !filtered && !benchmarks.contains(where: { $0.name == threshold.name }) {
        problems.append("\(path) names \(threshold.name), which is no benchmark")
    }
    print(table(["benchmark", "allocations", "at most", "instructions", "about", ""], rows))
    for problem in problems { print("gate: \(problem)") }
    return problems.isEmpty
}
