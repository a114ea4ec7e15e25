import MartletCrypto
import MartletWire
import Testing

struct NoiseCipherTests {
    func transports() throws -> (NoiseTransport, NoiseTransport) {
        let pair = try NoiseParties("Noise_XX_25519_ChaChaPoly_BLAKE2s").after(3)
        return (try pair.initiator.finish(), try pair.responder.finish())
    }

    @Test("a forged message is refused, not counted, and leaves zeros")
    func forged() throws {
        let (first, second) = try transports()
        var sealed = Array(repeating: UInt8(6), count: 64)
        try sealed.withUnsafeMutableBytes { try first.sending.seal($0) }
        for position in 0..<sealed.count {
            var changed = sealed
            changed[position] ^= 0x80
            #expect(throws: NoiseError.forged(offset: 0)) {
                try changed.withUnsafeMutableBytes { _ = try second.receiving.open($0) }
            }
            #expect(changed.prefix(48).allSatisfy { $0 == 0 })
            #expect(second.receiving.nonce == 0)
        }
        for count in 0..<sealed.count {
            var cut = Array(sealed[..<count])
            #expect(throws: count < 16 ? NoiseError.truncated(offset: 0) : .forged(offset: 0)) {
                try cut.withUnsafeMutableBytes { _ = try second.receiving.open($0) }
            }
        }
        let count = try sealed.withUnsafeMutableBytes { try second.receiving.open($0) }
        #expect(count == 48 && second.receiving.nonce == 1)
        #expect(sealed.prefix(48).allSatisfy { $0 == 6 })
    }

    @Test("a message opens once, in order, and in its own direction")
    func order() throws {
        let (first, second) = try transports()
        var messages = [Array(repeating: UInt8(1), count: 20), Array(repeating: UInt8(2), count: 20)]
        for index in 0..<2 { try messages[index].withUnsafeMutableBytes { try first.sending.seal($0) } }
        func opens(_ index: Int, _ cipher: NoiseCipher) -> Bool {
            var copy = messages[index]
            return copy.withUnsafeMutableBytes { (try? cipher.open($0)) != nil }
        }
        #expect(!opens(1, second.receiving))
        #expect(!opens(0, first.receiving))
        #expect(opens(0, second.receiving))
        #expect(!opens(0, second.receiving))
        #expect(opens(1, second.receiving))
    }

    @Test("the last number is never used")
    func exhausted() throws {
        let (first, second) = try transports()
        first.sending.advance(to: .max - 1)
        second.receiving.advance(to: .max - 1)
        try pass(10, from: first, to: second)
        var buffer = Array(repeating: UInt8(4), count: 32)
        #expect(throws: NoiseError.nonceExhausted) {
            try buffer.withUnsafeMutableBytes { try first.sending.seal($0) }
        }
        #expect(throws: NoiseError.nonceExhausted) {
            try buffer.withUnsafeMutableBytes { _ = try second.receiving.open($0) }
        }
        #expect(buffer.allSatisfy { $0 == 4 })
    }

    @Test("a message over 65,535 bytes, or without room for a tag, is refused and left alone")
    func limits() throws {
        let (first, second) = try transports()
        for (count, error) in [(65_536, NoiseError.messageTooLong(count: 65_536)), (15, .truncated(offset: 0))] {
            var buffer = Array(repeating: UInt8(4), count: count)
            #expect(throws: error) { try buffer.withUnsafeMutableBytes { try first.sending.seal($0) } }
            #expect(throws: error) { try buffer.withUnsafeMutableBytes { _ = try second.receiving.open($0) } }
            #expect(buffer.allSatisfy { $0 == 4 })
        }
        #expect(first.sending.nonce == 0)
    }

    @Test("after both sides rekeyed they understand each other, and after one alone they do not")
    func rekeyed() throws {
        for protocolName in ["Noise_NN_25519_ChaChaPoly_SHA256", "Noise_NN_25519_AESGCM_SHA512"] {
            let pair = try NoiseParties(protocolName).after(2)
            let first = try pair.initiator.finish()
            let second = try pair.responder.finish()
            try pass(100, from: first, to: second)
            first.sending.rekey()
            second.receiving.rekey()
            #expect(first.sending.nonce == 1)
            try pass(100, from: first, to: second)
            try pass(100, from: second, to: first)
            first.sending.rekey()
            #expect(throws: NoiseError.forged(offset: 0)) { try pass(100, from: first, to: second) }
        }
    }

    @Test("a message sealed and opened as a span is the same as through a buffer")
    func spans() throws {
        let (first, second) = try transports()
        var writer = Writer()
        writer.bytes(Bytes(utf8: "0123456789"))
        writer.bytes(Bytes(Array(repeating: 0, count: NoiseCipher.tagSize)))
        var span = writer.mutableSpan
        try first.sending.seal(&span)
        let count = try second.receiving.open(&span)
        #expect(count == 10)
        let opened = Bytes(copying: span.bytes).slice(0..<count)
        #expect(opened == Bytes(utf8: "0123456789"))
    }
}
