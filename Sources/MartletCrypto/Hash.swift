internal import CCrypto
public import MartletWire

/// The hashes of the protocols spoken here: SHA-1 and SHA-2 (FIPS 180-4), BLAKE2 (RFC 7693).
///
/// SHA-1 is here for STUN and the BitTorrent DHT, which do not rest their security on it.
public enum HashAlgorithm: Hashable, Sendable, CaseIterable {
    /// SHA-1, 20 bytes. Collisions are known.
    case sha1
    /// SHA-256, 32 bytes.
    case sha256
    /// SHA-512, 64 bytes.
    case sha512
    /// BLAKE2s without a key, 32 bytes.
    case blake2s
    /// BLAKE2b without a key, 64 bytes.
    case blake2b

    /// How many bytes a digest has.
    public var digestSize: Int {
        switch self {
        case .sha1: 20
        case .sha256, .blake2s: 32
        case .sha512, .blake2b: 64
        }
    }

    /// How many bytes the hash takes in at a time, which HMAC is defined by.
    public var blockSize: Int {
        switch self {
        case .sha1, .sha256, .blake2s: 64
        case .sha512, .blake2b: 128
        }
    }

    /// The digest of `message`, without an allocation by Swift.
    public func digest(of message: RawSpan) -> Digest {
        message.withUnsafeBytes { message in
            Digest(count: digestSize) { target in
                let done = EVP_Digest(message.baseAddress, message.count, target.octets, nil, fetched.pointer, nil)
                precondition(done == 1, "libcrypto could not hash")
            }
        }
    }

    /// The digest of `message`.
    public func digest(of message: Bytes) -> Digest {
        digest(of: message.span)
    }
}

/// A hash of a message that comes in parts. It can be used again after each digest, which saves its memory.
public struct RunningHash: ~Copyable {
    /// Which hash it is.
    public let algorithm: HashAlgorithm
    private let context: OpaquePointer

    /// The hash `algorithm`, of nothing yet.
    public init(_ algorithm: HashAlgorithm) {
        guard let context = EVP_MD_CTX_new() else { preconditionFailure("libcrypto has no memory") }
        self.algorithm = algorithm
        self.context = context
        restart()
    }

    deinit {
        EVP_MD_CTX_free(context)
    }

    /// Takes in the next part of the message.
    public mutating func update(_ part: RawSpan) {
        part.withUnsafeBytes { update($0) }
    }

    /// The digest of all parts. What comes in from now on is another message.
    public mutating func finish() -> Digest {
        Digest(count: algorithm.digestSize) { finish(into: $0) }
    }

    mutating func update(_ part: UnsafeRawBufferPointer) {
        precondition(EVP_DigestUpdate(context, part.baseAddress, part.count) == 1, "libcrypto could not hash")
    }

    /// Writes the digest's bytes to `target` and starts over.
    mutating func finish(into target: UnsafeMutableRawPointer) {
        precondition(EVP_DigestFinal_ex(context, target.octets, nil) == 1, "libcrypto could not hash")
        restart()
    }

    /// Forgets what has come in.
    mutating func restart() {
        let done = EVP_DigestInit_ex2(context, algorithm.fetched.pointer, nil)
        precondition(done == 1, "libcrypto could not hash")
    }
}

extension UnsafeMutableRawPointer {
    /// The memory, as libcrypto takes it.
    var octets: UnsafeMutablePointer<UInt8> { assumingMemoryBound(to: UInt8.self) }
}

/// An algorithm of libcrypto, which takes long to look up: each is fetched once and kept for good.
///
/// It is `@unchecked Sendable` because libcrypto never changes an algorithm after it is fetched.
struct FetchedAlgorithm: @unchecked Sendable {
    let pointer: OpaquePointer

    init(_ pointer: OpaquePointer?, _ name: String) {
        guard let pointer else { preconditionFailure("this libcrypto has no \(name)") }
        self.pointer = pointer
    }

    static func hash(_ name: String) -> FetchedAlgorithm {
        FetchedAlgorithm(EVP_MD_fetch(nil, name, nil), name)
    }

    static func cipher(_ name: String) -> FetchedAlgorithm {
        FetchedAlgorithm(EVP_CIPHER_fetch(nil, name, nil), name)
    }
}

extension HashAlgorithm {
    private static let sha1Fetched = FetchedAlgorithm.hash("SHA1")
    private static let sha256Fetched = FetchedAlgorithm.hash("SHA256")
    private static let sha512Fetched = FetchedAlgorithm.hash("SHA512")
    private static let blake2sFetched = FetchedAlgorithm.hash("BLAKE2S-256")
    private static let blake2bFetched = FetchedAlgorithm.hash("BLAKE2B-512")

    var fetched: FetchedAlgorithm {
        switch self {
        case .sha1: Self.sha1Fetched
        case .sha256: Self.sha256Fetched
        case .sha512: Self.sha512Fetched
        case .blake2s: Self.blake2sFetched
        case .blake2b: Self.blake2bFetched
        }
    }
}
