public import MartletIdentity
public import MartletRuntime
public import MartletTransport
package import MartletWire

/// What happens in a swarm that others may want to know.
public enum SwarmEvent: Hashable, Sendable {
    /// There is a connection to a peer that had none.
    case connected(ConnectionInfo)
    /// The last connection to a peer is gone.
    case disconnected(PeerID, DisconnectReason)
    /// One more connection to a peer that had one, or a better one in its place.
    case connectionAdded(ConnectionInfo)
    /// One of several connections to a peer is gone.
    case connectionRemoved(ConnectionInfo, DisconnectReason)
    /// The node accepts connections at this address from now on.
    case listening(Multiaddr)
    /// The node no longer accepts connections at this address.
    case stoppedListening(Multiaddr)
    /// A peer says that it sees this node at this address.
    case observedAddress(Multiaddr, by: PeerID)
    /// A peer has said what it is and can do, for the first time or anew.
    case identified(PeerID, PeerInfo)
    /// A peer's connection, dial or stream was refused.
    case refused(Refusal, peer: PeerID?, address: Multiaddr?)
}

/// A connection, as it is shown.
public struct ConnectionInfo: Hashable, Sendable {
    /// The swarm's number for it.
    public var number: UInt64
    /// Who is on the other side.
    public var peer: PeerID
    /// This end's address.
    public var localAddress: Multiaddr
    /// The other end's address.
    public var remoteAddress: Multiaddr
    /// What kind of connection it is.
    public var nature: ConnectionNature
    /// When it was made.
    public var madeAt: Instant

    /// The scope in which the peer is heard on it, which bounds what it may say of addresses: behind a relay the peer may
    /// be anywhere.
    package var scope: AddressScope {
        guard !nature.isRelayed else { return .world }
        return remoteAddress.ipAddress.flatMap { AddressScope($0) } ?? .world
    }

    /// The address of the other end; `nil` if it is reached through others.
    var remoteIP: IPAddress? { nature.isRelayed ? nil : remoteAddress.ipAddress }
}

/// Why a peer is no longer connected.
public enum DisconnectReason: Hashable, Sendable {
    /// This side wanted it so.
    case requested
    /// There were too many connections, and this was one of the least valuable.
    case trimmed
    /// Another connection to the same peer took its place.
    case replaced
    /// The lists changed, and the peer may no longer be connected.
    case refused(Refusal)
    /// The swarm was shut down.
    case shutDown
    /// It ended by itself, or the other side ended it.
    case ended(ConnectionError)
}

/// Why a peer could not be connected.
public enum ConnectError: Error, Hashable, Sendable {
    /// An address that was tried, and what came of it.
    public struct Attempt: Hashable, Sendable {
        /// The address.
        public var address: Multiaddr
        /// What went wrong.
        public var error: TransportError

        /// An attempt with its outcome.
        public init(address: Multiaddr, error: TransportError) {
            self.address = address
            self.error = error
        }
    }

    /// No address of the peer is known, or none that a transport can dial.
    case noAddresses
    /// Dialling each address failed not long ago; the first may be tried again at that time.
    case backingOff(until: Instant)
    /// Every address was tried.
    case failed([Attempt])
    /// This side does not want it.
    case refused(Refusal)
    /// It was not done by the deadline. What had failed until then is told.
    case timedOut([Attempt])
    /// Nobody waits for it any more, or the swarm was shut down.
    case cancelled
}

/// Why a stream to a peer could not be opened.
public enum SwarmError: Error, Hashable, Sendable {
    /// The peer could not be connected.
    case dial(ConnectError)
    /// No connection takes another stream to it, and none was to be made.
    case notConnected
    /// The connection to it ended, or has no room for another stream.
    case connection(ConnectionError)
    /// The other side speaks none of the protocols, or broke the stream off.
    case stream(StreamError)
    /// The answer was not what the protocol wants; the text says how.
    case violation(String)
    /// It was not done by its deadline.
    case timedOut

    /// What went wrong with a stream.
    init(_ error: StreamError) {
        switch error {
        case .timedOut: self = .timedOut
        case .connection(let reason): self = .connection(reason)
        default: self = .stream(error)
        }
    }
}

/// Hears of what happens in a swarm, until it is released.
public final class SwarmWatch {
    let body: (SwarmEvent) -> Void

    init(_ body: @escaping (SwarmEvent) -> Void) {
        self.body = body
    }
}
