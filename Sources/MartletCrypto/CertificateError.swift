public import MartletWire

/// Why a certificate does not authenticate a peer.
public enum CertificateError: Error, Hashable, Sendable {
    /// The peer sent another number of certificates than one.
    case chainLength(Int)
    /// The bytes are no DER value, or hold lengths that disagree, at an offset; or they are longer than accepted.
    case malformed(WireError)
    /// The bytes are DER, but no X.509 certificate of version 3 in its one canonical form.
    case notACertificate
    /// The deprecated unique ids of issuer or subject are there.
    case uniqueIdentifier
    /// A critical extension that means nothing here, by its object identifier.
    case unknownCriticalExtension(String)
    /// libp2p's extension is not there.
    case extensionMissing
    /// libp2p's extension is there twice.
    case extensionRepeated
    /// libp2p's extension does not hold a key and a signature; the offset counts within its value.
    case extensionMalformed(WireError)
    /// The host key in libp2p's extension is not a key.
    case hostKey(KeyError)
    /// The certificate's key has a type, curve, form or size that is not accepted.
    case certificateKey
    /// The certificate is signed by an algorithm that is not accepted, or that does not fit its key.
    case algorithm
    /// It is not valid before this time, in seconds since 1970.
    case notYetValid(until: Int64)
    /// It was valid until this time, in seconds since 1970.
    case expired(since: Int64)
    /// The certificate's key did not sign the certificate.
    case selfSignature
    /// The host key did not sign the certificate's key.
    case hostSignature
}

extension CertificateError: CustomStringConvertible {
    /// What is wrong, for a log line.
    public var description: String {
        switch self {
        case .chainLength(let count): "\(count) certificates where there must be one"
        case .malformed(let error): "malformed certificate: \(error)"
        case .notACertificate: "not an X.509 certificate of version 3 in DER"
        case .uniqueIdentifier: "the certificate has a unique identifier"
        case .unknownCriticalExtension(let name): "unknown critical extension \(name)"
        case .extensionMissing: "the certificate lacks libp2p's extension"
        case .extensionRepeated: "the certificate has libp2p's extension twice"
        case .extensionMalformed(let error): "malformed libp2p extension: \(error)"
        case .hostKey(let error): "host key: \(error)"
        case .certificateKey: "the certificate's key is of a kind that is not accepted"
        case .algorithm: "the certificate's signature algorithm is not accepted with its key"
        case .notYetValid(let time): "the certificate is not valid before \(time)"
        case .expired(let time): "the certificate was valid until \(time)"
        case .selfSignature: "the certificate is not signed by its own key"
        case .hostSignature: "the host key did not sign the certificate's key"
        }
    }
}
