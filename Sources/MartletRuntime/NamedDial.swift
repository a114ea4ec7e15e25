internal import MartletWire

/// Why a host could not be reached by its name.
public enum DialError: Error, Hashable, Sendable {
    /// The name has no address, or none could be found out.
    case name(NameError)
    /// It has addresses, and none could be reached: the errors in the order in which they came.
    case unreachable([NetworkError])
    /// The conversation was cancelled, or the environment has been shut down.
    case cancelled
}

extension Environment {
    /// Connects over TCP to the host called `name`, which may be an address as well, by `deadline`: to whichever of its
    /// addresses answers first, tried in the order and at the times of RFC 8305.
    public nonisolated(nonsending) func connectTCP(
        name: String, port: UInt16, options: TCPOptions = TCPOptions(), deadline: Instant
    ) async throws(DialError) -> ByteStream {
        loop.preconditionCurrent()
        let dial = NamedDial(self, port: port, options: options, deadline: deadline)
        if let ip = IPAddress(name) { dial.dial(ip) } else { dial.lookUp(name) }
        defer { dial.end() }
        do {
            try await dial.isOver.wait()
        } catch {
            throw .cancelled
        }
        return try dial.result()
    }
}

/// A host being dialled by its name: `HappyEyeballs` with look-ups and connections.
private final class NamedDial {
    let isOver: Signal
    private let environment: any Environment
    private let port: UInt16
    private let options: TCPOptions
    private let deadline: Instant
    private var machine: HappyEyeballs<IPAddress>
    private var timer: LoopTimer?
    private var tasks: [Task<Void, Never>] = []
    private var nameErrors: [NameError] = []
    private var errors: [NetworkError] = []
    private var winner: ByteStream?
    private var hasEnded = false

    init(_ environment: any Environment, port: UInt16, options: TCPOptions, deadline: Instant) {
        self.environment = environment
        self.port = port
        self.options = options
        self.deadline = deadline
        isOver = Signal(on: environment.loop)
        machine = HappyEyeballs(at: environment.loop.now)
        timer = LoopTimer(on: environment.loop, label: "dial") { [weak self] in
            guard let self else { return }
            self.machine.handleTimeout(at: self.environment.loop.now)
            self.drain()
        }
    }

    func lookUp(_ name: String) {
        for (type, family) in [(RecordType.aaaa, IPAddress.Family.v6), (.a, .v4)] {
            let task = environment.loop.spawn { [self] in
                do throws(NameError) {
                    let records = try await environment.lookUp(name, type, deadline: deadline)
                    answer(
                        records.compactMap { if case .address(let ip) = $0, ip.family == family { ip } else { nil } },
                        of: family)
                } catch {
                    nameErrors.append(error)
                    answer([], of: family)
                }
            }
            tasks.append(task)
        }
    }

    /// The name is an address itself.
    func dial(_ ip: IPAddress) {
        machine.handleAnswer(ip.isV6 ? [ip] : [], of: .v6, at: environment.loop.now)
        answer(ip.isV6 ? [] : [ip], of: .v4)
    }

    private func answer(_ addresses: [IPAddress], of family: IPAddress.Family) {
        machine.handleAnswer(addresses, of: family, at: environment.loop.now)
        drain()
    }

    private func drain() {
        guard !hasEnded else { return }
        while let ip = machine.nextAttempt() {
            tasks.append(environment.loop.spawn { [self] in await attempt(ip) })
        }
        timer?.arm(at: machine.deadline)
        if machine.isExhausted || machine.hasSucceeded { isOver.signal() }
    }

    private func attempt(_ ip: IPAddress) async {
        do throws(NetworkError) {
            let stream = try await environment.connectTCP(
                SocketAddress(ip, port: port), from: nil, options: options, deadline: deadline)
            // Two may succeed in the same turn.
            guard winner == nil, !hasEnded else { return stream.reset() }
            winner = stream
            machine.handleSuccess()
        } catch {
            errors.append(error)
            machine.handleFailure(at: environment.loop.now)
        }
        drain()
    }

    func result() throws(DialError) -> ByteStream {
        if let winner {
            self.winner = nil
            return winner
        }
        if errors.contains(where: { $0.reason == .closed }) || nameErrors.contains(.cancelled) { throw .cancelled }
        guard errors.isEmpty else { throw .unreachable(errors) }
        // One family without records says less than what became of the other.
        throw .name(nameErrors.first { $0 != .noRecords } ?? .noRecords)
    }

    /// Gives up what still goes on.
    func end() {
        hasEnded = true
        timer = nil
        for task in tasks { task.cancel() }
        winner?.reset()
    }
}
