import MartletCrypto
@testable import MartletTLS
import MartletWire
import TestSupport
import Testing

/// The first of January 2026.
private let now: Int64 = 1_767_225_600

/// A host with its credentials.
private struct Party {
    let key: PrivateKey
    let credentials: TLSCredentials

    init(seed: UInt64, certificateKey: TLSCredentials.CertificateKey = .ed25519, at time: Int64 = now) {
        var generator = SeededGenerator(seed: seed)
        key = .ed25519(using: &generator)
        credentials = TLSCredentials(
            hostKey: key, certificateKey: certificateKey, at: time, using: &generator)
    }

    func session(
        _ role: TLSRole, _ protocols: [String] = ["/yamux/1.0.0", "libp2p"],
        accepts: @escaping (PublicKey) -> Bool = { _ in true }
    ) -> TLSSession {
        TLSSession(role, credentials: credentials, protocols: protocols, at: now, accepts: accepts)
    }
}

/// Carries bytes both ways until nothing moves, `size` at a time; says what each side failed with.
private func shuttle(
    _ client: TLSSession, _ server: TLSSession, by size: Int = .max
) -> (client: TLSError?, server: TLSError?) {
    var errors: (client: TLSError?, server: TLSError?) = (nil, nil)
    func carry(from source: TLSSession, to target: TLSSession, _ failure: inout TLSError?) -> Bool {
        var moved = false
        while let bytes = source.nextTransmit() {
            moved = true
            var offset = 0
            while offset < bytes.count, failure == nil {
                let part = bytes.slice(offset..<offset + min(size, bytes.count - offset))
                offset += part.count
                do throws(TLSError) { try target.receive(part.span) } catch { failure = error }
            }
        }
        return moved
    }
    var isMoving = true
    while isMoving {
        let forth = carry(from: client, to: server, &errors.server)
        let back = carry(from: server, to: client, &errors.client)
        isMoving = forth || back
    }
    return errors
}

private func readAll(_ session: TLSSession) throws -> [UInt8] {
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1000)
    while true {
        let count = try buffer.withUnsafeMutableBytes { try session.read(into: $0) }
        guard count > 0 else { return all }
        all += buffer[..<count]
    }
}

@Suite("TLS over a stream")
struct TLSSessionTests {
    @Test(
        "both sides learn the other's host key and agree on a protocol",
        arguments: [TLSCredentials.CertificateKey.ed25519, .ecdsaP256], [1, 100, Int.max])
    func handshake(certificateKey: TLSCredentials.CertificateKey, size: Int) throws {
        let alice = Party(seed: 1, certificateKey: certificateKey)
        let bob = Party(seed: 2, certificateKey: certificateKey)
        let client = alice.session(.client)
        let server = bob.session(.server)
        try client.start()
        let errors = shuttle(client, server, by: size)
        #expect(errors.client == nil && errors.server == nil)
        #expect(client.isEstablished && server.isEstablished)
        #expect(client.peer == bob.key.publicKey)
        #expect(server.peer == alice.key.publicKey)
        #expect(client.negotiatedProtocol == "/yamux/1.0.0")
        #expect(server.negotiatedProtocol == "/yamux/1.0.0")
    }

    @Test("bytes arrive whole and in order, and the end of each direction is seen")
    func transfer() throws {
        let client = Party(seed: 1).session(.client)
        let server = Party(seed: 2).session(.server)
        try client.start()
        _ = shuttle(client, server)
        let message = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        try client.write(Bytes(message).span)
        client.finish()
        let errors = shuttle(client, server, by: 1 << 10)
        #expect(errors.server == nil)
        #expect(try readAll(server) == message)
        #expect(server.isFinished)
        try server.write(Bytes(message).span)
        server.finish()
        _ = shuttle(client, server)
        #expect(try readAll(client) == message)
        #expect(client.isFinished)
    }

    @Test("a peer with another key than the expected one is refused, and told")
    func wrongPeer() throws {
        let mallory = Party(seed: 3)
        let expected = Party(seed: 2).key.publicKey
        let client = Party(seed: 1).session(.client, accepts: { $0 == expected })
        let server = mallory.session(.server)
        try client.start()
        let errors = shuttle(client, server)
        #expect(errors.client == .unexpectedPeer(mallory.key.publicKey))
        // Bad certificate.
        #expect(errors.server == .alert(42))
        #expect(!client.isEstablished && client.peer == nil)
    }

    @Test("a server refuses a client that it does not accept")
    func unwantedClient() throws {
        let alice = Party(seed: 1)
        let client = alice.session(.client)
        let server = Party(seed: 2).session(.server, accepts: { _ in false })
        try client.start()
        let errors = shuttle(client, server)
        #expect(errors.server == .unexpectedPeer(alice.key.publicKey))
        #expect(!server.isEstablished)
    }

    @Test("a certificate is remembered once it is proven, no more than there is room for, and not beyond its time")
    func remembering() throws {
        var proven = ProvenCertificates()
        var generator = SeededGenerator(seed: 4)
        let host = PrivateKey.ed25519(using: &generator)
        let key = PrivateKey.ed25519(using: &generator)
        for _ in 0..<ProvenCertificates.capacity + 10 {
            let certificate = Certificate.make(
                hostKey: host, certificateKey: key, notBefore: now, notAfter: now + 10, using: &generator)
            for _ in 0..<2 { #expect(try proven.verify(certificate.der, at: now) == host.publicKey) }
            #expect(throws: CertificateError.expired(since: now + 10)) {
                try proven.verify(certificate.der, at: now + 11)
            }
            #expect(throws: CertificateError.notYetValid(until: now)) {
                try proven.verify(certificate.der, at: now - 1)
            }
            var changed = Array(certificate.der)
            changed[changed.count - 1] ^= 1
            #expect(throws: CertificateError.selfSignature) { try proven.verify(Bytes(changed), at: now) }
        }
        #expect(proven.count == ProvenCertificates.capacity)
    }

    @Test("a certificate that is not valid yet is refused")
    func notYetValid() throws {
        let client = Party(seed: 1).session(.client)
        let server = Party(seed: 2, at: now + 7200).session(.server)
        try client.start()
        #expect(shuttle(client, server).client == .certificate(.notYetValid(until: now + 3600)))
    }

    @Test("peers without a protocol in common do not connect")
    func noProtocol() throws {
        let client = Party(seed: 1).session(.client, ["/a"])
        let server = Party(seed: 2).session(.server, ["/b"])
        try client.start()
        let errors = shuttle(client, server)
        #expect(errors.server == .noCommonProtocol)
        // No application protocol.
        #expect(errors.client == .alert(120))
    }

    @Test("a stream that ends in the middle of the handshake is an error at every byte")
    func truncatedHandshake() throws {
        let client = Party(seed: 1).session(.client)
        try client.start()
        let hello = try #require(client.nextTransmit())
        for count in 0..<hello.count {
            let server = Party(seed: 2).session(.server)
            #expect(throws: TLSError.self) {
                try server.receive(hello.slice(0..<count).span)
                try server.receiveEnd()
            }
        }
    }

    @Test("a bit changed anywhere in the client's hello never establishes a session")
    func corrupted() throws {
        for bit in stride(from: 0, to: 200 * 8, by: 7) {
            let client = Party(seed: 1).session(.client)
            let server = Party(seed: 2).session(.server)
            try client.start()
            var hello = Array(try #require(client.nextTransmit()))
            guard bit / 8 < hello.count else { return }
            hello[bit / 8] ^= 1 << UInt8(bit % 8)
            try? server.receive(Bytes(hello).span)
            _ = shuttle(client, server)
            #expect(!client.isEstablished || !server.isEstablished || bit / 8 < 3, "bit \(bit)")
        }
    }

    @Test("a record that was tampered with is an error")
    func tampered() throws {
        let client = Party(seed: 1).session(.client)
        let server = Party(seed: 2).session(.server)
        try client.start()
        _ = shuttle(client, server)
        try client.write(Bytes([1, 2, 3]).span)
        var record = Array(try #require(client.nextTransmit()))
        record[record.count - 1] ^= 1
        try server.receive(Bytes(record).span)
        #expect(throws: TLSError.self) { try readAll(server) }
    }

    @Test("a stream that is cut gives what came and then an error, not an end")
    func cut() throws {
        let client = Party(seed: 1).session(.client)
        let server = Party(seed: 2).session(.server)
        try client.start()
        _ = shuttle(client, server)
        try server.write(Bytes([1, 2, 3]).span)
        _ = shuttle(client, server)
        #expect(try readAll(client) == [1, 2, 3])
        try client.receiveEnd()
        #expect(throws: TLSError.truncated) { try readAll(client) }
        #expect(!client.isFinished)
    }
}
