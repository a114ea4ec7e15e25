/// How far an address reaches: a machine that says who may name which addresses.
///
/// A peer is believed only about addresses that reach at least as far as the one at which it is heard itself. So nobody on
/// the Internet can make a node dial into its own network, and nobody in that network can make it dial itself.
package enum AddressScope: Int, Comparable, Sendable {
    /// This host alone.
    case host
    /// A network that is not the Internet: private, link-local, shared behind a provider's translator, or reserved.
    case site
    /// The Internet.
    case world

    /// The scope of `address`; `nil` for what stands for no host, as a group does.
    package init?(_ address: IPAddress) {
        let address = address.unmapped
        if address.isUnspecified || address.isMulticast { return nil }
        self = address.isLoopback ? .host : address.isGlobal ? .world : .site
    }

    package static func < (left: AddressScope, right: AddressScope) -> Bool { left.rawValue < right.rawValue }

    /// Whether a peer that is heard in this scope may name `address`.
    package func mayName(_ address: IPAddress) -> Bool {
        AddressScope(address).map { $0 >= self } ?? false
    }
}
