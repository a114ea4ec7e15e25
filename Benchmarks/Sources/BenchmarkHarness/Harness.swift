import Foundation

/// Runs `benchmarks` as the command line says, and ends the process.
public func runBenchmarks(_ benchmarks: [Benchmark]) -> Never {
    do {
        exit(try Arguments(CommandLine.arguments.dropFirst()).run(benchmarks))
    } catch {
        FileHandle.standardError.write(Data("benchmarks: \(error)\n".utf8))
        exit(1)
    }
}

/// What the command line may ask for.
private struct Arguments {
    static let usage = """
        usage: Benchmarks [--filter TEXT] [--rounds N] [--json]   measure those whose names contain TEXT
               Benchmarks [--filter TEXT] --gate FILE             check costs against the thresholds in FILE
               Benchmarks --iterate NAME N                        run one N times and measure nothing
               Benchmarks --list                                  print their names
        """

    var filter = ""
    var plan = Plan()
    var asJSON = false
    var thresholds: String?
    var iterate: (name: String, count: Int)?
    var list = false

    init(_ words: some Sequence<String>) throws {
        var words = words.makeIterator()
        func next(after option: String) throws -> String {
            guard let word = words.next() else { throw HarnessError("\(option) needs a value\n\(Self.usage)") }
            return word
        }
        func number(after option: String) throws -> Int {
            let word = try next(after: option)
            guard let number = Int(word), number > 0 else { throw HarnessError("\(option): \(word) is no number") }
            return number
        }
        while let word = words.next() {
            switch word {
            case "--filter": filter = try next(after: word)
            case "--rounds":
                plan.rounds = try number(after: word)
                plan.commandRounds = plan.rounds
            case "--json": asJSON = true
            case "--gate": thresholds = try next(after: word)
            case "--iterate": iterate = (try next(after: word), try number(after: word))
            case "--list": list = true
            default: throw HarnessError("\(word) is no option\n\(Self.usage)")
            }
        }
    }

    func run(_ benchmarks: [Benchmark]) throws -> Int32 {
        if list {
            for benchmark in benchmarks { print(benchmark.name) }
            return 0
        }
        if let iterate {
            guard let benchmark = benchmarks.first(where: { $0.name == iterate.name }) else {
                throw HarnessError("there is no benchmark \(iterate.name)")
            }
            try benchmark.prepare()(iterate.count)
            return 0
        }
        let chosen = benchmarks.filter { filter.isEmpty || $0.name.contains(filter) }
        guard !chosen.isEmpty else { throw HarnessError("no benchmark's name contains \(filter)") }
        if let thresholds {
            return try gate(chosen, filtered: !filter.isEmpty, path: thresholds) ? 0 : 1
        }
        let measurements = try chosen.map { try $0.measure(plan) }
        print(asJSON ? try json(measurements) : table(measurements))
        return 0
    }
}
