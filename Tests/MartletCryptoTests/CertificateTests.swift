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
