public import MartletRuntime

/// What went wrong in a world, and how to see it again.
public struct WorldFailure: Error, CustomStringConvertible, Sendable {
    /// The world's seed.
    public var seed: UInt64
    /// When, on the virtual clock.
    public var time: Instant
    /// What.
    public var reason: String
    /// The command that makes it happen again.
    public var replay: String

    /// All of it in two lines.
    public var description: String {
        "at \(time) s in the world with seed \(seed): \(reason)\nreplay: \(replay)"
    }
}
