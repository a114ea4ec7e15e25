/// A point of a space in which the distance of two keys is their exclusive or, read as a number (Maymounkov and
/// Mazières, "Kademlia", 2002): 20 bytes in the BitTorrent DHT, 32 in libp2p's.
public protocol RoutingKey: Hashable, Comparable, Sendable {
    /// How many bits a key has.
    static var bitCount: Int { get }

    /// How many leading bits both have in common: the more, the closer they are.
    func commonPrefixLength(with other: Self) -> Int

    /// Whether this key is closer to `target` than `other` is.
    func isCloser(to target: Self, than other: Self) -> Bool

    /// A key that has exactly `length` leading bits in common with this one and is otherwise drawn evenly; this key
    /// itself where `length` is all of them.
    func drawn(sharing length: Int, using generator: inout some RandomNumberGenerator) -> Self
}

/// Where a node of the network is reached.
public protocol RoutingContact: Hashable, Sendable {
    /// What addresses of one owner are likely to have in common.
    associatedtype Network: Hashable
    /// What a host owns: all addresses that cost it nothing.
    associatedtype Host: Hashable
    /// The host whose contacts are counted together, or `nil` if nothing is counted.
    var host: Host? { get }
    /// The network whose members are counted together, or `nil` where nothing is counted.
    var network: Network? { get }
}

/// The bounds of a routing table.
public struct RoutingLimits: Hashable, Sendable {
    /// How many nodes a bucket holds, from the one farthest away on; all further ones hold as many as the last.
    public var bucketSizes = [32, 16, 8]
    /// How many nodes wait for a place in each bucket.
    public var replacements = 8
    /// How many nodes of one host wait in each bucket.
    public var waitingPerHost = 1
    /// How many nodes of one network wait in each bucket.
    public var waitingPerNetwork = 2
    /// How many nodes of one network a bucket holds.
    public var nodesPerNetwork = 2
    /// How long a node that was heard from counts as good.
    public var goodFor = Duration.seconds(15 * 60)
    /// How many queries in a row a node leaves unanswered until it counts as bad.
    public var failures = 2
    /// After how many it is forgotten even where nobody waits for its place.
    public var failuresUntilForgotten = 8
    /// How long a bucket stays as it is until it is looked through.
    public var refreshAfter = Duration.seconds(15 * 60)

    /// The defaults.
    public init() {}

    /// How many nodes the bucket at `index` holds.
    @inlinable
    public func bucketSize(_ index: Int) -> Int {
        bucketSizes.isEmpty ? 8 : bucketSizes[min(index, bucketSizes.count - 1)]
    }
}
