internal import CSimulator
public import MartletRuntime
public import MartletWire

/// A virtual internet on a virtual clock: hosts, networks, NATs and all that goes wrong with them, from a seed.
///
/// Make a world, describe hosts, start code on them and `run`. The code is ordinary `async` code over an
/// `Environment`, and nothing in it knows that the world is not real. The clock jumps from event to event, so a
/// simulated day takes as long as what happens in it. The same seed makes the same things happen in the same order,
/// which `digest` proves; a failure says its seed.
///
/// A world belongs to the thread that uses it; what it runs, it runs on a thread of its own, while that one waits. It
/// lasts as long as it is kept, and with it goes all that it runs. A program that waits keeps what it uses, so one that
/// uses its world keeps it for ever; hold it weakly there.
public final class World {
    /// What everything random in the world follows from.
    public let seed: UInt64
    /// The network that the others hang from.
    public private(set) var internet: Network! = nil
    /// The hosts, in the order in which they were made.
    public private(set) var hosts: [Host] = []
    /// The networks behind gateways, in the order in which they were made.
    var networks: [Network] = []
    /// Everything that happened so far, as a fingerprint.
    @exclusivity(unchecked) public internal(set) var digest = TraceDigest()
    /// What happened to packets, and how much else happened.
    @exclusivity(unchecked) public internal(set) var statistics = Statistics()
    /// Text records and services, and addresses of names, as `lookUp` finds them.
    public var names = NameZone()
    /// Where the hosts' log lines go, stamped with virtual time and host.
    public let logLevels = LogLevels(.warning)

    let timers = TimerQueue(now: .start)
    /// The file that made the world, by which its tests are found again.
    private let origin: String
    // Every packet touches these, and nothing that is called while they change touches them again.
    @exclusivity(unchecked) var schedule = Schedule()
    @exclusivity(unchecked) var random: SeededRandom
    /// What comes to each host passes its line, by the host's number.
    @exclusivity(unchecked) var downLines: [Line] = []
    @exclusivity(unchecked) var partitions: [Partition] = []
    @exclusivity(unchecked) var paths: [PathKey: Line] = [:]
    var nextPartition = 0
    /// The number of the last TCP stream that was made.
    var streamCount: UInt32 = 0
    @exclusivity(unchecked) var watchers: [any WorldWatcher] = []
    @exclusivity(unchecked) private var ready: [EventLoop] = []
    @exclusivity(unchecked) private var firstReady = 0
    private let thread: DedicatedThread
    private let pool = PoolQueue()
    private let driver = Driver()
    @exclusivity(unchecked) private var failure: WorldFailure?
    private var isSeeded = false
    @exclusivity(unchecked) private var stepsAtOnce = 0

    /// After so many jobs, timers and packets at one instant, what runs is taken to run in a circle.
    private var stepsAtOnceLimit: Int { max(1_000_000, 1000 * hosts.count) }

    /// An empty world. Where the variable `MARTLET_SEED` is set, it takes the place of `seed`: so a failure is replayed.
    public init(seed: UInt64, file: String = #fileID) {
        self.seed = environmentVariable("MARTLET_SEED").flatMap { UInt64($0) } ?? seed
        origin = String(file.split(separator: "/").last ?? "")
        random = SeededRandom(seed: self.seed)
        thread = DedicatedThread(name: "world")
        internet = Network(name: "internet", world: self, gateway: nil)
        driver.world = self
    }

    deinit {
        watchers = []
        onThread {
            for host in hosts { host.kill() }
            unwind()
            // What the programs hold goes with them, and may have a last word to say on its loop.
            for host in hosts { host.dissolve() }
            unwind()
        }
        internet.dissolve()
        for network in networks { network.dissolve() }
        // From here on a loop that is called does not listen; see `Driver`.
        driver.world = nil
        for host in hosts { host.environment.loop.close() }
    }

    /// Runs what waits until nothing does. What does not end, though it was cancelled, is left where it is.
    private func unwind() {
        stepsAtOnce = 0
        while stepsAtOnce < stepsAtOnceLimit, runReadyLoop() || runPool() {}
    }

    /// The virtual clock.
    public var now: Instant { timers.now }

    /// A number that follows from the seed, for the test's own choices.
    public func draw() -> UInt64 { random.next() }

    /// A new host in `network`, with `address`.
    public func host(_ name: String, _ address: IPAddress, in network: Network? = nil) -> Host {
        let host = Host(name: name, number: hosts.count, world: self)
        hosts.append(host)
        host.attach(to: network ?? internet, as: address)
        return host
    }

    func makeLoop(for host: Host) -> EventLoop {
        EventLoop(name: host.name, number: host.number, timers: timers, driver: driver)
    }

    /// How many packets are on their way, or wait for a paused host.
    public var packetsInFlight: Int {
        hosts.reduce(schedule.packets) { $0 + $1.waitingPackets }
    }

    /// Adds one who sees everything that happens from now on.
    public func add(_ watcher: some WorldWatcher) { watchers.append(watcher) }

    /// Calls `action` when the clock has reached `time`.
    public func at(_ time: Instant, _ action: @escaping () -> Void) {
        schedule.add(.action(action), at: max(time, now))
    }

    /// Remembers the first thing that went wrong; `run` throws it.
    func fail(_ reason: String) {
        guard failure == nil else { return }
        failure = WorldFailure(seed: seed, time: now, reason: reason, replay: replay)
    }

    private var replay: String { "MARTLET_SEED=\(seed) swift test --filter '\(origin)'" }

    // MARK: Running

    /// Runs the world for `duration` of its time. Throws the first failure of a host's code or of a watcher.
    public func run(for duration: Duration) throws(WorldFailure) {
        try run(until: now + duration)
    }

    /// Runs the world until its clock shows `time`. Throws the first failure of a host's code or of a watcher.
    public func run(until time: Instant) throws(WorldFailure) {
        try run(to: time) { false }
        if let failure { throw failure }
    }

    /// Runs the world until `condition` holds, which is asked after each event. Throws where it does not within `limit`.
    public func run(
        within limit: Duration, until condition: () -> Bool
    ) throws(WorldFailure) {
        if try run(to: now + limit, until: condition) { return }
        throw WorldFailure(seed: seed, time: now, reason: "it did not happen within \(limit)", replay: replay)
    }

    @discardableResult
    private func run(to end: Instant, until condition: () -> Bool) throws(WorldFailure) -> Bool {
        var isFulfilled = false
        onThread {
            isFulfilled = condition()
            while !isFulfilled, failure == nil, step(before: end) { isFulfilled = condition() }
        }
        for watcher in watchers {
            if let reason = watcher.verdict(on: self) { fail("\(watcher.name): \(reason)") }
        }
        if let failure { throw failure }
        return isFulfilled
    }

    /// Runs `body` on the world's own thread, with all that would leave it caught.
    private func onThread(_ body: () -> Void) {
        thread.run {
            if !isSeeded {
                isSeeded = true
                _ = cs_seed_getrandom(seed | 1)
            }
            cs_set_capture(
                { context, job in Unmanaged<PoolQueue>.fromOpaque(context!)._withUnsafeGuaranteedRef { $0.add(job!) } },
                Unmanaged.passUnretained(pool).toOpaque())
            body()
            cs_set_capture(nil, nil)
        }
    }

    /// Does the next thing, however small, that happens at or before `end`. Where there is none, sets the clock to `end`.
    private func step(before end: Instant) -> Bool {
        guard stepsAtOnce < stepsAtOnceLimit else {
            fail("\(stepsAtOnce) steps without the clock moving: something runs in a circle")
            return false
        }
        if runReadyLoop() || runPool() {
            statistics.jobTurns += 1
            return true
        }
        stepsAtOnce += 1
        if let timer = timers.popExpired() {
            note(.timer, timer.loop.number)
            hosts[timer.loop.number].fire(timer)
            return true
        }
        if let event = schedule.popDue(at: now) {
            handle(event)
            return true
        }
        stepsAtOnce = 0
        let next = min(timers.nextDeadline ?? .never, schedule.nextDeadline ?? .never)
        guard next <= end, next != .never else {
            timers.advance(to: end)
            return false
        }
        timers.advance(to: next)
        return true
    }

    private func runPool() -> Bool {
        guard pool.runOne() else { return false }
        stepsAtOnce += 1
        return true
    }

    private func handle(_ event: Schedule.Event) {
        switch event {
        case .arrival(let packet, let host):
            arrive(packet, at: host)
        case .network(let packet, let network):
            network.route(packet)
        case .gateway(let packet, let gateway):
            gateway.pass(packet, inbound: true)
        case .line(let packet, let host):
            carry(packet, downTo: host, at: now)
        case .action(let action):
            action()
        }
    }

    private func runReadyLoop() -> Bool {
        guard firstReady < ready.count else {
            if firstReady > 0 { ready.removeAll(keepingCapacity: true) }
            firstReady = 0
            return false
        }
        let loop = ready[firstReady]
        firstReady += 1
        note(.turn, loop.number)
        guard hosts[loop.number].mayRun(loop) else { return true }
        stepsAtOnce += loop.turn()
        if loop.hasWork { ready.append(loop) }
        return true
    }

    func makeReady(_ loop: EventLoop) { ready.append(loop) }

    /// Runs `body` on `loop`, and sees to it that what it caused there is run.
    func deliver(to loop: EventLoop, _ body: () -> Void) {
        let hadWork = loop.hasWork
        loop.asCurrent(body)
        if !hadWork, loop.hasWork { ready.append(loop) }
    }

    // MARK: Trace

    enum Step: UInt64 {
        case send, deliver, drop, timer, turn
    }

    func note(_ step: Step, _ host: Int) {
        digest.mix(now.nanoseconds)
        digest.mix(step.rawValue << 32 | UInt64(UInt32(truncatingIfNeeded: host)))
    }

    func note(_ step: Step, _ packet: borrowing Packet, _ detail: Int = 0) {
        note(step, detail)
        digest.mix(UInt64(truncatingIfNeeded: packet.source.ip.number) ^ UInt64(packet.source.port) << 48)
        digest.mix(UInt64(truncatingIfNeeded: packet.destination.ip.number) ^ UInt64(packet.destination.port) << 48)
        // Nothing changes a payload on its way, so it counts once.
        if step == .send { digest.mix(packet.payload.span) } else { digest.mix(UInt64(packet.payload.count)) }
    }

    /// Counts of what happened in a world.
    public struct Statistics: Hashable, Sendable {
        /// Packets that hosts sent.
        public var sent = 0
        /// Packets that came to a socket.
        public var delivered = 0
        /// Packets that came twice, by themselves.
        public var duplicated = 0
        /// Turns of hosts' loops.
        public var jobTurns = 0
        /// Packets that did not arrive, by reason.
        public var dropped = DropCounts()
    }

    /// The driver of every host's loop: it takes note of which ones have something to run.
    ///
    /// It is `@unchecked Sendable` because a world runs on one thread at a time, and says so where it is not.
    private final class Driver: LoopDriver, @unchecked Sendable {
        // The world owns the driver, and takes itself out before it goes.
        unowned(unsafe) var world: World? = nil

        func wake(_ loop: EventLoop) {
            // What is let go of after the world may still call its loop, and would wait there for ever.
            if let world { world.makeReady(loop) } else { loop.close() }
        }
    }
}

/// How many packets did not arrive, by reason.
public struct DropCounts: Hashable, Sendable {
    private var counts = InlineArray<16, Int>(repeating: 0)

    /// How many for `reason`.
    public internal(set) subscript(reason: DropReason) -> Int {
        get { counts[reason.rawValue] }
        set { counts[reason.rawValue] = newValue }
    }

    /// How many in all.
    public var total: Int { DropReason.allCases.reduce(0) { $0 + self[$1] } }

    /// Whether both have the same counts.
    public static func == (left: DropCounts, right: DropCounts) -> Bool {
        DropReason.allCases.allSatisfy { left[$0] == right[$0] }
    }

    /// Feeds the counts to `hasher`.
    public func hash(into hasher: inout Hasher) {
        for reason in DropReason.allCases { hasher.combine(self[reason]) }
    }
}
