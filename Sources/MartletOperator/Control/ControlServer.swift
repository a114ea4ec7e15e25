internal import Foundation
public import Martlet
internal import MartletIdentity
public import MartletRuntime
public import MartletWire

/// Control of a running node: HTTP and JSON on a Unix socket, for the node's own user. Documentation/Control.md has all
/// of it.
///
/// It serves on the node's own loop and belongs to it.
public final class ControlServer {
    /// How many peers are listed at the most, and by itself.
    private static let peerLimit = (most: 10_000, usual: 1000)

    private let node: Node
    private let environment: SystemEnvironment
    private let socket: ControlSocket
    private let folder: String?
    private let http: SocketAddress?
    private let events: ControlEvents
    private let registries: [MetricsRegistry]
    private var server: HTTPServer?

    /// Serves control of `node` at `socket`, which it releases when it stops; `folder` is where its
    /// files are, and `http` where its operator's endpoint is. Call it on the loop of `environment`, which is the node's, and `stop` in the end.
    public convenience init(
        of node: Node, on environment: SystemEnvironment, at socket: ControlSocket, folder: String? = nil,
        http: SocketAddress? = nil
    ) throws(OperatorError) {
        var limits = HTTPLimits()
        // A reader of events may be slow for a good while.
        limits.answerTime = .seconds(300)
        limits.streams = 16
        try self.init(of: node, on: environment, at: socket, folder: folder, http: http, limits: limits)
    }

    init(
        of node: Node, on environment: SystemEnvironment, at socket: ControlSocket, folder: String?,
        http: SocketAddress?,
        limits: HTTPLimits
    ) throws(OperatorError) {
        self.node = node
        self.environment = environment
        self.socket = socket
        self.folder = folder
        self.http = http
        events = ControlEvents(of: node, on: environment, capacity: limits.streamBytes)
        registries = node.metrics === environment.metrics ? [node.metrics] : [node.metrics, environment.metrics]
        do throws(NetworkError) {
            server = try HTTPServer(
                on: environment, listener: socket.descriptor, limits: limits,
                metrics: HTTPMetrics(node.metrics, name: "control"), refuse: { _ in nil },
                handler: { [self] request in await answer(request) })
        } catch {
            socket.release()
            throw OperatorError(.file, "control cannot be served at \(socket.path): \(error)")
        }
    }

    /// Serves no longer, and gives back the right to be the node of its folder.
    public func stop() {
        guard let server else { return }
        self.server = nil
        events.stop()
        server.stop()
        socket.release()
    }

    // MARK: Routes

    private nonisolated(nonsending) func answer(_ request: HTTPRequest) async -> HTTPAnswer {
        let words = request.path.split(separator: "/").map(String.init)
        guard words.first == "v1" else { return .failure(404, "not_found", "there is nothing here; see /v1/status") }
        do throws(ControlRefusal) {
            switch (request.method, words.dropFirst().first ?? "", words.count) {
            case ("GET", "status", 2): return .json(await status())
            case ("GET", "id", 2): return .json(await identity())
            case ("GET", "health", 2): return .json(await health())
            case ("GET", "metrics", 2): return metrics(request)
            case ("GET", "peers", 2): return try await peers(request)
            case ("GET", "peers", 3): return try await peer(words[2])
            case ("GET", "events", 2): return HTTPAnswer(type: "application/jsonl", content: .stream(events.open()))
            case ("POST", "connect", 2): return try await connect(request)
            case ("POST", "disconnect", 2): return try await disconnect(request)
            case (_, "status", 2), (_, "id", 2), (_, "health", 2), (_, "metrics", 2), (_, "peers", _),
                (_, "events", 2), (_, "connect", 2), (_, "disconnect", 2):
                return .failure(405, "method", "\(request.method) is not for \(request.path)")
            default:
                return .failure(404, "not_found", "there is nothing at \(request.path); see Documentation/Control.md")
            }
        } catch {
            return .json(error.failure, status: error.status)
        }
    }

    private nonisolated(nonsending) func status() async -> ControlStatus {
        ControlStatus(
            await node.status, control: socket.path, folder: folder, http: http?.description, process: Int(getpid()),
            resident: ProcessUse.residentBytesNow())
    }

    private nonisolated(nonsending) func identity() async -> ControlIdentity {
        let status = await node.status
        return ControlIdentity(
            id: "\(status.id)", name: status.name, version: status.version,
            addresses: status.listening.map(\.description))
    }

    private nonisolated(nonsending) func health() async -> ControlHealth {
        ControlHealth(checks: await Self.checks(of: node))
    }

    /// What `node` checks of itself.
    static nonisolated(nonsending) func checks(of node: Node) async -> [ControlHealth.Check] {
        await node.health.map {
            ControlHealth.Check(name: $0.name, isOk: $0.isOK, isRequired: $0.isRequired, detail: $0.detail)
        }
    }

    private func metrics(_ request: HTTPRequest) -> HTTPAnswer {
        if request["format"] == "json" { return .json(ControlMetrics(registries)) }
        let bytes = OperatorEndpoint.metricsText(registries, startedAt: nil, live: nil)
        return HTTPAnswer(type: PrometheusText.type, content: .whole(bytes))
    }

    private nonisolated(nonsending) func peers(_ request: HTTPRequest) async throws(ControlRefusal) -> HTTPAnswer {
        var filter = NodePeer.Filter(topic: request["topic"], capability: request["capability"])
        if let word = request["connected"] {
            guard let isConnected = ["true": true, "1": true, "": true, "false": false, "0": false][word] else {
                throw .content("connected is true or false, and not '\(word)'")
            }
            filter.connectedOnly = isConnected
        }
        if let word = request["after"] {
            guard let cursor = NodePeer.Cursor(word) else {
                throw .content("after is the 'next' of the answer before, and not '\(word)'")
            }
            filter.after = cursor
        }
        filter.limit = Self.peerLimit.usual
        if let word = request["limit"] {
            guard let limit = Int(word), (1...Self.peerLimit.most).contains(limit) else {
                throw .content("limit is a number from 1 to \(Self.peerLimit.most), and not '\(word)'")
            }
            filter.limit = limit
        }
        do throws(MartletError) {
            let peers = try await node.peers(filter)
            let next = peers.count == filter.limit ? peers.last?.cursor.description : nil
            // A thousand peers take some milliseconds to be written down, which the loop has better uses for.
            let bytes = try? await environment.background {
                jsonLine(ControlPeers(peers: peers.map { ControlPeer($0) }, next: next))
            }
            guard let bytes else { return .failure(503, "system", "too much waits to be done; try again") }
            return HTTPAnswer(type: "application/json", content: .whole(bytes))
        } catch {
            throw ControlRefusal(error)
        }
    }

    private nonisolated(nonsending) func peer(_ word: String) async throws(ControlRefusal) -> HTTPAnswer {
        let id = try Self.peerID(word)
        do throws(MartletError) {
            guard let details = try await node.peer(id) else {
                throw MartletError(.unknownPeer, "nothing is known of the peer \(id)", peer: id)
            }
            return .json(ControlPeerDetails(details))
        } catch {
            throw ControlRefusal(error)
        }
    }

    private nonisolated(nonsending) func connect(_ request: HTTPRequest) async throws(ControlRefusal) -> HTTPAnswer {
        let order = try Self.order(in: request)
        do throws(MartletError) {
            switch (order.address, order.peer) {
            case (let address?, nil):
                guard let address = try? Multiaddr(parsing: address) else {
                    return .failure(
                        400, "invalid_request", "'\(address)' is no address; write it like /ip4/192.0.2.1/tcp/4001")
                }
                return .json(ControlDone(peer: "\(try await node.connect(address))"))
            case (nil, let word?):
                guard let id = try? PeerID(parsing: word) else { return .noPeerID(word) }
                try await node.connect(id)
                return .json(ControlDone(peer: "\(id)"))
            default: return .failure(400, "invalid_request", "give either an address or a peer")
            }
        } catch {
            throw ControlRefusal(error)
        }
    }

    private nonisolated(nonsending) func disconnect(
        _ request: HTTPRequest
    ) async throws(ControlRefusal) -> HTTPAnswer {
        let order = try Self.order(in: request)
        guard let word = order.peer, order.address == nil else { throw .content("give a peer") }
        let id = try Self.peerID(word)
        await node.disconnect(id)
        return .json(ControlDone(peer: "\(id)"))
    }

    private static func order(in request: HTTPRequest) throws(ControlRefusal) -> ControlOrder {
        do {
            return try JSONDecoder().decode(ControlOrder.self, from: Data(request.body))
        } catch {
            throw .content("the body is to be a JSON object with an address or a peer")
        }
    }

    private static func peerID(_ word: String) throws(ControlRefusal) -> PeerID {
        guard let id = try? PeerID(parsing: word) else {
            throw .content("'\(word.prefix(100))' is no peer's id; it begins with 12D3KooW or Qm")
        }
        return id
    }
}

/// Why a request is not answered as it was meant to be.
private struct ControlRefusal: Error {
    var status: Int
    var failure: ControlFailure

    init(_ error: MartletError) {
        failure = ControlFailure(error)
        status =
            switch error.code {
            case .unknownPeer: 404
            case .invalidConfiguration, .tooLarge: 400
            case .unreachable, .notSupported, .closed: 502
            case .timedOut: 504
            case .refused: 403
            default: 503
            }
    }

    private init(status: Int, failure: ControlFailure) {
        self.status = status
        self.failure = failure
    }

    /// The request makes no sense, as `message` says.
    static func content(_ message: String) -> ControlRefusal {
        ControlRefusal(status: 400, failure: ControlFailure(code: "invalid_request", message: message))
    }
}

extension HTTPAnswer {
    fileprivate static func failure(_ status: Int, _ code: String, _ message: String) -> HTTPAnswer {
        var answer = HTTPAnswer.json(ControlFailure(code: code, message: message), status: status)
        answer.refusal = [404: .path, 405: .method, 400: .content][status]
        return answer
    }

    fileprivate static func noPeerID(_ word: String) -> HTTPAnswer {
        .failure(400, "invalid_request", "'\(word.prefix(100))' is no peer's id; it begins with 12D3KooW or Qm")
    }
}
