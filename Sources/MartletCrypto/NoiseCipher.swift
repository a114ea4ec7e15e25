/// One direction of a Noise conversation after its handshake (revision 34, §5.1): seals or opens messages in
/// place, in order, under a key and a counter.
///
/// A message is at most 65,535 bytes with its 16-byte tag. It is not for two threads at a time.
public final class NoiseCipher {
    /// The longest message, tag included.
    public static let maximumMessageSize = 65_535
    /// How many bytes a message is longer than its plaintext.
    public static let tagSize = AEAD.tagSize

    /// The number of the next message.
    public private(set) var nonce: UInt64 = 0
    private var aead: AEAD

    init(_ algorithm: AEADAlgorithm, key: UnsafeRawBufferPointer) {
        aead = AEAD(algorithm)
        aead.setKey(key)
    }

    /// Seals all of `buffer` but its last 16 bytes, which the tag goes to.
    ///
    /// Throws `messageTooLong`, `truncated` if there is no room for a tag, or `nonceExhausted`; nothing is then
    /// changed.
    public func seal(_ buffer: UnsafeMutableRawBufferPointer) throws(NoiseError) {
        try check(buffer.count)
        aead.seal(buffer, nonce: AEADNonce(nonce, for: aead.algorithm), additional: .empty)
        nonce &+= 1
    }

    /// Seals all of `span` but its last 16 bytes, which the tag goes to. Throws as the other `seal` does.
    public func seal(_ span: inout MutableRawSpan) throws(NoiseError) {
        try span.withUnsafeMutableBytes { buffer throws(NoiseError) in try seal(buffer) }
    }

    /// Opens `buffer`, whose last 16 bytes are the tag, and tells how many bytes of plaintext it begins with.
    ///
    /// Throws `messageTooLong`, `truncated` or `nonceExhausted` and changes nothing, or `forged` and leaves zeros
    /// in place of the message. A forged message is not counted.
    @discardableResult
    public func open(_ buffer: UnsafeMutableRawBufferPointer) throws(NoiseError) -> Int {
        try check(buffer.count)
        let nonce = AEADNonce(nonce, for: aead.algorithm)
        guard let count = aead.open(buffer, nonce: nonce, additional: .empty) else { throw .forged(offset: 0) }
        self.nonce &+= 1
        return count
    }

    /// Opens `span`, whose last 16 bytes are the tag, and tells how many bytes of plaintext it begins with.
    /// Throws as the other `open` does.
    @discardableResult
    public func open(_ span: inout MutableRawSpan) throws(NoiseError) -> Int {
        try span.withUnsafeMutableBytes { buffer throws(NoiseError) in try open(buffer) }
    }

    /// Replaces the key by one that it leads to and that does not lead back (§4.2). Both sides must do so between
    /// the same two messages. The numbering goes on.
    public func rekey() {
        let memory = SecretStorage.make(count: aead.algorithm.keySize + AEAD.tagSize)
        let buffer = UnsafeMutableRawBufferPointer(start: memory.base, count: memory.header)
        aead.seal(buffer, nonce: AEADNonce(.max, for: aead.algorithm), additional: .empty)
        aead.setKey(UnsafeRawBufferPointer(rebasing: buffer[..<aead.algorithm.keySize]))
    }

    /// Passes over numbers up to `nonce`, which must not lie behind: where the transport tells the number of each
    /// message and some are lost.
    public func advance(to nonce: UInt64) {
        precondition(nonce >= self.nonce, "a number must not be used twice")
        self.nonce = nonce
    }

    private func check(_ count: Int) throws(NoiseError) {
        guard count <= Self.maximumMessageSize else { throw .messageTooLong(count: count) }
        guard count >= Self.tagSize else { throw .truncated(offset: 0) }
        // The last number is kept for rekeying.
        guard nonce != .max else { throw .nonceExhausted }
    }
}

/// The two directions of a conversation, and what its handshake found out.
public struct NoiseTransport {
    /// Seals what goes to the other side.
    public let sending: NoiseCipher
    /// Opens what comes from the other side.
    public let receiving: NoiseCipher
    /// A value that both sides share and no other conversation has, to bind things to this one (§11.2).
    public let handshakeHash: Digest
    /// The other side's static key, where the pattern has one.
    public let remoteStatic: X25519PublicKey?
}

extension AEADNonce {
    /// The number of a message, as Noise writes it for `algorithm` (§12).
    init(_ counter: UInt64, for algorithm: AEADAlgorithm) {
        self = algorithm == .chaCha20Poly1305 ? AEADNonce(littleEndian: counter) : AEADNonce(bigEndian: counter)
    }
}

extension UnsafeRawBufferPointer {
    static var empty: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }
}
