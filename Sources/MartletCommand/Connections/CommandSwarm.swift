import Foundation
import Martlet

/// What the commands share that connect without a running node.
struct ConnectionOptions: ParsableArguments {
    @Flag(help: "print JSON, one object a line") var json: Bool
    @Option(help: "log lines to standard error from this level on: trace, debug, info, notice, warning, error")
    var logLevel: String = "warning"

    /// Runs `body` with a swarm that has a new identity, on a loop of its own, and shuts both down.
    func withSwarm<Result: Sendable>(
        _ configuration: SwarmConfiguration = SwarmConfiguration(),
        _ body: sending nonisolated(nonsending) @escaping (Swarm) async throws -> Result
    ) async throws -> Result {
        guard let level = Logger.Level(logLevel) else {
            throw UsageError("there is no log level '\(logLevel)'")
        }
        let sink = TextLogSink { WallTime(nanoseconds: Int64(Date().timeIntervalSince1970 * 1e9)) }
        let environment = try SystemEnvironment(
            log: Logger(subsystem: "martlet", sink: sink, levels: LogLevels(level)))
        let outcome: Swift.Result<Result, any Error>
        do {
            outcome = .success(
                try await environment.loop.run {
                    var random = environment.random
                    let identity = PrivateKey.ed25519(using: &random)
                    var configuration = configuration
                    configuration.agentVersion = "martlet/\(Martlet.version)"
                    let swarm = Swarm(
                        environment: environment, identity: identity,
                        transports: TransportConfiguration().make(environment: environment, identity: identity),
                        configuration: configuration)
                    defer { swarm.shutDown() }
                    return try await body(swarm)
                })
        } catch {
            outcome = .failure(error)
        }
        await environment.shutdown()
        return try outcome.get()
    }

    /// How results are shown.
    var results: ResultPrinter { ResultPrinter(isJSON: json) }
}

/// Shows results on standard output, for people or for programs.
struct ResultPrinter: Sendable {
    var isJSON: Bool

    /// Prints `value` as a line of JSON, or `text`, at once.
    func show(_ value: some Encodable, _ text: @autoclosure () -> String) throws(OutputError) {
        var line = text()
        if isJSON {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            encoder.keyEncodingStrategy = .convertToSnakeCase
            // Of numbers and texts alone, which can always be encoded.
            guard let data = try? encoder.encode(value) else { return }
            line = TerminalText.escaped(json: String(decoding: data, as: UTF8.self))
        }
        try StandardOutput.line(line)
    }
}

extension Data {
    /// The same JSON with nothing in it that a terminal would act on.
    var safeJSON: Data { Data(TerminalText.escaped(json: String(decoding: self, as: UTF8.self)).utf8) }
}

extension Swarm {
    /// Connects to whoever is at `address`. Where that fails, says why and what to do, and ends the command.
    nonisolated(nonsending) func reach(_ address: Multiaddr) async throws -> ConnectionInfo {
        do throws(ConnectError) {
            return try await connect(to: address)
        } catch {
            MartletCommand.complain("cannot connect to \(address): \(error.explanation)")
            throw ExitCode.noNetwork
        }
    }
}

extension Multiaddr: ExpressibleByArgument {
    init?(argument: String) {
        guard let address = try? Multiaddr(parsing: argument) else { return nil }
        self = address
    }

    static var valueName: String { "ADDRESS" }
    var argumentText: String { description }
}

extension Duration {
    /// In milliseconds.
    var milliseconds: Double { self / .milliseconds(1) }
    /// In seconds.
    var inSeconds: Double { self / .seconds(1) }
}

extension Double {
    /// With so many digits behind the point.
    func text(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }
}
