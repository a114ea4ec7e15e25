public import Martlet
internal import MartletCrypto
public import MartletRuntime
public import MartletWire

/// What an operator watches a running node by, over HTTP: metrics, health and profiles.
///
/// It serves on the node's own loop, so an answer says that the loop turns. It belongs to that loop.
public final class OperatorEndpoint {
    /// Where an endpoint takes what it shows.
    struct Sources {
        /// The registries whose metrics are shown; the endpoint's own go to the first.
        var registries: [MetricsRegistry]
        /// What the node checks of itself, asked for each time.
        var health: nonisolated(nonsending) () async -> [ControlHealth.Check]
    }

    /// Where it serves.
    public let address: SocketAddress
    private let environment: SystemEnvironment
    private let sources: Sources
    private let token: AccessToken?
    private let profiling: Profiling?
    private let profiles: ProfileRoutes?
    private let memory: MemoryWatch
    private let lag: LoopLag
    private let startedAt: WallTime
    private var server: HTTPServer?

    /// Serves at `place` what there is to see of `node`, with profiles where there is `profiling`, which from now on
    /// samples the heap. Call it on the loop of `environment`, which is the node's, and `stop` in the end.
    public convenience init(
        at place: EndpointAddress, on environment: SystemEnvironment, of node: Node, profiling: Profiling? = nil
    ) throws(OperatorError) {
        let registries = node.metrics === environment.metrics ? [node.metrics] : [node.metrics, environment.metrics]
        let sources = Sources(registries: registries, health: { await ControlServer.checks(of: node) })
        try self.init(at: place, on: environment, sources, profiling: profiling, limits: HTTPLimits())
    }

    init(
        at place: EndpointAddress, on environment: SystemEnvironment, _ sources: Sources, profiling: Profiling?,
        limits: HTTPLimits
    ) throws(OperatorError) {
        let socket = try ListeningSocket.tcp(place.address)
        address = socket.address
        token = place.token
        self.environment = environment
        self.sources = sources
        startedAt = environment.wallTime
        let registry = sources.registries.first ?? environment.metrics
        self.profiling = profiling
        profiles = profiling.map { ProfileRoutes($0, on: environment) }
        memory = MemoryWatch(on: environment, liveBytes: profiling?.liveBytes)
        lag = LoopLag(on: environment.loop, registry)
        do throws(NetworkError) {
            server = try HTTPServer(
                on: environment, listener: socket.descriptor, limits: limits,
                metrics: HTTPMetrics(registry, name: "http"),
                refuse: { [token] in Self.refusal(of: $0, token: token) },
                handler: { [self] request in await answer(request) })
        } catch {
            throw OperatorError(.address, "cannot serve HTTP at \(address): \(error)")
        }
    }

    /// Serves no longer.
    public func stop() {
        server?.stop()
        server = nil
        memory.stop()
        lag.stop()
    }

    // MARK: Who may ask

    /// Why a request is not answered, by its head alone. Whether the node lives anyone may ask, as probes do.
    private static func refusal(of request: HTTPRequest, token: AccessToken?) -> HTTPAnswer? {
        if let token {
            if token.isIn(request.authorization) || isProbe(request) { return nil }
            var answer = HTTPAnswer.text(
                "this needs a token: Authorization: Bearer TOKEN\n", status: 401, refusal: .token)
            answer.fields = [("WWW-Authenticate", "Bearer")]
            return answer
        }
        // A page in somebody's browser can have a name of its own lead to this host, and then read what it serves.
        guard isOwn(request.host) else {
            return .text("ask for this host by its address, or as localhost\n", status: 403, refusal: .host)
        }
        return nil
    }

    private static func isProbe(_ request: HTTPRequest) -> Bool {
        request.path == "/healthz" || request.path == "/readyz"
    }

    private static func isOwn(_ host: String?) -> Bool {
        guard let host else { return true }
        if SocketAddress(host) != nil || IPAddress(host) != nil { return true }
        if host.hasPrefix("["), host.hasSuffix("]") { return IPAddress(String(host.dropFirst().dropLast())) != nil }
        return host == "localhost" || host.hasPrefix("localhost:")
    }

    // MARK: Routes

    private nonisolated(nonsending) func answer(_ request: HTTPRequest) async -> HTTPAnswer {
        if request.path == "/debug/pprof/symbol", request.method == "POST", let profiles {
            return await profiles.symbols(request)
        }
        guard request.method == "GET" else {
            var answer = HTTPAnswer.text("only GET is answered here\n", status: 405, refusal: .method)
            answer.fields = [("Allow", "GET")]
            return answer
        }
        let knowsAll = token?.isIn(request.authorization) ?? true
        switch request.path {
        case "/metrics": return metrics()
        case "/healthz": return await health(request, required: false, showsReasons: knowsAll)
        case "/readyz": return await health(request, required: true, showsReasons: knowsAll)
        case "/": return .text(Self.index)
        default:
            if request.path.hasPrefix("/debug/pprof") {
                guard let profiles else {
                    return .text("this program was built without a profiler\n", status: 501, refusal: .path)
                }
                if let answer = await profiles.answer(request) { return answer }
            }
            return .text("there is nothing here; see /\n", status: 404, refusal: .path)
        }
    }

    private static let index = """
        martlet: what an operator watches a node by

        /metrics                 for Prometheus
        /healthz                 200 while the node's loop turns
        /readyz                  200 while the node can do its work, else 503 with the reasons
        /debug/pprof/heap        go tool pprof http://HOST:PORT/debug/pprof/heap
        /debug/pprof/profile     go tool pprof http://HOST:PORT/debug/pprof/profile?seconds=10
        /debug/pprof/cmdline
        /debug/pprof/symbol

        """

    /// Health as one line for each check. What is asked for is whether the loop turns, which this answer proves, or
    /// whether everything that is `required` is as it should be.
    private nonisolated(nonsending) func health(
        _ request: HTTPRequest, required: Bool, showsReasons: Bool
    ) async -> HTTPAnswer {
        let checks = await sources.health()
        let health = ControlHealth(checks: checks)
        let isFine = required ? health.isReady : true
        let status = isFine ? 200 : 503
        guard showsReasons else { return .text(isFine ? "ok\n" : "not ready\n", status: status) }
        if request["format"] == "json" { return .json(health, status: status) }
        let lines = checks.map { check in
            "\(check.isOk ? "+" : check.isRequired ? "-" : "~") \(check.name): \(check.detail)\n"
        }
        return .text(
            (required ? health.isReady ? "ready\n" : "not ready\n" : "alive\n") + lines.joined(), status: status)
    }

    private func metrics() -> HTTPAnswer {
        let bytes = Self.metricsText(sources.registries, startedAt: startedAt, live: profiling?.liveBytes())
        return HTTPAnswer(type: PrometheusText.type, content: .whole(bytes))
    }

    /// All metrics of `registries` and what the process uses of the machine.
    static func metricsText(
        _ registries: [MetricsRegistry], startedAt: WallTime?, live: Int?
    ) -> [UInt8] {
        var text = PrometheusText()
        let snapshots = registries.flatMap(\.snapshot)
        text.append(
            snapshots.sorted { PrometheusText.name(of: $0.description) < PrometheusText.name(of: $1.description) })
        let use = ProcessUse.now()
        text.append(
            "process_cpu_seconds_total", help: "The processor's time that was taken.", isCounter: true,
            use.processorSeconds)
        text.append("process_open_fds", help: "Descriptors that are open.", Double(use.descriptors))
        text.append(
            "process_resident_memory_bytes", help: "Bytes that are in memory.", Double(use.residentBytes))
        if let startedAt {
            text.append(
                "process_start_time_seconds", help: "When it began to serve, in seconds since 1970.",
                Double(startedAt.nanoseconds) / 1e9)
        }
        if let live {
            text.append("martlet_live_bytes", help: "Bytes that are allocated and not freed.", Double(live))
        }
        return text.finish()
    }
}
