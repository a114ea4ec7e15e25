/// What both sides of a handshake have in common after each step: the chaining key, the hash of all that was said,
/// and the present key (Noise revision 34, §5.1 and §5.2).
struct NoiseSymmetricState: ~Copyable {
    private let algorithm: AEADAlgorithm
    private let hashSize: Int
    private var hash: RunningHash
    private var hmac: HMAC
    private var cipher: AEAD
    private var nonce: UInt64 = 0
    /// The chaining key; behind it the hash; behind that three outputs of the key derivation. 64 bytes for each.
    private let memory: SecretStorage

    /// Whether there is a key yet: until then, what should be encrypted goes as it is.
    private(set) var hasKey = false

    init(_ noise: NoiseProtocol) {
        algorithm = noise.cipher
        hashSize = noise.hash.digestSize
        hash = RunningHash(noise.hash)
        hmac = HMAC(noise.hash)
        cipher = AEAD(noise.cipher)
        memory = SecretStorage.make(count: 5 * Digest.maximumSize)

        var name = noise.name
        name.withUTF8 { name in
            let name = UnsafeRawBufferPointer(name)
            if name.count <= hashSize {
                handshakeHash.copyMemory(from: name)
            } else {
                hash.update(name)
                hash.finish(into: memory.base + Digest.maximumSize)
            }
        }
        chainingKey.copyMemory(from: UnsafeRawBufferPointer(handshakeHash))
    }

    private var chainingKey: UnsafeMutableRawBufferPointer { field(0) }
    private var handshakeHash: UnsafeMutableRawBufferPointer { field(1) }

    private func field(_ index: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: memory.base + index * Digest.maximumSize, count: hashSize)
    }

    /// The hash of all that was said so far.
    var digest: Digest {
        Digest(count: hashSize) { $0.copyMemory(from: memory.base + Digest.maximumSize, byteCount: hashSize) }
    }

    mutating func mixHash(_ data: UnsafeRawBufferPointer) {
        hash.update(UnsafeRawBufferPointer(handshakeHash))
        hash.update(data)
        hash.finish(into: memory.base + Digest.maximumSize)
    }

    mutating func mixKey(_ input: UnsafeRawBufferPointer) {
        derive(2, from: input)
        chainingKey.copyMemory(from: output(0))
        setKey(output(1))
    }

    mutating func mixKeyAndHash(_ input: UnsafeRawBufferPointer) {
        derive(3, from: input)
        chainingKey.copyMemory(from: output(0))
        mixHash(output(1))
        setKey(output(2))
    }

    /// Encrypts `buffer` in place once there is a key; its last 16 bytes are then room for the tag.
    mutating func encryptAndHash(_ buffer: UnsafeMutableRawBufferPointer) {
        if hasKey {
            cipher.seal(buffer, nonce: nextNonce, additional: UnsafeRawBufferPointer(handshakeHash))
            nonce += 1
        }
        mixHash(UnsafeRawBufferPointer(buffer))
    }

    /// Decrypts `source` in `target`, which has the same size. False if it is forged; the hash stays as it was.
    mutating func decryptAndHash(_ source: UnsafeRawBufferPointer, in target: UnsafeMutableRawBufferPointer) -> Bool {
        target.copyMemory(from: source)
        if hasKey {
            let opened = cipher.open(target, nonce: nextNonce, additional: UnsafeRawBufferPointer(handshakeHash))
            guard opened != nil else { return false }
            nonce += 1
        }
        mixHash(source)
        return true
    }

    /// The ciphers of both directions: first the initiator's.
    mutating func split() -> (NoiseCipher, NoiseCipher) {
        derive(2, from: .empty)
        return (NoiseCipher(algorithm, key: key(output(0))), NoiseCipher(algorithm, key: key(output(1))))
    }

    private var nextNonce: AEADNonce { AEADNonce(nonce, for: algorithm) }

    /// Noise's HKDF is RFC 5869's, salted with the chaining key and without info.
    private mutating func derive(_ outputs: Int, from input: UnsafeRawBufferPointer) {
        hmac.setKey(UnsafeRawBufferPointer(chainingKey))
        hmac.update(input)
        let start = memory.base + 2 * Digest.maximumSize
        hmac.finish(into: start)
        hmac.setKey(UnsafeRawBufferPointer(start: start, count: hashSize))
        hmac.expand(info: .empty, into: UnsafeMutableRawBufferPointer(start: start, count: outputs * hashSize))
    }

    private func output(_ index: Int) -> UnsafeRawBufferPointer {
        let start = memory.base + 2 * Digest.maximumSize + index * hashSize
        return UnsafeRawBufferPointer(start: start, count: hashSize)
    }

    private mutating func setKey(_ output: UnsafeRawBufferPointer) {
        cipher.setKey(key(output))
        nonce = 0
        hasKey = true
    }

    /// A key is the output's first bytes: the longer hashes give more.
    private func key(_ output: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: output.prefix(algorithm.keySize))
    }
}
