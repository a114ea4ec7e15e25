import MartletRouting
public import MartletRuntime
public import MartletWire

/// What a node keeps over a restart, so that it joins again without bootstrap nodes: its ids and the nodes that it
/// knows, as bencode. The part of a node that is a machine for writing and reading that.
extension MainlineNode {
    private static let keys: [(id: String, nodes: String)] = [("id4", "nodes4"), ("id6", "nodes6")]

    /// Whether there is a node to keep. If there is none, what was kept before is better than nothing.
    public var hasNodesToSave: Bool {
        sides.contains { side in side.map { $0.table.count > 0 || !$0.saved.isEmpty } ?? false }
    }

    /// What is to be kept.
    public func saved(at now: Instant) -> Bytes {
        var writer = BencodeWriter(capacity: 4096)
        writer.dictionary { state in
            for (place, side) in sides.enumerated() {
                guard let side else { continue }
                state.key(Self.keys[place].id)
                state.nodeID(side.table.own)
            }
            for (place, side) in sides.enumerated() {
                guard let side else { continue }
                state.key(Self.keys[place].nodes)
                var bytes = Writer(capacity: 2048)
                // Those that have failed stand behind the others, but stand: during an outage all have.
                let nodes = side.table.nodes
                var known = (nodes.filter { $0.failures == 0 } + nodes.filter { $0.failures > 0 }).map {
                    CompactNode(id: $0.key, address: $0.contact)
                }
                // What could not be tried is not lost.
                if known.isEmpty { known = side.saved }
                for node in known.prefix(configuration.limits.savedNodes) {
                    bytes.nodeID(node.id)
                    bytes.compact(node.address)
                }
                state.string(bytes.span)
            }
        }
        return writer.finish()
    }

    /// Takes up what was kept. To be called before joining. Throws what `BencodeReader` throws; what could be read until
    /// then is taken up.
    public mutating func restore(_ saved: Bytes, at now: Instant) throws(WireError) {
        var reader = try BencodeReader(saved.span, keyOrder: .any)
        try reader.beginDictionary()
        while let key = try reader.nextKey() {
            switch key {
            case "id4": try restoreID(&reader, 0, at: now)
            case "id6": try restoreID(&reader, 1, at: now)
            case "nodes4": restoreNodes(try reader.string(), .v4)
            case "nodes6": restoreNodes(try reader.string(), .v6)
            default: break
            }
        }
        try reader.expectEnd()
    }

    private mutating func restoreID(_ reader: inout BencodeReader, _ place: Int, at now: Instant) throws(WireError) {
        let id = try NodeID(bytes: reader.string(maximum: NodeID.size))
        guard let table = sides[place]?.table, table.count == 0 else { return }
        sides[place]?.table = table.moved(to: id, at: now)
    }

    private mutating func restoreNodes(_ list: RawSpan, _ family: IPAddress.Family) {
        var nodes: [CompactNode] = []
        CompactNode.forEach(in: list, family, maximum: configuration.limits.savedNodes) { nodes.append($0) }
        var fit: [CompactNode] = []
        for node in nodes where accepts(node.address) { fit.append(node) }
        sides[Int(family.rawValue)]?.saved = fit
    }
}
