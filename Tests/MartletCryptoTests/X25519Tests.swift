import MartletCrypto
import MartletWire
import TestSupport
import Testing

struct X25519Tests {
    @Test("two keys agree on the secret of RFC 7748 §6.1")
    func published() throws {
        let alice = try #require(
            X25519PrivateKey(secret(hex: "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")))
        let bob = try #require(
            X25519PrivateKey(secret(hex: "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")))
        let shared = secret(hex: "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
        #expect(
            alice.publicKey.bytes == bytes(hex: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"))
        #expect(try alice.agree(with: bob.publicKey) == shared)
        #expect(try bob.agree(with: alice.publicKey) == shared)
        #expect(alice.secret == secret(hex: "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    }

    /// The points of small order, and their spellings of 2^255 - 19 and above: RFC 7748 §6.1 asks for the check.
    static let weak = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]

    @Test("a public key that makes a secret of zeros is refused", arguments: weak)
    func refused(point: String) throws {
        var generator = SeededGenerator(seed: 1)
        let key = X25519PrivateKey(using: &generator)
        let other = try #require(X25519PublicKey(bytes(hex: point)))
        #expect(throws: WeakSharedSecret()) { try key.agree(with: other) }
    }

    @Test("keys of any length but 32 are refused")
    func lengths() {
        for count in 0..<100 where count != 32 {
            let text = Bytes(Array(repeating: 1, count: count))
            #expect(X25519PublicKey(text) == nil)
            #expect(X25519PrivateKey(Secret(copying: text.span)) == nil)
        }
    }

    @Test("keys from one seed are the same, and a private key does not print itself")
    func generated() {
        var generator = SeededGenerator(seed: 2)
        var again = SeededGenerator(seed: 2)
        let key = X25519PrivateKey(using: &generator)
        let same = X25519PrivateKey(using: &again)
        let next = X25519PrivateKey(using: &generator)
        #expect(key.publicKey == same.publicKey)
        #expect(key.publicKey != next.publicKey)
        let secret = Bytes(copying: key.secret.span).description
        var dumped = ""
        dump(key, to: &dumped)
        #expect(!"\(key)".contains(secret) && !dumped.contains(secret))
    }
}
