import Martlet

/// The parsers of keys and certificates in `MartletCrypto`.
let keyTargets: [FuzzTarget] = [
    FuzzTarget("PublicKey") { input in
        let key = try PublicKey(protobuf: input)
        expect(key.protobuf == input, "a public key has one encoding")
        expect(try PublicKey(type: key.type, data: key.data.span) == key, "a public key is its type and data")
        expect(!key.isValid(input, for: Bytes()), "an encoding is no signature")
    },

    FuzzTarget("PrivateKey") { input in
        let key = try PrivateKey(protobuf: input.span)
        let message = Bytes(utf8: "a message")
        expect(key.publicKey.isValid(key.sign(message), for: message), "a private key that is accepted signs")
        let again = try PrivateKey(protobuf: key.protobuf.span)
        expect(again.publicKey == key.publicKey, "a private key comes back from its encoding")
    },

    FuzzTarget("Certificate") { input in
        let certificate = try Certificate(der: input)
        expect(certificate.der == input, "a certificate is kept as it was")
        expect(certificate.notBefore <= 253_402_300_799, "times end with the year 9999")
        let key = try certificate.verify(at: certificate.notBefore)
        expect(try PublicKey(protobuf: key.protobuf) == key, "a host key that is proven is a key")
    },

    FuzzTarget("CertificateExtension") { input in
        guard let der = CertificateFrame.shared.certificate(with: input) else { return }
        let certificate = try Certificate(der: der)
        let key = try certificate.verify(at: certificate.notBefore)
        expect(try PublicKey(protobuf: key.protobuf) == key, "a host key that is proven is a key")
    },
]

/// A certificate in which libp2p's extension can be anything: the rest is right, its own signature included.
private struct CertificateFrame {
    static let shared = CertificateFrame()

    /// The key of every certificate, which the seeds' host key signed.
    private let key: PrivateKey
    /// What stands in front of the extensions in what is signed.
    private let beginning: [UInt8]

    private init() {
        var numbers = CountingNumbers()
        let hostKey = PrivateKey.ed25519(using: &numbers)
        key = .ed25519(using: &numbers)
        let whole = Certificate.make(
            hostKey: hostKey, certificateKey: key, notBefore: 0, notAfter: 1 << 35, using: &numbers)
        let der = Array(whole.der)
        let oid: [UInt8] = [0x06, 0x0A, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x83, 0xA2, 0x5A, 0x01, 0x01]
        let name = (0..<der.count - oid.count).first { der[$0..<$0 + oid.count].elementsEqual(oid) } ?? 0
        // The last byte 0xA3 in front of the name is the tag of the extensions; two lengths of three bytes come first.
        let extensions = der[..<name].lastIndex(of: 0xA3) ?? 0
        beginning = Array(der[8..<extensions])
    }

    /// The certificate with `value` as its extension, or `nil` where that is too long for one.
    func certificate(with value: Bytes) -> Bytes? {
        guard value.count < 4000 else { return nil }
        let oid: [UInt8] = [0x06, 0x0A, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x83, 0xA2, 0x5A, 0x01, 0x01]
        let one = Self.der(0x30, oid + Self.der(0x04, Array(value)))
        let signed = Self.der(0x30, beginning + Self.der(0xA3, Self.der(0x30, one)))
        let algorithm: [UInt8] = [0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70]
        let signature = Self.der(0x03, [0] + Array(key.sign(Bytes(signed))))
        return Bytes(Self.der(0x30, signed + algorithm + signature))
    }

    private static func der(_ tag: UInt8, _ contents: [UInt8]) -> [UInt8] {
        let count = contents.count
        if count < 0x80 { return [tag, UInt8(count)] + contents }
        if count < 0x100 { return [tag, 0x81, UInt8(count)] + contents }
        return [tag, 0x82, UInt8(count >> 8), UInt8(count & 255)] + contents
    }
}

/// The same numbers each time.
private struct CountingNumbers: RandomNumberGenerator {
    private var state: UInt64 = 0

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return state ^ state >> 31
    }
}
