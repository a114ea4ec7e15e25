import Foundation
import Martlet

/// `martlet mesh`.
struct MeshCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "mesh", abstract: "chat in a plain-text mesh of machines on one network",
            discussion: """
                Everyone is connected to everyone over TCP, in lines that anyone can read and netcat can speak. On a \
                terminal, what is typed is said to all; /help lists what else can be typed. Without a terminal, \
                standard input is said line by line, and the end of it ends the command once all is sent.

                With --secure, connections are encrypted and each node proves that it has a key; the key's fingerprint \
                is shown beside its name. Compare it with what its owner sees: names can be chosen freely.
                """,
            examples: [
                "martlet mesh 8001 --name alice", "martlet mesh 8002 localhost:8001 --name bob",
                "martlet mesh 8001 --name alice --secure", "echo 'the build is done' | martlet mesh 0 localhost:8001",
            ],
            exitCodes: [(.failure, "the port cannot be listened on, or the key cannot be used")])
    }

    @Argument(help: "the port to listen on; 0 for any that is free", valueName: "PORT") var port: UInt16
    @Argument(help: "where to begin: nodes of the mesh, as HOST:PORT", valueName: "BOOTSTRAP") var bootstrap: [String] =
        []
    @Option(help: "what people call you; peer-PORT by itself") var name: String?
    @Option(help: "how many peers there may be", valueName: "N") var maxPeers: Int = 20
    @Flag(help: "show each line of the protocol, too") var debug: Bool
    @Flag(help: "write one JSON object for each event") var json: Bool
    @Flag(help: "encrypt connections, and prove by a key who one is") var secure: Bool
    @Option(
        help: "where that key is kept; made where there is none (~/.local/share/martlet/identity)", valueName: "FILE")
    var identity: String?

    func validate() throws {
        if identity != nil, !secure { throw UsageError("--identity is of use with --secure alone") }
        if maxPeers < 1 { throw UsageError("--max-peers is at least 1") }
        if let name, name.contains(where: \.isNewline) || name.utf8.count > 200 {
            throw UsageError("--name is one line of at most 200 bytes")
        }
        for text in bootstrap where MeshAddress(text) == nil {
            throw UsageError(TerminalText.escaped(MeshFailure.noAddress(text).description))
        }
    }

    func run() async throws {
        let log = Logger(subsystem: "mesh", sink: TextLogSink(now: { WallTime(Date()) }), levels: LogLevels(.warning))
        var configuration = MeshConfiguration()
        configuration.name = name
        configuration.maximumPeers = maxPeers
        configuration.reportsLines = debug
        if secure { configuration.transport = .encrypted(by: try key()) }
        let environment = try SystemEnvironment(name: "mesh", log: log)
        let node = MeshNode(
            port: port, bootstrap: bootstrap.compactMap { MeshAddress($0) }, configuration: configuration,
            environment: environment)
        do throws(NetworkError) {
            try await node.start()
        } catch {
            await environment.shutdown()
            MartletCommand.complain("martlet mesh: \(Self.sentence(for: error, port))")
            throw ExitCode.failure
        }
        let session = MeshSession(node: node, isJSON: json, isDebugging: debug, waitsForPeers: !bootstrap.isEmpty)
        do {
            try await session.run()
        } catch {
            await environment.shutdown()
            throw error
        }
        await environment.shutdown()
    }

    private func key() throws -> PrivateKey {
        do throws(MartletError) {
            return try IdentityFile(identity ?? UserFolders().martlet + "/identity").key()
        } catch {
            MartletCommand.complain("martlet mesh: \(error.message)")
            throw ExitCode.failure
        }
    }

    private static func sentence(for error: NetworkError, _ port: UInt16) -> String {
        switch error.reason {
        case .addressInUse:
            let other = port < .max ? port + 1 : port - 1
            return
                "port \(port) is in use by another program; take another, such as \(other), or 0 for any that is free"
        case .notPermitted: return "port \(port) needs privileges; take one from 1024 on"
        default: return "port \(port) cannot be listened on: \(error.reason)"
        }
    }
}

extension WallTime {
    fileprivate init(_ date: Date) { self.init(nanoseconds: Int64(date.timeIntervalSince1970 * 1e9)) }
}
