internal import CCrypto
public import MartletWire

/// A public key of X25519 (RFC 7748): 32 bytes, any of them.
public struct X25519PublicKey: Sendable {
    /// How many bytes a key has.
    public static let size = 32

    @usableFromInline var storage: InlineArray<32, UInt8>

    /// The key that `bytes` are, or `nil` unless there are 32.
    public init?(_ bytes: RawSpan) {
        guard bytes.byteCount == Self.size else { return nil }
        self.init { target in bytes.withUnsafeBytes { target.copyMemory(from: $0) } }
    }

    /// The key that `bytes` are, or `nil` unless there are 32.
    public init?(_ bytes: Bytes) {
        self.init(bytes.span)
    }

    init(fill: (UnsafeMutableRawBufferPointer) -> Void) {
        storage = InlineArray(repeating: 0)
        var bytes = storage.mutableSpan
        bytes.withUnsafeMutableBytes { fill($0) }
    }

    /// The 32 bytes, to read where they stand.
    @inlinable
    public var span: RawSpan {
        @_lifetime(borrow self)
        get { storage.span.bytes }
    }

    /// A copy of the 32 bytes, in one allocation.
    public var bytes: Bytes { Bytes(copying: span) }
}

extension X25519PublicKey: Hashable {
    /// Whether both have the same bytes.
    public static func == (left: X25519PublicKey, right: X25519PublicKey) -> Bool {
        left.span.isEqual(to: right.span)
    }

    /// Feeds the bytes to `hasher`.
    public func hash(into hasher: inout Hasher) {
        span.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

extension X25519PublicKey: CustomStringConvertible {
    /// The bytes in base16.
    public var description: String { bytes.description }
}

/// The other side's public key leads to a shared secret that everybody knows: all zeros.
public struct WeakSharedSecret: Error, Hashable, Sendable {
    /// The error; there is only one.
    public init() {}
}

/// A private key of X25519 (RFC 7748). It is wiped when its last copy is released, and never printed.
public struct X25519PrivateKey: Sendable {
    /// How many bytes a key has.
    public static let size = 32

    /// The public key that belongs to it.
    public let publicKey: X25519PublicKey
    private let key: LibcryptoKey

    /// A new key, from 32 bytes of `generator`.
    public init(using generator: inout some RandomNumberGenerator) {
        let drawn = Secret(count: Self.size, using: &generator)
        self.init(checked: drawn.span)
    }

    /// The key whose 32 bytes are `bytes`, or `nil` unless there are 32.
    public init?(_ bytes: RawSpan) {
        guard bytes.byteCount == Self.size else { return nil }
        self.init(checked: bytes)
    }

    /// The key whose 32 bytes are `secret`, or `nil` unless there are 32.
    public init?(_ secret: Secret) {
        self.init(secret.span)
    }

    private init(checked bytes: RawSpan) {
        let made = bytes.withUnsafeBytes { bytes in
            LibcryptoKey(EVP_PKEY_new_raw_private_key(NID_X25519, nil, bytes.octets, bytes.count))
        }
        guard let made else { preconditionFailure("libcrypto could not make an X25519 key") }
        key = made
        publicKey = X25519PublicKey { target in
            var size = target.count
            let done = EVP_PKEY_get_raw_public_key(made.pointer, target.octets, &size)
            precondition(done == 1, "libcrypto could not derive a public key")
        }
    }

    /// The 32 bytes of the private key.
    public var secret: Secret {
        Secret(count: Self.size) { target in
            var size = target.count
            let done = EVP_PKEY_get_raw_private_key(key.pointer, target.octets, &size)
            precondition(done == 1, "libcrypto could not give out a private key")
        }
    }

    /// The secret that only the holders of this key and of `other`'s private key know: 32 bytes, to be hashed
    /// before they are used.
    ///
    /// Throws `WeakSharedSecret` if it would be all zeros.
    public func agree(with other: X25519PublicKey) throws(WeakSharedSecret) -> Secret {
        try Secret(count: Self.size) { target throws(WeakSharedSecret) in
            try agree(with: other, into: target)
        }
    }

    /// Writes the shared secret to `target`, which has 32 bytes.
    func agree(with other: X25519PublicKey, into target: UnsafeMutableRawBufferPointer) throws(WeakSharedSecret) {
        let peer = other.span.withUnsafeBytes { bytes in
            EVP_PKEY_new_raw_public_key(NID_X25519, nil, bytes.octets, bytes.count)
        }
        let context = EVP_PKEY_CTX_new_from_pkey(nil, key.pointer, nil)
        defer {
            EVP_PKEY_CTX_free(context)
            EVP_PKEY_free(peer)
        }
        precondition(
            EVP_PKEY_derive_init(context) == 1 && EVP_PKEY_derive_set_peer_ex(context, peer, 0) == 1,
            "libcrypto could not start a key agreement")
        var size = target.count
        guard EVP_PKEY_derive(context, target.octets, &size) == 1 else {
            ERR_clear_error()
            throw WeakSharedSecret()
        }
    }
}

extension X25519PrivateKey: CustomStringConvertible, CustomReflectable {
    /// The public key, and nothing else.
    public var description: String { "X25519PrivateKey(for \(publicKey))" }

    /// Nothing: `dump` shows no bytes either.
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}
