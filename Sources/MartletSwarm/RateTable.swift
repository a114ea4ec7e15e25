package import MartletRuntime

/// How much of a `Rate` one source has used: a machine of one number (the generic cell rate algorithm).
package struct RateMeter: Sendable {
    /// When all that was used is paid back.
    private(set) var restedAt = Instant.start

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

    /// Whether nothing is remembered any more.
    func isRested(at now: Instant) -> Bool { restedAt <= now }
}

/// The rates of many sources: a machine that remembers at most so many of them.
struct RateTable<Source: Hashable & Sendable>: Sendable {
    private let rate: Rate
    private let capacity: Int
    private var meters: [Source: RateMeter] = [:]
    /// What sources share for which there is no place of their own.
    private var shared = RateMeter()
    private var nextSweep = Instant.start

    init(_ rate: Rate, remembering capacity: Int) {
        self.rate = rate
        self.capacity = capacity
    }

    var count: Int { meters.count }

    /// Whether `source` may once more at `now`; counts it where it may.
    mutating func take(_ source: Source, at now: Instant) -> Bool {
        if meters[source] == nil, meters.count >= capacity {
            sweep(at: now)
            if meters.count >= capacity { return shared.take(rate, at: now) }
        }
        return meters[source, default: RateMeter()].take(rate, at: now)
    }

    /// Forgets who has rested. At most once a second, since it looks at all of them.
    private mutating func sweep(at now: Instant) {
        guard now >= nextSweep else { return }
        nextSweep = now + .seconds(1)
        meters = meters.filter { !$0.value.isRested(at: now) }
    }
}
