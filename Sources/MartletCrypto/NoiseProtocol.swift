internal import MartletWire

/// Which Noise protocol two parties speak (revision 34, §8), read from its name.
///
/// A name is `Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s`: an interactive pattern, fundamental or deferred, with any
/// number of modifiers `psk0` to `psk4` joined by `+`; then the key agreement 25519; ChaChaPoly or AESGCM; and
/// SHA256, SHA512, BLAKE2s or BLAKE2b. One-way patterns, `fallback` and the curve 448 are not spoken.
public struct NoiseProtocol: Sendable {
    /// The longest name there is.
    public static let maximumNameSize = 255

    /// The name, as it was given.
    public let name: String
    /// The hash.
    public let hash: HashAlgorithm
    /// The cipher.
    public let cipher: AEADAlgorithm
    let pattern: NoisePattern

    /// The protocol called `name`. Throws `NoiseError.unknownProtocol` with the part that is not known.
    public init(_ name: String) throws(NoiseError) {
        guard name.utf8.count <= Self.maximumNameSize else { throw .unknownProtocol(part: "a name that long") }
        let parts = name.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0] == "Noise" else { throw .unknownProtocol(part: name) }
        guard parts[2] == "25519" else { throw .unknownProtocol(part: String(parts[2])) }
        guard let cipher = Self.ciphers[parts[3]] else { throw .unknownProtocol(part: String(parts[3])) }
        guard let hash = Self.hashes[parts[4]] else { throw .unknownProtocol(part: String(parts[4])) }

        let patternEnd = parts[1].firstIndex(where: \.isLowercase) ?? parts[1].endIndex
        guard var pattern = NoisePattern(named: parts[1][..<patternEnd]) else {
            throw .unknownProtocol(part: String(parts[1]))
        }
        if patternEnd < parts[1].endIndex {
            for modifier in parts[1][patternEnd...].split(separator: "+", omittingEmptySubsequences: false) {
                guard pattern.modify(by: modifier) else { throw .unknownProtocol(part: String(modifier)) }
            }
        }
        self.name = name
        self.hash = hash
        self.cipher = cipher
        self.pattern = pattern
    }

    /// How many pre-shared keys the handshake takes.
    public var presharedKeyCount: Int { pattern.presharedKeyCount }

    /// How many messages the handshake has.
    public var messageCount: Int { pattern.messages.count }

    private static let ciphers: [Substring: AEADAlgorithm] = [
        "ChaChaPoly": .chaCha20Poly1305, "AESGCM": .aes256GCM,
    ]
    private static let hashes: [Substring: HashAlgorithm] = [
        "SHA256": .sha256, "SHA512": .sha512, "BLAKE2s": .blake2s, "BLAKE2b": .blake2b,
    ]
}

extension NoiseProtocol: Hashable {
    /// Whether both have the same name.
    public static func == (left: NoiseProtocol, right: NoiseProtocol) -> Bool {
        left.name == right.name
    }

    /// Feeds the name to `hasher`.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(name)
    }
}

extension NoiseProtocol: CustomStringConvertible {
    /// The name.
    public var description: String { name }
}

/// Which end of a handshake one is.
public enum NoiseRole: Hashable, Sendable {
    /// The one that sends the first message.
    case initiator
    /// The other.
    case responder
}

/// What can go wrong in Noise. Offsets count from the start of the message.
public enum NoiseError: Error, Hashable, Sendable {
    /// The name of a protocol has a part that is not spoken.
    case unknownProtocol(part: String)
    /// The pattern needs a key that was not given.
    case missingKey(NoiseKey)
    /// The pattern takes another number of pre-shared keys than were given, or one has not 32 bytes.
    case wrongPresharedKeys(expected: Int)
    /// It is the other side's turn, or all handshake messages have been exchanged, or not yet all.
    case outOfOrder
    /// The handshake failed before; nothing more can be done with it.
    case handshakeFailed
    /// A message would be, or is, longer than 65,535 bytes.
    case messageTooLong(count: Int)
    /// The message ends inside the field that begins at `offset`.
    case truncated(offset: Int)
    /// What begins at `offset` was changed on its way, or sealed with other keys.
    case forged(offset: Int)
    /// A public key of the other side makes a shared secret of zeros.
    case weakSharedSecret
    /// The other side's static key, at `offset`, is not the one that was expected.
    case unexpectedStaticKey(offset: Int)
    /// A key has sealed or opened 2^64 - 1 messages, and may no more.
    case nonceExhausted

    /// A key that a handshake pattern can need from the start.
    public enum NoiseKey: Hashable, Sendable {
        /// One's own static key.
        case localStatic
        /// The other side's static public key.
        case remoteStatic
    }
}
