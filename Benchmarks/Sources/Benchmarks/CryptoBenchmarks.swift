import BenchmarkHarness
import Martlet

/// `MartletCrypto`: what every connection and every record of it pays.
var cryptoBenchmarks: [Benchmark] { [seal, handshake] }

/// ChaCha20-Poly1305 over 16 KiB in place, beside OpenSSL's own measurement of itself.
private var seal: Benchmark {
    let size = 16 * 1024
    return Benchmark("chacha20-poly1305-seal-16KiB", yardstick: .opensslSpeed("chacha20-poly1305", size: size)) {
        let key = Bytes([UInt8](repeating: 0x42, count: AEADAlgorithm.chaCha20Poly1305.keySize))
        let message = Message(count: size + AEAD.tagSize)
        let cipher = Cipher(AEAD(.chaCha20Poly1305, key: key.span))
        var counter: UInt64 = 0
        return { iterations in
            for _ in 0..<iterations {
                cipher.aead.seal(message.buffer, nonce: AEADNonce(littleEndian: counter))
                counter &+= 1
            }
        }
    }
}

/// A whole Noise XX handshake as libp2p does it, both sides, with new ephemeral keys.
private var handshake: Benchmark {
    Benchmark("noise-xx-handshake") {
        let noise = try NoiseProtocol("Noise_XX_25519_ChaChaPoly_SHA256")
        var generator = SplitMix(state: 1)
        let dialer = X25519PrivateKey(using: &generator)
        let listener = X25519PrivateKey(using: &generator)
        return { iterations in
            for _ in 0..<iterations {
                var initiator = try NoiseHandshake(noise, role: .initiator, staticKey: dialer)
                var responder = try NoiseHandshake(noise, role: .responder, staticKey: listener)
                consume(try responder.readMessage(initiator.message(using: &generator)))
                consume(try initiator.readMessage(responder.message(using: &generator)))
                consume(try responder.readMessage(initiator.message(using: &generator)))
                consume(try initiator.finish())
                consume(try responder.finish())
            }
        }
    }
}

extension NoiseHandshake {
    fileprivate mutating func message(using generator: inout SplitMix) throws -> Bytes {
        var writer = Writer(capacity: 128)
        try writeMessage(into: &writer, using: &generator)
        return writer.finish()
    }
}

/// Memory that is sealed in place, again and again.
private final class Message {
    let buffer: UnsafeMutableRawBufferPointer

    init(count: Int) {
        buffer = .allocate(byteCount: count, alignment: 64)
        buffer.initializeMemory(as: UInt8.self, repeating: 0xA5)
    }

    deinit { buffer.deallocate() }
}

/// Holds what cannot be copied for a closure.
private final class Cipher {
    var aead: AEAD

    init(_ aead: consuming AEAD) { self.aead = aead }
}

/// A generator that repeats itself (SplitMix64), so that each run counts the same instructions.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

extension Benchmark.Yardstick {
    /// `openssl speed` of a cipher over `size` bytes, for a second.
    fileprivate static func opensslSpeed(_ cipher: String, size: Int) -> Self {
        .command(
            "openssl speed", ["openssl", "speed", "-evp", cipher, "-bytes", String(size), "-seconds", "1"],
            nanoseconds: { output in
                // Its last line: the cipher's name and thousands of bytes a second, as in "4812345.67k".
                guard let figure = output.split(whereSeparator: \.isWhitespace).last, figure.last == "k",
                    let thousands = Double(figure.dropLast()), thousands > 0
                else { return nil }
                return Double(size) / (thousands * 1000) * 1e9
            })
    }
}
