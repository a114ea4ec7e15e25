import MartletCrypto
import MartletWire
import TestSupport
import Testing

/// Both parties of a handshake, who know what their pattern asks them to know beforehand.
struct NoiseParties {
    var noise: NoiseProtocol
    var generator: SeededGenerator
    var staticKeys: [NoiseRole: X25519PrivateKey]
    var ephemerals: [NoiseRole: X25519PrivateKey]
    var presharedKeys: [Secret]

    init(_ name: String, seed: UInt64 = 42) throws {
        noise = try NoiseProtocol(name)
        generator = SeededGenerator(seed: seed)
        staticKeys = [
            .initiator: X25519PrivateKey(using: &generator), .responder: X25519PrivateKey(using: &generator),
        ]
        ephemerals = [
            .initiator: X25519PrivateKey(using: &generator), .responder: X25519PrivateKey(using: &generator),
        ]
        presharedKeys = []
        for _ in 0..<noise.presharedKeyCount { presharedKeys.append(Secret(count: 32, using: &generator)) }
    }

    func side(_ role: NoiseRole, prologue: Bytes = [1, 2, 3]) throws(NoiseError) -> NoiseHandshake {
        try NoiseHandshake(
            noise, role: role, prologue: prologue, staticKey: staticKeys[role],
            remoteStatic: staticKeys[role == .initiator ? .responder : .initiator]?.publicKey,
            presharedKeys: presharedKeys, ephemeral: ephemerals[role])
    }

    /// Both sides after `count` messages, each with a payload of five bytes, and what the last message was.
    func after(_ count: Int) throws -> HandshakePair {
        var pair = HandshakePair(initiator: try side(.initiator), responder: try side(.responder))
        for index in 0..<count { try pair.exchange(Bytes(Array(repeating: UInt8(index), count: 5))) }
        return pair
    }
}

struct HandshakePair: ~Copyable {
    var initiator: NoiseHandshake
    var responder: NoiseHandshake

    /// What the side whose turn it is writes.
    mutating func write(_ payload: Bytes) throws(NoiseError) -> Bytes {
        var generator = SeededGenerator(seed: 1)
        var writer = Writer()
        if initiator.isWriting {
            try initiator.writeMessage(payload.span, into: &writer, using: &generator)
        } else {
            try responder.writeMessage(payload.span, into: &writer, using: &generator)
        }
        return writer.finish()
    }

    /// What the side whose turn it is to read reads. The writer's turn is over already.
    mutating func read(_ message: Bytes, asInitiator: Bool) throws(NoiseError) -> Bytes {
        try asInitiator ? initiator.readMessage(message) : responder.readMessage(message)
    }

    mutating func exchange(_ payload: Bytes) throws {
        let initiatorReads = responder.isWriting
        let message = try write(payload)
        let received = try read(message, asInitiator: initiatorReads)
        try #require(received == payload)
    }
}

struct NoiseHandshakeTests {
    static let fundamental = ["NN", "NK", "NX", "XN", "XK", "XX", "KN", "KK", "KX", "IN", "IK", "IX"]

    /// Every pattern, with each pre-shared key that it has a place for, and two at once.
    static let names = fundamental.flatMap { pattern in
        ["", "psk0", "psk1", "psk2", "psk0+psk2"].map { "Noise_\(pattern)\($0)_25519_ChaChaPoly_SHA256" }
    }

    @Test("every pattern with every modifier leads both sides to one transport", arguments: names)
    func patterns(name: String) throws {
        let parties = try NoiseParties(name)
        var pair = try parties.after(0)
        for index in 0..<parties.noise.messageCount {
            #expect(pair.initiator.isWriting == (index % 2 == 0))
            #expect(pair.responder.isReading == (index % 2 == 0))
            #expect(!pair.initiator.isComplete && !pair.responder.isComplete)
            try pair.exchange(Bytes(Array(repeating: 7, count: index * 100)))
        }
        #expect(pair.initiator.isComplete && pair.responder.isComplete)
        #expect(!pair.initiator.isWriting && !pair.initiator.isReading)
        let hash = pair.initiator.handshakeHash
        let first = try pair.initiator.finish()
        let second = try pair.responder.finish()
        #expect(first.handshakeHash == hash && second.handshakeHash == hash)
        for size in [0, 1, 1000, 65_519] {
            for (sender, receiver) in [(first, second), (second, first)] {
                try pass(size, from: sender, to: receiver)
            }
        }
    }

    @Test("a message cut short at any byte is a typed error, and the handshake is dead", arguments: names)
    func truncated(name: String) throws {
        let parties = try NoiseParties(name)
        for index in 0..<parties.noise.messageCount {
            var pair = try parties.after(index)
            let initiatorReads = pair.responder.isWriting
            let message = try pair.write(Bytes(utf8: "hello"))
            // One message in seven bytes is enough for the fields' ends: a field is 32 bytes, 48 or 21.
            for count in 0..<message.count {
                let changed = message.slice(0..<count)
                // Without a key the payload is not protected: such a message is shorter, and valid.
                let isValid = try expectRefusal(of: changed, parties, index, initiatorReads) { error, offset in
                    switch error {
                    case .truncated(let at): at <= offset
                    case .forged(let at): at <= offset
                    default: false
                    }
                }
                if isValid { #expect(count >= message.count - 5 && message.count < 32 + 32 + 16) }
            }
        }
    }

    @Test("a message with any one bit changed does not lead to a common transport", arguments: fundamental)
    func flipped(pattern: String) throws {
        let parties = try NoiseParties("Noise_\(pattern)psk2_25519_AESGCM_BLAKE2b")
        for index in 0..<parties.noise.messageCount {
            var pair = try parties.after(index)
            let initiatorReads = pair.responder.isWriting
            let message = try pair.write(Bytes(utf8: "hello"))
            for position in 0..<message.count {
                var changed = Array(message)
                changed[position] ^= 1 << UInt8(position % 8)
                try expectRefusal(of: Bytes(changed), parties, index, initiatorReads) { error, offset in
                    switch error {
                    case .forged(let at): at <= offset
                    case .unexpectedStaticKey(let at): at <= offset
                    default: false
                    }
                }
            }
        }
    }

    /// Whether `message` is accepted as message `index`; if not, it must be refused with an error that `allow`s.
    /// An accepted message must have changed what both sides have in common.
    @discardableResult
    func expectRefusal(
        of message: Bytes, _ parties: NoiseParties, _ index: Int, _ initiatorReads: Bool,
        _ allow: (NoiseError, Int) -> Bool
    ) throws -> Bool {
        var pair = try parties.after(index)
        _ = try pair.write(Bytes(utf8: "hello"))
        do {
            _ = try pair.read(message, asInitiator: initiatorReads)
            #expect(pair.initiator.handshakeHash != pair.responder.handshakeHash)
            return true
        } catch {
            let noiseError = error
            #expect(allow(noiseError, message.count), "\(noiseError)")
            #expect(throws: NoiseError.handshakeFailed) { try pair.read(message, asInitiator: initiatorReads) }
            let stillWants =
                initiatorReads
                ? pair.initiator.isReading || pair.initiator.isWriting || pair.initiator.isComplete
                : pair.responder.isReading || pair.responder.isWriting || pair.responder.isComplete
            #expect(!stillWants)
            return false
        }
    }

    @Test("whatever arrives in place of a message, it is refused or leads to no common transport")
    func arbitrary() throws {
        let seed: UInt64 = 0x6D61_7274_6C65_7421
        print("arbitrary handshake messages from seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        for pattern in Self.fundamental {
            let parties = try NoiseParties("Noise_\(pattern)psk0_25519_ChaChaPoly_BLAKE2s")
            for round in 0..<60 {
                let index = round % parties.noise.messageCount
                var pair = try parties.after(index)
                let initiatorReads = pair.responder.isWriting
                var message = Array(try pair.write(Bytes(utf8: "hello")))
                // A part of the message, from anywhere to anywhere, gives way to random bytes, more or fewer.
                let start = Int(generator.next() % UInt64(message.count))
                let end = start + Int(generator.next() % UInt64(message.count - start)) + 1
                let size = Int(generator.next() % 200)
                message.replaceSubrange(start..<end, with: (0..<size).map { _ in UInt8(generator.next() & 0xFF) })
                let isAccepted = try expectRefusal(of: Bytes(message), parties, index, initiatorReads) { error, count in
                    switch error {
                    case .truncated(let at), .forged(let at), .unexpectedStaticKey(let at): at <= count
                    default: false
                    }
                }
                // With a pre-shared key from the start, nothing is read that was not sealed.
                #expect(!isAccepted)
            }
        }
    }

    @Test("another pre-shared key, prologue, static key or protocol makes the handshake fail")
    func mismatched() throws {
        var parties = try NoiseParties("Noise_KKpsk0_25519_ChaChaPoly_BLAKE2s")
        let message = try #require(try first(of: parties))
        var other = parties
        other.presharedKeys = [Secret(copying: Bytes(Array(repeating: 9, count: 32)).span)]
        try expectForgery(message, other)
        other = parties
        other.staticKeys[.initiator] = X25519PrivateKey(using: &parties.generator)
        try expectForgery(message, other)
        other = parties
        other.staticKeys[.responder] = X25519PrivateKey(using: &parties.generator)
        try expectForgery(message, other)
        other = parties
        other.noise = try NoiseProtocol("Noise_KKpsk0_25519_ChaChaPoly_SHA256")
        try expectForgery(message, other)
        var responder = try parties.side(.responder, prologue: [1, 2, 4])
        #expect(throws: NoiseError.forged(offset: 32)) { try responder.readMessage(message) }
        var right = try parties.side(.responder)
        #expect(try right.readMessage(message) == Bytes(utf8: "hello"))
    }

    private func first(of parties: NoiseParties) throws -> Bytes? {
        var pair = try parties.after(0)
        return try pair.write(Bytes(utf8: "hello"))
    }

    private func expectForgery(_ message: Bytes, _ parties: NoiseParties) throws {
        var responder = try parties.side(.responder)
        #expect(throws: NoiseError.forged(offset: 32)) { try responder.readMessage(message) }
        #expect(throws: NoiseError.handshakeFailed) { try responder.readMessage(message) }
    }

    @Test("a static key that is received must be the one that was expected, if one was")
    func expectedStatic() throws {
        let honest = try NoiseParties("Noise_XX_25519_ChaChaPoly_SHA256")
        var pair = try honest.after(0)
        let first = try pair.write(Bytes())
        _ = try pair.read(first, asInitiator: false)
        let second = try pair.write(Bytes(utf8: "hello"))

        var mistaken = honest
        mistaken.staticKeys[.responder] = X25519PrivateKey(using: &mistaken.generator)
        var initiator = try mistaken.side(.initiator)
        var writer = Writer()
        try initiator.writeMessage(into: &writer, using: &mistaken.generator)
        #expect(throws: NoiseError.unexpectedStaticKey(offset: 32)) { try initiator.readMessage(second) }
        #expect(throws: NoiseError.handshakeFailed) { try initiator.readMessage(second) }

        var unknowing = try NoiseHandshake(
            honest.noise, role: .initiator, prologue: [1, 2, 3], staticKey: honest.staticKeys[.initiator],
            ephemeral: honest.ephemerals[.initiator])
        writer = Writer()
        try unknowing.writeMessage(into: &writer, using: &mistaken.generator)
        #expect(try unknowing.readMessage(second) == Bytes(utf8: "hello"))
        let found = unknowing.remoteStatic
        #expect(found == honest.staticKeys[.responder]?.publicKey)
    }

    @Test("a public key of small order makes the handshake fail, reading and writing")
    func weak() throws {
        let parties = try NoiseParties("Noise_NN_25519_ChaChaPoly_SHA256")
        var responder = try parties.side(.responder)
        _ = try responder.readMessage(Bytes(Array(repeating: 0, count: 32)))
        var writer = Writer()
        var generator = SeededGenerator(seed: 3)
        var failure: NoiseError?
        do throws(NoiseError) {
            try responder.writeMessage(into: &writer, using: &generator)
        } catch {
            failure = error
        }
        #expect(failure == .weakSharedSecret)
        let written = writer.count
        #expect(written == 0)
        #expect(throws: NoiseError.handshakeFailed) { try responder.readMessage(Bytes()) }

        var pair = try parties.after(1)
        let answer = try pair.write(Bytes())
        let changed = Bytes(Array(repeating: 0, count: 32) + Array(answer.dropFirst(32)))
        #expect(throws: NoiseError.weakSharedSecret) { try pair.read(changed, asInitiator: true) }
    }

    @Test("a call out of turn is an error that changes nothing")
    func outOfOrder() throws {
        let parties = try NoiseParties("Noise_XX_25519_ChaChaPoly_SHA256")
        var pair = try parties.after(0)
        for index in 0..<3 {
            let initiatorReads = pair.responder.isWriting
            #expect(throws: NoiseError.outOfOrder) { try pair.read(Bytes([1]), asInitiator: !initiatorReads) }
            try pair.exchange(Bytes([UInt8(index)]))
        }
        #expect(throws: NoiseError.outOfOrder) { try pair.read(Bytes([1]), asInitiator: true) }
        #expect(throws: NoiseError.outOfOrder) { try pair.write(Bytes()) }
        #expect(try pair.initiator.finish().remoteStatic == parties.staticKeys[.responder]?.publicKey)

        #expect(throws: NoiseError.outOfOrder) {
            let early = try parties.after(2)
            _ = try early.responder.finish()
        }
    }

    @Test("a message of 65,535 bytes passes, and one more is an error that changes nothing")
    func limits() throws {
        let parties = try NoiseParties("Noise_NN_25519_ChaChaPoly_SHA256")
        var pair = try parties.after(1)
        let room = NoiseHandshake.maximumMessageSize - pair.responder.messageSize(payloadSize: 0)
        let payload = Bytes(Array(repeating: 5, count: room + 1))
        #expect(throws: NoiseError.messageTooLong(count: 65_536)) { try pair.write(payload) }
        try pair.exchange(payload.slice(0..<room))
        let isComplete = pair.initiator.isComplete
        #expect(isComplete)

        var other = try parties.after(1)
        #expect(throws: NoiseError.messageTooLong(count: 65_536)) {
            try other.read(Bytes(Array(repeating: 0, count: 65_536)), asInitiator: true)
        }
        #expect(throws: NoiseError.handshakeFailed) { try other.read(Bytes(), asInitiator: true) }
    }

    @Test("keys that a pattern needs must be given")
    func configuration() throws {
        let key = try #require(try NoiseParties("Noise_NN_25519_ChaChaPoly_SHA256").staticKeys[.initiator])
        let noise = try NoiseProtocol("Noise_IKpsk2_25519_AESGCM_SHA512")
        let presharedKey = Secret(copying: Bytes(Array(repeating: 1, count: 32)).span)
        let short = Secret(copying: Bytes(Array(repeating: 1, count: 31)).span)
        #expect(throws: NoiseError.missingKey(.localStatic)) {
            _ = try NoiseHandshake(
                noise, role: .initiator, remoteStatic: key.publicKey, presharedKeys: [presharedKey])
        }
        #expect(throws: NoiseError.missingKey(.remoteStatic)) {
            _ = try NoiseHandshake(noise, role: .initiator, staticKey: key, presharedKeys: [presharedKey])
        }
        for keys in [[], [short], [presharedKey, presharedKey]] {
            #expect(throws: NoiseError.wrongPresharedKeys(expected: 1)) {
                _ = try NoiseHandshake(noise, role: .responder, staticKey: key, presharedKeys: keys)
            }
        }
        _ = try NoiseHandshake(noise, role: .responder, staticKey: key, presharedKeys: [presharedKey])
    }

    @Test("drawn ephemeral keys come from the generator alone")
    func drawn() throws {
        let noise = try NoiseProtocol("Noise_NN_25519_ChaChaPoly_SHA256")
        func first(seed: UInt64) throws -> Bytes {
            var generator = SeededGenerator(seed: seed)
            var writer = Writer()
            var initiator = try NoiseHandshake(noise, role: .initiator)
            try initiator.writeMessage(into: &writer, using: &generator)
            return writer.finish()
        }
        #expect(try first(seed: 1) == first(seed: 1))
        #expect(try first(seed: 1) != first(seed: 2))
    }
}

/// Seals `size` bytes at one end and opens them at the other.
func pass(_ size: Int, from sender: NoiseTransport, to receiver: NoiseTransport) throws {
    var buffer = Array(repeating: UInt8(3), count: size + NoiseCipher.tagSize)
    try buffer.withUnsafeMutableBytes { try sender.sending.seal($0) }
    if size > 16 { #expect(!buffer.starts(with: Array(repeating: 3, count: 16))) }
    let count = try buffer.withUnsafeMutableBytes { try receiver.receiving.open($0) }
    #expect(count == size)
    #expect(buffer[..<count].allSatisfy { $0 == 3 })
}
