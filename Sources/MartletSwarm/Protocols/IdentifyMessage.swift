internal import MartletCrypto
public import MartletIdentity
public import MartletWire

/// What a peer has said of itself by identify.
public struct PeerInfo: Hashable, Sendable {
    /// The family of protocols that its network uses.
    public var protocolVersion = ""
    /// The program that it runs.
    public var agentVersion = ""
    /// Where it says it listens: what it has signed, where it has signed anything.
    public var listenAddresses: [Multiaddr] = []
    /// Where it sees this node.
    public var observedAddress: Multiaddr?
    /// The protocols that it speaks.
    public var protocols: [String] = []
    /// The signed record of its addresses, to be passed on.
    public var record: SignedPeerRecord?

    /// Nothing said yet.
    public init() {}
}

/// What was wrong with a message of identify.
public enum IdentifyError: Error, Hashable, Sendable {
    /// It is not the protobuf message that it should be, or goes beyond a bound.
    case malformed(WireError)
    /// The key in it is not that of the peer on the connection.
    case otherKey
    /// The peer record in it is not the peer's.
    case record(PeerRecordError)
    /// The peer record in it is of somebody else.
    case otherRecord
}

/// A message of `/ipfs/id/1.0.0` and `/ipfs/id/push/1.0.0`: a machine that writes and reads it. Reading changes only the
/// fields that are there, as a push wants it.
enum IdentifyMessage {
    /// The most bytes of all messages of an answer together.
    static let maximumSize = 64 << 10
    /// The most messages that an answer may come in: the Go implementation sends the signed record apart.
    static let maximumMessages = 10
    static let maximumAddresses = 128
    static let maximumProtocols = 1024
    static let maximumNameSize = 256

    /// What a node says of itself to one peer.
    static func write(_ info: PeerInfo, key: PublicKey) -> Bytes {
        var writer = Writer(capacity: 512)
        writer.field(1, bytes: key.protobuf)
        for address in info.listenAddresses { writer.field(2, bytes: address.bytes) }
        for name in info.protocols { writer.field(3, string: name) }
        if let observed = info.observedAddress { writer.field(4, bytes: observed.bytes) }
        writer.field(5, string: info.protocolVersion)
        writer.field(6, string: info.agentVersion)
        if let record = info.record { writer.field(8, bytes: record.envelope.bytes) }
        return writer.finish()
    }

    /// Changes `info` by what all of `bytes`, from `peer`, says. Nothing is changed where it throws.
    ///
    /// A record that is known already, or that is older than the one known, is not opened by `open`, which checks its
    /// signature. Of two that differ and bear the same number, the later one counts: rust-libp2p numbers its records by the
    /// second. If `open` returns `nil`, the message is read as if it had no record.
    static func read(
        _ bytes: Bytes, from peer: PeerID, into info: inout PeerInfo,
        opening open: (Bytes) throws(IdentifyError) -> SignedPeerRecord? = IdentifyMessage.open
    ) throws(IdentifyError) {
        let fields: Fields
        do throws(WireError) {
            fields = try Fields(bytes)
        } catch {
            throw .malformed(error)
        }
        if let key = fields.publicKey {
            guard let key = try? PublicKey(protobuf: key), PeerID(key) == peer else { throw .otherKey }
        }
        var changed = info
        if let text = fields.protocolVersion { changed.protocolVersion = text }
        if let text = fields.agentVersion { changed.agentVersion = text }
        if !fields.protocols.isEmpty { changed.protocols = fields.protocols }
        if let address = fields.observed { changed.observedAddress = address }
        if !fields.addresses.isEmpty { changed.listenAddresses = fields.addresses }
        if let envelope = fields.record, envelope != changed.record?.envelope.bytes {
            let claim = try claim(of: envelope)
            guard claim.peerID == peer else { throw .otherRecord }
            // To check a signature is dear, and a record that changes nothing is not worth it.
            if claim.sequence >= changed.record?.record.sequence ?? 0, let record = try open(envelope) {
                changed.record = record
            }
        }
        if let record = changed.record { changed.listenAddresses = record.record.addresses.map { $0.compacted() } }
        info = changed
    }

    /// What the record in `envelope` says, whoever may have signed it.
    private static func claim(of envelope: Bytes) throws(IdentifyError) -> PeerRecord {
        guard envelope.count <= SignedEnvelope.defaultMaximumSize else {
            throw .record(.envelope(.malformed(WireError(.tooLarge, at: 0))))
        }
        var payload = Bytes()
        do throws(WireError) {
            var reader = ProtobufReader(envelope.span)
            while let field = try reader.next() {
                if field.number == 3 { payload = envelope.slice(try reader.range()) }
            }
        } catch {
            throw .record(.envelope(.malformed(error)))
        }
        do throws(PeerRecordError) {
            return try PeerRecord(payload)
        } catch {
            throw .record(error)
        }
    }

    static func open(_ envelope: Bytes) throws(IdentifyError) -> SignedPeerRecord {
        do throws(PeerRecordError) {
            return try SignedPeerRecord(opening: envelope)
        } catch {
            // The Rust implementation signs for another purpose.
            guard error == .envelope(.otherPayloadType) else { throw .record(error) }
        }
        do throws(PeerRecordError) {
            return try SignedPeerRecord(opening: envelope, for: .routingState)
        } catch {
            throw .record(error)
        }
    }

    /// The fields of a message. Addresses that are malformed or of kinds unknown here are left out.
    private struct Fields {
        var publicKey: Bytes?
        var addresses: [Multiaddr] = []
        var protocols: [String] = []
        var observed: Multiaddr?
        var protocolVersion: String?
        var agentVersion: String?
        var record: Bytes?

        init(_ bytes: Bytes) throws(WireError) {
            guard bytes.count <= IdentifyMessage.maximumSize else { throw WireError(.tooLarge, at: 0) }
            var addressCount = 0
            var reader = ProtobufReader(bytes.span)
            while let field = try reader.next() {
                switch field.number {
                case 1: publicKey = bytes.slice(try reader.range())
                case 2:
                    addressCount += 1
                    guard addressCount <= IdentifyMessage.maximumAddresses else { throw reader.error(.tooLarge) }
                    if let address = try? Multiaddr(copying: reader.bytes()) { addresses.append(address) }
                case 3:
                    guard protocols.count < IdentifyMessage.maximumProtocols else { throw reader.error(.tooLarge) }
                    protocols.append(try reader.string(maximum: IdentifyMessage.maximumNameSize))
                case 4: observed = try? Multiaddr(copying: reader.bytes())
                case 5: protocolVersion = try reader.string(maximum: IdentifyMessage.maximumNameSize)
                case 6: agentVersion = try reader.string(maximum: IdentifyMessage.maximumNameSize)
                case 8: record = bytes.slice(try reader.range())
                default: break
                }
            }
        }
    }
}
