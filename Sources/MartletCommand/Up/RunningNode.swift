import Foundation
import Martlet
import MartletConfiguration
import MartletOperator

/// A node of this machine with everything around it that `martlet up` starts: identity, environment, log.
///
/// What is to run beside the node is started in `start` behind it, and ended in `stop` before it.
struct RunningNode: Sendable {
    let node: Node
    private let settings: Settings
    private let environment: SystemEnvironment
    private let isNew: Bool
    private let log: Task<Void, Never>
    private let servers: UpServers

    /// Starts what `settings` ask for. Where that fails, says why and ends the command.
    static func start(_ settings: Settings) async throws -> RunningNode {
        var configuration = NodeConfiguration(settings)
        let path = settings.dataDirectory + "/identity"
        let endpoint = try complaining { () throws(OperatorError) in try UpServers.endpoint(settings) }
        // Before there are threads whose allocations are to be seen.
        if endpoint != nil { Profiling.ofCommand.sampleEvery(Profiling.sampleBytes) }
        let socket = try complaining { () throws(OperatorError) in try UpServers.claim(settings) }
        var isServed = false
        defer { if !isServed { socket.abandon() } }
        let isNew = !FileManager.default.fileExists(atPath: path)
        configuration.identity = try complaining { () throws(MartletError) in try IdentityFile(path).key() }
        let sink = settings.log.sink { WallTime(nanoseconds: Int64(Date().timeIntervalSince1970 * 1e9)) }
        let environment = try SystemEnvironment(
            name: "node", directory: settings.dataDirectory,
            log: Logger(subsystem: "martlet", sink: sink, levels: settings.log.logLevels))
        let node = Node(configuration, environment: environment, metrics: environment.metrics)
        let events = node.subscribe()
        let nodeLog = environment.log.subsystem("node")
        let log = Task { for await event in events { event.write(to: nodeLog) } }
        do {
            try await node.start()
        } catch {
            await node.stop()
            await log.value
            await environment.shutdown()
            MartletCommand.complain("martlet up: \(error.message)")
            throw ExitCode.failure
        }
        do {
            isServed = true
            let servers = try await UpServers.open(
                node, on: environment, at: socket, endpoint: endpoint, folder: settings.dataDirectory)
            return RunningNode(
                node: node, settings: settings, environment: environment, isNew: isNew, log: log, servers: servers)
        } catch {
            await node.stop()
            await log.value
            await environment.shutdown()
            MartletCommand.complain("martlet up: \(error)")
            throw ExitCode.failure
        }
    }

    /// Ends all of it, which takes less than two seconds.
    func stop() async {
        await servers.close()
        await node.stop()
        await log.value
        await environment.shutdown()
    }

    // MARK: What is said of it

    /// What a program is told of it.
    struct Record: Encodable {
        var schemaVersion = 1
        var id: String
        var name: String
        var topics: [String]
        var listening: [String]
        var dataDirectory: String
        var isNewIdentity: Bool
    }

    /// What a program is told of it.
    var record: Record {
        get async {
            let status = await node.status
            return Record(
                id: status.id.description, name: status.name, topics: status.topics.map(\.name),
                listening: status.listening.map(\.description), dataDirectory: settings.dataDirectory,
                isNewIdentity: isNew)
        }
    }

    /// What a person is told of it.
    var greeting: String {
        get async {
            let status = await node.status
            let name = status.name.isEmpty ? "" : " (\(status.name))"
            var lines = ["martlet \(Martlet.version) is up as \(status.id)\(name)"]
            if isNew { lines.append("its identity is new and kept in \(settings.dataDirectory)/identity") }
            lines += status.listening.map { "listening at \($0)" }
            if status.topics.isEmpty {
                lines.append("it is on no topic; to find others, start it with --topic NAME")
            } else {
                lines.append("on \(status.topics.map(\.name).joined(separator: ", "))")
            }
            if let address = Self.toDial(status.listening) {
                let topics = settings.network.allTopics.map { " --topic \(Self.shellWord($0))" }.joined()
                // Without it the other machine would tell the public DHT of the topics.
                let dht = settings.dht.isEnabled && settings.dht.isPrivate ? " --private-dht" : ""
                lines.append("on the other machine, type:")
                lines.append("  martlet up\(topics)\(dht) --bootstrap \(address)")
            }
            return lines.joined(separator: "\n")
        }
    }

    /// The address that others do best to begin with: by QUIC and IPv4, and not of this machine alone, as far as there is
    /// such a one.
    static func toDial(_ addresses: [Multiaddr]) -> Multiaddr? {
        func rank(_ address: Multiaddr) -> Int {
            let ip = address.ipAddress
            return (ip?.isLoopback == true ? 4 : 0) + (ip?.isLinkLocal == true ? 8 : 0)
                + (address.transport == .quicV1 ? 0 : 2) + (ip?.isV4 == true ? 0 : 1)
        }
        return addresses.filter { $0.ipAddress?.isUnspecified == false }.min { rank($0) < rank($1) }
    }

    /// `text` as a shell takes it for one word.
    static func shellWord(_ text: String) -> String {
        let isPlain =
            !text.isEmpty && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_./:@".contains($0)) }
        return isPlain ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }

    private static func complaining<Value, Failure: Error & CustomStringConvertible>(
        _ body: () throws(Failure) -> Value
    ) throws -> Value {
        do throws(Failure) {
            return try body()
        } catch {
            MartletCommand.complain("martlet up: \(error)")
            throw ExitCode.failure
        }
    }
}

extension NodeEvent {
    /// Writes it to `log`: what a person watches for from the level info on, the rest below. Addresses, which are
    /// nobody else's affair, stand in no line from info on.
    func write(to log: Logger) {
        switch self {
        case .listening(let address): log.debug("listening", ["address": address])
        case .stoppedListening(let address): log.debug("no longer listening", ["address": address])
        case .connected(let link, let peer):
            log.debug("connected", ["peer": peer, "transport": link.transport, "address": link.address])
        case .disconnected(let peer, let reason): log.debug("disconnected", ["peer": peer, "reason": reason])
        case .joined(let peer, let topic): log.info("a neighbour is on the topic", ["peer": peer, "topic": topic])
        case .left(let peer, let topic): log.info("a neighbour has left the topic", ["peer": peer, "topic": topic])
        case .updated(let peer, let name, let sequence):
            log.debug("a peer has told of itself", ["peer": peer, "name": name, "sequence": sequence])
        case .message(let peer, let topic, let bytes):
            log.debug("a message has come", ["peer": peer, "topic": topic, "bytes": bytes.count])
        case .typeChanged(let type): log.info("it is known whether this node can be reached", ["type": "\(type)"])
        case .observedAddress(let address, let witness):
            log.debug("seen from outside", ["address": address, "by": witness])
        case .dht(let sentence): log.info("\(sentence)")
        case .store(.recovered): log.notice("the peer database is written again")
        // The node writes its warnings itself, those of its database among them.
        case .store, .warning: break
        case .missed(let count): log.warning("events were too many to be written", ["count": count])
        }
    }
}
