import Foundation
import Martlet
import MartletMainline
import MartletRuntime

/// One command's stay in the DHT: a node of its own, joined, and where its output goes.
final class DHTSession {
    /// The node, which has joined.
    let dht: MainlineDHT
    private let results: ResultPrinter
    private let showsProgress: Bool
    private let timeLimit: Duration
    /// When what is done now is to be over.
    private var deadline: Instant

    private init(_ dht: MainlineDHT, _ options: Settings) {
        self.dht = dht
        results = ResultPrinter(isJSON: options.isJSON)
        timeLimit = options.timeLimit
        deadline = dht.environment.loop.now + options.timeLimit
        showsProgress = isatty(2) == 1
    }

    /// What a session is made of, apart from the command's own values, which stay where they are.
    private struct Settings: Sendable {
        var isJSON: Bool
        var timeLimit: Duration
        var port: UInt16
        var configuration: MainlineConfiguration
    }

    /// What a command does in its session.
    typealias Body = nonisolated(nonsending) (DHTSession) async throws -> ExitCode

    /// Joins, runs `body` on the node's loop, and leaves. Throws the exit code where it is not 0.
    static func run(
        _ options: DHTOptions, isReadOnly: Bool = true, _ body: sending @escaping Body
    ) async throws {
        var configuration = MainlineConfiguration()
        let own = try options.bootstrapNodes()
        if !own.isEmpty { configuration.bootstrap = own }
        let isLocal = own.contains { IPAddress($0.host).map { !$0.isGlobal } ?? false }
        if options.privateDht || isLocal { configuration = MainlineConfiguration(privateWith: own) }
        // Who leaves again at once is nobody to know.
        configuration.isReadOnly = isReadOnly
        configuration.file = nil
        let settings = Settings(
            isJSON: options.json, timeLimit: options.timeLimit, port: options.udpPort, configuration: configuration)
        let log = Logger(
            subsystem: "martlet",
            sink: TextLogSink { WallTime(nanoseconds: Int64(Date().timeIntervalSince1970 * 1e9)) },
            levels: LogLevels(.error))
        let environment = try SystemEnvironment(log: log)
        do {
            let code = try await environment.loop.run { try await converse(settings, environment, body) }
            await environment.shutdown()
            if code != .success { throw code }
        } catch {
            await environment.shutdown()
            throw error
        }
    }

    private nonisolated(nonsending) static func converse(
        _ settings: Settings, _ environment: SystemEnvironment, _ body: Body
    ) async throws -> ExitCode {
        var ports: [any DatagramPort] = []
        for any in [IPAddress.anyV4, .anyV6] {
            // A machine without one of the families does with the other.
            guard let socket = try? environment.bindUDP(SocketAddress(any, port: settings.port), options: UDPOptions())
            else { continue }
            ports.append(OwnDatagramPort(socket))
        }
        let dht = MainlineDHT(settings.configuration, environment: environment, ports: ports)
        let session = DHTSession(dht, settings)
        await dht.start()
        guard try await session.join() else {
            session.note("nobody answered; is there a network? asked: \(settings.configuration.bootstrap)")
            await dht.stop()
            return .noNetwork
        }
        let code = try await body(session)
        await dht.stop()
        return code
    }

    /// Waits until the node has joined in one family, as long as there is time.
    private nonisolated(nonsending) func join() async throws -> Bool {
        while dht.environment.loop.now < deadline {
            let states = dht.status.map(\.join)
            if states.contains(.joined) { return true }
            showProgress(states.contains(.joining) ? "joining" : "nobody answers yet; trying again")
            try await dht.environment.loop.sleep(for: .milliseconds(20))
        }
        return false
    }

    /// Runs `body`, which waits for `search`, and shows how far it has come. Ends the search when time is up.
    @discardableResult
    nonisolated(nonsending) func follow<Result>(
        _ search: MainlineSearch, _ body: nonisolated(nonsending) () async throws -> Result
    ) async throws -> Result {
        let loop = dht.environment.loop
        let timer = LoopTimer(on: loop, label: "time limit") { search.cancel() }
        timer.arm(at: deadline)
        search.onChange = { [weak self] in self?.show(search) }
        var progress: LoopTimer?
        progress = LoopTimer(on: loop, label: "progress") { [weak self] in
            self?.show(search)
            progress?.arm(after: .milliseconds(200))
        }
        progress?.arm(after: .milliseconds(200))
        defer {
            timer.cancel()
            progress?.cancel()
            progress = nil
            search.onChange = nil
            showProgress("")
        }
        return try await body()
    }

    /// Does nothing for so long. The time limit begins anew then.
    nonisolated(nonsending) func wait(for duration: Duration) async throws {
        try await dht.environment.loop.sleep(for: duration)
        deadline = dht.environment.loop.now + timeLimit
    }

    private func show(_ search: MainlineSearch) {
        let parts = search.progress
        let asked = parts.reduce(0) { $0 + $1.asked }
        let answered = parts.reduce(0) { $0 + $1.answered }
        showProgress("asked \(asked), answered \(answered), \(parts.map(\.closeness).max() ?? 0) bits close")
    }

    /// Shows a line that the next one takes the place of, on a terminal alone.
    private func showProgress(_ text: String) {
        guard showsProgress else { return }
        StandardError.write("\r\u{1B}[K\(text)")
    }

    /// Prints what was asked for: an object of JSON, or a line.
    func show(_ value: some Encodable, _ line: @autoclosure () -> String) throws(OutputError) {
        showProgress("")
        try results.show(value, line())
    }

    /// Prints what was asked for, which a stranger wrote: an object of JSON; on a terminal, the text with escapes for
    /// what a terminal would act on; into a pipe or a file, the bytes as they are.
    func show(_ value: some Encodable, raw: Bytes) throws(OutputError) {
        let text = raw.utf8
        if !results.isJSON, isatty(1) == 0 { return try StandardOutput.write(Data(raw)) }
        try show(value, text.map { TerminalText.escaped($0) } ?? base16(raw))
    }

    /// Says something beside what was asked for.
    func note(_ line: String) {
        showProgress("")
        StandardError.line(line)
    }
}
