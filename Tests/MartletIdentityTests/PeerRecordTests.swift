import MartletCrypto
import MartletIdentity
import MartletWire
import Testing

@Suite("Signed envelopes and peer records")
struct PeerRecordTests {
    /// A key, and a record that the Go implementation sealed with it: from the tests of libp2p/js-libp2p,
    /// packages/peer-record/test/peer-record.spec.ts.
    static let goKey =
        "0801124085fbe72b6064289004a531f967898df5319ee02992fdd84021fa5052434bf6ee"
        + "11bba3ed1721948cefb4e50b0a0bb5cad8a6b52dc7b1a40f4f6652105c91e2c4"
    static let goEnvelope =
        "0a240801122011bba3ed1721948cefb4e50b0a0bb5cad8a6b52dc7b1a40f4f6652105c91e2c4120203011aaa01"
        + "0a2600240801122011bba3ed1721948cefb4e50b0a0bb5cad8a6b52dc7b1a40f4f6652105c91e2c410d8b8e0bf9391b69716"
        + "1a0a0a080401020304060000" + "1a0a0a080401020304060001" + "1a0a0a080401020304060002"
        + "1a0a0a080401020304060003" + "1a0a0a080401020304060004" + "1a0a0a080401020304060005"
        + "1a0a0a080401020304060006" + "1a0a0a080401020304060007" + "1a0a0a080401020304060008"
        + "1a0a0a080401020304060009"
        + "2a40b197f76b9f288af2b467fe666f774476287049b424b73975c8860efb02372d02"
        + "6a799584541ad72f2654346485bca3ece36462b7d1b1391c8d276dc4ab8bca0b"

    private static let goSequence: UInt64 = 1_598_453_001_624_231_000

    @Test("a record that the Go implementation sealed is opened, and sealed to the same bytes")
    func interop() throws {
        let bytes = try Bytes(hex: Self.goEnvelope)
        let encodedKey = try Bytes(hex: Self.goKey)
        let key = try PrivateKey(protobuf: encodedKey.span)
        let opened = try SignedPeerRecord(opening: bytes)
        #expect(opened.record.peerID == PeerID(key.publicKey))
        #expect(opened.record.sequence == Self.goSequence)
        #expect(opened.record.addresses.map(\.description) == (0..<10).map { "/ip4/1.2.3.4/tcp/\($0)" })
        #expect(opened.envelope.bytes == bytes)
        let again = SignedPeerRecord(
            addresses: opened.record.addresses, sequence: opened.record.sequence, signedWith: key)
        #expect(again.envelope.bytes == bytes)
        #expect(again == opened)
    }

    @Test("an envelope changed or cut off at any byte is an error")
    func hostile() throws {
        let bytes = try Bytes(hex: Self.goEnvelope)
        for count in 0..<bytes.count {
            #expect(throws: PeerRecordError.self) { try SignedPeerRecord(opening: bytes.slice(0..<count)) }
        }
        for position in 0..<bytes.count {
            for change in [1, 0x80, 0xFF] as [UInt8] {
                let changed = bytes.replacing(position, with: bytes[position] ^ change)
                #expect(throws: PeerRecordError.self) { try SignedPeerRecord(opening: changed) }
            }
        }
        // A field that this code doesn't know is passed over: it is not part of what is signed.
        let more = Bytes(Array(bytes) + [0x32, 0x01, 0x00])
        #expect(
            try SignedPeerRecord(opening: more).envelope.payload == SignedPeerRecord(opening: bytes).envelope.payload)
    }

    @Test("a payload with random bytes is an error or a record, whoever signed it")
    func payloads() throws {
        var random = Repeatable(seed: 0x0F02_2E57)
        let record = try SignedPeerRecord(opening: Bytes(hex: Self.goEnvelope)).envelope.payload
        #expect(throws: PeerRecordError.malformed(WireError(.missing, at: 0))) { try PeerRecord(Bytes()) }
        for count in 1..<record.count { try survives(record.slice(0..<count)) }
        for position in 0..<record.count {
            for byte in UInt8.min...UInt8.max { try survives(record.replacing(position, with: byte)) }
        }
        for _ in 0..<5_000 { try survives(Bytes(random.bytes(random.below(64)))) }
    }

    /// Decodes what must be an error or a record that is no larger than its bytes justify.
    private func survives(_ bytes: Bytes) throws {
        guard let record = try? PeerRecord(bytes) else { return }
        #expect(record.addresses.count * 4 <= bytes.count)
        #expect(try PeerRecord(record.encoded) == record)
    }

    @Test("each kind of key seals what others open", arguments: [KeyType.ed25519, .secp256k1, .ecdsa, .rsa])
    func keys(type: KeyType) throws {
        let key = Self.key(type)
        let addresses = [Multiaddr(.ip(.loopbackV4), .tcp(1)), Multiaddr(.ip(.loopbackV6), .udp(2), .quicV1)]
        let sealed = SignedPeerRecord(addresses: addresses, sequence: .max, signedWith: key)
        let opened = try SignedPeerRecord(opening: sealed.envelope.bytes)
        #expect(opened == sealed)
        #expect(opened.record == PeerRecord(peerID: PeerID(key.publicKey), sequence: .max, addresses: addresses))
        #expect(opened.envelope.signer == opened.record.peerID)
    }

    @Test("a signature for one purpose is not valid for another")
    func purposes() throws {
        let key = Self.key(.ed25519)
        let purpose = SignedEnvelope.Purpose(domain: "one", payloadType: [1])
        let sealed = SignedEnvelope(sealing: Bytes(utf8: "payload"), for: purpose, with: key)
        #expect(try SignedEnvelope(opening: sealed.bytes, for: purpose) == sealed)
        #expect(throws: SignedEnvelopeError.invalidSignature) {
            try SignedEnvelope(opening: sealed.bytes, for: SignedEnvelope.Purpose(domain: "two", payloadType: [1]))
        }
        #expect(throws: SignedEnvelopeError.otherPayloadType) {
            try SignedEnvelope(opening: sealed.bytes, for: SignedEnvelope.Purpose(domain: "one", payloadType: [2]))
        }
        let record = SignedPeerRecord(addresses: [], sequence: 1, signedWith: key, for: .routingState)
        #expect(try SignedPeerRecord(opening: record.envelope.bytes, for: .routingState) == record)
        #expect(throws: PeerRecordError.envelope(.otherPayloadType)) {
            try SignedPeerRecord(opening: record.envelope.bytes)
        }
    }

    @Test("an empty payload of an empty type can be sealed")
    func empty() throws {
        let purpose = SignedEnvelope.Purpose(domain: "", payloadType: [])
        let sealed = SignedEnvelope(sealing: Bytes(), for: purpose, with: Self.key(.ed25519))
        #expect(try SignedEnvelope(opening: sealed.bytes, for: purpose).payload.isEmpty)
    }

    @Test("an envelope without key or signature, or with a key that is none, is refused")
    func parts() throws {
        let key = Self.key(.ed25519)
        let purpose = SignedEnvelope.Purpose.peerRecord
        func fails(_ error: SignedEnvelopeError, _ fill: (inout Writer) -> Void) {
            var writer = Writer()
            fill(&writer)
            let bytes = writer.finish()
            #expect(throws: error) { try SignedEnvelope(opening: bytes, for: purpose) }
        }
        fails(.malformed(WireError(.missing, at: 0))) { _ in }
        fails(.malformed(WireError(.missing, at: 42))) {
            $0.field(1, bytes: key.publicKey.protobuf)
            $0.field(2, bytes: purpose.payloadType)
        }
        fails(.malformed(WireError(.missing, at: 3))) { $0.field(5, bytes: [1]) }
        fails(.badKey(.unknownType(9))) {
            $0.field(1, bytes: [8, 9, 0x12, 0])
            $0.field(2, bytes: purpose.payloadType)
            $0.field(5, bytes: [1])
        }
        fails(.invalidSignature) {
            $0.field(1, bytes: key.publicKey.protobuf)
            $0.field(2, bytes: purpose.payloadType)
            $0.field(5, bytes: [1])
        }
    }

    @Test("a record about another peer than its signer is refused")
    func otherSigner() throws {
        let victim = PeerID(Self.key(.secp256k1).publicKey)
        let record = PeerRecord(peerID: victim, sequence: 1, addresses: [])
        let sealed = SignedEnvelope(sealing: record.encoded, for: .peerRecord, with: Self.key(.ed25519))
        #expect(throws: PeerRecordError.otherSigner) { try SignedPeerRecord(opening: sealed.bytes) }
    }

    @Test("a higher sequence number of the same peer is newer, and nothing else")
    func sequence() {
        func record(_ sequence: UInt64, _ type: KeyType = .ed25519) -> SignedPeerRecord {
            SignedPeerRecord(addresses: [], sequence: sequence, signedWith: Self.key(type))
        }
        #expect(record(2).isNewer(than: record(1)))
        #expect(!record(1).isNewer(than: record(2)))
        #expect(!record(1).isNewer(than: record(1)))
        #expect(record(.max).isNewer(than: record(0)))
        #expect(!record(2, .secp256k1).isNewer(than: record(1)))
    }

    @Test("addresses that are not understood are left out, and the others stay")
    func unknownAddresses() throws {
        let key = Self.key(.ed25519)
        let known = Multiaddr(.ip(.loopbackV4), .tcp(1))
        var writer = Writer()
        writer.field(1, bytes: PeerID(key.publicKey).span)
        // sctp, an address cut short, an empty one, and an entry without any.
        for bytes in [known.bytes, [0x84, 0x01, 0, 1], [4, 1], [], known.bytes] as [Bytes] {
            writer.field(3) { $0.field(1, bytes: bytes) }
        }
        writer.field(3) { $0.field(7, uint64: 1) }
        let record = try PeerRecord(writer.finish())
        #expect(record.addresses == [known, known])
        #expect(record.sequence == 0)
    }

    @Test("more bytes or addresses than the limits are refused")
    func limits() throws {
        let key = Self.key(.ed25519)
        let address = Multiaddr(.ip(.loopbackV4), .tcp(1))
        let sealed = SignedPeerRecord(
            addresses: Array(repeating: address, count: 128), sequence: 1, signedWith: key)
        let bytes = sealed.envelope.bytes
        #expect(try SignedPeerRecord(opening: bytes).record.addresses.count == 128)
        #expect(throws: PeerRecordError.self) {
            try SignedPeerRecord(opening: bytes, limits: PeerRecord.Limits(maximumAddresses: 127))
        }
        #expect(throws: PeerRecordError.envelope(.malformed(WireError(.tooLarge, at: 0)))) {
            try SignedPeerRecord(opening: bytes, limits: PeerRecord.Limits(maximumSize: bytes.count - 1))
        }
        #expect(throws: PeerRecordError.malformed(WireError(.tooLarge, at: 0))) {
            try PeerRecord(Bytes([UInt8](repeating: 0, count: 8193)))
        }
    }

    @Test("a record that is kept pins little memory")
    func memory() throws {
        let bytes = try Bytes(hex: Self.goEnvelope)
        let slab = Slab.make(capacity: 1 << 18)
        bytes.withUnsafeBytes { slab.base.copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: $0.count) }
        weak let received: Slab? = slab
        let opened = try open(consume slab, count: bytes.count)
        #expect(received == nil)
        #expect(opened.record.addresses.count == 10)
    }

    private func open(_ slab: consuming Slab, count: Int) throws -> SignedPeerRecord {
        try SignedPeerRecord(opening: Bytes(slab: slab, offset: 0, count: count))
    }

    private static func key(_ type: KeyType) -> PrivateKey {
        var random = Repeatable(seed: 0x5EA1)
        switch type {
        case .ed25519: return .ed25519(using: &random)
        case .secp256k1: return .secp256k1(using: &random)
        case .ecdsa: return .ecdsa(using: &random)
        case .rsa: return .rsa(bits: 2048)
        }
    }
}
