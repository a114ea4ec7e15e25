public import MartletRuntime

/// What the two clocks of a machine show at one time: the one that people set and read, and the one that counts from its
/// start and goes on while it sleeps.
///
/// Records carry dates, so those are compared with the first. How old a record has become is counted by the second, which
/// nobody sets.
public struct Moment: Hashable, Sendable {
    /// The date.
    public var wall: WallTime
    /// The time since the machine was started.
    public var boot: Instant

    /// A moment with what both clocks show.
    public init(wall: WallTime, boot: Instant) {
        self.wall = wall
        self.boot = boot
    }
}
