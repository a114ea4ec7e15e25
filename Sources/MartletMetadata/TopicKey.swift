internal import MartletCrypto
public import MartletIdentity
public import MartletWire

/// A topic that this node is on, as it shows it to others: a machine that makes and checks proofs.
///
/// The name never leaves the node. What does are codes of HMAC-SHA-256 under a key that only those can derive who know
/// the name. Names are no passwords: who guesses one can check the guess, as everyone can in the DHT.
public struct TopicKey: Hashable, Sendable {
    /// Who of the two ends of a connection makes a proof. A proof of one end is none from the other.
    public enum Role: UInt8, Hashable, Sendable {
        /// The end that opened the stream.
        case opener = 1
        /// The other end.
        case answerer = 2
    }

    /// How many bytes a proof and a mark have.
    public static let markSize = 16

    /// What people call it.
    public let name: String
    private let key: Secret

    /// The topic that is called `name`.
    public init(_ name: String) {
        self.name = name
        let text = Bytes(utf8: name)
        let purpose = Bytes(utf8: "martlet topic key 1")
        key = HKDF.derive(.sha256, input: text.span, salt: Bytes().span, info: purpose.span, count: 32)
    }

    /// What `peer` writes into its records for those who know the topic. Another peer's is another, and nobody else can
    /// tell which topic it is or who shares it.
    public func mark(of peer: PeerID) -> Bytes {
        code("mark", [peer.bytes])
    }

    /// That the end of a connection that has `role` knows the topic. `opener` and `answerer` are the two ends, and
    /// `binding` is what the two alone know of this one connection, so that no proof is of use in another.
    public func proof(of role: Role, opener: PeerID, answerer: PeerID, binding: Bytes) -> Bytes {
        code("proof", [[role.rawValue], opener.bytes, answerer.bytes, binding])
    }

    private func code(_ purpose: String, _ parts: [Bytes]) -> Bytes {
        var hmac = HMAC(.sha256, key: key.span)
        var writer = Writer(capacity: 160)
        writer.lengthPrefixed(purpose.utf8.span.bytes)
        for part in parts { writer.lengthPrefixed(part.span) }
        let message = writer.finish()
        hmac.update(message.span)
        let code = hmac.finish().bytes
        return code.slice(0..<Self.markSize).compacted()
    }

    /// Whether both have the same name.
    public static func == (left: TopicKey, right: TopicKey) -> Bool { left.name == right.name }

    /// Feeds the name.
    public func hash(into hasher: inout Hasher) { hasher.combine(name) }
}
