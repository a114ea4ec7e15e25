internal import Synchronization

/// How many bytes the buffers of a node may hold: one ceiling over all its connections.
///
/// Those who buffer what a stranger can make grow draw from it and give back. What is drawn is counted even where it
/// goes beyond the limit, since it is there; whoever sees that `isExhausted` takes on nothing more and drops what it
/// can. May be used from any thread.
public final class MemoryBudget: Sendable {
    /// How many bytes there may be.
    public let limit: Int
    private let drawn = Atomic<Int>(0)
    private let most = Atomic<Int>(0)

    /// A budget of `limit` bytes.
    public init(limit: Int) {
        self.limit = limit
    }

    /// How many bytes are held.
    public var used: Int { drawn.load(ordering: .relaxed) }

    /// How many bytes were held at most.
    public var peak: Int { most.load(ordering: .relaxed) }

    /// Whether all is used.
    public var isExhausted: Bool { used >= limit }

    /// Counts `bytes` more, or fewer where it is negative.
    public func draw(_ bytes: Int) {
        guard bytes != 0 else { return }
        let now = drawn.add(bytes, ordering: .relaxed).newValue
        if bytes > 0, now > most.load(ordering: .relaxed) { most.max(now, ordering: .relaxed) }
    }
}
