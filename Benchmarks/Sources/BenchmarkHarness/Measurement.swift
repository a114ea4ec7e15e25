import CProbe

/// How a body and its yardstick are timed.
struct Plan {
    /// Rounds, in each of which the subject and its yardstick take their turn.
    var rounds = 15
    /// How often the clock is read in a turn.
    var samples = 20
    /// How long one sample should last at least.
    var sampleTime = Duration.milliseconds(1)
    /// A yardstick that is a program takes a second or more for each turn, so it takes fewer.
    var commandRounds = 3
}

/// What one benchmark came to. Times are nanoseconds for one operation.
struct Measurement: Codable {
    var name: String
    var median: Double
    var p99: Double
    /// The distance between the quartiles, as a share of the median.
    var spread: Double
    var allocations: Double
    var operationsPerSecond: Double
    var yardstick: String?
    var yardstickMedian: Double?
    /// How fast the subject is beside its yardstick: the median, over the rounds, of the yardstick's time divided by
    /// the subject's in the same round. 1 is level, more is faster.
    var ratio: Double?
}

/// Numbers of which only the order matters.
struct Sample {
    private let sorted: [Double]

    init(_ values: [Double]) {
        precondition(!values.isEmpty, "nothing was measured")
        sorted = values.sorted()
    }

    /// The value below which the share `rank` of all values lies; the nearest one that was measured.
    func quantile(_ rank: Double) -> Double {
        sorted[Int((rank * Double(sorted.count - 1)).rounded())]
    }

    var median: Double { quantile(0.5) }
    var p99: Double { quantile(0.99) }
    var spread: Double { median == 0 ? 0 : (quantile(0.75) - quantile(0.25)) / median }
}

/// A body with the number of iterations that fills one sample.
private struct Runner {
    let body: Benchmark.Body
    let operations: Int
    let iterations: Int

    init(_ body: @escaping Benchmark.Body, operations: Int, sampleTime: Duration) throws {
        self.body = body
        self.operations = operations
        var iterations = 1
        let clock = ContinuousClock()
        while try clock.measure({ try body(iterations) }) < sampleTime { iterations *= 2 }
        self.iterations = iterations
    }

    /// One turn: nanoseconds for one operation, as often as the plan says.
    func turn(samples: Int) throws -> [Double] {
        let clock = ContinuousClock()
        return try (0..<samples).map { _ in
            let time = try clock.measure { try body(iterations) }
            return time / .nanoseconds(1) / Double(iterations * operations)
        }
    }
}

extension Benchmark {
    /// Measures it beside its yardstick in interleaved rounds: A B A B.
    func measure(_ plan: Plan) throws -> Measurement {
        let body = try prepare()
        let subject = try Runner(body, operations: operations, sampleTime: plan.sampleTime)
        var rounds = plan.rounds
        var yardstickTurn: (() throws -> [Double])?
        switch yardstick {
        case .body(_, let body):
            let runner = try Runner(body, operations: operations, sampleTime: plan.sampleTime)
            yardstickTurn = { try runner.turn(samples: plan.samples) }
        case .command(let name, let command, let nanoseconds):
            rounds = min(rounds, plan.commandRounds)
            yardstickTurn = {
                let output = try run(command)
                guard let figure = nanoseconds(output) else { throw HarnessError("\(name) told no figure:\n\(output)") }
                return [figure]
            }
        case nil: break
        }

        var own: [Double] = []
        var others: [Double] = []
        var ratios: [Double] = []
        for _ in 0..<rounds {
            let turn = try subject.turn(samples: plan.samples)
            own += turn
            guard let yardstickTurn else { continue }
            let other = try yardstickTurn()
            others += other
            ratios.append(Sample(other).median / Sample(turn).median)
        }
        let times = Sample(own)
        return Measurement(
            name: name, median: times.median, p99: times.p99, spread: times.spread,
            allocations: try allocations(of: body), operationsPerSecond: 1e9 / times.median,
            yardstick: yardstick?.name, yardstickMedian: others.isEmpty ? nil : Sample(others).median,
            ratio: ratios.isEmpty ? nil : Sample(ratios).median)
    }

    /// How many allocations one operation makes, once the body has run before. Counted on this thread alone.
    func allocations(of body: Body) throws -> Double {
        let iterations = 100
        try body(iterations)
        let before = probe_allocations()
        try body(iterations)
        return Double(probe_allocations() - before) / Double(iterations * operations)
    }
}
