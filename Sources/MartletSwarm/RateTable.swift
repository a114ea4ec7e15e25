package import MartletRuntime

/// How much of a `Rate` one source has used: a machine of one number (the generic cell rate algorithm).
package struct RateMeter: Sendable {
    /// When all that was used is paid back.
    package private(set) var restedAt = Instant.start

    /// One of which nothing is used.
    package init() {}

    /// Whether it may happen `amount` times more at `now`; counts them where it may.
    package mutating func take(_ rate: Rate, amount: Int = 1, at now: Instant) -> Bool {
        let interval = 1_000_000_000 / rate.perSecond
        let start = max(restedAt, now)
        let next = start + .nanoseconds(Int64(interval * Double(amount)))
        let allowance = Duration.nanoseconds(Int64(interval * Double(rate.burst)))
        guard next <= now + allowance else { return false }
        restedAt = next
        return true
    }

    /// Whether it may happen once more at `now`.
    func allows(_ rate: Rate, at now: Instant) -> Bool {
        var copy = self
        return copy.take(rate, at: now)
    }

    /// From when on it may happen once more at `rate`.
    func next(_ rate: Rate) -> Instant {
        let allowance = Duration.nanoseconds(Int64(1_000_000_000 / rate.perSecond * Double(rate.burst - 1)))
        return restedAt - .start > allowance ? .start + (restedAt - .start - allowance) : .start
    }

    /// Counts once what has happened by `now`, even if it was not allowed: it delays what comes next.
    mutating func charge(_ rate: Rate, at now: Instant) {
        restedAt = max(restedAt, now) + .nanoseconds(Int64(1_000_000_000 / rate.perSecond))
    }

    /// Takes back once what was counted: it turned out to be of no harm.
    package mutating func refund(_ rate: Rate, at now: Instant) {
        guard restedAt > now else { return }
        restedAt = max(now, restedAt - .nanoseconds(Int64(1_000_000_000 / rate.perSecond)))
    }

    /// Whether nothing is remembered any more.
    func isRested(at now: Instant) -> Bool { restedAt <= now }
}

/// The rates of many sources: a machine that remembers a bounded number of them.
package struct RateTable<Source: Hashable & Sendable>: Sendable {
    private let rate: Rate
    private let capacity: Int
    private var meters: [Source: RateMeter] = [:]
    /// What sources share for which there is no place of their own.
    private var shared = RateMeter()
    private var nextSweep = Instant.start

    /// No sources yet, each of which may at `rate`.
    package init(_ rate: Rate, remembering capacity: Int) {
        self.rate = rate
        self.capacity = capacity
    }

    var count: Int { meters.count }

    /// Whether `source` may once more at `now`; counts it where it may.
    package mutating func take(_ source: Source, at now: Instant) -> Bool {
        if meters[source] == nil, meters.count >= capacity {
            sweep(at: now)
            if meters.count >= capacity { return shared.take(rate, at: now) }
        }
        return meters[source, default: RateMeter()].take(rate, at: now)
    }

    /// Whether `source` may once more at `now`.
    func allows(_ source: Source, at now: Instant) -> Bool {
        if let meter = meters[source] { return meter.allows(rate, at: now) }
        return meters.count < capacity || shared.allows(rate, at: now)
    }

    /// Counts `source` once, even if it may not at `now`.
    mutating func charge(_ source: Source, at now: Instant) {
        if meters[source] == nil, meters.count >= capacity { sweep(at: now) }
        if meters[source] == nil, meters.count >= capacity { return shared.charge(rate, at: now) }
        meters[source, default: RateMeter()].charge(rate, at: now)
    }

    /// Forgets who has rested. At most once a second, since it looks at all of them.
    private mutating func sweep(at now: Instant) {
        guard now >= nextSweep else { return }
        nextSweep = now + .seconds(1)
        meters = meters.filter { !$0.value.isRested(at: now) }
    }
}
