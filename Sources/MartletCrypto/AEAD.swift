internal import CCrypto

/// Authenticated encryption with 96-bit nonces and 16-byte tags.
public enum AEADAlgorithm: Hashable, Sendable, CaseIterable {
    /// ChaCha20-Poly1305 (RFC 8439), with a 32-byte key.
    case chaCha20Poly1305
    /// AES-128 in Galois/Counter Mode (NIST SP 800-38D), with a 16-byte key.
    case aes128GCM
    /// AES-256 in Galois/Counter Mode, with a 32-byte key.
    case aes256GCM

    /// How many bytes a key has.
    public var keySize: Int { self == .aes128GCM ? 16 : 32 }
}

/// A message that was not sealed with this key, nonce and additional data. All that can be said about it is that.
public struct ForgedMessage: Error, Hashable, Sendable {
    /// The error; there is only one.
    public init() {}
}

/// The 96 bits that must differ for each message sealed with one key.
public struct AEADNonce: Hashable, Sendable {
    @usableFromInline var words: (first: UInt32, second: UInt32, third: UInt32)

    /// Four zero bytes and then `counter`, least significant byte first: as Noise numbers messages for ChaChaPoly.
    @inlinable
    public init(littleEndian counter: UInt64) {
        words = (
            0, UInt32(truncatingIfNeeded: counter).littleEndian, UInt32(truncatingIfNeeded: counter >> 32).littleEndian
        )
    }

    /// Four zero bytes and then `counter`, most significant byte first: as Noise numbers messages for AESGCM.
    @inlinable
    public init(bigEndian counter: UInt64) {
        words = (
            0, UInt32(truncatingIfNeeded: counter >> 32).bigEndian, UInt32(truncatingIfNeeded: counter).bigEndian
        )
    }

    /// The 12 bytes of `bytes`, which must be as many.
    @inlinable
    public init(_ bytes: RawSpan) {
        precondition(bytes.byteCount == AEAD.nonceSize, "a nonce has 12 bytes")
        words = (
            bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self),
            bytes.unsafeLoadUnaligned(fromByteOffset: 4, as: UInt32.self),
            bytes.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt32.self)
        )
    }

    /// Whether both are the same 12 bytes.
    @inlinable
    public static func == (left: AEADNonce, right: AEADNonce) -> Bool {
        left.words == right.words
    }

    /// Feeds the bytes to `hasher`.
    @inlinable
    public func hash(into hasher: inout Hasher) {
        hasher.combine(words.first)
        hasher.combine(words.second)
        hasher.combine(words.third)
    }
}

/// A key that seals and opens messages in place.
///
/// The key schedule is made once; each message then costs no allocation. Whoever seals sees to it that a nonce is
/// never used twice.
public struct AEAD: ~Copyable {
    /// How many bytes a tag has, which a sealed message is longer by.
    public static let tagSize = 16
    /// How many bytes a nonce has.
    public static let nonceSize = 12
    /// The longest message, in bytes, without its tag.
    public static let maximumMessageSize = Int(Int32.max)

    /// Which algorithm it is.
    public let algorithm: AEADAlgorithm
    private let context: OpaquePointer

    /// `algorithm` with `key`, which must have the algorithm's key size.
    public init(_ algorithm: AEADAlgorithm, key: RawSpan) {
        self.init(algorithm)
        key.withUnsafeBytes { setKey($0) }
    }

    /// `algorithm`, which must be given a key before anything else.
    init(_ algorithm: AEADAlgorithm) {
        guard let context = EVP_CIPHER_CTX_new() else { preconditionFailure("libcrypto has no memory") }
        self.algorithm = algorithm
        self.context = context
        precondition(
            EVP_CipherInit_ex2(context, algorithm.fetched.pointer, nil, nil, 1, nil) == 1,
            "libcrypto could not start a cipher")
    }

    deinit {
        EVP_CIPHER_CTX_free(context)
    }

    /// Seals all of `buffer` but its last 16 bytes, which the tag goes to.
    public mutating func seal(
        _ buffer: UnsafeMutableRawBufferPointer, nonce: AEADNonce, additional: RawSpan = RawSpan()
    ) {
        additional.withUnsafeBytes { seal(buffer, nonce: nonce, additional: $0) }
    }

    /// Seals all of `span` but its last 16 bytes, which the tag goes to.
    public mutating func seal(
        _ span: inout MutableRawSpan, nonce: AEADNonce, additional: RawSpan = RawSpan()
    ) {
        span.withUnsafeMutableBytes { seal($0, nonce: nonce, additional: additional) }
    }

    /// Opens `buffer`, whose last 16 bytes are the tag, and tells how many bytes of plaintext it begins with.
    ///
    /// Throws `ForgedMessage` if it was not sealed with this key, nonce and additional data, or is shorter than a
    /// tag. The buffer then holds zeros in place of the message: nothing unauthenticated can be read from it.
    @discardableResult
    public mutating func open(
        _ buffer: UnsafeMutableRawBufferPointer, nonce: AEADNonce, additional: RawSpan = RawSpan()
    ) throws(ForgedMessage) -> Int {
        let opened = additional.withUnsafeBytes { open(buffer, nonce: nonce, additional: $0) }
        guard let opened else { throw ForgedMessage() }
        return opened
    }

    /// Opens `span`, whose last 16 bytes are the tag, and tells how many bytes of plaintext it begins with.
    ///
    /// Throws as the other `open` does.
    @discardableResult
    public mutating func open(
        _ span: inout MutableRawSpan, nonce: AEADNonce, additional: RawSpan = RawSpan()
    ) throws(ForgedMessage) -> Int {
        let opened = span.withUnsafeMutableBytes { buffer in
            additional.withUnsafeBytes { open(buffer, nonce: nonce, additional: $0) }
        }
        guard let opened else { throw ForgedMessage() }
        return opened
    }
}

// What the Noise machine uses as well: raw buffers throughout, and keys that change.
extension AEAD {
    mutating func setKey(_ key: UnsafeRawBufferPointer) {
        precondition(key.count == algorithm.keySize, "not the algorithm's key size")
        precondition(
            EVP_CipherInit_ex2(context, nil, key.octets, nil, 1, nil) == 1,
            "libcrypto could not take a key")
    }

    mutating func seal(
        _ buffer: UnsafeMutableRawBufferPointer, nonce: AEADNonce, additional: UnsafeRawBufferPointer
    ) {
        let count = buffer.count - AEAD.tagSize
        precondition(count >= 0 && count <= AEAD.maximumMessageSize, "no room for the tag, or too long")
        let message = buffer.baseAddress.unsafelyUnwrapped.octets
        let sealed =
            start(nonce, sealing: true)
            && process(message, count: count, additional: additional)
            && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(AEAD.tagSize), message + count) == 1
        precondition(sealed, "libcrypto could not seal")
    }

    /// How many bytes of plaintext there are, or `nil` if the message is forged.
    mutating func open(
        _ buffer: UnsafeMutableRawBufferPointer, nonce: AEADNonce, additional: UnsafeRawBufferPointer
    ) -> Int? {
        let count = buffer.count - AEAD.tagSize
        guard count >= 0, count <= AEAD.maximumMessageSize else { return nil }
        let message = buffer.baseAddress.unsafelyUnwrapped.octets
        // The tag is taken only by a context that was already started for opening.
        let opened =
            start(nonce, sealing: false)
            && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(AEAD.tagSize), message + count) == 1
            && process(message, count: count, additional: additional)
        guard opened else {
            // libcrypto writes plaintext before it has seen that the tag is wrong.
            OPENSSL_cleanse(message, count)
            return nil
        }
        return count
    }

    private func start(_ nonce: AEADNonce, sealing: Bool) -> Bool {
        withUnsafeBytes(of: nonce.words) { nonce in
            EVP_CipherInit_ex2(context, nil, nil, nonce.octets, sealing ? 1 : 0, nil) == 1
        }
    }

    private func process(
        _ message: UnsafeMutablePointer<UInt8>, count: Int, additional: UnsafeRawBufferPointer
    ) -> Bool {
        var written: Int32 = 0
        if additional.count > 0 {
            let absorbed = EVP_CipherUpdate(context, nil, &written, additional.octets, Int32(additional.count))
            guard absorbed == 1 else { return false }
        }
        if count > 0, EVP_CipherUpdate(context, message, &written, message, Int32(count)) != 1 { return false }
        return EVP_CipherFinal_ex(context, message + count, &written) == 1
    }
}

extension AEADAlgorithm {
    private static let chaCha20Poly1305Fetched = FetchedAlgorithm.cipher("ChaCha20-Poly1305")
    private static let aes128GCMFetched = FetchedAlgorithm.cipher("AES-128-GCM")
    private static let aes256GCMFetched = FetchedAlgorithm.cipher("AES-256-GCM")

    fileprivate var fetched: FetchedAlgorithm {
        switch self {
        case .chaCha20Poly1305: Self.chaCha20Poly1305Fetched
        case .aes128GCM: Self.aes128GCMFetched
        case .aes256GCM: Self.aes256GCMFetched
        }
    }
}
