/// How long a node keeps connections that nobody has named, and how many.
public struct LeaseLimits: Hashable, Sendable {
    /// How long a peer that has come may take to show what it is of use for.
    public var arrival = Duration.seconds(60)
    /// How long a connection stays that nothing wants any more: what is under way on it, as identify, may end.
    public var linger = Duration.seconds(5)
    /// How long a peer stays of use that has used a protocol of the node's user.
    public var use = Duration.seconds(600)
    /// How often one of the connections beyond the high mark is closed.
    public var closing = Duration.seconds(2)

    /// The defaults.
    public init() {}
}
