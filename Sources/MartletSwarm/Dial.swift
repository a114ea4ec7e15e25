internal import MartletIdentity
internal import MartletRuntime
internal import MartletTransport
internal import MartletWire

/// Whom a dial is for: a peer, or whoever answers at an address.
enum DialTarget: Hashable {
    case peer(PeerID)
    case address(Multiaddr)

    /// The peer that it must be.
    var peer: PeerID? {
        if case .peer(let peer) = self { peer } else { nil }
    }
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
    /// Which dial of the swarm it is.
    let number: UInt64
    private let loop: EventLoop
    private var plan: DialPlan
    private let attempt: (Dial, Multiaddr) -> Task<Void, Never>?
    private let ended: (Dial) -> Void
    private var timer: LoopTimer?
    private var tasks: [Multiaddr: Task<Void, Never>] = [:]
    private var lookUps: [Task<Void, Never>] = []
    /// Addresses whose names were or are being looked up.
    private var named: Set<Multiaddr> = []
    private var waiters: [Waiter] = []
    private(set) var failures: [ConnectError.Attempt] = []
    /// Why something that a name led to was not tried: what is told where nothing else was tried either.
    var obstacle: ConnectError?
    private var outcome: Outcome?

    /// A dial that follows `plan`. `attempt` begins to try an address and is told of by `succeeded` or `failed`; `ended`
    /// is called once, before those who wait hear of the end.
    init(
        _ target: DialTarget, number: UInt64, on loop: EventLoop, plan: DialPlan,
        attempt: @escaping (Dial, Multiaddr) -> Task<Void, Never>?, ended: @escaping (Dial) -> Void
    ) {
        self.target = target
        self.number = number
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
        if plan.isExhausted { finish(.failure(failures.isEmpty ? obstacle ?? .noAddresses : .failed(failures))) }
    }

    /// Tries `addresses` as well, as far as they are new.
    func add(_ addresses: [Multiaddr]) {
        guard !isOver else { return }
        plan.add(addresses, at: loop.now)
        advance()
    }

    /// The ones of `addresses` whose names have not been looked up for it. They count as looked up from now on.
    func takeNew(_ addresses: [Multiaddr]) -> [Multiaddr] {
        addresses.filter { named.insert($0).inserted }
    }

    /// A name is looked up by a conversation that ends with `found`.
    func lookUp(_ family: IPAddress.Family, by body: nonisolated(nonsending) @escaping () async -> Void) {
        plan.beginLookUp(of: family)
        lookUps.append(loop.spawn("look up", body))
    }

    /// A name led to `addresses` of one family.
    func found(_ addresses: [Multiaddr], of family: IPAddress.Family) {
        guard !isOver else { return }
        plan.endLookUp(of: family, addresses, at: loop.now)
        advance()
    }

    /// The name in `address` leads nowhere.
    func leadsNowhere(_ address: Multiaddr, _ error: NameError) {
        failures.append(ConnectError.Attempt(address: address, error: .name(error)))
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
        for task in lookUps { task.cancel() }
        tasks = [:]
        lookUps = []
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
