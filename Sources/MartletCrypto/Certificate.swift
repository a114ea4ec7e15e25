internal import CCrypto
public import MartletWire

/// A self-signed X.509 certificate by which a peer proves its host key to TLS (libp2p's "TLS Handshake", RFC 5280).
///
/// Reading one checks all that needs no signature; `verify(at:)` checks the rest. Only what `verify(at:)` returns is
/// proven.
public struct Certificate: Sendable {
    /// The kinds of keys that a certificate may have. TLS 1.3 fixes one hash for each curve; RSA keys sign with
    /// SHA-256, SHA-384 or SHA-512, by PKCS #1 v1.5 or by PSS.
    public enum KeyAlgorithm: Hashable, Sendable {
        /// Ed25519.
        case ed25519
        /// ECDSA on P-256 with SHA-256.
        case ecdsaP256
        /// ECDSA on P-384 with SHA-384.
        case ecdsaP384
        /// RSA, with the bits of its modulus.
        case rsa(bits: Int)
    }

    /// The most bytes that a certificate may have. The largest RSA keys in both places take about half of it.
    public static let maximumSize = 8192

    /// The certificate as it was read or made.
    public let der: Bytes
    /// The first second at which it is valid, since 1970.
    public let notBefore: Int64
    /// The last second at which it is valid, since 1970.
    public let notAfter: Int64
    /// The kind of the certificate's own key, which signs the TLS handshake.
    public let keyAlgorithm: KeyAlgorithm

    private let certificate: LibcryptoCertificate
    private let libp2p: LibP2PExtension
    /// What the host key must have signed. The certificate's key stands at its end.
    private let message: Bytes

    /// The certificate's own key, as SubjectPublicKeyInfo in DER.
    public var publicKeyInfo: Bytes {
        message.slice(LibP2PExtension.prefix.utf8.count..<message.count)
    }

    /// The one certificate of `chain`.
    public init(chain: some Collection<Bytes>) throws(CertificateError) {
        guard let der = chain.first, chain.count == 1 else { throw .chainLength(chain.count) }
        try self.init(der: der)
    }

    /// Reads a certificate and refuses it where it breaks a rule that needs no signature to tell.
    public init(der: Bytes) throws(CertificateError) {
        do throws(WireError) {
            var reader = Reader(der.span)
            guard der.count <= Certificate.maximumSize else { throw reader.error(.tooLarge) }
            try reader.skipDER(depth: 16)
            try reader.expectEnd()
        } catch { throw .malformed(error) }
        // Even what is read well can leave entries, from an extension that libcrypto knows and finds wrong.
        defer { ERR_clear_error() }
        certificate = try LibcryptoCertificate(der)
        (notBefore, notAfter) = try certificate.validity()
        libp2p = try certificate.libp2pExtension()
        message = LibP2PExtension.message(certificate.publicKeyInfo().span)
        keyAlgorithm = try certificate.keyAlgorithm()
        try certificate.checkAlgorithm(for: keyAlgorithm)
        self.der = der.compacted()
    }

    /// The host key that the certificate proves at `now`, in seconds since 1970. Costs two checks of signatures.
    public func verify(at now: Int64) throws(CertificateError) -> PublicKey {
        guard now >= notBefore else { throw .notYetValid(until: notBefore) }
        guard now <= notAfter else { throw .expired(since: notAfter) }
        guard certificate.isSelfSigned() else { throw .selfSignature }
        guard libp2p.hostKey.isValid(libp2p.signature, for: message) else { throw .hostSignature }
        return libp2p.hostKey
    }
}

/// A certificate in libcrypto's memory, freed with its last reference.
///
/// It is `@unchecked Sendable` because a certificate never changes after it was read, and libcrypto locks what it
/// keeps of it for later.
private final class LibcryptoCertificate: @unchecked Sendable {
    let pointer: OpaquePointer

    /// Reads exactly the bytes of `der`, which must be what libcrypto would write.
    init(_ der: Bytes) throws(CertificateError) {
        let read = der.withUnsafeBytes { octets -> OpaquePointer? in
            var next: UnsafePointer<UInt8>? = octets.octets
            return d2i_X509(nil, &next, octets.count)
        }
        guard let read else { throw .notACertificate }
        pointer = read
        var octets: UnsafeMutablePointer<UInt8>?
        let count = cc_x509_encode_again(pointer, &octets)
        defer { cc_free(octets) }
        let isCanonical = count > 0 && Bytes(UnsafeBufferPointer(start: octets, count: Int(count))) == der
        // Versions count from zero.
        guard isCanonical, X509_get_version(pointer) == 2 else { throw .notACertificate }
    }

    deinit {
        X509_free(pointer)
    }

    func validity() throws(CertificateError) -> (notBefore: Int64, notAfter: Int64) {
        var notBefore: Int64 = 0
        var notAfter: Int64 = 0
        guard cc_x509_seconds(X509_get0_notBefore(pointer), &notBefore) == 1,
            cc_x509_seconds(X509_get0_notAfter(pointer), &notAfter) == 1
        else { throw .notACertificate }
        return (notBefore, notAfter)
    }

    /// libp2p's extension, which must be there once; no other that is critical is understood.
    func libp2pExtension() throws(CertificateError) -> LibP2PExtension {
        var issuer: UnsafePointer<ASN1_BIT_STRING>?
        var subject: UnsafePointer<ASN1_BIT_STRING>?
        X509_get0_uids(pointer, &issuer, &subject)
        guard issuer == nil, subject == nil else { throw .uniqueIdentifier }
        var found: LibP2PExtension?
        for index in 0..<X509_get_ext_count(pointer) {
            let candidate = X509_get_ext(pointer, index)
            let object = X509_EXTENSION_get_object(candidate)
            let name = UnsafeBufferPointer(start: OBJ_get0_data(object), count: OBJ_length(object))
            if name.elementsEqual(LibP2PExtension.name) {
                guard found == nil else { throw .extensionRepeated }
                let value = X509_EXTENSION_get_data(candidate)
                let octets = UnsafeRawBufferPointer(
                    start: ASN1_STRING_get0_data(value), count: Int(ASN1_STRING_length(value)))
                found = try LibP2PExtension(Bytes(copying: octets).span)
            } else if X509_EXTENSION_get_critical(candidate) != 0 {
                throw .unknownCriticalExtension(Self.text(of: object))
            }
        }
        guard let found else { throw .extensionMissing }
        return found
    }

    func publicKeyInfo() -> Bytes {
        var octets: UnsafeMutablePointer<UInt8>?
        let count = Int(i2d_X509_PUBKEY(X509_get_X509_PUBKEY(pointer), &octets))
        defer { cc_free(octets) }
        return Bytes(UnsafeBufferPointer(start: octets, count: max(count, 0)))
    }

    func keyAlgorithm() throws(CertificateError) -> Certificate.KeyAlgorithm {
        var curve: Int32 = 0
        let algorithm = cc_x509_key_algorithm(pointer, &curve)
        // libcrypto has looked at the point; it has no key where there is none on the curve.
        guard let key = X509_get0_pubkey(pointer) else { throw .certificateKey }
        switch (algorithm, curve) {
        case (NID_ED25519, NID_undef): return .ed25519
        case (NID_X9_62_id_ecPublicKey, NID_X9_62_prime256v1): return .ecdsaP256
        case (NID_X9_62_id_ecPublicKey, NID_secp384r1): return .ecdsaP384
        case (NID_rsaEncryption, NID_undef):
            // The bounds are those of host keys.
            do { _ = try PublicKey(type: .rsa, data: publicKeyInfo().span) } catch { throw .certificateKey }
            return .rsa(bits: Int(EVP_PKEY_get_bits(key)))
        default: throw .certificateKey
        }
    }

    func checkAlgorithm(for key: Certificate.KeyAlgorithm) throws(CertificateError) {
        var hash: Int32 = 0
        var algorithm: Int32 = 0
        var flags: UInt32 = 0
        guard X509_get_signature_info(pointer, &hash, &algorithm, nil, &flags) == 1 else { throw .algorithm }
        let isAccepted =
            switch key {
            case .ed25519: algorithm == NID_ED25519
            case .ecdsaP256: algorithm == NID_X9_62_id_ecPublicKey && hash == NID_sha256
            case .ecdsaP384: algorithm == NID_X9_62_id_ecPublicKey && hash == NID_sha384
            case .rsa:
                // PSS has parameters of its own; the flag says that they are those of TLS 1.3.
                (algorithm == NID_rsaEncryption || algorithm == NID_rsassaPss)
                    && (hash == NID_sha256 || hash == NID_sha384 || hash == NID_sha512)
                    && flags & UInt32(X509_SIG_INFO_TLS) != 0
            }
        guard isAccepted else { throw .algorithm }
    }

    /// Whether the certificate's key signed the bytes of the certificate, by the algorithm that both the signed part
    /// and the certificate name.
    func isSelfSigned() -> Bool {
        defer { ERR_clear_error() }
        return X509_verify(pointer, X509_get0_pubkey(pointer)) == 1
    }

    private static func text(of object: OpaquePointer?) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            let count = OBJ_obj2txt(buffer.baseAddress, Int32(buffer.count), object, 1)
            return String(decoding: buffer.prefix(max(0, min(Int(count), 127))).map(UInt8.init), as: UTF8.self)
        }
    }
}
