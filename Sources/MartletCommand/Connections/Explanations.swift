import Martlet

extension ConnectError {
    /// What failed, and what to do about it, for a person.
    var explanation: String {
        switch self {
        case .noAddresses: "no transport can dial this address; give one like /ip4/192.0.2.1/tcp/4001"
        case .backingOff: "it failed a moment ago; try again in some seconds"
        case .refused(let reason): "this side does not want it (\(reason.rawValue))"
        case .cancelled: "cancelled"
        case .failed(let attempts), .timedOut(let attempts):
            attempts.isEmpty
                ? "nobody answered in time; is the peer running, and is its port open?"
                : attempts.map(\.error.explanation).joined(separator: "; ")
        }
    }
}

extension SwarmError {
    /// What failed, and what to do about it, for a person.
    var explanation: String {
        switch self {
        case .dial(let error): error.explanation
        case .notConnected: "it is not connected"
        case .connection: "the connection is over, or has no room for another stream"
        case .stream(.protocolsNotSupported(let names)):
            "it does not offer \(names.joined(separator: " or "))"
        case .stream(.reset), .stream(.stopped): "it broke the stream off; perhaps it has too much to do"
        case .stream(.truncated): "it ended the stream too early"
        case .stream(let error): "the stream is over (\(error))"
        case .violation(let words): "it broke the protocol: \(words)"
        case .timedOut: "it did not answer in time"
        }
    }
}

extension TransportError {
    /// What failed, and what to do about it, for a person.
    var explanation: String {
        switch self {
        case .unsupportedAddress: "no transport knows this kind of address"
        case .network(let error): "\(error); is the peer running there?"
        case .name(let error): "its name could not be looked up (\(error))"
        case .timedOut(let stage): "no answer in time (\(stage.rawValue)); is its port open?"
        case .wrongPeer(let expected, let actual): "\(actual) is there, and not \(expected)"
        case .negotiation: "it speaks neither Noise nor Yamux, or no libp2p at all"
        case .handshake(let reason): "the handshake failed: \(reason)"
        case .ended(let stage): "it hung up (\(stage.rawValue))"
        case .cancelled: "cancelled"
        }
    }
}
