package import MartletIdentity
package import MartletRuntime
package import MartletWire

/// What a signed record says it is, before its signature is checked: a machine that reads the few fields by which most
/// records are refused. A signature costs a hundred times as much.
package struct MetadataClaim: Sendable {
    /// Whose record it says it is.
    package let peer: PeerID
    /// Its number.
    package let sequence: UInt64
    /// When it says it was made.
    package let time: WallTime
    /// Its marks of topics.
    package let topicMarks: [Bytes]
    /// How many bytes it has, its envelope included.
    package let size: Int

    /// What `record` claims.
    package init(_ record: SignedMetadata) {
        self.init(record.metadata, size: record.envelope.bytes.count)
    }

    private init(_ metadata: NodeMetadata, size: Int) {
        peer = metadata.peer
        sequence = metadata.sequence
        time = metadata.time
        topicMarks = metadata.topicMarks
        self.size = size
    }

    /// What the record in the signed envelope that all of `bytes` is claims. Throws unless that makes sense.
    package init(peekingInto bytes: Bytes) throws(WireError) {
        var payload: Bytes?
        var envelope = ProtobufReader(bytes.span)
        while let field = try envelope.next() {
            if field.number == 3 { payload = bytes.slice(try envelope.range()) }
        }
        guard let payload else { throw WireError(.missing, at: bytes.count) }
        self.init(try NodeMetadata(payload), size: bytes.count)
    }
}
