public import MartletCrypto
public import MartletRuntime
public import MartletTLS
public import MartletTransport

/// How the transports of every node are to be made.
public struct TransportConfiguration: Sendable {
    /// Whether QUIC is used.
    public var usesQUIC = true
    /// Whether TCP is used, with Yamux.
    public var usesTCP = true
    /// What may secure TCP connections, best first.
    public var security: [SecurityProtocol] = [.noise, .tls]
    /// The bounds of QUIC.
    public var quic = QUICLimits()
    /// The bounds of the upgrade of TCP connections.
    public var upgrade = UpgradeLimits()
    /// The kind of the certificates of QUIC and TLS. Ed25519 in a simulated world, since ECDSA signatures vary in length.
    public var certificateKey = TLSCredentials.CertificateKey.ecdsaP256

    /// QUIC and TCP, with the default bounds.
    public init() {}

    /// The transports of the holder of `identity`, in the order in which they are asked.
    public func make(environment: any Environment, identity: PrivateKey) -> [any Transport] {
        var transports: [any Transport] = []
        if usesQUIC {
            transports.append(
                QUICTransport(
                    environment: environment, hostKey: identity, certificateKey: certificateKey, limits: quic))
        }
        if usesTCP {
            let upgrader = Upgrader(
                environment: environment, identity: identity, security: security, certificateKey: certificateKey,
                limits: upgrade)
            transports.append(TCPTransport(environment: environment, upgrader: upgrader))
        }
        return transports
    }
}
