/// What a store has done since it was opened.
public struct StoreStatistics: Hashable, Sendable {
    /// Changes that were recorded.
    public var recorded = 0
    /// Changes that were written.
    public var written = 0
    /// Changes that were refused: too large, older than what is known, about somebody unknown.
    public var refused = 0
    /// Changes that were given up: there was no room for them while the disk failed.
    public var lost = 0
    /// Changes that wait to be written.
    public var waiting = 0
    /// Batches that were written.
    public var batches = 0
    /// Batches that could not be written.
    public var failures = 0
    /// How long writing has taken in all, waiting for a thread included.
    public var writing = Duration.zero
    /// What was forgotten, for its age or for want of room.
    public var pruned = PruneCounts()
}
