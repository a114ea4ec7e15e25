public import MartletIdentity
public import MartletRuntime

/// A way to find peers: a room's own, which the swarm and the node ask without knowing how it works.
///
/// It belongs to the swarm's loop.
public protocol DiscoveryService: AnyObject {
    /// Its name, for log lines: `dht`, `mdns`.
    var name: String { get }

    /// Looks up where `peer` can be reached, by `deadline`. Nothing found is an empty list.
    nonisolated(nonsending) func addresses(of peer: PeerID, deadline: Instant) async -> [Multiaddr]

    /// Makes this node known under `topic`, until the result is released.
    func announce(_ topic: String) -> DiscoveryTask

    /// Calls `found` for each peer that is found under `topic`, once for each, until the result is released.
    func find(_ topic: String, _ found: @escaping (DiscoveredPeer) -> Void) -> DiscoveryTask
}

/// A peer that was found, and where. Nothing of it is proven.
public struct DiscoveredPeer: Hashable, Sendable {
    /// Its id, where the way it was found tells it.
    public var peer: PeerID?
    /// Where it is said to be reachable.
    public var addresses: [Multiaddr]

    /// A peer with what is known of it.
    public init(peer: PeerID?, addresses: [Multiaddr]) {
        self.peer = peer
        self.addresses = addresses
    }
}

/// Something that a discovery service goes on doing until this is released.
open class DiscoveryTask {
    /// A task for subclasses.
    public init() {}
}
