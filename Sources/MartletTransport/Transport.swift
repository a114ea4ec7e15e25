public import MartletIdentity
public import MartletRuntime

/// A way to make connections: TCP with what upgrades it, QUIC, or one that comes from another room.
///
/// It belongs to a loop. What it hands out is authenticated and ready for streams.
public protocol Transport: AnyObject {
    /// Its name, as it stands in `ConnectionNature.transport`.
    var name: String { get }

    /// What its connections draw from, from the next one on, before anyone else sets `Connection.memory`. A transport
    /// that holds nothing of a stranger's without bounds can do without.
    var memory: ResourceScope? { get set }

    /// Whether `dial` can do anything with `address`.
    func canDial(_ address: Multiaddr) -> Bool

    /// Connects to `address` by `deadline`.
    ///
    /// Throws `wrongPeer` if another peer answers than `peer`, or than the one that `address` ends with (`/p2p/…`). If
    /// the two differ, it throws so at once. A connection that has ended before this returns counts as a failure.
    nonisolated(nonsending) func dial(
        _ address: Multiaddr, expecting peer: PeerID?, deadline: Instant
    ) async throws(TransportError) -> Connection

    /// Whether `listen` can do anything with `address`.
    func canListen(on address: Multiaddr) -> Bool

    /// Accepts connections at `address`, whose port may be 0 for any.
    func listen(on address: Multiaddr, _ inbound: Inbound) throws(TransportError) -> TransportListener
}

extension Transport {
    /// None.
    public var memory: ResourceScope? {
        get { nil }
        set {}
    }
}

extension Multiaddr {
    /// The peer that must answer at this address if `peer` is who the caller wants, or `nil` for whoever it is. Throws
    /// `wrongPeer` if the address names another.
    func expectedPeer(_ peer: PeerID?) throws(TransportError) -> PeerID? {
        guard let named = peerID else { return peer }
        if let peer, peer != named { throw .wrongPeer(expected: peer, actual: named) }
        return named
    }
}

extension Connection {
    /// Throws if the connection is over. Between the end of a handshake and the dialler's turn on the loop there is time
    /// for that.
    func mustBeOpen() throws(TransportError) {
        switch closeReason {
        case nil: return
        case .closedByPeer: throw .ended(.handshake)
        case .network(let reason): throw .network(NetworkError(reason, "connect"))
        case .unanswered, .idle, .timedOut: throw .timedOut(.handshake)
        case .violation(_, let detail): throw .handshake(detail)
        case .closed, .tooManyStreams, .noMoreStreams, .cancelled: throw .cancelled
        }
    }
}

/// Takes what comes to a listener.
public struct Inbound {
    /// What one who knocks is told.
    public enum Answer {
        /// Come in. The place is given back when the admission is.
        case admitted(Admission)
        /// Show first that what is sent to your address reaches you.
        case proveAddress
        /// No. The reason has been counted.
        case refused
    }

    /// Decides about one who knocks from an address, before anything costs much, and hears whether that address is
    /// proven: what is sent there is known to arrive. One that is proven is never asked to prove it.
    ///
    /// Bounds on what one address does are held against a proven one only. Anyone can write the address of somebody else
    /// on a packet, and nobody may be locked out that way.
    public var admit: (_ address: Multiaddr, _ isProven: Bool) -> Answer
    /// Takes a connection, and the place that it was made on.
    public var connected: (Connection, Admission) -> Void
    /// Hears of one that was admitted and came to nothing. Its place has been given back.
    public var failed: (Multiaddr, TransportError) -> Void

    /// Takes the connections that `admit` lets in by `connected`.
    public init(
        admit: @escaping (_ address: Multiaddr, _ isProven: Bool) -> Answer,
        failed: @escaping (Multiaddr, TransportError) -> Void = { _, _ in },
        connected: @escaping (Connection, Admission) -> Void
    ) {
        self.admit = admit
        self.failed = failed
        self.connected = connected
    }

    /// Takes all connections by `connected`.
    public init(
        failed: @escaping (Multiaddr, TransportError) -> Void = { _, _ in },
        connected: @escaping (Connection) -> Void
    ) {
        self.init(
            admit: { .admitted(Admission(of: $0, isProven: $1)) }, failed: failed,
            connected: { connection, admission in
                admission.giveBack()
                connected(connection)
            })
    }
}

/// A place where a transport accepts connections, until it is closed.
///
/// The class is abstract: a transport makes its own kind.
open class TransportListener {
    /// Where it listens, with the port it was given.
    public let address: Multiaddr

    /// A listener at `address`, for subclasses.
    public init(address: Multiaddr) {
        self.address = address
    }

    /// Stops accepting. Connections that were handed out live on.
    open func close() {
        preconditionFailure("abstract")
    }
}

/// Why no connection was made.
public enum TransportError: Error, Hashable, Sendable {
    /// A part of the way to a connection.
    public enum Stage: String, Hashable, Sendable {
        /// Looking up a name.
        case lookUp
        /// Connecting to an address.
        case connect
        /// Agreeing on what secures the connection.
        case securityNegotiation
        /// Proving who one is.
        case handshake
        /// Agreeing on what divides it into streams.
        case muxerNegotiation
    }

    /// The transport can do nothing with the address.
    case unsupportedAddress(Multiaddr)
    /// The network said no.
    case network(NetworkError)
    /// The name could not be looked up.
    case name(NameError)
    /// It was not done by the deadline.
    case timedOut(Stage)
    /// Another peer answered than was dialled.
    case wrongPeer(expected: PeerID, actual: PeerID)
    /// The two sides have nothing in common, or one does not know how to ask.
    case negotiation(MultistreamError)
    /// The proof of who is there failed, and why.
    case handshake(String)
    /// The other side ended or broke the connection.
    case ended(Stage)
    /// The conversation was cancelled, or the transport was closed.
    case cancelled
}
