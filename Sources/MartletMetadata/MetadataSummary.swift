internal import MartletCrypto
public import MartletIdentity
internal import MartletWire

/// What one node knows of a stretch of the circle on which all peers stand.
///
/// A peer's place on the circle is drawn by a hash of its id, so that a stretch is a fair sample of all. Whoever is sent
/// a summary answers with what is missing in it; so two nodes that compare stretch after stretch come to know the same,
/// at a cost for each round that does not grow with the number of peers.
public struct MetadataSummary: Hashable, Sendable {
    /// One peer of whom a record is known.
    public struct Entry: Hashable, Sendable {
        /// The peer's place on the circle.
        public var place: UInt64
        /// The number of its newest record.
        public var sequence: UInt64

        /// An entry with its parts.
        public init(place: UInt64, sequence: UInt64) {
            self.place = place
            self.sequence = sequence
        }
    }

    /// The most entries in one summary.
    public static let maximumEntries = 256

    /// The first place of the stretch.
    public var first: UInt64
    /// Its last place. Where it stands before `first`, the stretch goes around through zero.
    public var last: UInt64
    /// Those in it of whom something is known.
    public var entries: [Entry]

    /// A summary with its parts.
    public init(first: UInt64, last: UInt64, entries: [Entry]) {
        self.first = first
        self.last = last
        self.entries = entries
    }

    /// Where `peer` stands on the circle.
    public static func place(of peer: PeerID) -> UInt64 {
        HashAlgorithm.sha256.digest(of: peer.span).leadingNumber
    }

    /// Whether `place` lies in the stretch.
    public func covers(_ place: UInt64) -> Bool {
        place &- first <= last &- first
    }

    /// Adds what is known besides, as numbers by places, as far as it lies in the stretch; the stretch ends where the summary
    /// is full.
    mutating func add(_ numbers: [UInt64: UInt64]) {
        var all = Dictionary(entries.map { ($0.place, $0.sequence) }, uniquingKeysWith: max)
        for (place, sequence) in numbers where covers(place) { all[place] = max(all[place] ?? 0, sequence) }
        let first = first
        entries = all.map { Entry(place: $0.key, sequence: $0.value) }.sorted { $0.place &- first < $1.place &- first }
        guard entries.count > Self.maximumEntries else { return }
        last = entries[Self.maximumEntries].place &- 1
        entries.removeSubrange(Self.maximumEntries...)
    }

    func write(to writer: inout Writer) {
        writer.field(1, fixed64: first)
        writer.field(2, fixed64: last)
        for entry in entries {
            writer.field(3) {
                $0.field(1, fixed64: entry.place)
                $0.field(2, uint64: entry.sequence)
            }
        }
    }

    init(_ message: consuming ProtobufReader) throws(WireError) {
        self.init(first: 0, last: .max, entries: [])
        var reader = message
        while let field = try reader.next() {
            switch field.number {
            case 1: first = try reader.fixed64()
            case 2: last = try reader.fixed64()
            case 3:
                guard entries.count < Self.maximumEntries else { throw reader.error(.tooLarge) }
                var entry = Entry(place: 0, sequence: 0)
                var inner = try reader.message()
                while let field = try inner.next() {
                    switch field.number {
                    case 1: entry.place = try inner.fixed64()
                    case 2: entry.sequence = try inner.uint64()
                    default: break
                    }
                }
                entries.append(entry)
            default: break
            }
        }
    }
}
