public import MartletIdentity
public import MartletRuntime
internal import MartletWire

/// What a node knows of its peers, kept in SQLite over restarts.
///
/// It belongs to its environment's loop, and does its work on the environment's background threads. `record` never
/// waits: changes are gathered and written in batches, each wholly or not at all, in the order in which they were
/// recorded. Questions are answered from what has been written; they see no half of a batch.
///
/// After the end of the process at any moment, whatever was written is there. While the disk is full or fails, the
/// store goes on in memory and tries again; when the file is damaged, it is kept aside and a new one begun. Both are
/// told as `StoreEvent`s.
///
/// On files that are on no disk of this machine, as those of a simulated host, the database is in memory and written
/// as one file, at most as often as `StoreLimits.imageInterval` says. A host that is killed loses what came after.
///
/// Whoever opens a store closes it.
public final class PeerStore {
    let environment: any Environment
    /// The file's path within the environment's files.
    public let path: String
    /// Whether it is kept in a file at all.
    let isKept: Bool
    /// What it may grow to.
    public let limits: StoreLimits
    let onEvent: (StoreEvent) -> Void
    let log: Logger

    /// Where the database is.
    enum Place {
        /// In a file of this machine.
        case disk(Database)
        /// In memory, and written as a whole to the environment's files.
        case image(Database)
        /// In memory, since the file, where it could be opened at all, cannot be written.
        case memory(Database, over: Database?)
        case closed
    }

    var place = Place.closed
    var queue = ChangeQueue()
    /// The number below which all changes are in what questions are answered from.
    var shown = 0
    /// The number below which all changes are in the file.
    var durable = 0
    /// What keeps the store from writing to the disk, while something does.
    var failure: StoreError?
    /// How many changes found no room, of which nobody has been told yet.
    var lostUntold = 0
    var retryAt = Instant.start
    var retryInterval: Duration
    var imageAt = Instant.start
    /// A reader has found the file damaged.
    var isSuspect = false
    var isClosing = false
    var waiters: [FlushWaiter] = []
    var counted = StoreStatistics()
    /// Given when there may be something to do.
    let work: Signal
    private(set) var timer: LoopTimer!
    let ended: Signal

    /// A caller of `flush`.
    final class FlushWaiter {
        let number: Int
        let done: Signal
        /// Whether a turn of writing began while it waited. Another turn's failure says nothing about its changes.
        var isTried = false
        var error: StoreError?

        init(number: Int, on loop: EventLoop) {
            self.number = number
            done = Signal(on: loop)
        }
    }

    private init(
        _ environment: any Environment, path: String?, limits: StoreLimits, onEvent: @escaping (StoreEvent) -> Void
    ) {
        self.environment = environment
        self.path = path ?? "memory"
        isKept = path != nil
        self.limits = limits
        self.onEvent = onEvent
        log = environment.log.subsystem("store")
        retryInterval = limits.retryInterval
        work = Signal(on: environment.loop)
        ended = Signal(on: environment.loop)
        timer = LoopTimer(on: environment.loop, label: "store") { [weak self] in self?.work.signal() }
    }

    /// Opens the database in the file `path` of the environment's files, makes it where it is missing, and brings it
    /// up to date. `onEvent` is called on the loop, from the opening on. Where `path` is `nil`, it is in memory alone.
    ///
    /// A disk that is full or fails, and a damaged file, are events and no errors. Throws `newer` or `foreign` where the
    /// file is not for this program, `badPath`, or `cancelled`.
    public static func open(
        _ environment: any Environment, path: String? = "peers.sqlite", limits: StoreLimits = StoreLimits(),
        onEvent: @escaping (StoreEvent) -> Void = { _ in }
    ) async throws(StoreError) -> PeerStore {
        let store = PeerStore(environment, path: path, limits: limits, onEvent: onEvent)
        try await store.open()
        environment.loop.spawn("store") { await store.serve() }
        return store
    }

    // MARK: Writing

    /// Takes changes, which are written with others soon. What is too large is cut or refused, as `limits` says.
    ///
    /// Costs no waiting. Does nothing after `close`.
    public func record(_ changes: [PeerChange]) {
        for change in changes { record(change) }
    }

    /// Takes a change, which is written with others soon.
    public func record(_ change: PeerChange) {
        counted.recorded += 1
        guard let bounded = limits.bounded(change) else {
            counted.refused += 1
            return
        }
        append(.change(bounded), size: bounded.size)
    }

    func append(_ kind: Work.Kind, size: Int) {
        if case .closed = place { return }
        guard !isClosing else { return }
        let pushedOut = queue.append(Work(kind: kind, time: environment.wallTime.seconds), size: size, limits: limits)
        if pushedOut > 0 { lost(pushedOut) }
        let due = environment.loop.now + limits.writeInterval
        if queue.count >= limits.batch, failure == nil {
            work.signal()
        } else if timer.deadline.map({ $0 > due }) ?? true {
            timer.arm(at: due)
        }
    }

    /// Waits until all that was recorded is in the file. Throws what keeps it from getting there.
    public func flush() async throws(StoreError) {
        if case .closed = place { throw .closed }
        let waiter = FlushWaiter(number: queue.end, on: environment.loop)
        guard waiter.number > durable else { return }
        waiters.append(waiter)
        work.signal()
        do {
            try await waiter.done.wait()
        } catch {
            waiters.removeAll { $0 === waiter }
            throw .cancelled
        }
        if let error = waiter.error { throw error }
    }

    /// Forgets what is old, by the rules in `limits`, and waits for it. To be called about once an hour.
    public func prune() async throws(StoreError) {
        append(.prune, size: 64)
        try await flush()
    }

    /// Writes what was recorded, and closes the database. Does nothing the second time.
    ///
    /// Throws what kept it from writing; the database is closed all the same.
    public func close() async throws(StoreError) {
        if case .closed = place { return }
        guard !isClosing else { return }
        let waiter = FlushWaiter(number: queue.end, on: environment.loop)
        waiters.append(waiter)
        isClosing = true
        work.signal()
        do {
            try await ended.wait()
        } catch {
            throw .cancelled
        }
        if let error = waiter.error { throw error }
    }

    // MARK: Reading

    /// The peers that `query` asks for.
    public func peers(matching query: PeerQuery = PeerQuery()) async throws(StoreError) -> [PeerSummary] {
        try await ask { reader throws(StoreError) in try reader.peers(query) }
    }

    /// All that is known of a peer, or `nil` where it is unknown.
    public func peer(_ id: PeerID) async throws(StoreError) -> PeerDetails? {
        try await ask { reader throws(StoreError) in try reader.details(id) }
    }

    /// The addresses of a peer, best first: where it was reached last time, the latest first; then those never tried;
    /// then those that failed since, the least often first. None where the peer is unknown.
    public func addressesToDial(_ id: PeerID) async throws(StoreError) -> [Multiaddr] {
        try await ask { reader throws(StoreError) in try reader.addresses(of: id).map(\.address) }
    }

    /// What was said about a peer, or about this node where `id` is `nil`; the newest first.
    public func evidence(about id: PeerID?) async throws(StoreError) -> [KnownEvidence] {
        try await ask { reader throws(StoreError) in try reader.evidence(about: id) }
    }

    /// How many rows the tables have.
    public func counts() async throws(StoreError) -> StoreCounts {
        try await ask { reader throws(StoreError) in try reader.counts() }
    }

    /// What the store has done since it was opened.
    public var statistics: StoreStatistics {
        var statistics = counted
        statistics.waiting = queue.count
        return statistics
    }

    /// What keeps the store from writing to the disk, while something does.
    public var trouble: StoreError? { failure }

    private func ask<Answer: Sendable>(
        _ question: @escaping @Sendable (PeerReader) throws(StoreError) -> Answer
    ) async throws(StoreError) -> Answer {
        let database: Database
        switch place {
        case .disk(let found), .image(let found), .memory(let found, _): database = found
        case .closed: throw .closed
        }
        do throws(StoreError) {
            return try await inBackground { () throws(StoreError) in try database.read(question) }
        } catch {
            if case .corrupt = error {
                isSuspect = true
                work.signal()
            }
            throw error
        }
    }

    /// Does `body` on a background thread.
    func inBackground<Result: Sendable>(
        _ body: @escaping @Sendable () throws(StoreError) -> Result
    ) async throws(StoreError) -> Result {
        do {
            return try await environment.background { try body() }
        } catch let error as StoreError {
            throw error
        } catch WorkersError.overloaded {
            throw .busy
        } catch {
            throw .cancelled
        }
    }
}
