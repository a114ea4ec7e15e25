import MartletIdentity
@testable import MartletMetadata
import MartletRuntime
import MartletWire

/// The signed records of which a play tells, made once and for all since a signature is dear.
///
/// It is `@unchecked Sendable` because libFuzzer runs one input at a time, on one thread.
final class PlayedRecords: @unchecked Sendable {
    /// What is wrong with a record, or is not.
    enum Kind: UInt8, CaseIterable {
        case good, goodAndLong, leaves, otherTopic, forged, otherSigner, early, late
    }

    struct Key: Hashable {
        /// Whose it says it is; 0 is the node's own.
        var peer: Int
        var sequence: UInt64
        var kind: Kind
        /// How many minutes after the beginning of the play it was made.
        var minutes: Int
    }

    static let shared = PlayedRecords()
    static let topic = TopicKey("cooks")
    private static let otherTopic = TopicKey("thieves")
    /// The latest of the minutes at which a record is made.
    static let lastMinutes = 21
    /// How many peers there are, the node itself included.
    static let peers = 16

    private var made: [Key: Bytes] = [:]
    /// Those that a book may hold.
    private var valid: Set<Bytes> = []
    private let ids = (0..<PlayedRecords.peers).map { PeerID(PlayedIdentity.of($0).publicKey) }

    func id(_ peer: Int) -> PeerID { ids[peer % Self.peers] }

    /// Whether a record of these bytes was signed by the peer that it is about, for the topic.
    func isValid(_ bytes: Bytes) -> Bool { valid.contains(bytes) }

    func record(_ key: Key) -> Bytes {
        if let bytes = made[key] { return bytes }
        let bytes = make(key)
        made[key] = bytes
        let isOwn = key.peer == 0
        switch key.kind {
        case .good, .goodAndLong, .early, .late: if !isOwn { valid.insert(bytes) }
        default: break
        }
        return bytes
    }

    private func make(_ key: Key) -> Bytes {
        let shift: Duration =
            switch key.kind {
            case .early: .seconds(-3 * 3600)
            case .late: .seconds(3600)
            default: .zero
            }
        let minutes = Int64(key.minutes) * 60_000_000_000
        let time = PlayedEnvironment.beginning.nanoseconds + minutes + shift.nanoseconds
        var record = NodeMetadata(peer: id(key.peer), sequence: key.sequence, time: WallTime(nanoseconds: time))
        // The last of them is not made at any date that a clock could show.
        if key.minutes == Self.lastMinutes, key.kind == .early || key.kind == .late {
            record.time = WallTime(nanoseconds: key.kind == .early ? .min : .max)
        }
        switch key.kind {
        case .leaves: break
        case .otherTopic: record.topicMarks = [Self.otherTopic.mark(of: record.peer)]
        default: record.topicMarks = [Self.topic.mark(of: record.peer)]
        }
        if key.kind == .goodAndLong {
            let text = String(repeating: "x", count: 256)
            record.services = (0..<24).map { .init(name: "\($0)", port: 1, description: text) }
        }
        guard key.kind != .otherSigner else {
            let other = PlayedIdentity.of(key.peer + 1)
            return SignedEnvelope(sealing: record.encoded, for: .metadata, with: other).bytes
        }
        let bytes = SignedMetadata(record, signedWith: PlayedIdentity.of(key.peer)).envelope.bytes
        guard key.kind == .forged else { return bytes }
        // What ends an envelope is its signature.
        var forged = Array(bytes)
        forged[forged.count - 1] ^= 1
        return Bytes(forged)
    }
}
