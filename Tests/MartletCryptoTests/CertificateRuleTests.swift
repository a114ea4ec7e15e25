import MartletCrypto
import MartletWire
import TestSupport
import Testing

@Suite("The rules of certificates")
struct CertificateRuleTests {
    /// What is done to a certificate that is as it should be, and the error that follows, if any.
    typealias Case = (name: String, expected: CertificateError?, change: (inout CertificateRecipe) -> Void)

    @Test("a certificate has libp2p's extension once, and no other that is critical")
    func extensions() throws {
        let own = CertificateRecipe.libp2p(critical: false)
        let ownCritical = CertificateRecipe.libp2p(critical: true)
        let unknown = der(0x30, der(0x06, [0x2A, 3, 4]) + der(0x04, [1]))
        let unknownCritical = der(0x30, der(0x06, [0x2A, 3, 4]) + [1, 1, 0xFF] + der(0x04, [1]))
        let basicConstraints = der(0x30, der(0x06, [0x55, 0x1D, 0x13]) + [1, 1, 0xFF] + der(0x04, [0x30, 0]))
        try check([
            ("as it should be", nil, { _ in }),
            ("critical", nil, { $0.extensions = [ownCritical] }),
            ("others beside it", nil, { $0.extensions = [unknown, own, unknown] }),
            ("none", .extensionMissing, { $0.extensions = [] }),
            ("only another", .extensionMissing, { $0.extensions = [unknown] }),
            ("twice", .extensionRepeated, { $0.extensions = [own, ownCritical] }),
            ("unknown", .unknownCriticalExtension("1.2.3.4"), { $0.extensions = [own, unknownCritical] }),
            ("well known", .unknownCriticalExtension("2.5.29.19"), { $0.extensions = [basicConstraints, own] }),
        ])
    }

    @Test("libp2p's extension holds a host key and its signature, and nothing else")
    func extensionValue() throws {
        let values: [(String, [UInt8], WireError)] = [
            ("empty", [], WireError(.truncated, at: 0)),
            ("an empty sequence", [0x30, 0], WireError(.truncated, at: 2)),
            ("the key alone", [0x30, 2, 4, 0], WireError(.truncated, at: 4)),
            ("bytes inside", [0x30, 5, 4, 0, 4, 0, 0], WireError(.trailingBytes, at: 6)),
            ("bytes behind", [0x30, 4, 4, 0, 4, 0, 0], WireError(.trailingBytes, at: 6)),
            ("a string", [0x04, 4, 4, 0, 4, 0], WireError(.unexpected(0x04), at: 0)),
            ("a number", [0x30, 5, 2, 1, 0, 4, 0], WireError(.unexpected(0x02), at: 2)),
            ("a long length", [0x30, 0x81, 4, 4, 0, 4, 0], WireError(.notMinimal, at: 1)),
            ("no definite length", [0x30, 0x80, 4, 0, 4, 0, 0, 0], WireError(.unexpected(0x80), at: 1)),
        ]
        try check(
            values.map { name, value, expected in
                (
                    name, .extensionMalformed(expected),
                    {
                        $0.extensions = [CertificateRecipe.libp2p(critical: false, value: value)]
                    }
                )
            })
        let long = KeyError.malformed(WireError(.trailingBytes, at: 36))
        try check([
            ("host key unknown", .hostKey(.unknownType(4)), { $0.hostKey[1] = 4 }),
            ("host key long", .hostKey(long), { $0.hostKey += [0] }),
            ("no host signature", .hostSignature, { $0.hostSignature = [] }),
            ("host signature of nothing", .hostSignature, { $0.hostSignature = Array(KeyTests.keys[0].sign(Bytes())) }),
        ])
    }

    @Test("a certificate is of version 3, in DER, with plain times and no unique ids")
    func form() throws {
        try check([
            ("version 1", .notACertificate, { $0.version = [] }),
            ("version 2", .notACertificate, { $0.version = [0xA0, 3, 2, 1, 1] }),
            ("issuer id", .uniqueIdentifier, { $0.uniqueIDs = der(0x81, [0, 1]) }),
            ("subject id", .uniqueIdentifier, { $0.uniqueIDs = der(0x82, [0, 1]) }),
            ("local time", .notACertificate, { $0.notBefore = der(0x17, Array("2201010000+0100".utf8)) }),
            ("fractions", .notACertificate, { $0.notBefore = der(0x18, Array("20220101000000.5Z".utf8)) }),
            ("no such day", .notACertificate, { $0.notBefore = der(0x17, Array("210230000000Z".utf8)) }),
            ("a key with bits left over", .notACertificate, { ($0.publicKeyInfo[11], $0.publicKeyInfo[43]) = (1, 1) }),
        ])
    }

    @Test("keys and algorithms are those of TLS 1.3, none weak, and the certificate's own key signs it")
    func keys() throws {
        let sha1 = der(0x30, [0x06, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 5, 5, 0])
        let md5 = der(0x30, [0x06, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 4, 5, 0])
        let ecdsaSHA1 = der(0x30, [0x06, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 1])
        let p256 = Array(KeyTests.keys[2].publicKey.data)
        let offCurve = Array(p256.dropLast()) + [p256[p256.count - 1] ^ 1]
        var keys: [String: [UInt8]] = [:]
        for line in try vectors("openssl-public-keys.txt") { keys[line[0]] = Array(bytes(hex: line[1])) }
        let rsa = try #require(keys["rsa-2048"])
        keys["rsa-2048"] = nil
        #expect(keys.count == 5)
        try check(
            keys.sorted { $0.key < $1.key }.map { name, info in
                (name, .certificateKey, { $0.publicKeyInfo = info })
            })
        try check([
            ("point off the curve", .certificateKey, { $0.publicKeyInfo = offCurve }),
            ("RSA with SHA-1", .algorithm, { ($0.algorithm, $0.publicKeyInfo) = (sha1, rsa) }),
            ("RSA with MD5", .algorithm, { ($0.algorithm, $0.publicKeyInfo) = (md5, rsa) }),
            ("ECDSA with SHA-1", .algorithm, { ($0.algorithm, $0.publicKeyInfo) = (ecdsaSHA1, p256) }),
            ("another key's algorithm", .algorithm, { $0.publicKeyInfo = p256 }),
            ("two algorithms", .selfSignature, { $0.outerAlgorithm = der(0x30, [6, 3, 0x2B, 0x65, 0x70, 5, 0]) }),
            ("another key", .selfSignature, { $0.publicKeyInfo[20] ^= 1 }),
            ("no self-signature", .selfSignature, { $0.signature = [] }),
            ("one of nothing", .selfSignature, { $0.signature = Array(CertificateRecipe.key.sign(Bytes())) }),
        ])
    }

    private func check(_ cases: [Case]) throws {
        for (name, expected, change) in cases {
            var recipe = CertificateRecipe()
            change(&recipe)
            let der = try recipe.make()
            let verify = { try Certificate(der: der).verify(at: CertificateTests.now) }
            if let expected {
                #expect(throws: expected, "\(name)") { try verify() }
            } else {
                #expect(try verify() == KeyTests.keys[0].publicKey, "\(name)")
            }
            #expect(errorQueueIsEmpty, "\(name)")
        }
    }
}

/// A certificate put together by hand, so that each rule can be broken alone.
struct CertificateRecipe {
    static let key: PrivateKey = {
        var generator = SeededGenerator(seed: 12)
        return .ed25519(using: &generator)
    }()
    static let ed25519: [UInt8] = [0x30, 5, 6, 3, 0x2B, 0x65, 0x70]

    var version: [UInt8] = [0xA0, 3, 2, 1, 2]
    var algorithm = ed25519
    var outerAlgorithm: [UInt8]?
    var notBefore = der(0x17, Array("210101000000Z".utf8))
    var notAfter = der(0x17, Array("310101000000Z".utf8))
    var publicKeyInfo = der(0x30, ed25519 + der(0x03, [0] + Array(key.publicKey.data)))
    var uniqueIDs: [UInt8] = []
    var extensions: [[UInt8]] = [libp2p(critical: false)]
    var hostKey = Array(KeyTests.keys[0].publicKey.protobuf)
    var hostSignature: [UInt8]?
    var signature: [UInt8]?

    /// libp2p's extension. Where `value` is nil it is filled in when the certificate is made.
    static func libp2p(critical: Bool, value: [UInt8]? = nil) -> [UInt8] {
        let name = der(0x06, [0x2B, 6, 1, 4, 1, 0x83, 0xA2, 0x5A, 1, 1])
        guard let value else { return name + (critical ? [1, 1, 0xFF] : []) }
        return der(0x30, name + (critical ? [1, 1, 0xFF] : []) + der(0x04, value))
    }

    func make() throws -> Bytes {
        let message = Bytes(Array("libp2p-tls-handshake:".utf8) + publicKeyInfo)
        let signed = hostSignature ?? Array(KeyTests.keys[0].sign(message))
        let value = der(0x04, der(0x30, der(0x04, hostKey) + der(0x04, signed)))
        // A recipe's unfinished extension begins with its name, not with a sequence.
        let finished = extensions.map { $0.first == 0x06 ? der(0x30, $0 + value) : $0 }
        let name: [UInt8] = [0x30, 0]
        let body =
            version + [2, 1, 1] + algorithm + name + der(0x30, notBefore + notAfter) + name + publicKeyInfo
            + uniqueIDs + (finished.isEmpty ? [] : der(0xA3, der(0x30, finished.flatMap { $0 })))
        let toBeSigned = der(0x30, body)
        let signature = signature ?? Array(Self.key.sign(Bytes(toBeSigned)))
        return Bytes(der(0x30, toBeSigned + (outerAlgorithm ?? algorithm) + der(0x03, [0] + signature)))
    }
}
