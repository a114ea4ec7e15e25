import MartletCrypto
import MartletWire
import Testing

struct HashTests {
    @Test(
        "the digest of abc is the one in FIPS 180-4 and RFC 7693",
        arguments: [
            (HashAlgorithm.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                .sha512,
                """
                ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a
                2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f
                """
            ),
            (.blake2s, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"),
            (
                .blake2b,
                """
                ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1
                7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923
                """
            ),
        ])
    func abc(algorithm: HashAlgorithm, digest: String) {
        #expect(algorithm.digest(of: Bytes(utf8: "abc")).bytes == bytes(hex: digest))
    }

    @Test("a hash in parts is the hash of the whole, again and again", arguments: HashAlgorithm.allCases)
    func parts(algorithm: HashAlgorithm) {
        var running = RunningHash(algorithm)
        for size in [0, 1, 55, 56, 63, 64, 65, 127, 128, 129, 1000] {
            let message = Bytes((0..<size).map { UInt8(truncatingIfNeeded: $0) })
            for cut in stride(from: 0, through: size, by: max(1, size / 7)) {
                running.update(message.slice(0..<cut).span)
                running.update(message.slice(cut..<size).span)
                let whole = algorithm.digest(of: message)
                let inParts = running.finish()
                #expect(inParts == whole)
                #expect(whole.count == algorithm.digestSize)
            }
        }
    }

    @Test("digests differ when one byte does, and a code compares in constant time")
    func compares() {
        let one = HashAlgorithm.sha256.digest(of: Bytes(utf8: "abc"))
        let other = HashAlgorithm.sha256.digest(of: Bytes(utf8: "abd"))
        #expect(one != other)
        let isEqualToItself = one.span.isEqualInConstantTime(to: one.span)
        let isEqualToOther = one.span.isEqualInConstantTime(to: other.span)
        let isEqualToItsStart = one.span.isEqualInConstantTime(to: one.bytes.slice(0..<31).span)
        #expect(isEqualToItself && !isEqualToOther && !isEqualToItsStart)
        #expect(Set([one, other, one]).count == 2)
        #expect("\(one)".hasPrefix("ba7816bf"))
    }

    @Test(
        "HMAC gives the codes of RFC 2202 and RFC 4231",
        arguments: [
            (HashAlgorithm.sha1, String(repeating: "0b", count: 20), "b617318655057264e28bc0b6fb378c8ef146be00"),
            (
                .sha256, String(repeating: "0b", count: 20),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
            ),
            (
                .sha512, String(repeating: "0b", count: 20),
                """
                87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
                daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854
                """
            ),
        ])
    func hmac(algorithm: HashAlgorithm, key: String, code: String) {
        let message = Bytes(utf8: "Hi There")
        let made = HMAC.code(algorithm, key: bytes(hex: key).span, message: message.span)
        #expect(made.bytes == bytes(hex: code))
    }

    @Test("HMAC takes a key longer than a block, and one value authenticates many messages")
    func longKey() {
        let key = Bytes(Array(repeating: 0xAA, count: 131))
        let message = Bytes(utf8: "Test Using Larger Than Block-Size Key - Hash Key First")
        let code = bytes(hex: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
        var hmac = HMAC(.sha256, key: key.span)
        for cut in [0, 10, message.count] {
            hmac.update(message.slice(0..<cut).span)
            hmac.update(message.slice(cut..<message.count).span)
            let made = hmac.finish().bytes
            #expect(made == code)
        }
    }

    struct Derivation: Sendable {
        var algorithm: HashAlgorithm
        var input: String
        var salt: String
        var info: String
        var key: String
        var output: String
    }

    /// RFC 5869, appendix A: test cases 1, 2, 3 and 4.
    static let derivations = [
        Derivation(
            algorithm: .sha256, input: String(repeating: "0b", count: 22), salt: "000102030405060708090a0b0c",
            info: "f0f1f2f3f4f5f6f7f8f9",
            key: "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            output: "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
        Derivation(
            algorithm: .sha256, input: ascending(from: 0x00, count: 80), salt: ascending(from: 0x60, count: 80),
            info: ascending(from: 0xB0, count: 80),
            key: "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
            output: """
                b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c
                59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71
                cc30c58179ec3e87c14c01d5c1f3434f1d87
                """),
        Derivation(
            algorithm: .sha256, input: String(repeating: "0b", count: 22), salt: "", info: "",
            key: "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            output: "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
        Derivation(
            algorithm: .sha1, input: String(repeating: "0b", count: 11), salt: "000102030405060708090a0b0c",
            info: "f0f1f2f3f4f5f6f7f8f9",
            key: "9b6c18c432a7bf8f0e71c8eb88f4b30baa2ba243",
            output: "085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896"),
    ]

    static func ascending(from first: Int, count: Int) -> String {
        (first..<first + count).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test("HKDF gives the keys and outputs of RFC 5869", arguments: derivations)
    func hkdf(derivation: Derivation) {
        let input = bytes(hex: derivation.input)
        let salt = bytes(hex: derivation.salt)
        let info = bytes(hex: derivation.info)
        let output = bytes(hex: derivation.output)
        let key = HKDF.extract(derivation.algorithm, salt: salt.span, input: input.span)
        #expect(key == secret(hex: derivation.key))
        for count in [0, 1, output.count - 1, output.count] {
            let derived = HKDF.derive(
                derivation.algorithm, input: input.span, salt: salt.span, info: info.span, count: count)
            #expect(derived == Secret(copying: output.slice(0..<count).span))
        }
        let longest = 255 * derivation.algorithm.digestSize
        let derived = HKDF.expand(derivation.algorithm, key: key.span, info: info.span, count: longest)
        #expect(Bytes(copying: derived.span).slice(0..<output.count) == output)
    }
}
