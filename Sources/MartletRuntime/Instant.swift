/// A point in time on a clock that never goes back: nanoseconds since some start that means nothing by itself.
///
/// The only clock that timers and deadlines use. What a person reads is `WallTime`.
public struct Instant: Hashable, Comparable, Sendable {
    /// Nanoseconds since the clock's start.
    public var nanoseconds: UInt64

    /// The instant `nanoseconds` after the clock's start.
    @inlinable
    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// The clock's start.
    public static let start = Instant(nanoseconds: 0)

    /// Later than anything that happens.
    public static let never = Instant(nanoseconds: .max)

    /// Whether `left` is before `right`.
    @inlinable
    public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

    /// `duration` later, or earlier where it is negative; held within `start` and `never`.
    @inlinable
    public static func + (instant: Instant, duration: Duration) -> Instant {
        let nanoseconds = duration.nanoseconds
        let (sum, overflow) = instant.nanoseconds.addingReportingOverflow(UInt64(bitPattern: nanoseconds))
        guard overflow == (nanoseconds < 0) else { return nanoseconds < 0 ? .start : .never }
        return Instant(nanoseconds: sum)
    }

    /// `duration` later.
    @inlinable
    public static func += (instant: inout Instant, duration: Duration) { instant = instant + duration }

    /// `duration` earlier.
    @inlinable
    public static func - (instant: Instant, duration: Duration) -> Instant {
        instant + .nanoseconds(-duration.nanoseconds)
    }

    /// How long from `right` to `left`.
    @inlinable
    public static func - (left: Instant, right: Instant) -> Duration {
        .nanoseconds(Int64(clamping: Int128(left.nanoseconds) - Int128(right.nanoseconds)))
    }
}

extension Instant: CustomStringConvertible {
    /// Seconds since the clock's start, to the microsecond.
    public var description: String {
        let fraction = String(nanoseconds % 1_000_000_000 / 1000)
        return "\(nanoseconds / 1_000_000_000).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
    }
}

extension Duration {
    /// The whole duration in nanoseconds, held within what 64 bits can tell (292 years).
    @inlinable
    public var nanoseconds: Int64 {
        // `components` would trap on what has more seconds than 64 bits can tell.
        max(.min + 1, Int64(clamping: attoseconds / 1_000_000_000))
    }

    /// This duration, doubled `times` times but at most `most`: the pause before another attempt at something that keeps
    /// failing. It never overflows, however many attempts there were.
    @inlinable
    public func doubled(_ times: Int = 1, atMost most: Duration) -> Duration {
        let (product, overflow) = attoseconds.multipliedReportingOverflow(by: Int128(1) << min(max(0, times), 126))
        return overflow ? most : min(most, Duration(attoseconds: product))
    }
}

/// What a calendar clock shows: nanoseconds since 1970, UTC. It may jump either way, so nothing waits for it.
public struct WallTime: Hashable, Comparable, Sendable {
    /// Nanoseconds since the beginning of 1970, UTC.
    public var nanoseconds: Int64

    /// The time `nanoseconds` after the beginning of 1970.
    @inlinable
    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// Whole seconds since the beginning of 1970, UTC.
    @inlinable
    public var seconds: Int64 { nanoseconds / 1_000_000_000 }

    /// Whether `left` is before `right`.
    @inlinable
    public static func < (left: WallTime, right: WallTime) -> Bool { left.nanoseconds < right.nanoseconds }

    /// `duration` later, or earlier if it is negative; held within what 64 bits can tell, as others write any time they like.
    @inlinable
    public static func + (time: WallTime, duration: Duration) -> WallTime {
        WallTime(nanoseconds: Int64(clamping: Int128(time.nanoseconds) + Int128(duration.nanoseconds)))
    }

    /// `duration` earlier, held in the same way.
    @inlinable
    public static func - (time: WallTime, duration: Duration) -> WallTime {
        WallTime(nanoseconds: Int64(clamping: Int128(time.nanoseconds) - Int128(duration.nanoseconds)))
    }

    /// How long from `right` to `left`, held in the same way.
    @inlinable
    public static func - (left: WallTime, right: WallTime) -> Duration {
        .nanoseconds(Int64(clamping: Int128(left.nanoseconds) - Int128(right.nanoseconds)))
    }
}
