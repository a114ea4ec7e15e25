internal import MartletCrypto
internal import MartletWire

/// What each side of a libp2p Noise handshake says about itself (libp2p's noise specification): its identity key, a
/// signature of its static key by it, and extensions.
struct NoisePayload {
    /// What stands in front of the static key in what is signed.
    static let signaturePrefix = "noise-libp2p-static-key:"
    /// How many muxers may be named.
    static let maximumMuxers = 32

    var identityKey: PublicKey
    var signature: Bytes
    var muxers: [String]

    /// What the holder of `identity` says about `staticKey`.
    init(identity: PrivateKey, staticKey: X25519PublicKey, muxers: [String]) {
        identityKey = identity.publicKey
        signature = identity.sign(Self.signed(staticKey))
        self.muxers = muxers
    }

    /// Reads a payload. Throws a sentence that says what is wrong.
    init(_ bytes: Bytes, from staticKey: X25519PublicKey) throws(NoisePayloadError) {
        let parts: Parts
        do throws(WireError) {
            parts = try Parts(bytes)
        } catch {
            throw .malformed(error)
        }
        do throws(KeyError) {
            identityKey = try PublicKey(protobuf: parts.key.span)
        } catch {
            throw .key(error)
        }
        signature = parts.signature
        muxers = parts.muxers
        guard identityKey.isValid(signature, for: Self.signed(staticKey)) else { throw .forgedSignature }
    }

    var encoded: Bytes {
        var writer = Writer(capacity: identityKey.protobuf.count + signature.count + 64)
        writer.field(1, bytes: identityKey.protobuf)
        writer.field(2, bytes: signature)
        writer.field(4) { extensions in
            for muxer in muxers { extensions.field(2, string: muxer) }
        }
        return writer.finish()
    }

    private static func signed(_ staticKey: X25519PublicKey) -> Bytes {
        var writer = Writer(capacity: signaturePrefix.utf8.count + X25519PublicKey.size)
        writer.utf8(signaturePrefix)
        writer.bytes(staticKey.span)
        return writer.finish()
    }

    private struct Parts {
        var key = Bytes()
        var signature = Bytes()
        var muxers: [String] = []

        init(_ bytes: Bytes) throws(WireError) {
            var reader = ProtobufReader(bytes.span)
            while let field = try reader.next() {
                switch field.number {
                case 1: key = Bytes(copying: try reader.bytes())
                case 2: signature = Bytes(copying: try reader.bytes())
                case 4:
                    var extensions = try reader.message()
                    while let field = try extensions.next() {
                        guard field.number == 2 else { continue }
                        guard muxers.count < NoisePayload.maximumMuxers else { throw extensions.error(.tooLarge) }
                        muxers.append(try extensions.string(maximum: Multistream.maximumLineSize))
                    }
                default: break
                }
            }
        }
    }
}

/// What is wrong with the payload of a Noise handshake.
enum NoisePayloadError: Error {
    case malformed(WireError)
    case key(KeyError)
    case forgedSignature
}
