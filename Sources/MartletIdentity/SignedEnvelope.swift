public import MartletCrypto
public import MartletWire

/// A payload with its signer's public key and signature (RFC 0002 of libp2p).
///
/// Every value of this type is a true one: it was sealed here, or opened and its signature checked.
public struct SignedEnvelope: Hashable, Sendable {
    /// What a payload is signed for. A signature for one purpose is not valid for another.
    public struct Purpose: Hashable, Sendable {
        /// The text that is signed along and not sent.
        public var domain: String
        /// The code that says what the payload is.
        public var payloadType: Bytes

        /// A purpose with its domain and payload type.
        public init(domain: String, payloadType: Bytes) {
            self.domain = domain
            self.payloadType = payloadType
        }
    }

    /// The most bytes that an envelope from elsewhere may have unless the caller sets another bound.
    public static let defaultMaximumSize = 8192

    /// The key that the signature was made with.
    public let publicKey: PublicKey
    /// What was signed.
    public let payload: Bytes
    /// What the signature is for.
    public let purpose: Purpose
    /// The envelope as it is sent.
    public let bytes: Bytes

    /// The peer who signed.
    public var signer: PeerID { PeerID(publicKey) }

    /// Signs `payload` for `purpose`.
    public init(sealing payload: Bytes, for purpose: Purpose, with key: PrivateKey) {
        let signature = key.sign(SignedEnvelope.signed(payload.span, for: purpose))
        publicKey = key.publicKey
        self.payload = payload
        self.purpose = purpose
        var writer = Writer(capacity: publicKey.protobuf.count + payload.count + signature.count + 32)
        writer.field(1, bytes: publicKey.protobuf)
        if !purpose.payloadType.isEmpty { writer.field(2, bytes: purpose.payloadType) }
        if !payload.isEmpty { writer.field(3, bytes: payload) }
        writer.field(5, bytes: signature)
        bytes = writer.finish()
    }

    /// Opens the envelope that all of `bytes` is, and keeps a small copy of it where it pins much more memory.
    ///
    /// Throws unless it was made for `purpose` and the signature is that of the key inside. Whose key it is, is the
    /// caller's to compare.
    public init(
        opening bytes: Bytes, for purpose: Purpose, maximumSize: Int = defaultMaximumSize
    ) throws(SignedEnvelopeError) {
        guard bytes.count <= maximumSize else { throw .malformed(WireError(.tooLarge, at: 0)) }
        let bytes = bytes.compacted()
        let parts: Parts
        do throws(WireError) {
            parts = try Parts(bytes)
        } catch { throw .malformed(error) }
        guard parts.payloadType == purpose.payloadType else { throw .otherPayloadType }
        do throws(KeyError) {
            publicKey = try PublicKey(protobuf: parts.publicKey)
        } catch { throw .badKey(error) }
        guard publicKey.isValid(parts.signature, for: SignedEnvelope.signed(parts.payload.span, for: purpose)) else {
            throw .invalidSignature
        }
        payload = parts.payload
        self.purpose = purpose
        self.bytes = bytes
    }

    /// What the signature is over.
    private static func signed(_ payload: RawSpan, for purpose: Purpose) -> Bytes {
        var writer = Writer(capacity: purpose.domain.utf8.count + purpose.payloadType.count + payload.byteCount + 12)
        writer.lengthPrefixed(purpose.domain.utf8.span.bytes)
        writer.lengthPrefixed(purpose.payloadType.span)
        writer.lengthPrefixed(payload)
        return writer.finish()
    }

    /// The fields of the message, as slices of it.
    private struct Parts {
        var publicKey = Bytes()
        var payloadType = Bytes()
        var payload = Bytes()
        var signature = Bytes()

        init(_ bytes: Bytes) throws(WireError) {
            var reader = ProtobufReader(bytes.span)
            while let field = try reader.next() {
                switch field.number {
                case 1: publicKey = bytes.slice(try reader.range())
                case 2: payloadType = bytes.slice(try reader.range())
                case 3: payload = bytes.slice(try reader.range())
                case 5: signature = bytes.slice(try reader.range())
                default: break
                }
            }
            guard !publicKey.isEmpty, !signature.isEmpty else { throw WireError(.missing, at: bytes.count) }
        }
    }
}

/// Why an envelope was not opened.
public enum SignedEnvelopeError: Error, Hashable, Sendable {
    /// The bytes are no envelope, or more than the bound.
    case malformed(WireError)
    /// The key inside is no key.
    case badKey(KeyError)
    /// It holds another kind of payload than was asked for.
    case otherPayloadType
    /// The signature is not one of this payload, for this purpose, with the key inside.
    case invalidSignature
}

extension SignedEnvelopeError: CustomStringConvertible {
    /// A sentence for a log line.
    public var description: String {
        switch self {
        case .malformed(let error): "not a signed envelope: \(error)"
        case .badKey(let error): "the key in a signed envelope is none: \(error)"
        case .otherPayloadType: "a signed envelope holds another type of payload"
        case .invalidSignature: "the signature of an envelope is not valid"
        }
    }
}
