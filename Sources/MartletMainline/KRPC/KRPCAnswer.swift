import MartletWire

/// An answer of ours, written as it is put together. What it holds beyond the id is set before it is encoded.
struct KRPCAnswer: ~Copyable {
    /// The nodes to tell of, and the families of which lists are to be there.
    var nodes: [CompactNode] = []
    var hasNodes4 = false
    var hasNodes6 = false
    var token: UInt64?
    var peers: [SocketAddress] = []
    var item: MainlineItem?
    /// The item's sequence number alone, where the asker has the value already.
    var sequence: Int64?
    var sample: InfohashSample?

    /// Forgets what it holds, but for the memory.
    mutating func removeAll() {
        nodes.removeAll(keepingCapacity: true)
        peers.removeAll(keepingCapacity: true)
        hasNodes4 = false
        hasNodes6 = false
        token = nil
        item = nil
        sequence = nil
        sample = nil
    }

    /// The datagram, of at most `maximum` bytes: as many of the peers as fit, and no nodes where an item leaves no room.
    func encoded(
        transaction: RawSpan, id: NodeID, to asker: SocketAddress, maximum: Int
    ) -> Bytes {
        var writer = BencodeWriter(capacity: maximum)
        writer.dictionary { message in
            message.key("ip")
            message.compact(asker)
            message.key("r")
            message.dictionary { writeValues(to: &$0, id: id, maximum: maximum - 64 - transaction.byteCount) }
            message.key("t")
            message.string(transaction)
            message.key("v")
            message.string(KRPCQuery.version.span.bytes)
            message.key("y")
            message.string("r")
        }
        return writer.finish()
    }

    private func writeValues(to answer: inout BencodeWriter, id: NodeID, maximum: Int) {
        var left = maximum - 60 - (item?.size ?? 0) - 25 * (sample?.infohashes.count ?? 0)
        answer.key("id")
        answer.nodeID(id)
        if let sample {
            answer.key("interval")
            answer.integer(sample.interval)
        }
        if let item, let author = item.author {
            answer.key("k")
            answer.string(author.key)
        }
        if hasNodes4, writeNodes(to: &answer, "nodes", .v4, left) { left -= nodes.count * CompactNode.size(.v4) + 16 }
        if hasNodes6, writeNodes(to: &answer, "nodes6", .v6, left) { left -= nodes.count * CompactNode.size(.v6) + 16 }
        if let sample { write(sample, to: &answer) }
        if let item, let author = item.author {
            answer.key("seq")
            answer.integer(author.sequence)
            answer.key("sig")
            answer.string(author.signature)
        } else if let sequence {
            answer.key("seq")
            answer.integer(sequence)
        }
        if let token {
            answer.key("token")
            answer.token(token)
        }
        if let item {
            answer.key("v")
            answer.raw(item.value.span)
        }
        if !peers.isEmpty { writePeers(to: &answer, left) }
    }

    private func writeNodes(
        to answer: inout BencodeWriter, _ key: String, _ family: IPAddress.Family, _ left: Int
    ) -> Bool {
        guard nodes.count * CompactNode.size(family) + 16 <= left else { return false }
        answer.key(key)
        answer.compact(nodes, family)
        return true
    }

    private func write(_ sample: InfohashSample, to answer: inout BencodeWriter) {
        answer.key("num")
        answer.integer(Int64(sample.total))
        answer.key("samples")
        var bytes = Writer(capacity: sample.infohashes.count * NodeID.size)
        for infohash in sample.infohashes { bytes.nodeID(infohash) }
        answer.string(bytes.span)
    }

    private func writePeers(to answer: inout BencodeWriter, _ left: Int) {
        answer.key("values")
        answer.list { list in
            var left = left - 16
            for peer in peers {
                let size = peer.ip.isV4 ? 8 : 21
                guard left >= size else { return }
                left -= size
                list.compact(peer)
            }
        }
    }

    /// An error's datagram.
    static func encoded(_ error: KRPCError, transaction: RawSpan, to asker: SocketAddress) -> Bytes {
        var writer = BencodeWriter(capacity: 128)
        writer.dictionary { message in
            message.key("e")
            message.list { list in
                list.integer(error.rawValue)
                list.string(error.text)
            }
            message.key("ip")
            message.compact(asker)
            message.key("t")
            message.string(transaction)
            message.key("v")
            message.string(KRPCQuery.version.span.bytes)
            message.key("y")
            message.string("e")
        }
        return writer.finish()
    }
}

extension BencodeWriter {
    /// Appends a write token of ours.
    mutating func token(_ token: UInt64) {
        var bytes = InlineArray<8, UInt8>(repeating: 0)
        for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: token >> (56 - 8 * UInt64(index))) }
        string(bytes.span.bytes)
    }
}
