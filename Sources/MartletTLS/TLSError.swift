public import MartletCrypto

/// Why a TLS session did not come about, or broke.
public enum TLSError: Error, Hashable, Sendable {
    /// The peer's certificate does not prove a host key.
    case certificate(CertificateError)
    /// The peer proved another host key than the one that was expected.
    case unexpectedPeer(PublicKey)
    /// Neither side's protocols are the other's.
    case noCommonProtocol
    /// The peer sent an alert, by its number in RFC 8446 §6.
    case alert(UInt8)
    /// The peer broke the protocol or failed at it, in GnuTLS's words.
    case failed(String)
    /// The peer's bytes ended without a close alert: what came may have been cut.
    case truncated
}

extension TLSError: CustomStringConvertible {
    /// What is wrong, for a log line.
    public var description: String {
        switch self {
        case .certificate(let error): "\(error)"
        case .unexpectedPeer(let key): "another peer answered: \(key)"
        case .noCommonProtocol: "no protocol in common"
        case .alert(let number): "the peer sent TLS alert \(number)"
        case .failed(let words): words
        case .truncated: "the stream ended without a close alert"
        }
    }
}
