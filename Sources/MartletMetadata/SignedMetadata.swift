public import MartletCrypto
public import MartletIdentity
internal import MartletRuntime
public import MartletWire

/// A record that the node it is about has signed, to be passed on as it is.
public struct SignedMetadata: Hashable, Sendable {
    /// What the node says.
    public let metadata: NodeMetadata
    /// The envelope around it.
    public let envelope: SignedEnvelope

    /// Who says it.
    public var peer: PeerID { metadata.peer }

    /// Signs `metadata`, which must be about the node whose key this is.
    public init(_ metadata: NodeMetadata, signedWith key: PrivateKey) {
        precondition(metadata.peer == PeerID(key.publicKey), "a node signs what it says of itself")
        self.metadata = metadata
        envelope = SignedEnvelope(sealing: metadata.encoded, for: .metadata, with: key)
    }

    /// Opens the envelope that all of `bytes` is. Throws unless it holds a record that is about the peer who signed.
    public init(opening bytes: Bytes) throws(MetadataError) {
        do throws(SignedEnvelopeError) {
            envelope = try SignedEnvelope(opening: bytes, for: .metadata, maximumSize: MetadataLimits.size)
        } catch { throw .envelope(error) }
        do throws(WireError) {
            metadata = try NodeMetadata(envelope.payload)
        } catch { throw .malformed(error) }
        guard metadata.peer == envelope.signer else { throw .otherSigner }
    }
}

extension SignedEnvelope.Purpose {
    /// Records of what nodes say of themselves.
    public static let metadata = SignedEnvelope.Purpose(
        domain: "martlet-metadata", payloadType: Bytes(utf8: "/martlet/metadata"))
}

/// Why a record was not accepted.
public enum MetadataError: Error, Hashable, Sendable {
    /// The envelope around it could not be opened.
    case envelope(SignedEnvelopeError)
    /// What was signed is no record, or goes beyond a limit.
    case malformed(WireError)
    /// It was signed by another peer than the one it is about.
    case otherSigner
}
