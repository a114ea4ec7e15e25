import Foundation
import MartletCrypto
import MartletWire
import TestSupport
import Testing

/// The published vectors of the field, all of them that are within what `NoiseProtocol` speaks.
struct NoiseVectorTests {
    @Test(
        "every published vector of a spoken protocol comes out byte by byte, handshake and transport",
        arguments: [("noise-cacophony", 472, 424), ("noise-snow", 408, 384)])
    func vectors(file: String, all: Int, spoken: Int) throws {
        let vectors = try NoiseVector.load(file)
        var run = 0
        var leftOut: [String: Int] = [:]
        for vector in vectors {
            let noise: NoiseProtocol
            do {
                noise = try NoiseProtocol(vector.protocol_name)
            } catch {
                guard case .unknownProtocol(let part) = error else { throw error }
                leftOut[part, default: 0] += 1
                continue
            }
            try vector.run(noise)
            run += 1
        }
        let reasons = leftOut.sorted { $0.key < $1.key }.map { "\($0.value) with \($0.key)" }
        print("\(file): \(run) vectors ran, left out \(reasons.joined(separator: ", "))")
        #expect(vectors.count == all)
        #expect(run == spoken)
    }

    @Test("a vector with one bit of a key or of the prologue changed does not come out")
    func vectorsBite() throws {
        let vectors = try NoiseVector.load("noise-cacophony")
        var vector = try #require(vectors.first { $0.protocol_name == "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s" })
        let noise = try NoiseProtocol(vector.protocol_name)
        vector.init_prologue = "00" + vector.init_prologue
        #expect(throws: NoiseError.self) { try vector.run(noise) }
    }
}

/// One vector, as cacophony and snow write them.
private struct NoiseVector: Decodable {
    struct Message: Decodable {
        var payload: String
        var ciphertext: String
    }

    struct File: Decodable {
        var vectors: [NoiseVector]
    }

    var protocol_name: String
    var init_prologue: String
    var init_psks: [String]?
    var init_static: String?
    var init_ephemeral: String?
    var init_remote_static: String?
    var resp_prologue: String
    var resp_psks: [String]?
    var resp_static: String?
    var resp_ephemeral: String?
    var resp_remote_static: String?
    var handshake_hash: String?
    var messages: [Message]

    static func load(_ file: String) throws -> [NoiseVector] {
        let folder = try #require(Bundle.module.resourceURL).appendingPathComponent("Vectors")
        let data = try Data(contentsOf: folder.appendingPathComponent(file + ".json"))
        return try JSONDecoder().decode(File.self, from: data).vectors
    }

    func side(_ noise: NoiseProtocol, _ role: NoiseRole) throws -> NoiseHandshake {
        let isInitiator = role == .initiator
        let key = isInitiator ? init_static : resp_static
        let remote = isInitiator ? init_remote_static : resp_remote_static
        let ephemeral = isInitiator ? init_ephemeral : resp_ephemeral
        let presharedKeys = (isInitiator ? init_psks : resp_psks) ?? []
        return try NoiseHandshake(
            noise, role: role, prologue: bytes(hex: isInitiator ? init_prologue : resp_prologue),
            staticKey: key.flatMap { X25519PrivateKey(secret(hex: $0)) },
            remoteStatic: remote.flatMap { X25519PublicKey(bytes(hex: $0)) },
            presharedKeys: presharedKeys.map { secret(hex: $0) },
            ephemeral: ephemeral.flatMap { X25519PrivateKey(secret(hex: $0)) })
    }

    func run(_ noise: NoiseProtocol) throws {
        var initiator = try side(noise, .initiator)
        var responder = try side(noise, .responder)
        let handshakeCount = noise.messageCount
        for (index, message) in messages.prefix(handshakeCount).enumerated() {
            let written =
                index % 2 == 0
                ? try pass(message, from: &initiator, to: &responder)
                : try pass(message, from: &responder, to: &initiator)
            #expect(written == bytes(hex: message.ciphertext), "\(protocol_name), message \(index)")
        }
        #expect(initiator.isComplete && responder.isComplete)
        let first = try initiator.finish()
        let second = try responder.finish()
        #expect(first.handshakeHash == second.handshakeHash)
        if let handshake_hash { #expect(first.handshakeHash.bytes == bytes(hex: handshake_hash)) }

        for (index, message) in messages.enumerated().dropFirst(handshakeCount) {
            let (sender, receiver) = index % 2 == 0 ? (first, second) : (second, first)
            var buffer = Array(bytes(hex: message.payload)) + Array(repeating: 0, count: NoiseCipher.tagSize)
            try buffer.withUnsafeMutableBytes { try sender.sending.seal($0) }
            #expect(Bytes(buffer) == bytes(hex: message.ciphertext), "\(protocol_name), message \(index)")
            let count = try buffer.withUnsafeMutableBytes { try receiver.receiving.open($0) }
            #expect(Bytes(buffer[..<count]) == bytes(hex: message.payload))
        }
    }

    private func pass(
        _ message: Message, from writing: inout NoiseHandshake, to reading: inout NoiseHandshake
    ) throws -> Bytes {
        // Every key of a vector is given, so nothing is ever drawn.
        var generator = SeededGenerator(seed: 0)
        let payload = bytes(hex: message.payload)
        let size = writing.messageSize(payloadSize: payload.count)
        var writer = Writer()
        try writing.writeMessage(payload.span, into: &writer, using: &generator)
        let written = writer.finish()
        #expect(written.count == size)
        #expect(try reading.readMessage(written) == payload)
        return written
    }
}
