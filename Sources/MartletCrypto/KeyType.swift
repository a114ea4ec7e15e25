public import MartletWire

/// The kinds of keys that a peer can be known by, with libp2p's numbers for them.
public enum KeyType: UInt64, CaseIterable, Hashable, Sendable {
    /// RSA of 2048 to 8192 bits; signatures are RSASSA-PKCS1-v1_5 over SHA-256.
    case rsa = 0
    /// Ed25519 (RFC 8032).
    case ed25519 = 1
    /// ECDSA on secp256k1 over SHA-256, as Bitcoin signs.
    case secp256k1 = 2
    /// ECDSA on P-256 over SHA-256.
    case ecdsa = 3
}

extension KeyType: CustomStringConvertible {
    /// The name that libp2p gives the type.
    public var description: String {
        switch self {
        case .rsa: "RSA"
        case .ed25519: "Ed25519"
        case .secp256k1: "Secp256k1"
        case .ecdsa: "ECDSA"
        }
    }
}

/// The sizes that an RSA key may have.
public enum RSALimits {
    /// Bits of the modulus. Smaller ones can be factored; larger ones cost a verifier too much.
    public static let modulusBits = 2048...8192
    /// The public exponent, which must also be odd. Larger ones cost a verifier too much.
    public static let exponent: ClosedRange<UInt64> = 3...0x7FFF_FFFF
}

/// Why bytes are not a key.
public enum KeyError: Error, Hashable, Sendable {
    /// The encoding is wrong at an offset: libp2p's protobuf must be the canonical one, and DER must be DER.
    case malformed(WireError)
    /// A key type that libp2p does not know.
    case unknownType(UInt64)
    /// The public key is no point of its curve, or not in the only encoding that the point has.
    case pointNotOnCurve
    /// The point is one of the few under which a signature proves nothing: its order is small, so anyone can sign.
    case pointOfSmallOrder
    /// The secret number is zero, or not below the order of its curve.
    case scalarOutOfRange
    /// The RSA modulus has a size outside `RSALimits.modulusBits`, or is even.
    case modulusOutOfRange(bits: Int)
    /// The RSA public exponent is outside `RSALimits.exponent`, or even.
    case exponentOutOfRange
    /// The public half that stands beside a secret half is not the one that belongs to it.
    case halvesDiffer
}

extension KeyError: CustomStringConvertible {
    /// What is wrong, for a log line.
    public var description: String {
        switch self {
        case .malformed(let error): "malformed key: \(error)"
        case .unknownType(let number): "unknown key type \(number)"
        case .pointNotOnCurve: "the public key is no point of its curve"
        case .pointOfSmallOrder: "the public key is a point of small order, under which anyone can sign"
        case .scalarOutOfRange: "the secret number is outside its curve's order"
        case .modulusOutOfRange(let bits): "an RSA modulus of \(bits) bits is not accepted"
        case .exponentOutOfRange: "the RSA public exponent is not accepted"
        case .halvesDiffer: "the public half does not belong to the secret half"
        }
    }
}
