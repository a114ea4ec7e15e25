import MartletCrypto
import MartletWire
import TestSupport
import Testing

@Suite("Certificates")
struct CertificateTests {
    /// The start of 2022, at which all published certificates are valid.
    static let now: Int64 = 1_640_995_200

    /// What the expectations in the published vectors mean.
    static let publishedErrors: [String: CertificateError] = [
        "hostSignature": .hostSignature, "algorithm": .algorithm, "certificateKey": .certificateKey,
    ]

    @Test("the published certificates are accepted or refused as published")
    func publishedVectors() throws {
        let lines = try vectors("libp2p-certificates.txt")
        #expect(lines.count == 19)
        for line in lines {
            let expectation = line[1].split(separator: ":")
            let der = bytes(hex: line[2])
            if expectation[0] == "valid" {
                let certificate = try Certificate(chain: [der])
                #expect(
                    try certificate.verify(at: Self.now).protobuf == bytes(hex: String(expectation[1])), "\(line[0])")
                #expect(errorQueueIsEmpty)
            } else {
                let expected = try #require(Self.publishedErrors[String(expectation[0])])
                #expect(throws: expected, "\(line[0])") { try Certificate(der: der).verify(at: Self.now) }
            }
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("a certificate that is made proves its host key, for every type of either", arguments: KeyTests.keys)
    func made(hostKey: PrivateKey) throws {
        var generator = SeededGenerator(seed: 3)
        for certificateKey in [PrivateKey.ed25519(using: &generator), .ecdsa(using: &generator)] {
            let made = Certificate.make(
                hostKey: hostKey, certificateKey: certificateKey, notBefore: Self.now - 3600, notAfter: Self.now + 3600,
                using: &generator)
            let read = try Certificate(chain: [made.der])
            #expect(try read.verify(at: Self.now) == hostKey.publicKey)
            #expect(read.keyAlgorithm == (certificateKey.type == .ed25519 ? .ed25519 : .ecdsaP256))
            #expect(read.notBefore == Self.now - 3600 && read.notAfter == Self.now + 3600)
            if certificateKey.type == .ecdsa { #expect(read.publicKeyInfo == certificateKey.publicKey.data) }
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("with Ed25519 keys the same generator makes the same certificate, and all are equally long")
    func reproducible() {
        let make = { (seed: UInt64) -> Bytes in
            var generator = SeededGenerator(seed: seed)
            let host = PrivateKey.ed25519(using: &generator)
            let key = PrivateKey.ed25519(using: &generator)
            return Certificate.make(
                hostKey: host, certificateKey: key, notBefore: Self.now, notAfter: Self.now + 86400, using: &generator
            ).der
        }
        #expect(make(5) == make(5))
        #expect(make(5) != make(6))
        #expect(Set((0..<50).map { make($0).count }).count == 1)
    }

    @Test("a certificate is valid from its first second to its last")
    func validity() throws {
        var generator = SeededGenerator(seed: 4)
        let host = PrivateKey.ed25519(using: &generator)
        let spans: [(Int64, Int64)] = [
            (Self.now, Self.now), (0, 0), (-62_135_596_800, 253_402_300_799), (2_524_607_999, 2_524_608_000),
        ]
        for (first, last) in spans {
            let certificate = Certificate.make(
                hostKey: host, certificateKey: .ed25519(using: &generator), notBefore: first, notAfter: last,
                using: &generator)
            #expect(certificate.notBefore == first && certificate.notAfter == last)
            #expect(try certificate.verify(at: first) == host.publicKey)
            #expect(try certificate.verify(at: last) == host.publicKey)
            #expect(throws: CertificateError.notYetValid(until: first)) { try certificate.verify(at: first - 1) }
            #expect(throws: CertificateError.expired(since: last)) { try certificate.verify(at: last + 1) }
        }
    }

    @Test("a chain has exactly one certificate")
    func chain() throws {
        let der = try CertificateRecipe().make()
        #expect(throws: CertificateError.chainLength(0)) { try Certificate(chain: []) }
        #expect(throws: CertificateError.chainLength(2)) { try Certificate(chain: [der, der]) }
    }

    @Test("each broken rule is told")
    func rules() throws {
        let own = { (critical: Bool) in CertificateRecipe.libp2p(critical: critical) }
        let ownValue = { (value: [UInt8]) in CertificateRecipe.libp2p(critical: false, value: value) }
        let unknown = der(0x30, der(0x06, [0x2A, 3, 4]) + der(0x04, [1]))
        let unknownCritical = der(0x30, der(0x06, [0x2A, 3, 4]) + [1, 1, 0xFF] + der(0x04, [1]))
        let basicConstraints = der(0x30, der(0x06, [0x55, 0x1D, 0x13]) + [1, 1, 0xFF] + der(0x04, [0x30, 0]))
        let sha1 = der(0x30, [0x06, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 5, 5, 0])
        let md5 = der(0x30, [0x06, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 4, 5, 0])
        let ecdsaSHA1 = der(0x30, [0x06, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 1])
        let keys = Dictionary(
            uniqueKeysWithValues: try vectors("openssl-public-keys.txt").map { ($0[0], Array(bytes(hex: $0[1]))) })
        let p256 = Array(KeyTests.keys[2].publicKey.data)
        let table: [(String, CertificateError?, (inout CertificateRecipe) -> Void)] = [
            ("as it should be", nil, { _ in }),
            ("critical", nil, { $0.extensions = [own(true)] }),
            ("others beside it", nil, { $0.extensions = [unknown, own(false), unknown] }),
            ("no extensions", .extensionMissing, { $0.extensions = [] }),
            ("another extension", .extensionMissing, { $0.extensions = [unknown] }),
            ("twice", .extensionRepeated, { $0.extensions = [own(false), own(true)] }),
            (
                "unknown critical", .unknownCriticalExtension("1.2.3.4"),
                { $0.extensions = [own(false), unknownCritical] }
            ),
            (
                "known critical", .unknownCriticalExtension("2.5.29.19"),
                { $0.extensions = [basicConstraints, own(false)] }
            ),
            ("version 1", .notACertificate, { $0.version = [] }),
            ("version 2", .notACertificate, { $0.version = [0xA0, 3, 2, 1, 1] }),
            ("issuer id", .uniqueIdentifier, { $0.uniqueIDs = der(0x81, [0, 1]) }),
            ("subject id", .uniqueIdentifier, { $0.uniqueIDs = der(0x82, [0, 1]) }),
            ("local time", .notACertificate, { $0.notBefore = der(0x17, Array("2201010000+0100".utf8)) }),
            ("fractions", .notACertificate, { $0.notBefore = der(0x18, Array("20220101000000.5Z".utf8)) }),
            ("key with bits left over", .notACertificate, { ($0.publicKeyInfo[11], $0.publicKeyInfo[43]) = (1, 1) }),
            ("algorithms differ", .selfSignature, { $0.outerAlgorithm = [0x30, 7, 6, 3, 0x2B, 0x65, 0x70, 5, 0] }),
            ("sha1", .algorithm, { ($0.algorithm, $0.publicKeyInfo) = (sha1, keys["rsa-2048"]!) }),
            ("md5", .algorithm, { ($0.algorithm, $0.publicKeyInfo) = (md5, keys["rsa-2048"]!) }),
            ("ecdsa with sha1", .algorithm, { ($0.algorithm, $0.publicKeyInfo) = (ecdsaSHA1, p256) }),
            ("algorithm of another key", .algorithm, { $0.publicKeyInfo = p256 }),
            ("another key", .selfSignature, { $0.publicKeyInfo[20] ^= 1 }),
            ("rsa 1024", .certificateKey, { $0.publicKeyInfo = keys["rsa-1024"]! }),
            ("curve written out", .certificateKey, { $0.publicKeyInfo = keys["p256-explicit"]! }),
            ("secp256k1", .certificateKey, { $0.publicKeyInfo = keys["secp256k1"]! }),
            ("p521", .certificateKey, { $0.publicKeyInfo = keys["p521"]! }),
            ("x25519", .certificateKey, { $0.publicKeyInfo = keys["x25519"]! }),
            ("point off the curve", .certificateKey, { $0.publicKeyInfo = p256.dropLast() + [p256.last! ^ 1] }),
            ("host key unknown", .hostKey(.unknownType(4)), { $0.hostKey[1] = 4 }),
            ("host key long", .hostKey(.malformed(WireError(.trailingBytes, at: 36))), { $0.hostKey += [0] }),
            ("no host signature", .hostSignature, { $0.hostSignature = [] }),
            ("host signature of nothing", .hostSignature, { $0.hostSignature = Array(KeyTests.keys[0].sign(Bytes())) }),
            (
                "half an extension", .extensionMalformed(WireError(.truncated, at: 2)),
                { $0.extensions = [ownValue([0x30, 0])] }
            ),
            (
                "extension and more", .extensionMalformed(WireError(.trailingBytes, at: 6)),
                { $0.extensions = [ownValue([0x30, 4, 4, 0, 4, 0, 0])] }
            ),
            ("empty extension", .extensionMalformed(WireError(.truncated, at: 0)), { $0.extensions = [ownValue([])] }),
            (
                "self-signature of nothing", .selfSignature,
                { $0.signature = Array(CertificateRecipe.key.sign(Bytes())) }
            ),
            ("no self-signature", .selfSignature, { $0.signature = [] }),
        ]
        for (name, expected, change) in table {
            var recipe = CertificateRecipe()
            change(&recipe)
            let der = try recipe.make()
            if let expected {
                #expect(throws: expected, "\(name)") { try Certificate(der: der).verify(at: Self.now) }
            } else {
                #expect(try Certificate(der: der).verify(at: Self.now) == KeyTests.keys[0].publicKey, "\(name)")
            }
            #expect(errorQueueIsEmpty, "\(name)")
        }
    }

    @Test("certificates cut short, longer or too large are malformed")
    func lengths() throws {
        for line in try vectors("libp2p-certificates.txt") {
            let whole = bytes(hex: line[2])
            for count in 0..<whole.count {
                #expect("\(line[0]), \(count) bytes") {
                    _ = try Certificate(der: whole.slice(0..<count))
                } throws: { error in
                    if case CertificateError.malformed = error { true } else { false }
                }
            }
            #expect(throws: CertificateError.malformed(WireError(.trailingBytes, at: whole.count))) {
                try Certificate(der: Bytes(Array(whole) + [0]))
            }
        }
        let large = Bytes(der(0x30, [UInt8](repeating: 0, count: Certificate.maximumSize)))
        #expect(throws: CertificateError.malformed(WireError(.tooLarge, at: 0))) { try Certificate(der: large) }
        let deep = (0..<1000).reduce([UInt8]()) { inner, _ in der(0x30, inner) }
        #expect(throws: CertificateError.malformed(WireError(.tooDeep, at: 64))) { try Certificate(der: Bytes(deep)) }
        #expect(errorQueueIsEmpty)
    }

    @Test("a certificate with any one bit turned is refused")
    func flipped() throws {
        let published = try vectors("libp2p-certificates.txt").filter { $0[1].hasPrefix("valid") }
        let all = [try CertificateRecipe().make()] + published.map { bytes(hex: $0[2]) }
        for (index, whole) in all.enumerated() {
            for bit in 0..<whole.count * 8 {
                #expect(throws: CertificateError.self, "certificate \(index), bit \(bit)") {
                    try Certificate(der: whole.flipping(bit: bit)).verify(at: Self.now)
                }
            }
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("certificates with many bits and bytes changed do no harm")
    func mangled() throws {
        var generator = SeededGenerator(seed: 2026)
        for line in try vectors("libp2p-certificates.txt") {
            let whole = Array(bytes(hex: line[2]))
            for _ in 0..<400 {
                var octets = whole
                for _ in 0..<(1 + generator.next() % 4) {
                    let position = Int(generator.next() % UInt64(octets.count))
                    switch generator.next() % 3 {
                    case 0: octets[position] = UInt8(truncatingIfNeeded: generator.next())
                    case 1: octets.remove(at: position)
                    default: octets.insert(octets[Int(generator.next() % UInt64(octets.count))], at: position)
                    }
                }
                #expect(throws: CertificateError.self) { try Certificate(der: Bytes(octets)).verify(at: Self.now) }
            }
        }
        #expect(errorQueueIsEmpty)
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
