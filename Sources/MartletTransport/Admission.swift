public import MartletIdentity

/// A place for a connection that comes in, from when it is let in until it is made or comes to nothing.
///
/// Whoever lets connections in hands one out for each, and gets the place back once: by `giveBack`, or when nobody holds
/// the admission any more. So no way out can forget it. It belongs to the loop of its transport.
public final class Admission {
    /// Where the connection comes from.
    public let address: Multiaddr
    /// Whether what is sent to that address was known to arrive there when the connection was let in. If not, anybody
    /// may have written the address on a packet.
    public let isProven: Bool
    private var returning: (() -> Void)?

    /// A place for what comes from `address`; `returning` is called once when it is free again.
    public init(of address: Multiaddr, isProven: Bool, returning: (() -> Void)? = nil) {
        self.address = address
        self.isProven = isProven
        self.returning = returning
    }

    deinit {
        giveBack()
    }

    /// Gives the place back, unless that has been done. Whoever makes a connection of it does so first, and then asks
    /// for a place among those that are made.
    public func giveBack() {
        returning.take()?()
    }
}
