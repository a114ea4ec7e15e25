internal import MartletIdentity
internal import MartletRuntime
internal import MartletTransport

/// Whom a dial is for: a peer, or whoever answers at an address.
enum DialTarget: Hashable {
    case peer(PeerID)
    case address(Multiaddr)
}

/// A dial under way: all who want the same peer wait for it together.
///
/// It tries addresses as its plan says; the first connection ends it, and what is still being tried is cancelled.
final class Dial {
    typealias Outcome = Result<SwarmConnection, ConnectError>

    final class Waiter {
        let signal: Signal
        fileprivate(set) var outcome: Outcome?

        fileprivate init(_ loop: EventLoop) {
            signal = Signal(on: loop)
        }
    }

    let target: DialTarget
    private let loop: EventLoop
    private var plan: DialPlan
    private let attempt: (Dial, Multiaddr) -> Task<Void, Never>?
    private let ended: (Dial) -> Void
    private var timer: LoopTimer?
    private var tasks: [Multiaddr: Task<Void, Never>] = [:]
    private var waiters: [Waiter] = []
    private(set) var failures: [ConnectError.Attempt] = []
    private var outcome: Outcome?

    /// A dial that follows `plan`. `attempt` begins to try an address and is told of by `succeeded` or `failed`; `ended`
    /// is called once, before those who wait hear of the end.
    init(
        _ target: DialTarget, on loop: EventLoop, plan: DialPlan,
        attempt: @escaping (Dial, Multiaddr) -> Task<Void, Never>?, ended: @escaping (Dial) -> Void
    ) {
        self.target = target
        self.loop = loop
        self.plan = plan
        self.attempt = attempt
        self.ended = ended
        timer = LoopTimer(on: loop, label: "dial") { [weak self] in self?.advance() }
    }

    var isOver: Bool { outcome != nil }

    /// Tries what is to be tried now.
    func advance() {
        while !isOver, let address = plan.nextAddress(at: loop.now) {
            tasks[address] = attempt(self, address)
        }
        guard !isOver else { return }
        timer?.arm(at: plan.deadline)
        if plan.isExhausted { finish(.failure(.failed(failures))) }
    }

    func failed(_ address: Multiaddr, _ error: TransportError) {
        tasks[address] = nil
        guard !isOver else { return }
        failures.append(ConnectError.Attempt(address: address, error: error))
        plan.failed(at: loop.now)
        advance()
    }

    func finish(_ outcome: Outcome) {
        guard !isOver else { return }
        self.outcome = outcome
        timer = nil
        // In no order that shows: what is cancelled says nothing.
        for task in tasks.values { task.cancel() }
        tasks = [:]
        ended(self)
        for waiter in waiters { settle(waiter, outcome) }
        waiters = []
    }

    /// Waits with the others; a dial that is over tells its outcome at once.
    func join() -> Waiter {
        let waiter = Waiter(loop)
        if let outcome { settle(waiter, outcome) } else { waiters.append(waiter) }
        return waiter
    }

    /// `waiter` waits no longer. Where nobody else does, the dial is over.
    func leave(_ waiter: Waiter) {
        waiters.removeAll { $0 === waiter }
        if waiters.isEmpty { finish(.failure(.cancelled)) }
    }

    private func settle(_ waiter: Waiter, _ outcome: Outcome) {
        waiter.outcome = outcome
        waiter.signal.signal()
    }
}
