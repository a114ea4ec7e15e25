/// HMAC (RFC 2104) over any hash. One value authenticates any number of messages under its key, without an
/// allocation for each.
public struct HMAC: ~Copyable {
    private var hash: RunningHash
    /// The key's two blocks: the inner padding, and behind it the outer.
    private let pads: SecretStorage

    /// HMAC over `algorithm` with `key`, of any length.
    public init(_ algorithm: HashAlgorithm, key: RawSpan) {
        self.init(algorithm)
        key.withUnsafeBytes { setKey($0) }
    }

    /// HMAC that must be given its key before anything else.
    init(_ algorithm: HashAlgorithm) {
        hash = RunningHash(algorithm)
        pads = SecretStorage.make(count: 2 * algorithm.blockSize)
    }

    /// Takes in the next part of the message.
    public mutating func update(_ part: RawSpan) {
        hash.update(part)
    }

    /// The code of all parts. What comes in from now on is another message under the same key.
    public mutating func finish() -> Digest {
        Digest(count: hash.algorithm.digestSize) { finish(into: $0) }
    }

    /// The code of `message` under `key`.
    public static func code(_ algorithm: HashAlgorithm, key: RawSpan, message: RawSpan) -> Digest {
        var hmac = HMAC(algorithm, key: key)
        hmac.update(message)
        return hmac.finish()
    }

    /// Forgets the message so far and takes another key.
    mutating func setKey(_ key: UnsafeRawBufferPointer) {
        let blockSize = hash.algorithm.blockSize
        hash.restart()
        let inner = UnsafeMutableRawBufferPointer(start: pads.base, count: blockSize)
        let outer = UnsafeMutableRawBufferPointer(start: pads.base + blockSize, count: blockSize)
        inner.initializeMemory(as: UInt8.self, repeating: 0)
        if key.count > blockSize {
            hash.update(key)
            hash.finish(into: pads.base)
        } else {
            inner.copyMemory(from: key)
        }
        for index in 0..<blockSize {
            outer[index] = inner[index] ^ 0x5C
            inner[index] ^= 0x36
        }
        hash.update(UnsafeRawBufferPointer(inner))
    }

    mutating func update(_ part: UnsafeRawBufferPointer) {
        hash.update(part)
    }

    /// Writes the code to `target` and starts over with the same key.
    mutating func finish(into target: UnsafeMutableRawPointer) {
        let algorithm = hash.algorithm
        hash.finish(into: target)
        hash.update(UnsafeRawBufferPointer(start: pads.base + algorithm.blockSize, count: algorithm.blockSize))
        hash.update(UnsafeRawBufferPointer(start: target, count: algorithm.digestSize))
        hash.finish(into: target)
        hash.update(UnsafeRawBufferPointer(start: pads.base, count: algorithm.blockSize))
    }
}

/// Key derivation by HKDF (RFC 5869), over any hash.
public enum HKDF {
    /// A pseudorandom key, as long as the hash's digest, from `input`. `salt` may be empty.
    public static func extract(_ algorithm: HashAlgorithm, salt: RawSpan, input: RawSpan) -> Secret {
        var hmac = HMAC(algorithm, key: salt)
        hmac.update(input)
        return Secret(count: algorithm.digestSize) { target in
            hmac.finish(into: target.baseAddress.unsafelyUnwrapped)
        }
    }

    /// `count` bytes from a pseudorandom `key`, bound to `info`. At most 255 times the hash's digest.
    public static func expand(_ algorithm: HashAlgorithm, key: RawSpan, info: RawSpan, count: Int) -> Secret {
        precondition(count >= 0 && count <= 255 * algorithm.digestSize, "more than HKDF can give")
        var hmac = HMAC(algorithm, key: key)
        return Secret(count: count) { target in
            info.withUnsafeBytes { hmac.expand(info: $0, into: target) }
        }
    }

    /// `count` bytes from `input`: extracted and expanded.
    public static func derive(
        _ algorithm: HashAlgorithm, input: RawSpan, salt: RawSpan, info: RawSpan, count: Int
    ) -> Secret {
        let key = extract(algorithm, salt: salt, input: input)
        return expand(algorithm, key: key.span, info: info, count: count)
    }
}

extension HMAC {
    /// HKDF's expansion under the present key, which fills `target`.
    mutating func expand(info: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) {
        let size = digestSize
        let block = SecretStorage.make(count: size)
        var counter: UInt8 = 0
        for offset in stride(from: 0, to: target.count, by: size) {
            if counter > 0 { update(UnsafeRawBufferPointer(start: block.base, count: size)) }
            counter += 1
            update(info)
            withUnsafeBytes(of: counter) { update($0) }
            finish(into: block.base)
            let wanted = min(size, target.count - offset)
            (target.baseAddress.unsafelyUnwrapped + offset).copyMemory(from: block.base, byteCount: wanted)
        }
    }

    private var digestSize: Int { hash.algorithm.digestSize }
}
