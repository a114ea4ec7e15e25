public import MartletIdentity
public import MartletWire

/// A block of IP addresses: all that begin with the same bits.
public struct IPBlock: Hashable, Sendable {
    /// The first address.
    public let network: IPAddress
    /// How many leading bits all share.
    public let length: Int

    /// The block around `address` whose members share its first `length` bits.
    public init(_ address: IPAddress, length: Int) {
        let address = address.unmapped
        network = address.prefix(length)
        self.length = max(0, min(length, address.isV4 ? 32 : 128))
    }

    /// The block of the one address.
    public init(_ address: IPAddress) {
        self.init(address, length: 128)
    }

    /// Whether `address` is in it.
    public func contains(_ address: IPAddress) -> Bool {
        address.unmapped.isInside(network, prefix: length)
    }

    /// The block that limits count together: an IPv4 /24 or an IPv6 /48.
    public static func neighbourhood(of address: IPAddress) -> IPBlock {
        let address = address.unmapped
        return IPBlock(address, length: address.isV4 ? 24 : 48)
    }

    /// What one host has to itself: an IPv4 address or an IPv6 /64.
    static func host(of address: IPAddress) -> IPBlock {
        let address = address.unmapped
        return IPBlock(address, length: address.isV4 ? 32 : 64)
    }

    /// What one provider or institution is given, and can deal out as it likes: an IPv4 /16 or an IPv6 /32. `nil` for
    /// addresses that are no one's in particular: those of this host and of networks that it shares with its peers.
    static func allocation(of address: IPAddress) -> IPBlock? {
        let address = address.unmapped
        guard !address.isLoopback, !address.isPrivate, !address.isLinkLocal, !address.isShared else { return nil }
        return IPBlock(address, length: address.isV4 ? 16 : 32)
    }
}

/// Who may be connected: a machine. The block list counts more than the allow list.
public struct AccessLists: Hashable, Sendable {
    /// Peers that are never connected.
    public var blockedPeers: Set<PeerID> = []
    /// Networks that are never connected.
    public var blockedNetworks: Set<IPBlock> = []
    /// Where it is not `nil`, only these peers are connected: a private network.
    public var allowedPeers: Set<PeerID>?
    /// Where it is not `nil`, only these networks are connected.
    public var allowedNetworks: Set<IPBlock>?

    /// Lists that let everyone in.
    public init() {}

    /// Why nobody from `address` may be connected, or `nil`.
    public func refusal(of address: IPAddress) -> Refusal? {
        if blockedNetworks.contains(where: { $0.contains(address) }) { return .blocked }
        if let allowedNetworks, !allowedNetworks.contains(where: { $0.contains(address) }) { return .notAllowed }
        return nil
    }

    /// Why `peer` may not be connected, or `nil`.
    public func refusal(of peer: PeerID) -> Refusal? {
        if blockedPeers.contains(peer) { return .blocked }
        if let allowedPeers, !allowedPeers.contains(peer) { return .notAllowed }
        return nil
    }

    /// Why `peer` at `address` may not be connected, or `nil`.
    public func refusal(of peer: PeerID, at address: IPAddress?) -> Refusal? {
        refusal(of: peer) ?? address.flatMap { refusal(of: $0) }
    }
}
