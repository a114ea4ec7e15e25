/// What can secure an ordered stream of bytes, and prove who is at its ends.
public enum SecurityProtocol: String, CaseIterable, Hashable, Sendable {
    /// Noise XX with libp2p's payload.
    case noise = "/noise"
    /// TLS 1.3 with libp2p's certificates.
    case tls = "/tls/1.0.0"
}
