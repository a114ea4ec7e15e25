import CCrypto
import MartletCrypto
import MartletWire
import TestSupport
import Testing

@Suite("Keys")
struct KeyTests {
    /// One key of each type; making RSA keys takes long, so theirs is the specification's.
    static let keys: [PrivateKey] = {
        var generator = SeededGenerator(seed: 7)
        let made: [PrivateKey] = [
            .ed25519(using: &generator), .secp256k1(using: &generator), .ecdsa(using: &generator),
        ]
        let rsa = try? vectors("libp2p-keys.txt").first { $0[0] == "rsa" && $0[1] == "private" }
        guard let rsa, let key = try? PrivateKey(protobuf: bytes(hex: rsa[2]).span) else {
            preconditionFailure("the specification's RSA key is not read")
        }
        return made + [key]
    }()

    @Test("the specification's private keys have its public keys, and both encode to the same bytes again")
    func specificationVectors() throws {
        let lines = try vectors("libp2p-keys.txt")
        #expect(lines.count == 8)
        for type in ["ecdsa", "ed25519", "secp256k1", "rsa"] {
            let secret = try #require(lines.first { $0[0] == type && $0[1] == "private" })
            let open = try #require(lines.first { $0[0] == type && $0[1] == "public" })
            let privateKey = try PrivateKey(protobuf: bytes(hex: secret[2]).span)
            let publicKey = try PublicKey(protobuf: bytes(hex: open[2]))
            #expect(privateKey.publicKey == publicKey)
            #expect(privateKey.protobuf == Secret(copying: bytes(hex: secret[2]).span))
            #expect(publicKey.protobuf == bytes(hex: open[2]))
            #expect(try PublicKey(type: publicKey.type, data: publicKey.data.span) == publicKey)
            let message = Bytes(utf8: "a message")
            #expect(publicKey.isValid(privateKey.sign(message), for: message))
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("RFC 8032's Ed25519 signatures are made and checked")
    func rfc8032() throws {
        for line in try vectors("rfc8032-ed25519.txt") {
            let key = try PrivateKey(ed25519Seed: bytes(hex: line[0]).span)
            #expect(key.publicKey.data == bytes(hex: line[1]))
            #expect(key.sign(bytes(hex: line[2])) == bytes(hex: line[3]))
            #expect(key.publicKey.isValid(bytes(hex: line[3]), for: bytes(hex: line[2])))
        }
    }

    @Test("a signature is valid for its message and key alone", arguments: keys)
    func signatures(key: PrivateKey) throws {
        var generator = SeededGenerator(seed: 8)
        let message = Bytes(utf8: "a message that is signed")
        let signature = key.sign(message)
        #expect(key.publicKey.isValid(signature, for: message))
        #expect(!key.publicKey.isValid(signature, for: Bytes(utf8: "another")))
        #expect(!key.publicKey.isValid(signature, for: Bytes()))
        #expect(!PrivateKey.ed25519(using: &generator).publicKey.isValid(signature, for: message))
        for bit in stride(from: 0, to: signature.count * 8, by: 1) {
            #expect(!key.publicKey.isValid(signature.flipping(bit: bit), for: message), "bit \(bit)")
        }
        for count in 0..<signature.count {
            #expect(!key.publicKey.isValid(signature.slice(0..<count), for: message), "\(count) bytes")
        }
        #expect(!key.publicKey.isValid(Bytes(Array(signature) + [0]), for: message))
        let empty = key.sign(Bytes())
        #expect(key.publicKey.isValid(empty, for: Bytes()))
        #expect(errorQueueIsEmpty)
    }

    @Test("secp256k1 signatures have the lower of the two numbers that would do")
    func lowS() throws {
        let key = KeyTests.keys[1]
        let half = bytes(hex: "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0")
        for index in 0..<40 {
            let message = Bytes(utf8: "message \(index)")
            let signature = key.sign(message)
            #expect(key.publicKey.isValid(signature, for: message))
            let second = 4 + Int(signature[3])
            let number = signature.slice(second + 2..<second + 2 + Int(signature[second + 1]))
            #expect(number.count < 32 || (number.count == 32 && number <= half))
        }
    }

    @Test("a secp256k1 signature with the higher number is refused, so that none can be turned into another")
    func highS() {
        let key = KeyTests.keys[1]
        let order = bytes(hex: "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
        for index in 0..<40 {
            let message = Bytes(utf8: "message \(index)")
            let signature = key.sign(message)
            let second = 4 + Int(signature[3])
            let low = Array(signature.slice(second + 2..<second + 2 + Int(signature[second + 1])))
            let padded = [UInt8](repeating: 0, count: max(0, 32 - low.count)) + low.suffix(32)
            var borrow = 0
            var high = [UInt8](repeating: 0, count: 32)
            for place in stride(from: 31, through: 0, by: -1) {
                let digit = Int(order[place]) - Int(padded[place]) - borrow
                borrow = digit < 0 ? 1 : 0
                high[place] = UInt8(truncatingIfNeeded: digit)
            }
            let number: [UInt8] = [0x02, 33, 0] + high
            let first = Array(signature.slice(2..<second))
            let forged = Bytes([0x30, UInt8(first.count + number.count)] + first + number)
            #expect(key.publicKey.isValid(signature, for: message))
            #expect(!key.publicKey.isValid(forged, for: message), "\(forged)")
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("a generator with the same seed makes the same keys")
    func reproducible() {
        var first = SeededGenerator(seed: 99)
        var second = SeededGenerator(seed: 99)
        #expect(PrivateKey.ed25519(using: &first).protobuf == PrivateKey.ed25519(using: &second).protobuf)
        #expect(PrivateKey.secp256k1(using: &first).protobuf == PrivateKey.secp256k1(using: &second).protobuf)
        #expect(PrivateKey.ecdsa(using: &first).protobuf == PrivateKey.ecdsa(using: &second).protobuf)
        #expect(PrivateKey.ed25519(using: &first).publicKey != PrivateKey.ed25519(using: &first).publicKey)
    }

    @Test("keys come back from their encodings", arguments: keys)
    func roundTrip(key: PrivateKey) throws {
        let again = try PrivateKey(protobuf: key.protobuf.span)
        #expect(again.publicKey == key.publicKey)
        #expect(again.protobuf == key.protobuf)
        #expect(try PublicKey(protobuf: key.publicKey.protobuf.span) == key.publicKey)
        let pkcs8 = key.pkcs8
        let loaded = pkcs8.withUnsafeBytes { octets in
            var next: UnsafePointer<UInt8>? = octets.bindMemory(to: UInt8.self).baseAddress
            return d2i_AutoPrivateKey(nil, &next, octets.count)
        }
        #expect(loaded != nil)
        EVP_PKEY_free(loaded)
    }

    @Test("an RSA key is made in a size that is asked for")
    func rsa() throws {
        let key = PrivateKey.rsa(bits: 2048)
        let message = Bytes(utf8: "a message")
        #expect(key.sign(message).count == 256)
        #expect(key.publicKey.isValid(key.sign(message), for: message))
        #expect(try PrivateKey(protobuf: key.protobuf.span).publicKey == key.publicKey)
    }

    @Test("nothing that Swift prints of a private key tells its secret", arguments: keys)
    func redaction(key: PrivateKey) {
        var dumped = ""
        dump(key, to: &dumped)
        let secret = key.protobuf.withUnsafeBytes { Bytes(copying: $0) }
        let digits = secret.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        // Beyond the header and the lengths of DER; half of an Ed25519 key is its public key.
        let start = digits.index(digits.startIndex, offsetBy: key.type == .rsa ? 1200 : 24)
        let telling = digits[start...].prefix(16)
        for text in [
            "\(key)", String(reflecting: key), dumped, "\([key])", String(describing: Mirror(reflecting: key)),
        ] {
            #expect(!text.contains(telling))
            #expect(!text.contains("OpaquePointer"))
        }
    }
}

@Suite("Keys from strangers")
struct HostileKeyTests {
    static let publicKeys = KeyTests.keys.map(\.publicKey)

    @Test("a public key cut short, or with bytes behind it, is malformed", arguments: publicKeys)
    func truncated(key: PublicKey) {
        let whole = key.protobuf
        for count in 0..<whole.count {
            expectMalformed(whole.slice(0..<count), "\(count) bytes")
        }
        expectMalformed(Bytes(Array(whole) + [0]), "one byte more")
        // A data field that tells one byte more, and has it.
        if key.type != .rsa {
            var longer = Array(whole) + [0]
            longer[3] += 1
            expectMalformed(Bytes(longer), "longer data")
            longer = Array(whole).dropLast()
            longer[3] -= 1
            expectMalformed(Bytes(longer), "shorter data")
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("private keys cut short are refused", arguments: KeyTests.keys)
    func truncatedPrivate(key: PrivateKey) {
        let whole = key.protobuf.withUnsafeBytes { Bytes(copying: $0) }
        for count in 0..<whole.count {
            #expect(throws: KeyError.self) { try PrivateKey(protobuf: whole.slice(0..<count).span) }
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("a public key with one bit turned is refused or is another key", arguments: publicKeys)
    func flipped(key: PublicKey) {
        for bit in 0..<key.protobuf.count * 8 {
            let octets = key.protobuf.flipping(bit: bit)
            guard let other = try? PublicKey(protobuf: octets) else { continue }
            #expect(other != key && other.protobuf == octets)
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("private keys with a bit turned do no harm, and sign if they are accepted", arguments: KeyTests.keys)
    func flippedPrivate(key: PrivateKey) {
        let whole = key.protobuf.withUnsafeBytes { Bytes(copying: $0) }
        var generator = SeededGenerator(seed: 31)
        let message = Bytes(utf8: "a message")
        for _ in 0..<(key.type == .rsa ? 60 : 600) {
            let octets = whole.flipping(bit: Int(generator.next() % UInt64(whole.count * 8)))
            guard let other = try? PrivateKey(protobuf: octets.span) else { continue }
            #expect(other.publicKey.isValid(other.sign(message), for: message))
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("only the canonical protobuf encoding is a key")
    func canonical() throws {
        let key = try #require(Self.publicKeys.first { $0.type == .ed25519 })
        let data = Array(key.data)
        let table: [(String, [UInt8], KeyError)] = [
            ("nothing", [], .malformed(WireError(.truncated, at: 0))),
            ("unknown type", [0x08, 0x04, 0x12, 0x20] + data, .unknownType(4)),
            ("long type", [0x08, 0x81, 0x00, 0x12, 0x20] + data, .malformed(WireError(.notMinimal, at: 1))),
            ("long length", [0x08, 0x01, 0x12, 0xA0, 0x00] + data, .malformed(WireError(.notMinimal, at: 3))),
            ("data first", [0x12, 0x20] + data + [0x08, 0x01], .malformed(WireError(.unexpected(0x12), at: 0))),
            ("no type", [0x12, 0x20] + data, .malformed(WireError(.unexpected(0x12), at: 0))),
            (
                "another field", [0x08, 0x01, 0x12, 0x20] + data + [0x18, 0x00],
                .malformed(WireError(.trailingBytes, at: 36))
            ),
            ("length lied", [0x08, 0x01, 0x12, 0x21] + data, .malformed(WireError(.truncated, at: 3))),
            (
                "huge length", [0x08, 0x01, 0x12] + [UInt8](repeating: 0xFF, count: 8) + [0x7F] + data,
                .malformed(WireError(.truncated, at: 3))
            ),
            (
                "wrong data", [0x08, 0x02, 0x12, 0x20] + data,
                .malformed(WireError(.unexpected(UInt64(data[0])), at: 4))
            ),
        ]
        for (name, octets, expected) in table {
            #expect(throws: expected, "\(name)") { try PublicKey(protobuf: Bytes(octets)) }
        }
        for number in UInt8(4)..<128 {
            #expect(throws: KeyError.unknownType(UInt64(number))) {
                try PublicKey(protobuf: Bytes([0x08, number, 0x12, 0x20] + data))
            }
        }
    }

    @Test("points off the curve, at infinity or in the wrong form are refused")
    func points() throws {
        let p256 = try #require(Self.publicKeys.first { $0.type == .ecdsa })
        #expect(throws: KeyError.pointNotOnCurve) {
            try PublicKey(type: .ecdsa, data: p256.data.flipping(bit: p256.data.count * 8 - 8).span)
        }
        // 5 is the x of no point of secp256k1.
        #expect(throws: KeyError.pointNotOnCurve) {
            try PublicKey(type: .secp256k1, data: Bytes([2] + [UInt8](repeating: 0, count: 31) + [5]).span)
        }
        #expect(throws: KeyError.pointNotOnCurve) {
            try PublicKey(type: .secp256k1, data: Bytes([2] + [UInt8](repeating: 0xFF, count: 32)).span)
        }
        for first in [UInt8(0), 1, 4, 5, 6, 7, 0xFF] {
            #expect(throws: KeyError.malformed(WireError(.unexpected(UInt64(first)), at: 0))) {
                try PublicKey(type: .secp256k1, data: Bytes([first] + [UInt8](repeating: 1, count: 32)).span)
            }
        }
        // A key of another curve, and the curve's parameters written out.
        for line in try vectors("openssl-public-keys.txt") where !line[0].hasPrefix("rsa") {
            #expect(throws: KeyError.self, "\(line[0])") {
                try PublicKey(type: .ecdsa, data: bytes(hex: line[1]).span)
            }
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("Ed25519 points of small order are refused, in all fourteen encodings")
    func smallOrder() throws {
        let encodings = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ]
        for encoding in encodings.map(bytes(hex:)) {
            for data in [encoding, encoding.flipping(bit: 255)] {
                #expect(throws: KeyError.pointOfSmallOrder, "\(data)") {
                    try PublicKey(type: .ed25519, data: data.span)
                }
                #expect(throws: KeyError.pointOfSmallOrder, "\(data)") {
                    try PublicKey(protobuf: Bytes([0x08, 0x01, 0x12, 0x20] + Array(data)))
                }
            }
        }
    }

    @Test("Ed25519 points whose y is written over the prime are refused, and those right below it are not")
    func overPrime() throws {
        for first in UInt8(0xEF)...0xFF {
            let data = Bytes([first] + [UInt8](repeating: 0xFF, count: 30) + [0x7F])
            #expect(throws: KeyError.pointNotOnCurve) { try PublicKey(type: .ed25519, data: data.span) }
        }
        for first in UInt8(0xE0)...0xEB {
            let data = Bytes([first] + [UInt8](repeating: 0xFF, count: 30) + [0x7F])
            #expect(try PublicKey(type: .ed25519, data: data.span).data == data)
        }
    }

    @Test("secret numbers of zero or beyond the order are refused")
    func scalars() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
        for scalar in [String(repeating: "00", count: 32), order, String(repeating: "ff", count: 32)] {
            #expect(throws: KeyError.scalarOutOfRange) {
                try PrivateKey(protobuf: bytes(hex: "08021220" + scalar).span)
            }
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("RSA keys outside the limits are refused by their sizes")
    func rsaLimits() throws {
        let modulus = { (bits: Int) in
            [UInt8(0x80 >> ((8 - bits % 8) % 8))] + [UInt8](repeating: 0xFF, count: (bits - 1) / 8)
        }
        for bits in [8, 512, 1024, 2040, 2047, 8193, 8200, 16384, 65536] {
            #expect(throws: KeyError.modulusOutOfRange(bits: bits)) {
                try PublicKey(type: .rsa, data: rsaInfo(modulus: modulus(bits), exponent: [1, 0, 1]).span)
            }
        }
        for bits in [2048, 4096, 8192] {
            let key = try PublicKey(type: .rsa, data: rsaInfo(modulus: modulus(bits), exponent: [1, 0, 1]).span)
            #expect(!key.isValid(Bytes([UInt8](repeating: 1, count: bits / 8)), for: Bytes()))
        }
        var even = modulus(2048)
        even[255] = 0xFE
        #expect(throws: KeyError.modulusOutOfRange(bits: 2048)) {
            try PublicKey(type: .rsa, data: rsaInfo(modulus: even, exponent: [1, 0, 1]).span)
        }
        let exponents: [[UInt8]] = [[0], [1], [2], [4], [1, 0, 0], [0x80, 0, 0, 1], [1, 0, 0, 0, 1], modulus(2048)]
        for exponent in exponents {
            #expect(throws: KeyError.exponentOutOfRange) {
                try PublicKey(type: .rsa, data: rsaInfo(modulus: modulus(2048), exponent: exponent).span)
            }
        }
        for line in try vectors("openssl-public-keys.txt") where line[0].hasPrefix("rsa") {
            let data = bytes(hex: line[1])
            if line[0] == "rsa-2048" {
                #expect(try PublicKey(type: .rsa, data: data.span).data == data)
            } else {
                #expect(throws: KeyError.modulusOutOfRange(bits: 1024)) { try PublicKey(type: .rsa, data: data.span) }
            }
        }
        #expect(errorQueueIsEmpty)
    }

    @Test("an Ed25519 key whose public half is another's is refused, in both forms")
    func ed25519Halves() throws {
        let key = try #require(KeyTests.keys.first { $0.type == .ed25519 })
        let data = key.protobuf.withUnsafeBytes { Array($0.dropFirst(4)) }
        let legacy = [UInt8]([0x08, 0x01, 0x12, 0x60]) + data + data[32...]
        #expect(try PrivateKey(protobuf: Bytes(legacy).span).protobuf == key.protobuf)
        for position in [4 + 32, 4 + 64, 4 + 95] {
            var octets = legacy
            octets[position] ^= 1
            #expect(throws: KeyError.halvesDiffer) { try PrivateKey(protobuf: Bytes(octets).span) }
        }
        #expect(throws: KeyError.halvesDiffer) {
            try PrivateKey(protobuf: Bytes([0x08, 0x01, 0x12, 0x40] + data[..<32] + data[..<32]).span)
        }
        for count in [0, 31, 32, 63, 65, 95, 97, 127] {
            let octets = [UInt8]([0x08, 0x01, 0x12, UInt8(count)]) + (legacy + legacy)[4..<4 + count]
            #expect(throws: KeyError.self, "\(count) bytes") { try PrivateKey(protobuf: Bytes(octets).span) }
        }
    }

    @Test("SEC1 keys may leave out the curve and the public key, but not tell wrong ones")
    func sec1() throws {
        let key = try #require(KeyTests.keys.first { $0.type == .ecdsa })
        let sec1 = key.protobuf.withUnsafeBytes { Array($0.dropFirst(4)) }
        let bare = Array(sec1[2..<39])
        let curve = Array(sec1[39..<51])
        let point = Array(sec1[51...])
        for parts in [bare, bare + curve, bare + point, bare + curve + point] {
            let octets = Bytes([0x08, 0x03, 0x12, UInt8(parts.count + 2), 0x30, UInt8(parts.count)] + parts)
            #expect(try PrivateKey(protobuf: octets.span).protobuf == key.protobuf)
        }
        var wrong = key.protobuf.withUnsafeBytes { Array($0) }
        wrong[wrong.count - 1] ^= 1
        #expect(throws: KeyError.halvesDiffer) { try PrivateKey(protobuf: Bytes(wrong).span) }
    }

    private func expectMalformed(_ octets: Bytes, _ what: Comment) {
        #expect(what) {
            _ = try PublicKey(protobuf: octets)
        } throws: { error in
            if case KeyError.malformed = error { true } else { false }
        }
    }

    private func rsaInfo(modulus: [UInt8], exponent: [UInt8]) -> Bytes {
        let number = { (octets: [UInt8]) in der(0x02, octets[0] >= 0x80 ? [0] + octets : octets) }
        let algorithm: [UInt8] = [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 5, 0]
        return Bytes(der(0x30, algorithm + der(0x03, [0] + der(0x30, number(modulus) + number(exponent)))))
    }
}

/// A DER value.
func der(_ tag: UInt8, _ contents: [UInt8]) -> [UInt8] {
    let count = contents.count
    if count < 0x80 { return [tag, UInt8(count)] + contents }
    if count < 0x100 { return [tag, 0x81, UInt8(count)] + contents }
    return [tag, 0x82, UInt8(count >> 8), UInt8(count & 0xFF)] + contents
}
