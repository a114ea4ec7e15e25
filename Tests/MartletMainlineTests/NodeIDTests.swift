import MartletWire
import TestSupport
import Testing

@testable import MartletMainline

@Suite("Ids of the DHT")
struct NodeIDTests {
    @Test(
        "ids follow from addresses as in the table of BEP 42",
        arguments: [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ])
    func bound(address: String, id: String) throws {
        let address = try IPAddress(parsing: address)
        let id = try #require(NodeID(id))
        #expect(id.isBound(to: address))
        #expect(!id.isBound(to: IPAddress(v4: UInt32(truncatingIfNeeded: address.number) ^ 0x40)))
        // A change of any of the first 21 bits, or of the last three, breaks it; of the others, none does.
        for bit in 0..<160 {
            let word = UInt64(1) << UInt64(63 - bit % 64)
            let changed =
                bit < 64
                ? NodeID(high: id.high ^ word, middle: id.middle, low: id.low)
                : bit < 128
                    ? NodeID(high: id.high, middle: id.middle ^ word, low: id.low)
                    : NodeID(high: id.high, middle: id.middle, low: id.low ^ 1 << UInt32(159 - bit))
            #expect(changed.isBound(to: address) == (bit >= 21 && bit < 157), "bit \(bit)")
        }
    }

    @Test("an id made for an address is bound to it, in both families, and differs from the next")
    func made() throws {
        var generator = SeededGenerator(seed: 4)
        for text in ["8.8.8.8", "2a00:1450:4001:81b::200e", "2600::1"] {
            let address = try IPAddress(parsing: text)
            let ids = (0..<50).map { _ in NodeID(boundTo: address, using: &generator) }
            #expect(ids.allSatisfy { $0.isBound(to: address) } && Set(ids).count == 50)
        }
    }

    @Test("every id is good for an address that is not global")
    func exempt() throws {
        var generator = SeededGenerator(seed: 5)
        for text in ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.0.1", "::1", "fe80::1"] {
            #expect(NodeID(using: &generator).isBound(to: try IPAddress(parsing: text)))
        }
    }

    @Test("CRC-32C is the one of Castagnoli")
    func crc() {
        // By a bitwise implementation that gives the published 0xE3069283 for "123456789".
        #expect(crc32c(UInt64(0x3132_3334_3536_3738)) == 0x6087_809A)
        #expect(crc32c(UInt32(0)) == 0x4867_4BC7)
    }

    @Test("distances are those of the exclusive or, bit by bit")
    func distances() {
        var generator = SeededGenerator(seed: 6)
        for _ in 0..<2000 {
            let a = NodeID(using: &generator)
            let length = Int.random(in: 0...159, using: &generator)
            let b = a.drawn(sharing: length, using: &generator)
            #expect(a.commonPrefixLength(with: b) == length && b.commonPrefixLength(with: a) == length)
            let nearer = a.drawn(sharing: min(159, length + 1), using: &generator)
            #expect(length == 159 || nearer.isCloser(to: a, than: b) && !b.isCloser(to: a, than: nearer))
            #expect(a.isCloser(to: a, than: b) && !a.isCloser(to: a, than: a))
            let bytes = a.withBytes { Bytes(copying: $0) }
            #expect(bytes == a.bytes && (try? NodeID(bytes: bytes.span)) == a && NodeID(a.description) == a)
        }
        #expect(NodeID(String(repeating: "g", count: 40)) == nil && NodeID("00") == nil)
    }

    @Test("a topic's infohash is what its documentation says")
    func topic() {
        #expect(Topic("chess").infohash.description == "7ae7abdb9e77ba3ff86b03341f8f27dd4cbfa5c3")
        #expect(Topic("chess").infohash != Topic("Chess").infohash)
    }

    @Test("SipHash gives the values of its authors' test")
    func sipHash() {
        // The reference's vectors are over bytes 0, 1, 2, … under the key 0, 1, … 15; this is the one of 16 bytes.
        let hash = SipHash(key: (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908))
        #expect(hash(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908) == 0x3f2a_cc7f_57c2_9bdb)
    }
}
