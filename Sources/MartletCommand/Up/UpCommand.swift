import Foundation
import Martlet
import MartletConfiguration

/// `martlet up`.
struct UpCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "up", abstract: "start a node that finds the others on its topics",
            discussion: """
                Prints who it is, where it listens and what to type on the other machine, and runs until Ctrl-C, which \
                says goodbye to its peers; a second Ctrl-C ends it at once. Log lines go to standard error. The first \
                start makes an identity, which is kept in the data directory.

                \(ConfigOptions.places) Flags count most.
                """,
            examples: [
                "martlet up --topic chess", "martlet up --topic chess --bootstrap 192.0.2.1:4001 --name kestrel",
                "martlet up --config martlet.yaml --log-level info,quic=debug",
            ],
            exitCodes: [
                (.failure, "the node cannot start"), (.usage, "used wrongly, or the configuration has mistakes"),
            ])
    }
    @OptionGroup var options: NodeOptions
    @Flag(help: "print what the node is as one JSON object") var json: Bool

    func run() async throws {
        let settings = try options.configuration().settings
        // Before there is anything to end, so that nobody's Ctrl-C is lost.
        let stop = StopSignals.watch()
        let node = try await RunningNode.start(settings)
        let (record, greeting) = (await node.record, await node.greeting)
        do {
            try ResultPrinter(isJSON: json).show(record, greeting)
            for await _ in stop { break }
        } catch {
            await node.stop()
            throw error
        }
        await node.stop()
    }
}
