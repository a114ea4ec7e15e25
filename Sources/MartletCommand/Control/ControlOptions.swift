import Martlet
import Foundation
import MartletConfiguration
import MartletOperator

/// What the commands share that talk to a running node.
struct ControlOptions: ParsableArguments {
    @Option(help: "the folder of the node's files; by itself the one that `martlet up` uses", valueName: "DIR")
    var dataDir: String?
    @Option(letter: "c", help: "the configuration file that the node was started with", valueName: "FILE")
    var config: String?
    @Flag(help: "print JSON, as the node answers it") var json: Bool

    /// What such commands end with.
    static let exitCodes: [(ExitCode, String)] = [
        (.failure, "the node could not do it"), (.noNode, "no node runs there"),
    ]

    /// Where the node is, by the same rules as `martlet up` has.
    private struct Place {
        var folder: String
        var socket: String
    }

    private func place() throws -> Place {
        var configuration = Configuration()
        do throws(ConfigurationFileError) {
            configuration = try ConfigurationFile(config).configuration
        } catch {
            // A file that nobody named may be one that this user can't read.
            if config != nil {
                MartletCommand.complain("\(error)")
                throw ExitCode.usage
            }
        }
        if let dataDir { configuration.set("node.data_dir", to: [dataDir], by: "--data-dir") }
        // What is wrong with other keys is no matter of this command.
        return Place(folder: configuration.settings.dataDirectory, socket: configuration.settings.controlSocket)
    }

    /// Asks the node and returns what it answers where that is good. Else says why not, and ends the command.
    func ask(_ method: String = "GET", _ target: String, body: Data = Data()) throws -> ControlClient.Answer {
        try orComplain {
            let answer = try $0.ask(method, target, body: body)
            guard answer.status == 200 else {
                guard let failure = try? answer.value(ControlFailure.self) else {
                    throw ControlTrouble.strange("it answers \(answer.status)")
                }
                throw ControlTrouble.refused(failure)
            }
            return answer
        }
    }

    /// Asks the node about `order`.
    func order(_ target: String, _ order: ControlOrder) throws -> ControlClient.Answer {
        try ask("POST", target, body: (try? JSONEncoder().encode(order)) ?? Data())
    }

    /// Runs `body` with who talks to the node; where it fails, says what failed and what to do next, and ends the command.
    func orComplain<Result>(_ body: (ControlClient) throws -> Result) throws -> Result {
        let place = try place()
        do {
            return try body(ControlClient(path: place.socket))
        } catch ControlTrouble.nobody {
            let argument = dataDir.map { " --data-dir \(RunningNode.shellWord($0))" } ?? ""
            MartletCommand.complain(
                "no node runs with the files in \(place.folder); start one with: martlet up\(argument)"
                    + (dataDir == nil ? ", or say where it runs with --data-dir" : ""))
            throw ExitCode.noNode
        } catch ControlTrouble.system(let words) {
            MartletCommand.complain(
                "the node at \(place.socket) cannot be talked to: \(words); only the user who started it may")
            throw ExitCode.noNode
        } catch ControlTrouble.strange(let words) {
            MartletCommand.complain("the node at \(place.socket) does not behave: \(words); is it of another version?")
            throw ExitCode.failure
        } catch ControlTrouble.refused(let failure) {
            MartletCommand.complain(TerminalText.escaped(failure.error.message))
            throw ExitCode.failure
        }
    }

    /// Shows `answer`: as it is, or as `text` has it, which is given what it holds.
    func show<Shape: Decodable>(
        _ answer: ControlClient.Answer, as shape: Shape.Type, _ text: (Shape) -> String
    ) throws {
        if json { return try StandardOutput.write(answer.body.safeJSON) }
        try StandardOutput.line(text(try read(answer)))
    }

    /// What `answer` holds.
    func read<Shape: Decodable>(_ answer: ControlClient.Answer) throws -> Shape {
        if let value = try? answer.value(Shape.self) { return value }
        MartletCommand.complain("the node's answer cannot be read; is it of another version?")
        throw ExitCode.failure
    }

    /// Shows `value`, which was put together from several answers: as one of them would be, or as `text` has it.
    func show<Shape: Encodable>(_ value: Shape, _ text: (Shape) -> String) throws {
        guard json else { return try StandardOutput.line(text(value)) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        try StandardOutput.write(try encoder.encode(value).safeJSON + Data("\n".utf8))
    }
}

extension ExitCode {
    /// No node runs where one was looked for.
    static let noNode = ExitCode(rawValue: 3)
}
