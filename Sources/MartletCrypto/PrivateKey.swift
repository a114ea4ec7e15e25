internal import CCrypto
public import MartletWire

/// The secret half of a key pair. It signs.
///
/// The secret stands in libcrypto's memory and is wiped when the last copy of the value is released. Nothing prints
/// it. It leaves only as a `Secret`.
///
/// Ed25519 signatures depend on nothing but key and message. ECDSA and secp256k1 signatures also take a number
/// from libcrypto's own random source, so they differ from time to time, in length too.
public struct PrivateKey: Sendable {
    /// The half that everybody may know.
    public let publicKey: PublicKey
    private let key: LibcryptoKey

    /// The kind of key.
    public var type: KeyType { publicKey.type }

    private init(publicKey: PublicKey, key: LibcryptoKey) {
        self.publicKey = publicKey
        self.key = key
    }

    /// A signature of `message`: 64 bytes for Ed25519, as long as the modulus for RSA, up to 72 bytes of DER for the
    /// others.
    public func sign(_ message: RawSpan) -> Bytes {
        // Every key has signed, or is one that libcrypto itself derived, before it is handed out.
        guard let (slab, count) = key.sign(message, hash: type.hash) else {
            preconditionFailure("libcrypto does not sign with a key that it accepted")
        }
        guard type == .secp256k1 else { return Bytes(slab: slab, offset: 0, count: count) }
        let low = cc_secp256k1_low_s(slab.octets, count)
        precondition(low > 0, "libcrypto does not read a signature that it made")
        return Bytes(slab: slab, offset: 0, count: Int(low))
    }

    /// A signature of `message`.
    public func sign(_ message: Bytes) -> Bytes {
        sign(message.span)
    }

    /// Calls `body` with the key as libcrypto has it, to sign what is not a message.
    func withLibcryptoKey<R>(_ body: (OpaquePointer) -> R) -> R {
        withExtendedLifetime(key) { body(key.pointer) }
    }
}

// MARK: - Making

extension PrivateKey {
    /// A new Ed25519 key whose seed is drawn from `generator`.
    public static func ed25519(using generator: inout some RandomNumberGenerator) -> PrivateKey {
        let seed = Secret(count: 32, using: &generator)
        do throws(KeyError) {
            return try PrivateKey(ed25519Seed: seed.span)
        } catch {
            preconditionFailure("every 32 bytes are an Ed25519 seed")
        }
    }

    /// A new secp256k1 key whose secret number is drawn from `generator`.
    public static func secp256k1(using generator: inout some RandomNumberGenerator) -> PrivateKey {
        onCurve(.secp256k1, using: &generator)
    }

    /// A new ECDSA key on P-256 whose secret number is drawn from `generator`.
    public static func ecdsa(using generator: inout some RandomNumberGenerator) -> PrivateKey {
        onCurve(.ecdsa, using: &generator)
    }

    /// A new RSA key of `bits`, which must be within `RSALimits.modulusBits`. Takes from a tenth of a second to a
    /// minute. Its primes come from libcrypto's own random source, so that no generator repeats it.
    public static func rsa(bits: Int) -> PrivateKey {
        precondition(RSALimits.modulusBits.contains(bits), "not a size that peers accept")
        guard let key = LibcryptoKey(cc_rsa_generate(bits)) else { preconditionFailure("libcrypto makes no RSA key") }
        do throws(KeyError) {
            return PrivateKey(publicKey: try publicHalf(ofRSA: key), key: key)
        } catch {
            preconditionFailure("libcrypto made an RSA key outside the limits: \(error)")
        }
    }

    private static func onCurve(
        _ type: KeyType, using generator: inout some RandomNumberGenerator
    ) -> PrivateKey {
        // Both orders are within 2^-32 of 2^256, so that a draw outside is next to never seen.
        while true {
            let scalar = Secret(count: 32, using: &generator)
            if let key = try? PrivateKey(type, scalar: scalar.span) { return key }
        }
    }
}

// MARK: - Encodings

extension PrivateKey {
    /// The key with the 32-byte seed of RFC 8032.
    public init(ed25519Seed seed: RawSpan) throws(KeyError) {
        guard seed.byteCount == 32 else {
            let reason: WireError.Reason = seed.byteCount < 32 ? .truncated : .trailingBytes
            throw .malformed(WireError(reason, at: min(seed.byteCount, 32)))
        }
        let made = seed.withUnsafeBytes {
            LibcryptoKey(EVP_PKEY_new_raw_private_key(NID_ED25519, nil, $0.octets, $0.count))
        }
        guard let made else { throw .scalarOutOfRange }
        let octets = Bytes(count: 32) { target in
            var count = target.count
            EVP_PKEY_get_raw_public_key(made.pointer, target.octets, &count)
        }
        self.init(publicKey: try PublicKey(type: .ed25519, data: octets.span), key: made)
    }

    /// The key that libp2p's protobuf encoding of private keys holds. Whoever holds those bytes wipes them.
    ///
    /// A public half that stands beside the secret one must belong to it. An RSA key has to sign once to be accepted.
    public init(protobuf: RawSpan) throws(KeyError) {
        var reader = Reader(protobuf)
        switch try reader.keyHeader() {
        case .ed25519: try self.init(ed25519: reader)
        case .secp256k1: try self.init(.secp256k1, scalar: reader.exactly(32))
        case .ecdsa: try self.init(sec1: reader)
        case .rsa: try self.init(pkcs1: reader)
        }
    }

    /// libp2p's protobuf encoding of the key, as it is kept on disk.
    public var protobuf: Secret {
        let data = data
        var header = Writer(capacity: 6)
        header.keyHeader(type, dataCount: data.count)
        return Secret(count: header.count + data.count) { target in
            let size = header.count
            header.span.withUnsafeBytes { target.copyMemory(from: $0) }
            data.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: target[size...]).copyMemory(from: $0) }
        }
    }

    /// The key as PKCS #8 (RFC 5958) in DER, which TLS libraries load.
    public var pkcs8: Secret {
        PrivateKey.secret { cc_pkcs8(key.pointer, $0) }
    }

    /// The data of the protobuf encoding: seed and public key for Ed25519, the secret number for secp256k1, SEC1's
    /// DER for ECDSA and PKCS #1's for RSA.
    private var data: Secret {
        switch type {
        case .ed25519:
            Secret(count: 64) { target in
                var count = 32
                EVP_PKEY_get_raw_private_key(key.pointer, target.octets, &count)
                count = 32
                EVP_PKEY_get_raw_public_key(key.pointer, target.octets + 32, &count)
            }
        case .secp256k1:
            Secret(count: 32) { target in
                let written = cc_ec_scalar(key.pointer, target.octets, target.count)
                precondition(written == 1, "libcrypto does not tell a number that it was given")
            }
        case .ecdsa, .rsa:
            PrivateKey.secret { i2d_PrivateKey(key.pointer, $0) }
        }
    }

    /// What libcrypto writes into memory of its own, moved to memory that is wiped.
    private static func secret(
        _ encode: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>) -> Int32
    ) -> Secret {
        var octets: UnsafeMutablePointer<UInt8>?
        let count = Int(encode(&octets))
        guard count > 0, let octets else { preconditionFailure("libcrypto does not encode a key that it accepted") }
        defer { cc_clear_free(octets, count) }
        return Secret(count: count) {
            $0.copyMemory(from: UnsafeRawBufferPointer(start: octets, count: count))
        }
    }

    private init(ed25519 data: consuming Reader) throws(KeyError) {
        let seed: RawSpan
        var copies: [Bytes] = []
        do throws(WireError) {
            seed = try data.span(32)
            copies.append(Bytes(copying: try data.span(32)))
            // The older form repeats the public key.
            if !data.isAtEnd { copies.append(Bytes(copying: try data.span(32))) }
            try data.expectEnd()
        } catch { throw .malformed(error) }
        try self.init(ed25519Seed: seed)
        for copy in copies where copy != publicKey.data { throw .halvesDiffer }
    }

    private init(_ type: KeyType, scalar: RawSpan) throws(KeyError) {
        let point = withUnsafeTemporaryAllocation(byteCount: 65, alignment: 1) { target in
            let written = scalar.withUnsafeBytes { scalar in
                cc_ec_point(
                    type.curve, scalar.octets, scalar.count, type == .secp256k1 ? 1 : 0, target.octets, target.count)
            }
            return Bytes(copying: UnsafeRawBufferPointer(rebasing: target[..<written]))
        }
        guard !point.isEmpty else {
            ERR_clear_error()
            throw .scalarOutOfRange
        }
        let made = point.withUnsafeBytes { point in
            scalar.withUnsafeBytes { scalar in
                LibcryptoKey(cc_ec_key(type.curve, point.octets, point.count, scalar.octets, scalar.count))
            }
        }
        guard let made else { throw .scalarOutOfRange }
        let data = type == .ecdsa ? Bytes(P256.publicKeyInfoPrefix + Array(point)) : point
        self.init(publicKey: try PublicKey(type: type, data: data.span), key: made)
    }

    /// ECPrivateKey of RFC 5915. The curve and the public key may be left out; what is there must be right.
    private init(sec1 data: consuming Reader) throws(KeyError) {
        let scalar: RawSpan
        var point: Bytes?
        do throws(WireError) {
            var key = try data.der(DER.sequence)
            try data.expectEnd()
            try key.expect([DER.integer, 1, 1])
            var octets = try key.der(DER.octetString)
            scalar = try octets.span(32)
            try octets.expectEnd()
            if key.peek() == DER.context(0) {
                var curve = try key.der(DER.context(0))
                try curve.expect(P256.name)
                try curve.expectEnd()
            }
            if key.peek() == DER.context(1) {
                var outer = try key.der(DER.context(1))
                var bits = try outer.derBits()
                try outer.expectEnd()
                point = Bytes(copying: bits.rest())
            }
            try key.expectEnd()
        } catch { throw .malformed(error) }
        try self.init(.ecdsa, scalar: scalar)
        if let point, point != publicKey.data.slice(P256.publicKeyInfoPrefix.count..<publicKey.data.count) {
            throw .halvesDiffer
        }
    }

    /// RSAPrivateKey of RFC 8017 with two primes.
    private init(pkcs1 data: consuming Reader) throws(KeyError) {
        let start = data.offset
        let whole = data.span(in: data.position..<data.position + data.remaining)
        var numbers: [RSANumber] = []
        do throws(WireError) {
            var key = try data.der(DER.sequence)
            try data.expectEnd()
            try key.expect([DER.integer, 1, 0])
            for _ in 0..<8 { numbers.append(RSANumber(try key.derUnsigned(), since: start)) }
            try key.expectEnd()
        } catch { throw .malformed(error) }
        try RSANumber.check(modulus: numbers[0], exponent: numbers[1])
        // No number may be larger than the modulus, which bounds the work; the primes make it up.
        guard numbers.allSatisfy({ $0.bits > 0 && $0.bits <= numbers[0].bits }),
            numbers[3].isOdd, numbers[4].isOdd, abs(numbers[3].bits + numbers[4].bits - numbers[0].bits) <= 1
        else { throw .halvesDiffer }
        let made = whole.withUnsafeBytes { octets in
            LibcryptoKey(cc_rsa_key(octets.octets, numbers.map(\.part), Int32(numbers.count)))
        }
        guard let made else { throw .halvesDiffer }
        let publicKey = try PrivateKey.publicHalf(ofRSA: made)
        let probe = Bytes(utf8: "a key that signs")
        guard let (slab, count) = made.sign(probe.span, hash: KeyType.rsa.hash),
            publicKey.isValid(Bytes(slab: slab, offset: 0, count: count), for: probe)
        else { throw .halvesDiffer }
        self.init(publicKey: publicKey, key: made)
    }

    private static func publicHalf(ofRSA key: LibcryptoKey) throws(KeyError) -> PublicKey {
        var octets: UnsafeMutablePointer<UInt8>?
        let count = Int(i2d_PUBKEY(key.pointer, &octets))
        defer { cc_free(octets) }
        precondition(count > 0, "libcrypto does not encode a key that it accepted")
        return try PublicKey(
            type: .rsa, data: Bytes(copying: UnsafeRawBufferPointer(start: octets, count: count)).span)
    }
}

extension PrivateKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The type and the public half; nothing of the secret.
    public var description: String { "PrivateKey(of \(publicKey))" }

    /// The same as `description`.
    public var debugDescription: String { description }

    /// Nothing but the public half: `dump` shows no secret either.
    public var customMirror: Mirror { Mirror(self, children: ["publicKey": publicKey]) }
}

extension Reader {
    /// All that is left, which must be `count` bytes.
    @_lifetime(copy self)
    fileprivate consuming func exactly(_ count: Int) throws(KeyError) -> RawSpan {
        do throws(WireError) {
            let octets = try span(count)
            try expectEnd()
            return octets
        } catch { throw .malformed(error) }
    }
}

extension UnsafeMutableRawBufferPointer {
    /// The memory, as libcrypto takes it. Only for buffers that are not empty.
    var octets: UnsafeMutablePointer<UInt8> {
        baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
    }
}
