import MartletCrypto
import Testing

struct NoiseProtocolTests {
    @Test("a name gives the pattern, the cipher and the hash")
    func names() throws {
        let one = try NoiseProtocol("Noise_XXpsk0+psk3_25519_AESGCM_BLAKE2b")
        #expect(one.cipher == .aes256GCM && one.hash == .blake2b)
        #expect(one.presharedKeyCount == 2 && one.messageCount == 3)
        let other = try NoiseProtocol("Noise_IK_25519_ChaChaPoly_SHA256")
        #expect(other.cipher == .chaCha20Poly1305 && other.hash == .sha256)
        #expect(other.presharedKeyCount == 0 && other.messageCount == 2)
        #expect(try NoiseProtocol("Noise_X1X1psk4_25519_ChaChaPoly_SHA256").messageCount == 4)
        #expect("\(one)" == "Noise_XXpsk0+psk3_25519_AESGCM_BLAKE2b")
    }

    @Test(
        "a name with a part that is not spoken is refused, and the part is told",
        arguments: [
            ("Noise_XX_448_ChaChaPoly_SHA256", "448"),
            ("Noise_XX_25519_XChaChaPoly_SHA256", "XChaChaPoly"),
            ("Noise_XX_25519_ChaChaPoly_SHA3", "SHA3"),
            ("Noise_XX_25519_ChaChaPoly_sha256", "sha256"),
            ("Noise_N_25519_ChaChaPoly_SHA256", "N"),
            ("Noise_XXfallback_25519_ChaChaPoly_SHA256", "fallback"),
            ("Noise_XXpsk4_25519_ChaChaPoly_SHA256", "psk4"),
            ("Noise_XXpsk5_25519_ChaChaPoly_SHA256", "psk5"),
            ("Noise_XXpsk_25519_ChaChaPoly_SHA256", "psk"),
            ("Noise_XXpsk-1_25519_ChaChaPoly_SHA256", "psk-1"),
            ("Noise_XXpsk+1_25519_ChaChaPoly_SHA256", "psk"),
            ("Noise_XXpsk00_25519_ChaChaPoly_SHA256", "psk00"),
            ("Noise_XXpsk0+_25519_ChaChaPoly_SHA256", ""),
            ("Noise_XXpsk0psk1_25519_ChaChaPoly_SHA256", "psk0psk1"),
            ("Noise_XXpsk0+psk0_25519_ChaChaPoly_SHA256", "psk0"),
            ("Noise_XXpsk3+psk3_25519_ChaChaPoly_SHA256", "psk3"),
            ("Noise__25519_ChaChaPoly_SHA256", ""),
            ("Noise_XX_25519_ChaChaPoly", "Noise_XX_25519_ChaChaPoly"),
            ("Noise_XX_25519_ChaChaPoly_SHA256_", "Noise_XX_25519_ChaChaPoly_SHA256_"),
            ("noise_XX_25519_ChaChaPoly_SHA256", "noise_XX_25519_ChaChaPoly_SHA256"),
            ("", ""),
        ])
    func refused(name: String, part: String) {
        #expect(throws: NoiseError.unknownProtocol(part: part)) { try NoiseProtocol(name) }
    }

    @Test("a name is refused when it is cut short anywhere, or longer than 255 bytes")
    func lengths() {
        let name = "Noise_XXpsk0+psk3_25519_AESGCM_BLAKE2b"
        for count in 0..<name.count {
            #expect(throws: NoiseError.self) { try NoiseProtocol(String(name.prefix(count))) }
        }
        let long = "Noise_XX" + String(repeating: "psk0+", count: 60) + "psk1_25519_AESGCM_BLAKE2b"
        #expect(throws: NoiseError.self) { try NoiseProtocol(long) }
    }
}
