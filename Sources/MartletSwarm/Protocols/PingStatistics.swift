/// Round-trip times as pings measured them: how many, and how they are spread.
public struct PingStatistics: Hashable, Sendable {
    /// Pings that were answered.
    public private(set) var answered = 0
    /// Pings that were not.
    public private(set) var lost = 0
    /// The shortest round trip.
    public private(set) var minimum: Duration?
    /// The longest round trip.
    public private(set) var maximum: Duration?
    /// The last round trip.
    public private(set) var last: Duration?
    /// The estimate that follows the newest by an eighth each (RFC 6298 §2).
    public private(set) var smoothed: Duration?
    /// How far round trips differ from the estimate, by a quarter each (RFC 6298 §2).
    public private(set) var variation = Duration.zero
    private var meanNanoseconds = 0.0
    private var squares = 0.0

    /// Nothing measured yet.
    public init() {}

    /// The mean of all round trips.
    public var mean: Duration? { answered > 0 ? .nanoseconds(Int64(meanNanoseconds)) : nil }

    /// The standard deviation of all round trips.
    public var deviation: Duration? {
        answered > 0 ? .nanoseconds(Int64((squares / Double(answered)).squareRoot())) : nil
    }

    /// Counts an answer after `roundTrip`.
    public mutating func add(_ roundTrip: Duration) {
        answered += 1
        last = roundTrip
        minimum = min(minimum ?? roundTrip, roundTrip)
        maximum = max(maximum ?? roundTrip, roundTrip)
        let value = roundTrip / .nanoseconds(1)
        let difference = value - meanNanoseconds
        meanNanoseconds += difference / Double(answered)
        squares += difference * (value - meanNanoseconds)
        guard let before = smoothed else {
            smoothed = roundTrip
            variation = roundTrip / 2
            return
        }
        let distance = before > roundTrip ? before - roundTrip : roundTrip - before
        variation = variation * 3 / 4 + distance / 4
        smoothed = before * 7 / 8 + roundTrip / 8
    }

    /// Counts a ping that was not answered.
    public mutating func addLoss() {
        lost += 1
    }
}
