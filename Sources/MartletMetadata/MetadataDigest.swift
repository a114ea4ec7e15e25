internal import MartletCrypto
internal import MartletWire

/// A ``MetadataSummary`` in 24 bytes: enough to ask whether two nodes know the same of a stretch of the circle, which
/// neighbours mostly do.
public struct MetadataDigest: Hashable, Sendable {
    /// The first place of the stretch.
    public var first: UInt64
    /// Its last place. Where it stands before `first`, the stretch goes around through zero.
    public var last: UInt64
    /// The first eight bytes of the SHA-256 of the entries in their order, each as place and sequence.
    public var hash: UInt64

    /// A digest with its parts.
    public init(first: UInt64, last: UInt64, hash: UInt64) {
        self.first = first
        self.last = last
        self.hash = hash
    }

    /// What `summary` comes to.
    public init(_ summary: MetadataSummary) {
        var writer = Writer(capacity: summary.entries.count * 16)
        for entry in summary.entries {
            writer.integer(entry.place)
            writer.integer(entry.sequence)
        }
        let hash = HashAlgorithm.sha256.digest(of: writer.finish()).leadingNumber
        self.init(first: summary.first, last: summary.last, hash: hash)
    }

    func write(to writer: inout Writer) {
        writer.field(1, fixed64: first)
        writer.field(2, fixed64: last)
        writer.field(3, fixed64: hash)
    }

    init(_ message: consuming ProtobufReader) throws(WireError) {
        self.init(first: 0, last: .max, hash: 0)
        var reader = message
        while let field = try reader.next() {
            switch field.number {
            case 1: first = try reader.fixed64()
            case 2: last = try reader.fixed64()
            case 3: hash = try reader.fixed64()
            default: break
            }
        }
    }
}

extension Digest {
    /// Its first eight bytes, most significant first.
    var leadingNumber: UInt64 { bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }
}
