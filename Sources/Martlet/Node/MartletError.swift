public import MartletIdentity
internal import MartletSwarm
internal import MartletTransport

/// What a node could not do, for a program by its code and for a person by its sentence.
public struct MartletError: Error, Hashable, Sendable {
    /// What kind of failure it is. New kinds may come with later versions.
    public enum Code: String, Hashable, Sendable, CaseIterable {
        /// The configuration makes no sense.
        case invalidConfiguration = "invalid_configuration"
        /// The node's key cannot be read or made.
        case identity
        /// An address cannot be listened on.
        case listen
        /// The node has not been started, or has been stopped.
        case notRunning = "not_running"
        /// The node has been started already.
        case alreadyRunning = "already_running"
        /// The peer did not answer at any of its addresses.
        case unreachable
        /// This side or the other does not want it.
        case refused
        /// Nothing is known of the peer, or it is not on the topic.
        case unknownPeer = "unknown_peer"
        /// The peer does not speak the protocol.
        case notSupported = "not_supported"
        /// It was not done in time.
        case timedOut = "timed_out"
        /// It is larger than it may be.
        case tooLarge = "too_large"
        /// The peer database cannot be used.
        case storage
        /// The task that asked for it was cancelled.
        case cancelled
        /// The connection or stream is over.
        case closed
        /// The system refuses what a node needs: memory, descriptors, threads.
        case system
    }

    /// What kind of failure it is.
    public var code: Code
    /// A sentence that says what failed, and what to do where something can be done.
    public var message: String
    /// The peer that it is about.
    public var peer: PeerID?
    /// The address that it is about.
    public var address: Multiaddr?

    /// An error with its parts.
    public init(_ code: Code, _ message: String, peer: PeerID? = nil, address: Multiaddr? = nil) {
        self.code = code
        self.message = message
        self.peer = peer
        self.address = address
    }
}

extension MartletError: CustomStringConvertible {
    /// The sentence.
    public var description: String { message }
}

extension MartletError {
    static let notRunning = MartletError(.notRunning, "the node is not running; start it first")

    /// Why `peer`, or whoever is at `address`, could not be connected.
    init(_ error: ConnectError, peer: PeerID? = nil, address: Multiaddr? = nil) {
        let whom = peer.map { "\($0)" } ?? address.map { "\($0)" } ?? "the peer"
        let (code, reason): (Code, String) =
            switch error {
            case .noAddresses: (.unreachable, "no address of it is known that can be dialled; give one, with its port")
            case .backingOff: (.unreachable, "it failed a moment ago and is left alone for a while; try again later")
            case .refused(let refusal): (.refused, "this side does not want it (\(refusal.rawValue))")
            case .cancelled: (.cancelled, "it was cancelled")
            case .failed(let attempts): (.unreachable, Self.words(attempts))
            case .timedOut(let attempts): (.timedOut, Self.words(attempts))
            }
        self.init(code, "cannot connect to \(whom): \(reason)", peer: peer, address: address)
    }

    private static func words(_ attempts: [ConnectError.Attempt]) -> String {
        guard !attempts.isEmpty else { return "nobody answered in time; is it running, and is its port open?" }
        return attempts.prefix(4).map { "\($0.address): \($0.error.inWords)" }.joined(separator: "; ")
    }

    /// Why a stream to `peer` could not be opened or used.
    init(_ error: SwarmError, peer: PeerID) {
        switch error {
        case .dial(let error): self.init(error, peer: peer)
        case .notConnected: self.init(.closed, "no connection to \(peer) takes another stream", peer: peer)
        case .connection(.cancelled), .stream(.cancelled): self.init(.cancelled, "it was cancelled", peer: peer)
        case .connection(let error):
            self.init(.closed, "the connection to \(peer) is over or full: \(error)", peer: peer)
        case .stream(.protocolsNotSupported):
            self.init(.notSupported, "\(peer) does not speak this protocol", peer: peer)
        case .stream(let error): self.init(.closed, "the stream to \(peer) is over: \(error)", peer: peer)
        case .violation(let words): self.init(.closed, "\(peer) broke the protocol: \(words)", peer: peer)
        case .timedOut: self.init(.timedOut, "\(peer) did not answer in time", peer: peer)
        }
    }
}

extension TransportError {
    /// What went wrong, in a few words.
    var inWords: String {
        switch self {
        case .unsupportedAddress: "no transport knows this kind of address"
        case .network(let error): "\(error)"
        case .name(let error): "its name could not be looked up (\(error))"
        case .timedOut(let stage): "no answer in time (\(stage.rawValue))"
        case .wrongPeer(_, let actual): "\(actual) is there instead"
        case .negotiation: "it speaks no protocol that is known here"
        case .handshake(let reason): "the handshake failed: \(reason)"
        case .ended(let stage): "it hung up (\(stage.rawValue))"
        case .cancelled: "cancelled"
        }
    }
}
