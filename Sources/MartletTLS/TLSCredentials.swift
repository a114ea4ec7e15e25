internal import CQUIC
public import MartletCrypto
internal import MartletWire

/// What a host shows to TLS peers: a certificate in which its host key vouches for a key made for TLS (libp2p's "TLS
/// Handshake"), and the rules for sessions. One serves all connections of a host.
///
/// Belongs to the loop of its host, like the sessions made with it.
public final class TLSCredentials {
    /// The kinds of keys that a host makes for its certificate.
    public enum CertificateKey: Hashable, Sendable {
        /// ECDSA on P-256: what every libp2p implementation makes, and so what every one accepts. Those on BoringSSL
        /// accept no Ed25519 unless they are told to.
        case ecdsaP256
        /// Ed25519, whose signatures are all as long and repeat themselves: for simulated worlds.
        case ed25519
    }

    /// The suites, groups and versions that all sessions have: TLS 1.3 without its compatibility mode, AES first because
    /// GnuTLS's ChaCha20 is several times slower.
    private static let priorities = """
        %SERVER_PRECEDENCE:%DISABLE_TLS13_COMPAT_MODE:NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:\
        +AES-256-GCM:+CHACHA20-POLY1305:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1
        """

    /// The certificate.
    public let certificate: Certificate
    let credentials: gnutls_certificate_credentials_t
    let priority: gnutls_priority_t
    /// What peers have proven before, so that the same certificate need not be checked again.
    var proven = ProvenCertificates()

    /// Credentials of `hostKey` that are valid at `now`, in seconds since 1970, and for a hundred years from then.
    public convenience init(
        hostKey: PrivateKey, certificateKey: CertificateKey = .ecdsaP256, at now: Int64,
        using generator: inout some RandomNumberGenerator
    ) {
        let key: PrivateKey =
            switch certificateKey {
            case .ecdsaP256: .ecdsa(using: &generator)
            case .ed25519: .ed25519(using: &generator)
            }
        // An hour back, for peers whose clocks are behind; the years, as the other implementations do it.
        let certificate = Certificate.make(
            hostKey: hostKey, certificateKey: key, notBefore: now - 3600, notAfter: now + 100 * 365 * 86400,
            using: &generator)
        self.init(certificate: certificate, key: key)
    }

    /// Credentials of a certificate that is there, and of its own key.
    init(certificate: Certificate, key: PrivateKey) {
        self.certificate = certificate
        credentials = Self.load(certificate, key)
        var priority: gnutls_priority_t?
        checked(gnutls_priority_init(&priority, Self.priorities, nil))
        self.priority = priority!
        gnutls_certificate_set_verify_function(credentials) { verifyPeer($0) }
    }

    deinit {
        gnutls_certificate_free_credentials(credentials)
        gnutls_priority_deinit(priority)
    }

    private static func load(_ certificate: Certificate, _ key: PrivateKey) -> gnutls_certificate_credentials_t {
        var loadedKey: gnutls_x509_privkey_t?
        var loaded: gnutls_x509_crt_t?
        var made: gnutls_certificate_credentials_t?
        checked(gnutls_x509_privkey_init(&loadedKey))
        checked(gnutls_x509_crt_init(&loaded))
        checked(gnutls_certificate_allocate_credentials(&made))
        defer {
            gnutls_x509_privkey_deinit(loadedKey)
            gnutls_x509_crt_deinit(loaded)
        }
        key.pkcs8.withUnsafeBytes { bytes in
            var datum = gnutls_datum_t(bytes)
            checked(
                gnutls_x509_privkey_import_pkcs8(
                    loadedKey, &datum, GNUTLS_X509_FMT_DER, nil, GNUTLS_PKCS_PLAIN.rawValue))
        }
        certificate.der.withUnsafeBytes { bytes in
            var datum = gnutls_datum_t(bytes)
            checked(gnutls_x509_crt_import(loaded, &datum, GNUTLS_X509_FMT_DER))
        }
        checked(gnutls_certificate_set_x509_key(made, &loaded, 1, loadedKey))
        return made!
    }
}

extension gnutls_datum_t {
    /// The bytes where they stand. GnuTLS reads them only.
    init(_ bytes: UnsafeRawBufferPointer) {
        self.init(
            data: UnsafeMutablePointer(mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)),
            size: UInt32(bytes.count))
    }
}

/// Stops the program where GnuTLS fails at something that no peer has a part in.
func checked(_ result: Int32) {
    precondition(result >= 0, "GnuTLS: \(words(for: result))")
}

/// GnuTLS's words for one of its errors.
func words(for error: Int32) -> String {
    gnutls_strerror(error).map { String(cString: $0) } ?? "error \(error)"
}
