import Foundation
import Martlet

/// The program: finds the command that is called, runs it and ends with its code.
@main
struct MartletCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "martlet", abstract: "one peer-to-peer node",
            examples: ["martlet up --topic chess", "martlet listen", "martlet dht find chess", "martlet version"],
            subcommands: [
                UpCommand.self, StatusCommand.self, PeersCommand.self, ConnectCommand.self, DisconnectCommand.self,
                EventsCommand.self, MetricsCommand.self, IDCommand.self, ConfigCommand.self, ListenCommand.self,
                PingCommand.self, PerfCommand.self, DHTCommand.self, MeshCommand.self, VersionCommand.self,
            ])
    }

    static func main() async {
        exit(await run(Array(CommandLine.arguments.dropFirst())).rawValue)
    }

    /// Runs what `words` call, and says how it ended. What was asked for goes to standard output, all else to standard
    /// error.
    static func run(_ words: [String]) async -> ExitCode {
        var parsed = parse(words, root: MartletCommand.self)
        do {
            do {
                if let problem = parsed.problem { throw problem }
                try await parsed.command.run()
            } catch is HelpRequest {
                try StandardOutput.line(helpText(of: parsed.command, path: parsed.path))
            }
            return .success
        } catch OutputError.readerLeft {
            return .success
        } catch let error as UsageError {
            let path = parsed.path.joined(separator: " ")
            complain("\(path): \(error)" + (error.suggestion.map { "; did you mean '\($0)'?" } ?? ""))
            complain("see: \(path) --help")
            return .usage
        } catch let code as ExitCode {
            return code
        } catch {
            complain("\(parsed.path.joined(separator: " ")): \(error)")
            return .failure
        }
    }

    /// Writes a line to standard error.
    static func complain(_ line: String) {
        StandardError.line(line)
    }
}

/// `martlet version`.
struct VersionCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration("version", abstract: "tell which version this is", examples: ["martlet version"])
    }

    func run() async throws {
        try StandardOutput.line("martlet \(Martlet.version)")
    }
}
