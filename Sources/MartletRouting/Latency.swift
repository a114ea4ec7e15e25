internal import MartletRuntime

/// How long answers take, learnt from those that came: a smoothed mean and deviation, as TCP keeps them (RFC 6298).
public struct Latency: Hashable, Sendable {
    private var mean: Int64 = 0
    private var deviation: Int64 = 0
    private var isKnown = false
    private let range: ClosedRange<Int64>

    /// Nothing is known yet. What is expected will never lie outside `range`, and is `initial` until then.
    public init(initial: Duration = .seconds(1), range: ClosedRange<Duration> = .milliseconds(200)...(.seconds(2))) {
        self.range = range.lowerBound.nanoseconds...range.upperBound.nanoseconds
        mean = initial.nanoseconds
    }

    /// An answer took `duration`.
    public mutating func add(_ duration: Duration) {
        let sample = max(0, duration.nanoseconds)
        if isKnown {
            deviation += (abs(sample - mean) - deviation) / 4
            mean += (sample - mean) / 8
        } else {
            mean = sample
            deviation = sample / 2
            isKnown = true
        }
    }

    /// By when nearly all answers have come. What takes longer is slow, and may never come.
    public var expected: Duration {
        .nanoseconds(min(max(mean + 4 * deviation, range.lowerBound), range.upperBound))
    }
}
