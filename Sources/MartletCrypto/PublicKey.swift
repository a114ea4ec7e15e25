internal import CCrypto
public import MartletWire

/// The key that a peer is known by, and that its signatures are checked with.
///
/// Holding one means that it is a key: its encoding was canonical, its point lies on its curve (for Ed25519, which
/// libcrypto looks at only when it checks a signature, no signature is valid under what is no point) and is not of small
/// order, and an RSA key is within `RSALimits`. A key of another type than Ed25519 stays prepared, so that checking with the same value
/// again is cheapest; one of Ed25519 is prepared for each check, which costs a hundredth of it, and is no more than its
/// bytes: a node holds thousands.
///
/// The encoding is that of libp2p's specification "Peer Ids and Keys". Two keys are equal when their encodings are.
public struct PublicKey: Sendable {
    /// The kind of key.
    public let type: KeyType
    /// libp2p's canonical protobuf encoding, from which peer ids are derived.
    public let protobuf: Bytes
    /// The key as libcrypto has it, but for one of Ed25519.
    private let prepared: LibcryptoKey?

    /// The key that `protobuf` encodes. The bytes are kept without a copy where they do not pin much more memory.
    public init(protobuf: Bytes) throws(KeyError) {
        (type, prepared) = try PublicKey.parse(protobuf: protobuf.span)
        self.protobuf = protobuf.compacted()
    }

    /// The key that `protobuf` encodes.
    public init(protobuf: RawSpan) throws(KeyError) {
        (type, prepared) = try PublicKey.parse(protobuf: protobuf)
        self.protobuf = Bytes(copying: protobuf)
    }

    /// The key of `type` that `data` encodes: 32 bytes for Ed25519, a compressed point for secp256k1, the DER of a
    /// SubjectPublicKeyInfo for RSA and ECDSA.
    public init(type: KeyType, data: RawSpan) throws(KeyError) {
        prepared = try PublicKey.parse(type, Reader(data))
        self.type = type
        var writer = Writer(capacity: 5 + data.byteCount)
        writer.keyHeader(type, dataCount: data.byteCount)
        writer.bytes(data)
        protobuf = writer.finish()
    }

    /// What stands inside the protobuf encoding: the key in the form that is usual for its type. Costs no copy.
    public var data: Bytes {
        // The length takes one byte up to 127 bytes of data, and two in an RSA key.
        protobuf.slice((protobuf.count < 132 ? 4 : 5)..<protobuf.count)
    }

    /// Whether `signature` is one of `message` by the holder of this key. What is no signature at all is not valid.
    ///
    /// Of the two secp256k1 signatures that the mathematics allows, only the one with the lower second number is valid:
    /// otherwise anyone could turn a signature into another one.
    public func isValid(_ signature: RawSpan, for message: RawSpan) -> Bool {
        guard type != .secp256k1 || isLow(signature) else { return false }
        return (prepared ?? ed25519)?.isValid(signature, for: message, hash: type.hash) ?? false
    }

    private func isLow(_ signature: RawSpan) -> Bool {
        let isLow = signature.withUnsafeBytes { cc_secp256k1_is_low_s($0.octets, $0.count) == 1 }
        if !isLow { ERR_clear_error() }
        return isLow
    }

    private var ed25519: LibcryptoKey? {
        data.withUnsafeBytes { LibcryptoKey(EVP_PKEY_new_raw_public_key(NID_ED25519, nil, $0.octets, $0.count)) }
    }

    /// Whether `signature` is one of `message` by the holder of this key. What is no signature at all is not valid.
    public func isValid(_ signature: Bytes, for message: Bytes) -> Bool {
        isValid(signature.span, for: message.span)
    }
}

extension PublicKey: Hashable {
    /// Whether both have the same encoding.
    public static func == (left: PublicKey, right: PublicKey) -> Bool {
        left.protobuf == right.protobuf
    }

    /// Feeds the encoding to `hasher`.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(protobuf)
    }
}

extension PublicKey: CustomStringConvertible {
    /// The type, and the beginning of the key in base16.
    public var description: String { "\(type) \(data)" }
}

// MARK: - Parsing

extension PublicKey {
    private static func parse(protobuf: RawSpan) throws(KeyError) -> (KeyType, LibcryptoKey?) {
        var reader = Reader(protobuf)
        let type = try reader.keyHeader()
        return (type, try parse(type, reader))
    }

    private static func parse(_ type: KeyType, _ data: consuming Reader) throws(KeyError) -> LibcryptoKey? {
        switch type {
        case .ed25519:
            try checkEd25519(data)
            return nil
        case .secp256k1, .ecdsa: return try parsePoint(type, data)
        case .rsa: return try parseRSA(data)
        }
    }

    private static func checkEd25519(_ data: consuming Reader) throws(KeyError) {
        let point: RawSpan
        do throws(WireError) {
            point = try data.span(32)
            try data.expectEnd()
        } catch { throw .malformed(error) }
        try Ed25519Point.check(point)
    }

    private static func parsePoint(_ type: KeyType, _ data: consuming Reader) throws(KeyError) -> LibcryptoKey {
        let octets: RawSpan
        do throws(WireError) {
            if type == .ecdsa { try data.expect(P256.publicKeyInfoPrefix) }
            let first = data.peek()
            let isAllowed = type == .ecdsa ? first == 4 : first == 2 || first == 3
            if let first, !isAllowed { throw data.error(.unexpected(UInt64(first))) }
            octets = try data.span(type == .ecdsa ? 65 : 33)
            try data.expectEnd()
        } catch { throw .malformed(error) }
        let made = octets.withUnsafeBytes {
            LibcryptoKey(cc_ec_key(type.curve, $0.octets, $0.count, nil, 0))
        }
        guard let made else { throw .pointNotOnCurve }
        return made
    }

    private static func parseRSA(_ data: consuming Reader) throws(KeyError) -> LibcryptoKey {
        let start = data.offset
        let whole = data.span(in: data.position..<data.position + data.remaining)
        let modulus: RSANumber
        let exponent: RSANumber
        do throws(WireError) {
            var info = try data.der(DER.sequence)
            try data.expectEnd()
            try info.expect(RSANumber.algorithm)
            var bits = try info.derBits()
            try info.expectEnd()
            var numbers = try bits.der(DER.sequence)
            try bits.expectEnd()
            modulus = RSANumber(try numbers.derUnsigned(), since: start)
            exponent = RSANumber(try numbers.derUnsigned(), since: start)
            try numbers.expectEnd()
        } catch { throw .malformed(error) }
        try RSANumber.check(modulus: modulus, exponent: exponent)
        let made = whole.withUnsafeBytes { octets in
            LibcryptoKey(cc_rsa_key(octets.octets, [modulus.part, exponent.part], 2))
        }
        guard let made else { throw .modulusOutOfRange(bits: modulus.bits) }
        return made
    }
}

/// The parts of ECDSA encodings on P-256 that are always the same.
enum P256 {
    /// What stands before the point in a SubjectPublicKeyInfo (RFC 5480) with the curve named.
    static let publicKeyInfoPrefix: [UInt8] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
        0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ]
    /// The object identifier of the curve, as a DER value.
    static let name: [UInt8] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]
}

/// One of the numbers of an RSA key: where it stands in the encoding, and what can be told of it at a glance.
struct RSANumber {
    /// rsaEncryption with its NULL, as an AlgorithmIdentifier (RFC 3279).
    static let algorithm: [UInt8] = [
        0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00,
    ]

    let part: cc_part
    let bits: Int
    let isOdd: Bool
    /// The number itself where it fits.
    let value: UInt64?

    init(_ number: borrowing Reader, since start: Int) {
        part = cc_part(offset: number.offset - start, count: number.remaining)
        let octets = number.span(in: number.position..<number.position + number.remaining)
        bits = octets.byteCount * 8 - octets[0].leadingZeroBitCount
        isOdd = octets[octets.byteCount - 1] & 1 == 1
        var value: UInt64 = 0
        if octets.byteCount <= 8 {
            for index in 0..<octets.byteCount { value = value << 8 | UInt64(octets[index]) }
        }
        self.value = octets.byteCount <= 8 ? value : nil
    }

    /// Refuses sizes that are weak or costly, before anything is computed with the numbers.
    static func check(modulus: RSANumber, exponent: RSANumber) throws(KeyError) {
        guard modulus.isOdd, RSALimits.modulusBits.contains(modulus.bits) else {
            throw .modulusOutOfRange(bits: modulus.bits)
        }
        guard let value = exponent.value, exponent.isOdd, RSALimits.exponent.contains(value) else {
            throw .exponentOutOfRange
        }
    }
}

extension Reader {
    /// Passes over what stands before the data in a key's protobuf encoding, which must be the canonical one and
    /// must end with the data.
    mutating func keyHeader() throws(KeyError) -> KeyType {
        let number: UInt64
        do throws(WireError) {
            try expect([0x08])
            number = try varint()
            try expect([0x12])
            let at = position
            let count = try varint()
            guard count >= remaining else { throw error(.trailingBytes, at: position + Int(count)) }
            guard count == remaining else { throw error(.truncated, at: at) }
        } catch { throw .malformed(error) }
        guard let type = KeyType(rawValue: number) else { throw .unknownType(number) }
        return type
    }
}

extension Writer {
    /// Appends what stands before `dataCount` bytes of data in a key's protobuf encoding.
    mutating func keyHeader(_ type: KeyType, dataCount: Int) {
        byte(0x08)
        varint(type.rawValue)
        byte(0x12)
        varint(UInt64(dataCount))
    }
}
