public import MartletWire

/// A message of `/martlet/metadata/1.0.0`: a machine that writes it and reads it. `Documentation/Metadata.md` has the
/// schema.
///
/// Each side numbers its own requests, and an answer carries the number of what it answers. Several requests are under
/// way at once, and answers come in any order.
public struct MetadataMessage: Hashable, Sendable {
    /// What it says.
    public enum Body: Hashable, Sendable {
        /// The first request on a stream: a proof for each of the opener's topics, filled up with noise.
        case hello([Bytes])
        /// The answer to it: which of the proofs the answerer could check, and its own proof for each of those topics.
        case welcome([Shared])
        /// A signed record: new, or changed.
        case push(Bytes)
        /// The answer to a push: the sequence number of the record that is kept now.
        case taken(UInt64)
        /// What the asker knows of one stretch of the peers, to be told what is missing there.
        case summary(MetadataSummary)
        /// The answer to it: signed records.
        case records([Bytes])
        /// What the asker knows of one stretch of the peers in short, to be told whether it is the same there.
        case digest(MetadataDigest)
        /// The answer to it.
        case same(Bool)
        /// The answer to what was not done, and why.
        case refused(MetadataRefusal)
    }

    /// One topic that both ends know.
    public struct Shared: Hashable, Sendable {
        /// The place of the opener's proof in its hello.
        public var place: UInt32
        /// The answerer's own proof.
        public var proof: Bytes

        /// A shared topic with its parts.
        public init(place: UInt32, proof: Bytes) {
            self.place = place
            self.proof = proof
        }
    }

    /// The number of the request.
    public var id: UInt64
    /// What it says.
    public var body: Body

    /// A message with its parts.
    public init(id: UInt64, _ body: Body) {
        self.id = id
        self.body = body
    }

    /// The most bytes that a message may have.
    public static let maximumSize = 64 << 10
    /// The most records in one answer.
    static let maximumRecords = 64

    /// Whether it answers a request of the other side.
    public var isAnswer: Bool {
        switch body {
        case .hello, .push, .summary, .digest: false
        case .welcome, .taken, .records, .same, .refused: true
        }
    }

    /// The message as it is sent, without its length.
    public var encoded: Bytes {
        var writer = Writer(capacity: 256)
        writer.field(1, uint64: id)
        switch body {
        case .hello(let proofs):
            writer.field(2) { for proof in proofs { $0.field(1, bytes: proof) } }
        case .welcome(let shared):
            writer.field(3) {
                for one in shared {
                    $0.field(1) {
                        $0.field(1, uint32: one.place)
                        $0.field(2, bytes: one.proof)
                    }
                }
            }
        case .push(let record): writer.field(4, bytes: record)
        case .taken(let sequence): writer.field(5, uint64: sequence)
        case .summary(let summary): writer.field(6) { summary.write(to: &$0) }
        case .records(let records):
            writer.field(7) { for record in records { $0.field(1, bytes: record) } }
        case .refused(let refusal): writer.field(8, uint64: refusal.rawValue)
        case .digest(let digest): writer.field(9) { digest.write(to: &$0) }
        case .same(let isSame): writer.field(10, bool: isSame)
        }
        return writer.finish()
    }

    /// The message that all of `bytes` is; records and proofs are slices of them.
    public init(_ bytes: Bytes) throws(WireError) {
        guard bytes.count <= Self.maximumSize else { throw WireError(.tooLarge, at: 0) }
        var id: UInt64 = 0
        var body: Body?
        var reader = ProtobufReader(bytes.span)
        while let field = try reader.next() {
            switch field.number {
            case 1: id = try reader.uint64()
            case 2:
                body = .hello(
                    try Self.list(reader.message(), of: bytes, each: TopicKey.markSize, atMost: MetadataLimits.topics))
            case 3: body = .welcome(try Self.shared(reader.message(), of: bytes))
            case 4: body = .push(bytes.slice(try reader.range(maximum: MetadataLimits.size)))
            case 5: body = .taken(try reader.uint64())
            case 6: body = .summary(try MetadataSummary(reader.message()))
            case 7:
                body = .records(
                    try Self.list(reader.message(), of: bytes, each: MetadataLimits.size, atMost: Self.maximumRecords))
            case 8: body = .refused(MetadataRefusal(rawValue: try reader.uint64()) ?? .other)
            case 9: body = .digest(try MetadataDigest(reader.message()))
            case 10: body = .same(try reader.bool())
            default: break
            }
        }
        guard let body else { throw WireError(.missing, at: bytes.count) }
        self.id = id
        self.body = body
    }

    private static func list(
        _ message: consuming ProtobufReader, of bytes: Bytes, each size: Int, atMost count: Int
    ) throws(WireError) -> [Bytes] {
        var list: [Bytes] = []
        var reader = message
        while let field = try reader.next() {
            guard field.number == 1 else { continue }
            guard list.count < count else { throw reader.error(.tooLarge) }
            list.append(bytes.slice(try reader.range(maximum: size)))
        }
        return list
    }

    private static func shared(
        _ message: consuming ProtobufReader, of bytes: Bytes
    ) throws(WireError) -> [Shared] {
        var list: [Shared] = []
        var reader = message
        while let field = try reader.next() {
            guard field.number == 1 else { continue }
            guard list.count < MetadataLimits.topics else { throw reader.error(.tooLarge) }
            var one = Shared(place: 0, proof: Bytes())
            var inner = try reader.message()
            while let field = try inner.next() {
                switch field.number {
                case 1: one.place = try inner.uint32()
                case 2: one.proof = bytes.slice(try inner.range(maximum: TopicKey.markSize))
                default: break
                }
            }
            list.append(one)
        }
        return list
    }
}

/// Why a request was not done, or a record not taken. The numbers are on the wire and in the counters' labels.
public enum MetadataRefusal: UInt64, Error, Hashable, Sendable, CaseIterable {
    /// For a reason that this version does not know.
    case other = 0
    /// The two share no topic.
    case noCommonTopic = 1
    /// Something was asked before the hello, or a second hello came.
    case outOfTurn = 2
    /// The record is not signed by the peer that it is about, or is no record.
    case invalid = 3
    /// As new a record of that peer is known, or a newer one: this one is old or replayed.
    case notNewer = 4
    /// The record was made too long ago.
    case expired = 5
    /// The record claims to be from the future.
    case fromTheFuture = 6
    /// The record is the receiver's own.
    case own = 7
    /// There is no room for one more peer.
    case full = 8
    /// Too much was asked in too short a time.
    case tooMuch = 9
}
