import Foundation
import Martlet

/// `martlet ping`.
struct PingCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "ping", abstract: "connect to a peer and measure round trips",
            examples: [
                "martlet ping /ip4/127.0.0.1/tcp/4001",
                "martlet ping --count 100 --interval 10ms /ip4/127.0.0.1/tcp/4001",
            ],
            exitCodes: [
                (ExitCode(rawValue: 1), "some pings were not answered"),
                (ExitCode(rawValue: 3), "the peer could not be reached"),
            ])
    }

    @Argument(help: "where the peer is; with /p2p/ID at the end only that peer will do") var address: Multiaddr
    @Option(letter: "n", help: "how many pings") var count: Int = 5
    @Option(help: "the time between two pings") var interval: Duration = .seconds(1)
    @Option(help: "how long an answer may take") var timeout: Duration = .seconds(10)
    @OptionGroup var options: ConnectionOptions

    func validate() throws {
        guard count > 0 else { throw UsageError("--count must be at least 1") }
    }

    fileprivate struct Answer: Encodable {
        var event = "answer"
        var peer: String
        var sequence: Int
        var milliseconds: Double?
        var error: String?
    }

    fileprivate struct Summary: Encodable {
        var event = "summary"
        var peer: String
        var transport: String
        var connectMilliseconds: Double
        var answered: Int
        var lost: Int
        var minimumMilliseconds: Double?
        var meanMilliseconds: Double?
        var maximumMilliseconds: Double?
        var deviationMilliseconds: Double?
    }

    func run() async throws {
        let command = self.values
        let lost = try await options.withSwarm { swarm in try await command.run(on: swarm) }
        if lost > 0 { throw ExitCode.failure }
    }

    /// The command's values, which may go to another thread.
    fileprivate struct Values: Sendable {
        var address: Multiaddr
        var count: Int
        var interval: Duration
        var timeout: Duration
        var results: ResultPrinter
    }

    private var values: Values {
        Values(address: address, count: count, interval: interval, timeout: timeout, results: options.results)
    }
}

extension PingCommand.Values {
    nonisolated(nonsending) func run(on swarm: Swarm) async throws -> Int {
        let start = swarm.loop.now
        let info = try await swarm.reach(address)
        let connecting = swarm.loop.now - start
        let pinger = try await swarm.pinger(to: info.peer)
        for sequence in 1...count {
            if sequence > 1 { try await swarm.loop.sleep(for: interval) }
            var answer = PingCommand.Answer(peer: info.peer.description, sequence: sequence)
            do throws(SwarmError) {
                let took = try await pinger.ping(timeout: timeout)
                answer.milliseconds = took.milliseconds
            } catch {
                answer.error = "\(error)"
                try results.show(answer, "\(info.peer): \(sequence), no answer: \(error)")
                guard error == .timedOut else { break }
                continue
            }
            let took = answer.milliseconds ?? 0
            try results.show(answer, "\(info.peer): \(sequence), \(took.text(3)) ms")
        }
        try show(pinger.statistics, info, connecting)
        return count - pinger.statistics.answered
    }

    private func show(_ statistics: PingStatistics, _ info: ConnectionInfo, _ connecting: Duration) throws(OutputError)
    {
        let summary = PingCommand.Summary(
            peer: info.peer.description, transport: info.nature.transport,
            connectMilliseconds: connecting.milliseconds, answered: statistics.answered,
            lost: count - statistics.answered, minimumMilliseconds: statistics.minimum?.milliseconds,
            meanMilliseconds: statistics.mean?.milliseconds, maximumMilliseconds: statistics.maximum?.milliseconds,
            deviationMilliseconds: statistics.deviation?.milliseconds)
        let spread = [statistics.minimum, statistics.mean, statistics.maximum, statistics.deviation]
            .map { $0.map { $0.milliseconds.text(3) } ?? "-" }.joined(separator: "/")
        try results.show(
            summary,
            "\(statistics.answered) of \(count) answered over \(info.nature.transport); "
                + "connected in \(connecting.milliseconds.text(1)) ms; min/mean/max/deviation \(spread) ms")
    }
}
