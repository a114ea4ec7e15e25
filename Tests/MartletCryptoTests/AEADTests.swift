import MartletCrypto
import MartletWire
import TestSupport
import Testing

struct AEADTests {
    struct Vector: Sendable, CustomTestStringConvertible {
        var name: String
        var algorithm: AEADAlgorithm
        var key: String
        var nonce: String
        var additional: String
        var plain: String
        var sealed: String
        var testDescription: String { name }
    }

    static let text = """
        d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
        1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39
        """

    /// RFC 8439 §2.8.2, and the GCM specification as submitted to NIST, appendix B.
    static let vectors = [
        Vector(
            name: "RFC 8439 §2.8.2", algorithm: .chaCha20Poly1305,
            key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            nonce: "070000004041424344454647", additional: "50515253c0c1c2c3c4c5c6c7",
            plain: """
                4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a
                204966204920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f722074686
                5206675747572652c2073756e73637265656e20776f756c642062652069742e
                """,
            sealed: """
                d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
                3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
                92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
                3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691
                """),
        Vector(
            name: "GCM test case 1", algorithm: .aes128GCM, key: String(repeating: "00", count: 16),
            nonce: String(repeating: "00", count: 12), additional: "", plain: "",
            sealed: "58e2fccefa7e3061367f1d57a4e7455a"),
        Vector(
            name: "GCM test case 2", algorithm: .aes128GCM, key: String(repeating: "00", count: 16),
            nonce: String(repeating: "00", count: 12), additional: "", plain: String(repeating: "00", count: 16),
            sealed: "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"),
        Vector(
            name: "GCM test case 4", algorithm: .aes128GCM, key: "feffe9928665731c6d6a8f9467308308",
            nonce: "cafebabefacedbaddecaf888", additional: "feedfacedeadbeeffeedfacedeadbeefabaddad2", plain: text,
            sealed: """
                42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
                21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091
                5bc94fbc3221a5db94fae95ae7121a47
                """),
        Vector(
            name: "GCM test case 13", algorithm: .aes256GCM, key: String(repeating: "00", count: 32),
            nonce: String(repeating: "00", count: 12), additional: "", plain: "",
            sealed: "530f8afbc74536b9a963b4f1c4cb738b"),
        Vector(
            name: "GCM test case 16", algorithm: .aes256GCM,
            key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            nonce: "cafebabefacedbaddecaf888", additional: "feedfacedeadbeeffeedfacedeadbeefabaddad2", plain: text,
            sealed: """
                522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
                8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
                76fc6ece0f4e1768cddf8853bb2d551b
                """),
    ]

    @Test("sealing and opening in place give the bytes of the specifications, with one context", arguments: vectors)
    func published(vector: Vector) throws {
        var aead = AEAD(vector.algorithm, key: bytes(hex: vector.key).span)
        let nonce = AEADNonce(bytes(hex: vector.nonce).span)
        let plain = bytes(hex: vector.plain)
        let additional = bytes(hex: vector.additional)
        for _ in 0..<3 {
            var writer = Writer()
            writer.bytes(plain)
            writer.bytes(Bytes(Array(repeating: 0xFF, count: AEAD.tagSize)))
            var buffer = writer.mutableSpan
            aead.seal(&buffer, nonce: nonce, additional: additional.span)
            let sealed = Bytes(copying: buffer.bytes)
            #expect(sealed == bytes(hex: vector.sealed))
            let count = try aead.open(&buffer, nonce: nonce, additional: additional.span)
            #expect(count == plain.count)
            let opened = Bytes(copying: buffer.bytes).slice(0..<count)
            #expect(opened == plain)
        }
    }

    @Test("a message changed in any bit is refused, and leaves zeros", arguments: vectors)
    func forged(vector: Vector) {
        var aead = AEAD(vector.algorithm, key: bytes(hex: vector.key).span)
        let nonce = AEADNonce(bytes(hex: vector.nonce).span)
        let additional = bytes(hex: vector.additional)
        let sealed = Array(bytes(hex: vector.sealed))
        for bit in 0..<sealed.count * 8 {
            var buffer = sealed
            buffer[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: ForgedMessage()) {
                try buffer.withUnsafeMutableBytes { buffer in
                    _ = try aead.open(buffer, nonce: nonce, additional: additional.span)
                }
            }
            #expect(buffer.dropLast(AEAD.tagSize).allSatisfy { $0 == 0 })
        }
        for count in 0..<sealed.count {
            var buffer = Array(sealed[..<count])
            #expect(throws: ForgedMessage()) {
                try buffer.withUnsafeMutableBytes { buffer in
                    _ = try aead.open(buffer, nonce: nonce, additional: additional.span)
                }
            }
        }
    }

    @Test("another key, nonce or additional data is refused", arguments: AEADAlgorithm.allCases)
    func mismatched(algorithm: AEADAlgorithm) throws {
        var generator = SeededGenerator(seed: 7)
        let key = Secret(count: algorithm.keySize, using: &generator)
        var one = AEAD(algorithm, key: key.span)
        var other = AEAD(algorithm, key: Secret(count: algorithm.keySize, using: &generator).span)
        let additional: Bytes = [1, 2, 3]
        let changed: Bytes = [1, 2, 4]
        var sealed = Array(repeating: UInt8(9), count: 100)
        sealed.withUnsafeMutableBytes { buffer in
            one.seal(buffer, nonce: AEADNonce(littleEndian: 5), additional: additional.span)
        }
        func opens(_ aead: inout AEAD, _ nonce: AEADNonce, _ additional: Bytes) -> Bool {
            var copy = sealed
            return copy.withUnsafeMutableBytes { buffer in
                (try? aead.open(buffer, nonce: nonce, additional: additional.span)) != nil
            }
        }
        let right = AEADNonce(littleEndian: 5)
        let isOpened = opens(&one, right, additional)
        let isOpenedByAnother = opens(&other, right, additional)
        let isOpenedLater = opens(&one, AEADNonce(littleEndian: 6), additional)
        let isOpenedReversed = opens(&one, AEADNonce(bigEndian: 5), additional)
        let isOpenedChanged = opens(&one, right, changed)
        let isOpenedBare = opens(&one, right, Bytes())
        #expect(isOpened)
        #expect(!isOpenedByAnother && !isOpenedLater && !isOpenedReversed && !isOpenedChanged && !isOpenedBare)
    }

    @Test("a counter becomes the nonce that Noise writes for each cipher")
    func counters() {
        let counter: UInt64 = 0x0102_0304_0506_0708
        let littleEndian: Bytes = [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]
        let bigEndian: Bytes = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
        let fromLittleEndian = AEADNonce(littleEndian.span)
        let fromBigEndian = AEADNonce(bigEndian.span)
        #expect(AEADNonce(littleEndian: counter) == fromLittleEndian)
        #expect(AEADNonce(bigEndian: counter) == fromBigEndian)
        #expect(AEADNonce(bigEndian: counter) != AEADNonce(littleEndian: counter))
    }
}
