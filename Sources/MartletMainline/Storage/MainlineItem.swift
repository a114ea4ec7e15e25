public import MartletCrypto
public import MartletWire

/// A value that is stored in the DHT (BEP 44): immutable, under its own hash, or mutable, under its author's key.
public struct MainlineItem: Hashable, Sendable {
    /// Who wrote a mutable item, and which of his versions it is.
    public struct Author: Hashable, Sendable {
        /// The Ed25519 public key, 32 bytes.
        public var key: Bytes
        /// What tells several items of one key apart; empty for none.
        public var salt: Bytes
        /// The version: a larger number replaces a smaller one.
        public var sequence: Int64
        /// The Ed25519 signature, 64 bytes.
        public var signature: Bytes
    }

    /// The largest value, encoded, in bytes.
    public static let largestValue = 1000
    /// The longest salt, in bytes.
    public static let longestSalt = 64
    static let keySize = 32
    static let signatureSize = 64

    /// The value in bencode.
    public let value: Bytes
    /// Who wrote it; `nil` for an immutable item.
    public let author: Author?
    /// Where it is stored.
    public let target: NodeID

    /// The immutable item `value`, which is bencode. Throws `valueTooLarge`, and `protocol` where it is no bencode.
    public init(immutable value: Bytes) throws(KRPCError) {
        try Self.check(value, salt: Bytes())
        self.value = value
        author = nil
        target = NodeID(hashing: value.span)
    }

    /// The mutable item `value`, which is bencode, signed by the Ed25519 `key`. Throws `valueTooLarge`, `saltTooLarge`,
    /// and `protocol` where the value is no bencode, the key of another kind or the sequence negative.
    public init(
        mutable value: Bytes, sequence: Int64, salt: Bytes = Bytes(), signedBy key: PrivateKey
    ) throws(KRPCError) {
        try Self.check(value, salt: salt)
        guard key.type == .ed25519, sequence >= 0 else { throw .protocol }
        let signature = key.sign(Self.signed(value, sequence: sequence, salt: salt))
        self.value = value
        author = Author(key: key.publicKey.data, salt: salt, sequence: sequence, signature: signature)
        target = Self.target(key: key.publicKey.data.span, salt: salt)
    }

    /// A mutable item as it came from a stranger, which is checked: sizes first, then the signature.
    init(value: Bytes, key: Bytes, salt: Bytes, sequence: Int64, signature: Bytes) throws(KRPCError) {
        try Self.check(value, salt: salt)
        guard key.count == Self.keySize, signature.count == Self.signatureSize, sequence >= 0 else { throw .protocol }
        guard let publicKey = try? PublicKey(type: .ed25519, data: key.span),
            publicKey.isValid(signature, for: Self.signed(value, sequence: sequence, salt: salt))
        else { throw .invalidSignature }
        self.value = value
        author = Author(key: key, salt: salt, sequence: sequence, signature: signature)
        target = Self.target(key: key.span, salt: salt)
    }

    private static func check(_ value: Bytes, salt: Bytes) throws(KRPCError) {
        guard value.count <= largestValue else { throw .valueTooLarge }
        guard salt.count <= longestSalt else { throw .saltTooLarge }
        guard var reader = try? BencodeReader(value.span, keyOrder: .any),
            (try? reader.skip()) != nil, (try? reader.expectEnd()) != nil
        else { throw .protocol }
    }

    /// Where mutable items of `key` are stored.
    public static func target(key: RawSpan, salt: Bytes = Bytes()) -> NodeID {
        var writer = Writer(capacity: keySize + salt.count)
        writer.bytes(key)
        writer.bytes(salt)
        return NodeID(hashing: writer.span)
    }

    /// What a signature is made over: salt, sequence number and value, as they would stand in a dictionary.
    static func signed(_ value: Bytes, sequence: Int64, salt: Bytes) -> Bytes {
        var writer = BencodeWriter(capacity: value.count + 128)
        if !salt.isEmpty {
            writer.string("salt")
            writer.string(salt)
        }
        writer.string("seq")
        writer.integer(sequence)
        writer.string("v")
        writer.raw(value.span)
        return writer.finish()
    }

    /// How much of an answer it takes.
    var size: Int { value.count + 8 + (author == nil ? 0 : 160) }

    /// Appends the arguments of a put, behind the id.
    func write(to arguments: inout BencodeWriter, token: Bytes) {
        if let author {
            arguments.key("k")
            arguments.string(author.key)
            if !author.salt.isEmpty {
                arguments.key("salt")
                arguments.string(author.salt)
            }
            arguments.key("seq")
            arguments.integer(author.sequence)
            arguments.key("sig")
            arguments.string(author.signature)
        }
        arguments.key("token")
        arguments.string(token)
        arguments.key("v")
        arguments.raw(value.span)
    }
}
