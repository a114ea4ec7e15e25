internal import MartletIdentity
internal import MartletWire

/// How far an address reaches: a machine that says who may name which addresses.
///
/// A peer is believed only about addresses that reach at least as far as the one at which it is heard itself. So nobody on
/// the Internet can make a node dial into its own network, and nobody in that network can make it dial itself.
enum AddressScope: Int, Comparable, Sendable {
    /// This host alone.
    case host
    /// A network that is not the Internet: private, link-local, shared behind a provider's translator, or reserved.
    case site
    /// The Internet.
    case world

    /// The scope of `address`; `nil` for what stands for no host, as a group does.
    init?(_ address: IPAddress) {
        let address = address.unmapped
        if address.isUnspecified || address.isMulticast { return nil }
        self = address.isLoopback ? .host : address.isGlobal ? .world : .site
    }

    static func < (left: AddressScope, right: AddressScope) -> Bool { left.rawValue < right.rawValue }

    /// Whether a peer that is heard in this scope may name `address`. Of a name to be looked up nobody can tell where it
    /// leads, so only this host itself may name one.
    func mayName(_ address: Multiaddr) -> Bool {
        guard let ip = address.ipAddress else { return self == .host }
        return mayName(ip)
    }

    /// Whether a peer that is heard in this scope may name `address`.
    func mayName(_ address: IPAddress) -> Bool {
        AddressScope(address).map { $0 >= self } ?? false
    }
}
