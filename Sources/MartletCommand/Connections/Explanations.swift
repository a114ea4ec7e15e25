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
