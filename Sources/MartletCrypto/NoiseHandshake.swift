public import MartletWire

/// A Noise handshake (revision 34, §5.3): a machine that both sides drive in turns until it gives them a transport.
///
/// The initiator writes the first message, the responder reads it and writes the second, and so on:
/// `isWriting` tells whose turn it is. When `isComplete`, `finish()` gives the transport. Any message can carry a
/// payload; how well it is protected depends on the pattern and the message (§7.7).
///
/// A message that cannot be read, or a key agreement that fails, ends the handshake for good: from then on every call
/// throws `handshakeFailed`. A call out of turn or a payload that is too long throws and changes nothing.
public struct NoiseHandshake: ~Copyable {
    /// The longest message.
    public static let maximumMessageSize = NoiseCipher.maximumMessageSize

    /// Which protocol it is.
    public let noise: NoiseProtocol
    /// Which side this is.
    public let role: NoiseRole
    /// The other side's static key: as given, or once it was received. Who holds it is proven only by the
    /// messages that follow the pattern's `s`, at the latest when the handshake is complete.
    public private(set) var remoteStatic: X25519PublicKey?

    private var symmetric: NoiseSymmetricState
    private let staticKey: X25519PrivateKey?
    private var ephemeral: X25519PrivateKey?
    private var remoteEphemeral: X25519PublicKey?
    private let presharedKeys: [Secret]
    private var presharedKeysUsed = 0
    private var messagesDone = 0
    private var failed = false

    /// One side of a handshake.
    ///
    /// `prologue` must be the same on both sides. `remoteStatic` is needed where the pattern takes it as known;
    /// where the pattern sends it, one that is given must be the one that is received. `presharedKeys` stand in the
    /// order in which the pattern uses them and have 32 bytes each. `ephemeral` is for test vectors: without it the
    /// key is drawn when it is first written, and an ephemeral key must never be used twice.
    ///
    /// Throws `missingKey` or `wrongPresharedKeys`.
    public init(
        _ noise: NoiseProtocol, role: NoiseRole, prologue: Bytes = Bytes(), staticKey: X25519PrivateKey? = nil,
        remoteStatic: X25519PublicKey? = nil, presharedKeys: [Secret] = [], ephemeral: X25519PrivateKey? = nil
    ) throws(NoiseError) {
        let pattern = noise.pattern
        guard staticKey != nil || !pattern.needsStatic(of: role) else { throw .missingKey(.localStatic) }
        guard remoteStatic != nil || !pattern.isKnown(role.other) else { throw .missingKey(.remoteStatic) }
        guard presharedKeys.count == pattern.presharedKeyCount, presharedKeys.allSatisfy({ $0.count == 32 }) else {
            throw .wrongPresharedKeys(expected: pattern.presharedKeyCount)
        }
        self.noise = noise
        self.role = role
        self.staticKey = staticKey
        self.remoteStatic = remoteStatic
        self.presharedKeys = presharedKeys
        self.ephemeral = ephemeral
        symmetric = NoiseSymmetricState(noise)

        prologue.withUnsafeBytes { symmetric.mixHash($0) }
        for party in [NoiseRole.initiator, .responder] where pattern.isKnown(party) {
            let key = party == role ? staticKey?.publicKey : remoteStatic
            key?.span.withUnsafeBytes { symmetric.mixHash($0) }
        }
    }

    /// Whether all messages have been exchanged.
    public var isComplete: Bool { !failed && messagesDone == noise.messageCount }

    /// Whether the next message is this side's to write.
    public var isWriting: Bool {
        !failed && messagesDone < noise.messageCount && (messagesDone % 2 == 0) == (role == .initiator)
    }

    /// Whether the next message is this side's to read.
    public var isReading: Bool { !failed && !isComplete && !isWriting }

    /// The hash of all that was said so far. Once `isComplete`, a value that both sides share and no other
    /// conversation has.
    public var handshakeHash: Digest { symmetric.digest }

    /// The transport, once `isComplete`; else throws `outOfOrder` or `handshakeFailed`.
    public consuming func finish() throws(NoiseError) -> NoiseTransport {
        guard isComplete else { throw failed ? .handshakeFailed : .outOfOrder }
        let (first, second) = symmetric.split()
        return NoiseTransport(
            sending: role == .initiator ? first : second, receiving: role == .initiator ? second : first,
            handshakeHash: handshakeHash, remoteStatic: remoteStatic)
    }
}

// Writing.
extension NoiseHandshake {
    /// How many bytes the next message to write will have with a payload of `payloadSize` bytes. 0 out of turn.
    public func messageSize(payloadSize: Int) -> Int {
        guard isWriting else { return 0 }
        var size = payloadSize
        var encrypts = symmetric.hasKey
        for token in noise.pattern.messages[messagesDone] {
            switch token {
            case .e:
                size += X25519PublicKey.size
                encrypts = encrypts || mixesEphemerals
            case .s:
                size += X25519PublicKey.size + (encrypts ? AEAD.tagSize : 0)
            case .ee, .es, .se, .ss, .psk:
                encrypts = true
            }
        }
        return size + (encrypts ? AEAD.tagSize : 0)
    }

    /// Appends the next message, which carries `payload`, to `writer`. The ephemeral key is drawn from `generator`
    /// unless one was given.
    ///
    /// Throws `outOfOrder` or `messageTooLong` and changes nothing, `weakSharedSecret` or `handshakeFailed`.
    public mutating func writeMessage(
        _ payload: RawSpan = RawSpan(), into writer: inout Writer, using generator: inout some RandomNumberGenerator
    ) throws(NoiseError) {
        guard !failed else { throw .handshakeFailed }
        guard isWriting else { throw .outOfOrder }
        let size = messageSize(payloadSize: payload.byteCount)
        guard size <= Self.maximumMessageSize else { throw .messageTooLong(count: size) }
        // A party's first message sends it, in every pattern.
        if ephemeral == nil { ephemeral = X25519PrivateKey(using: &generator) }

        // Whatever is thrown from here on leaves a state that is neither this message's nor the one before.
        failed = true
        try writer.append(count: size) { message throws(NoiseError) in
            try write(payload, to: message)
        }
        failed = false
        messagesDone += 1
    }

    private mutating func write(
        _ payload: RawSpan, to message: UnsafeMutableRawBufferPointer
    ) throws(NoiseError) {
        var rest = message
        for token in noise.pattern.messages[messagesDone] {
            switch token {
            case .e:
                let field = rest.removePrefix(X25519PublicKey.size)
                ephemeral?.publicKey.span.withUnsafeBytes { field.copyMemory(from: $0) }
                mixEphemeral(UnsafeRawBufferPointer(field))
            case .s:
                let field = rest.removePrefix(X25519PublicKey.size + tagSize)
                staticKey?.publicKey.span.withUnsafeBytes { field.copyMemory(from: $0) }
                symmetric.encryptAndHash(field)
            case .ee, .es, .se, .ss, .psk:
                try mix(token)
            }
        }
        payload.withUnsafeBytes { rest.copyMemory(from: $0) }
        symmetric.encryptAndHash(rest)
    }
}

// Reading.
extension NoiseHandshake {
    /// Reads the other side's next message and gives its payload.
    ///
    /// Throws `outOfOrder` and changes nothing; or `messageTooLong`, `truncated`, `forged`, `weakSharedSecret`,
    /// `unexpectedStaticKey` or `handshakeFailed`, after which the handshake is dead.
    public mutating func readMessage(_ message: RawSpan) throws(NoiseError) -> Bytes {
        guard !failed else { throw .handshakeFailed }
        guard isReading else { throw .outOfOrder }

        failed = true
        guard message.byteCount <= Self.maximumMessageSize else {
            throw .messageTooLong(count: message.byteCount)
        }
        let payload = try message.withUnsafeBytes { message throws(NoiseError) in try read(message) }
        failed = false
        messagesDone += 1
        return payload
    }

    /// Reads the other side's next message and gives its payload. Throws as the other `readMessage` does.
    public mutating func readMessage(_ message: Bytes) throws(NoiseError) -> Bytes {
        try readMessage(message.span)
    }

    private mutating func read(_ message: UnsafeRawBufferPointer) throws(NoiseError) -> Bytes {
        var offset = 0
        for token in noise.pattern.messages[messagesDone] {
            switch token {
            case .e:
                let field = try take(X25519PublicKey.size, of: message, at: &offset)
                remoteEphemeral = X25519PublicKey { $0.copyMemory(from: field) }
                mixEphemeral(field)
            case .s:
                let start = offset
                let field = try take(X25519PublicKey.size + tagSize, of: message, at: &offset)
                try readStatic(field, at: start)
            case .ee, .es, .se, .ss, .psk:
                try mix(token)
            }
        }
        let start = offset
        guard message.count - start >= tagSize else { throw .truncated(offset: start) }
        let sealed = UnsafeRawBufferPointer(rebasing: message[start...])
        let plainCount = sealed.count - tagSize
        let payload = try Bytes(count: sealed.count) { target throws(NoiseError) in
            guard symmetric.decryptAndHash(sealed, in: target) else { throw .forged(offset: start) }
        }
        return payload.slice(0..<plainCount)
    }

    private mutating func readStatic(_ field: UnsafeRawBufferPointer, at offset: Int) throws(NoiseError) {
        let key: X25519PublicKey? = withUnsafeTemporaryAllocation(byteCount: field.count, alignment: 1) { target in
            guard symmetric.decryptAndHash(field, in: target) else { return nil }
            return X25519PublicKey {
                $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: target[..<X25519PublicKey.size]))
            }
        }
        guard let key else { throw .forged(offset: offset) }
        guard remoteStatic == nil || remoteStatic == key else { throw .unexpectedStaticKey(offset: offset) }
        remoteStatic = key
    }

    private func take(
        _ count: Int, of message: UnsafeRawBufferPointer, at offset: inout Int
    ) throws(NoiseError) -> UnsafeRawBufferPointer {
        guard message.count - offset >= count else { throw .truncated(offset: offset) }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: message[offset..<offset + count])
    }
}

// What writing and reading share.
extension NoiseHandshake {
    /// With pre-shared keys, ephemeral keys are mixed into the key as well, so that keys never repeat (§9.2).
    private var mixesEphemerals: Bool { !presharedKeys.isEmpty }

    private var tagSize: Int { symmetric.hasKey ? AEAD.tagSize : 0 }

    private mutating func mixEphemeral(_ key: UnsafeRawBufferPointer) {
        symmetric.mixHash(key)
        if mixesEphemerals { symmetric.mixKey(key) }
    }

    /// Mixes a key agreement or a pre-shared key into the key.
    private mutating func mix(_ token: NoiseToken) throws(NoiseError) {
        let isInitiator = role == .initiator
        switch token {
        case .ee: try agree(ephemeral, remoteEphemeral)
        case .es: try isInitiator ? agree(ephemeral, remoteStatic) : agree(staticKey, remoteEphemeral)
        case .se: try isInitiator ? agree(staticKey, remoteEphemeral) : agree(ephemeral, remoteStatic)
        case .ss: try agree(staticKey, remoteStatic)
        case .psk:
            presharedKeys[presharedKeysUsed].withUnsafeBytes { symmetric.mixKeyAndHash($0) }
            presharedKeysUsed += 1
        case .e, .s: preconditionFailure("not a mixing token")
        }
    }

    private mutating func agree(_ own: X25519PrivateKey?, _ other: X25519PublicKey?) throws(NoiseError) {
        // The table's patterns never agree on keys that were not yet sent, and `init` asks for the others.
        guard let own, let other else { preconditionFailure("the pattern uses a key before it is there") }
        do {
            try own.agree(with: other).withUnsafeBytes { symmetric.mixKey($0) }
        } catch {
            throw .weakSharedSecret
        }
    }
}

extension NoisePattern {
    func isKnown(_ party: NoiseRole) -> Bool {
        party == .initiator ? initiatorIsKnown : responderIsKnown
    }

    /// Whether `party` has a static key in this pattern, known beforehand or sent.
    func needsStatic(of party: NoiseRole) -> Bool {
        let sent = messages.enumerated().contains { index, tokens in
            (index % 2 == 0) == (party == .initiator) && tokens.contains(.s)
        }
        return sent || isKnown(party)
    }
}

extension NoiseRole {
    var other: NoiseRole { self == .initiator ? .responder : .initiator }
}

extension UnsafeMutableRawBufferPointer {
    /// The first `count` bytes; what is left begins behind them.
    fileprivate mutating func removePrefix(_ count: Int) -> UnsafeMutableRawBufferPointer {
        defer { self = UnsafeMutableRawBufferPointer(rebasing: self[count...]) }
        return UnsafeMutableRawBufferPointer(rebasing: self[..<count])
    }
}
