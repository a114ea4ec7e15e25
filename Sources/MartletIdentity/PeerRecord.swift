public import MartletCrypto
public import MartletWire

/// Where a peer says that it can be reached (RFC 0003 of libp2p).
///
/// The record alone proves nothing: `SignedPeerRecord` is one that the peer has signed.
public struct PeerRecord: Hashable, Sendable {
    /// What a stranger may make a record grow to.
    public struct Limits: Hashable, Sendable {
        /// The most bytes of an envelope with its record.
        public var maximumSize: Int
        /// The most addresses, known or not.
        public var maximumAddresses: Int

        /// Limits, by default 8 KiB and 128 addresses.
        public init(maximumSize: Int = SignedEnvelope.defaultMaximumSize, maximumAddresses: Int = 128) {
            self.maximumSize = maximumSize
            self.maximumAddresses = maximumAddresses
        }
    }

    /// The peer that the record is about.
    public var peerID: PeerID
    /// The number that grows with each record of the peer. It may look like a time and must not be taken for one.
    public var sequence: UInt64
    /// Where the peer can be reached.
    public var addresses: [Multiaddr]

    /// A record with its parts.
    public init(peerID: PeerID, sequence: UInt64, addresses: [Multiaddr]) {
        self.peerID = peerID
        self.sequence = sequence
        self.addresses = addresses
    }

    /// The record that all of `bytes` is; its addresses are slices of them.
    ///
    /// An address that is malformed or has a protocol unknown here is left out, since peers will use protocols that
    /// this code is too old for. Costs one allocation, for the list.
    public init(_ bytes: Bytes, limits: Limits = Limits()) throws(PeerRecordError) {
        do throws(WireError) {
            guard bytes.count <= limits.maximumSize else { throw WireError(.tooLarge, at: 0) }
            let count = try PeerRecord.countAddresses(bytes.span, maximum: limits.maximumAddresses)
            var peerID: PeerID?
            sequence = 0
            addresses = []
            addresses.reserveCapacity(count)
            var reader = ProtobufReader(bytes.span)
            while let field = try reader.next() {
                switch field.number {
                case 1: peerID = try PeerID(bytes: reader.bytes())
                case 2: sequence = try reader.uint64()
                case 3:
                    if let address = try PeerRecord.address(reader.message(), of: bytes) { addresses.append(address) }
                default: break
                }
            }
            guard let peerID else { throw WireError(.missing, at: bytes.count) }
            self.peerID = peerID
        } catch { throw .malformed(error) }
    }

    /// The record as it is signed.
    public var encoded: Bytes {
        var writer = Writer(capacity: addresses.reduce(64) { $0 + $1.bytes.count + 8 })
        writer.field(1, bytes: peerID.span)
        if sequence != 0 { writer.field(2, uint64: sequence) }
        for address in addresses {
            writer.field(3) { $0.field(1, bytes: address.bytes) }
        }
        return writer.finish()
    }

    /// How many addresses there are, so that the list is allocated once and only within the bound.
    private static func countAddresses(_ bytes: RawSpan, maximum: Int) throws(WireError) -> Int {
        var reader = ProtobufReader(bytes)
        var count = 0
        while let field = try reader.next() {
            guard field.number == 3 else { continue }
            count += 1
            if count > maximum { throw reader.error(.tooLarge) }
        }
        return count
    }

    /// The address in an `AddressInfo`, or `nil` where none is there that is known here.
    private static func address(
        _ info: consuming ProtobufReader, of record: Bytes
    ) throws(WireError) -> Multiaddr? {
        var address: Multiaddr?
        while let field = try info.next() {
            if field.number == 1 { address = try? Multiaddr(record.slice(info.range())) }
        }
        return address
    }
}

/// A peer record that the peer itself has signed.
public struct SignedPeerRecord: Hashable, Sendable {
    /// What the peer says.
    public let record: PeerRecord
    /// The envelope around it, to be passed on as it is.
    public let envelope: SignedEnvelope

    /// A record of the peer whose key this is. `sequence` must be higher than in any earlier record of the peer.
    public init(
        addresses: [Multiaddr], sequence: UInt64, signedWith key: PrivateKey,
        for purpose: SignedEnvelope.Purpose = .peerRecord
    ) {
        record = PeerRecord(peerID: PeerID(key.publicKey), sequence: sequence, addresses: addresses)
        envelope = SignedEnvelope(sealing: record.encoded, for: purpose, with: key)
    }

    /// Opens the envelope that all of `bytes` is. Throws unless it holds a record that is about the peer who signed.
    ///
    /// Beside what checking the signature costs, that is one allocation for the list of addresses and at most one for
    /// a copy of `bytes` that pins no more memory than it needs.
    public init(
        opening bytes: Bytes, for purpose: SignedEnvelope.Purpose = .peerRecord,
        limits: PeerRecord.Limits = PeerRecord.Limits()
    ) throws(PeerRecordError) {
        do throws(SignedEnvelopeError) {
            envelope = try SignedEnvelope(opening: bytes, for: purpose, maximumSize: limits.maximumSize)
        } catch { throw .envelope(error) }
        record = try PeerRecord(envelope.payload, limits: limits)
        guard record.peerID == envelope.signer else { throw .otherSigner }
    }

    /// Whether this record takes the place of `other`: the same peer's, with a higher sequence number.
    public func isNewer(than other: SignedPeerRecord) -> Bool {
        record.peerID == other.record.peerID && record.sequence > other.record.sequence
    }
}

extension SignedEnvelope.Purpose {
    /// Peer records, as the Go and JavaScript implementations sign them. The type is the code 0x0301, written as two
    /// bytes and not as a varint.
    public static let peerRecord = SignedEnvelope.Purpose(domain: "libp2p-peer-record", payloadType: [0x03, 0x01])

    /// Peer records as RFC 0003 first had it, which the Rust implementation still makes by default.
    public static let routingState = SignedEnvelope.Purpose(
        domain: "libp2p-routing-state", payloadType: Bytes(utf8: "/libp2p/routing-state-record"))
}

/// Why a peer record was not accepted.
public enum PeerRecordError: Error, Hashable, Sendable {
    /// The envelope around it could not be opened.
    case envelope(SignedEnvelopeError)
    /// What was signed is no peer record, or goes beyond a limit.
    case malformed(WireError)
    /// It was signed by another peer than the one it is about.
    case otherSigner
}

extension PeerRecordError: CustomStringConvertible {
    /// A sentence for a log line.
    public var description: String {
        switch self {
        case .envelope(let error): error.description
        case .malformed(let error): "not a peer record: \(error)"
        case .otherSigner: "a peer record was signed by another peer than the one it is about"
        }
    }
}
