import Martlet

/// The Noise handshake of `MartletCrypto`.
let noiseTargets: [FuzzTarget] = [
    FuzzTarget("NoiseHandshake") { input in
        // A byte chooses the protocol and the side; then come the other side's messages, each behind its length.
        var reader = Reader(input.span)
        let choice = Int(try reader.byte())
        let noise = noiseProtocols[choice / 2 % noiseProtocols.count]
        var handshake = try NoiseHandshake(
            noise, role: choice % 2 == 0 ? .initiator : .responder, staticKey: staticKey,
            remoteStatic: remoteKey.publicKey)
        var generator = Counter()
        while !handshake.isComplete {
            if handshake.isWriting {
                var writer = Writer()
                try handshake.writeMessage(into: &writer, using: &generator)
            } else {
                _ = try handshake.readMessage(try reader.lengthPrefixed())
            }
        }
    }
]

private let noiseProtocols: [NoiseProtocol] = [
    "Noise_XX_25519_ChaChaPoly_SHA256", "Noise_IK_25519_AESGCM_SHA512", "Noise_NN_25519_ChaChaPoly_BLAKE2s",
    "Noise_KK_25519_AESGCM_BLAKE2b",
].compactMap { try? NoiseProtocol($0) }

/// Keys that are the same in every run, so that a finding repeats itself.
private let staticKey = fixedKey(1)
private let remoteKey = fixedKey(2)

private func fixedKey(_ start: UInt64) -> X25519PrivateKey {
    var generator = Counter(state: start << 32)
    return X25519PrivateKey(using: &generator)
}

/// Not random at all, which is enough to make keys from.
private struct Counter: RandomNumberGenerator {
    var state: UInt64 = 1

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return state
    }
}
