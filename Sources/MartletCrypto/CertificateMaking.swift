internal import CCrypto
internal import MartletWire

extension Certificate {
    /// Makes a certificate in which `hostKey` vouches for `certificateKey`, valid from `notBefore` to `notAfter`, in
    /// seconds since 1970. The serial number is drawn from `generator`.
    ///
    /// `certificateKey` is an Ed25519 or an ECDSA key; TLS loads its `pkcs8`. It should not be the host key, and may
    /// serve many connections. With Ed25519 in both places the same arguments make the same bytes.
    public static func make(
        hostKey: PrivateKey, certificateKey: PrivateKey, notBefore: Int64, notAfter: Int64,
        using generator: inout some RandomNumberGenerator
    ) -> Certificate {
        precondition(
            certificateKey.type == .ed25519 || certificateKey.type == .ecdsa, "TLS 1.3 has no place for such a key")
        // The years from 1 to 9999, which is what a certificate can say.
        precondition(
            -62_135_596_800 <= notBefore && notBefore <= notAfter && notAfter <= 253_402_300_799,
            "not a span of time that a certificate can have")
        let template = CertificateTemplate()
        template.setSerial(using: &generator)
        template.setValidity(notBefore, notAfter)
        template.setName("libp2p")
        let publicKeyInfo = template.setKey(certificateKey)
        template.add(LibP2PExtension.value(hostKey: hostKey, publicKeyInfo: publicKeyInfo.span))
        do throws(CertificateError) {
            return try Certificate(der: template.sign(certificateKey))
        } catch {
            preconditionFailure("a certificate of our own making is not accepted: \(error)")
        }
    }
}

/// A certificate that is being made. libcrypto fails at these steps only where memory is out.
private final class CertificateTemplate {
    private let pointer: OpaquePointer

    init() {
        guard let made = X509_new() else { preconditionFailure("out of memory") }
        pointer = made
        // Versions count from zero: this is the third.
        X509_set_version(pointer, 2)
    }

    deinit {
        X509_free(pointer)
    }

    func setSerial(using generator: inout some RandomNumberGenerator) {
        withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { octets in
            fillRandomly(octets, using: &generator)
            // Positive, and always as long, so that certificates do not differ in size.
            octets[0] = octets[0] & 0x3F | 0x40
            let number = BN_bin2bn(octets.octets, Int32(octets.count), nil)
            BN_to_ASN1_INTEGER(number, X509_get_serialNumber(pointer))
            BN_free(number)
        }
    }

    func setValidity(_ notBefore: Int64, _ notAfter: Int64) {
        ASN1_TIME_set(X509_getm_notBefore(pointer), Int(notBefore))
        ASN1_TIME_set(X509_getm_notAfter(pointer), Int(notAfter))
    }

    /// Sets `text` as the common name of issuer and subject, which are one. Nobody reads it, but RFC 5280 wants the
    /// issuer to have a name.
    func setName(_ text: StaticString) {
        let name = X509_get_subject_name(pointer)
        X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_UTF8STRING, text.utf8Start, -1, -1, 0)
        X509_set_issuer_name(pointer, name)
    }

    /// Sets the key and returns it as SubjectPublicKeyInfo.
    func setKey(_ key: PrivateKey) -> Bytes {
        _ = key.withLibcryptoKey { X509_set_pubkey(pointer, $0) }
        var octets: UnsafeMutablePointer<UInt8>?
        let count = Int(i2d_X509_PUBKEY(X509_get_X509_PUBKEY(pointer), &octets))
        defer { cc_free(octets) }
        return Bytes(UnsafeBufferPointer(start: octets, count: max(count, 0)))
    }

    /// Adds libp2p's extension. It is not critical, so that a TLS library that does not know it lets it pass.
    func add(_ value: Bytes) {
        let name = OBJ_txt2obj("1.3.6.1.4.1.53594.1.1", 1)
        let octets = ASN1_OCTET_STRING_new()
        value.withUnsafeBytes { _ = ASN1_OCTET_STRING_set(octets, $0.octets, Int32($0.count)) }
        let made = X509_EXTENSION_create_by_OBJ(nil, name, 0, octets)
        X509_add_ext(pointer, made, -1)
        X509_EXTENSION_free(made)
        ASN1_OCTET_STRING_free(octets)
        ASN1_OBJECT_free(name)
    }

    /// Signs with `key` and returns the certificate.
    func sign(_ key: PrivateKey) -> Bytes {
        let size = key.withLibcryptoKey { X509_sign(pointer, $0, key.type.hash) }
        var octets: UnsafeMutablePointer<UInt8>?
        let count = Int(i2d_X509(pointer, &octets))
        defer { cc_free(octets) }
        precondition(size > 0 && count > 0, "libcrypto does not sign a certificate")
        return Bytes(UnsafeBufferPointer(start: octets, count: count))
    }
}
