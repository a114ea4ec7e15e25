import MartletWire

/// A query of ours, as it is to be sent.
enum KRPCQuery {
    case ping
    case findNode(NodeID)
    case getPeers(NodeID)
    case announce(NodeID, port: UInt16, isImplied: Bool, token: Bytes)
    case get(NodeID, newerThan: Int64?)
    case put(MainlineItem, replacing: Int64?, token: Bytes)
    case sample(NodeID)

    private var method: KRPCMethod {
        switch self {
        case .ping: .ping
        case .findNode: .findNode
        case .getPeers: .getPeers
        case .announce: .announcePeer
        case .get: .get
        case .put: .put
        case .sample: .sampleInfohashes
        }
    }

    /// What this client calls itself (BEP 20, BEP 5): two letters and two bytes of version.
    static let version: InlineArray<4, UInt8> = [UInt8(ascii: "M"), UInt8(ascii: "K"), 0, 1]

    /// The datagram. An announcement whose port is implied is of the port that it is seen to come from; `port` stands
    /// beside that for nodes that know nothing of implied ports, and so had better be the same.
    func encoded(transaction: UInt32, id: NodeID, isReadOnly: Bool, wantsBoth: Bool) -> Bytes {
        var writer = BencodeWriter(capacity: 192)
        writer.dictionary { message in
            message.key("a")
            message.dictionary { writeArguments(to: &$0, id: id, wantsBoth: wantsBoth) }
            message.key("q")
            message.string(method.name.description)
            if isReadOnly {
                message.key("ro")
                message.integer(1)
            }
            message.key("t")
            message.transaction(transaction)
            message.key("v")
            message.string(Self.version.span.bytes)
            message.key("y")
            message.string("q")
        }
        return writer.finish()
    }

    private func writeArguments(to arguments: inout BencodeWriter, id: NodeID, wantsBoth: Bool) {
        switch self {
        case .put(_, let expected?, _):
            arguments.key("cas")
            arguments.integer(expected)
        default: break
        }
        arguments.key("id")
        arguments.nodeID(id)
        switch self {
        case .ping: break
        case .findNode(let target), .sample(let target):
            arguments.key("target")
            arguments.nodeID(target)
        case .get(let target, let sequence):
            if let sequence {
                arguments.key("seq")
                arguments.integer(sequence)
            }
            arguments.key("target")
            arguments.nodeID(target)
        case .getPeers(let infohash):
            arguments.key("info_hash")
            arguments.nodeID(infohash)
        case .announce(let infohash, let port, let isImplied, let token):
            arguments.key("implied_port")
            arguments.integer(isImplied ? 1 : 0)
            arguments.key("info_hash")
            arguments.nodeID(infohash)
            arguments.key("port")
            arguments.integer(Int64(port))
            arguments.key("token")
            arguments.string(token)
        case .put(let item, _, let token): item.write(to: &arguments, token: token)
        }
        if wantsBoth, case .findNode = self {
            arguments.key("want")
            arguments.list { list in
                list.string("n4")
                list.string("n6")
            }
        }
    }
}

extension BencodeWriter {
    /// Appends an id as a string.
    mutating func nodeID(_ id: NodeID) {
        id.withBytes { string($0) }
    }

    /// Appends a transaction id of ours.
    mutating func transaction(_ number: UInt32) {
        var bytes = InlineArray<4, UInt8>(repeating: 0)
        for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: number >> (24 - 8 * UInt32(index))) }
        string(bytes.span.bytes)
    }

    /// Appends an address in compact form.
    mutating func compact(_ address: SocketAddress) {
        var bytes = CompactBytes()
        bytes.append(address)
        string(bytes.span)
    }

    /// Appends a list of nodes in compact form, as one string.
    mutating func compact<Nodes: Collection<CompactNode>>(_ nodes: Nodes, _ family: IPAddress.Family) {
        var bytes = CompactBytes()
        for node in nodes where node.address.ip.family == family && bytes.count + 38 <= CompactBytes.capacity {
            bytes.append(node.id)
            bytes.append(node.address)
        }
        string(bytes.span)
    }
}

/// Room for the nodes of one answer, on the stack.
struct CompactBytes {
    static let capacity = 16 * 38
    private var storage = InlineArray<608, UInt8>(repeating: 0)
    private(set) var count = 0

    var span: RawSpan {
        @_lifetime(borrow self)
        get { storage.span.bytes.extracting(first: count) }
    }

    mutating func append(_ id: NodeID) {
        append(id.high)
        append(id.middle)
        append(id.low)
    }

    mutating func append(_ address: SocketAddress) {
        if address.ip.isV4 {
            append(UInt32(truncatingIfNeeded: address.ip.number))
        } else {
            append(UInt64(truncatingIfNeeded: address.ip.number >> 64))
            append(UInt64(truncatingIfNeeded: address.ip.number))
        }
        append(address.port)
    }

    private mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        for shift in stride(from: Number.bitWidth - 8, through: 0, by: -8) {
            storage[count] = UInt8(truncatingIfNeeded: number >> Number(shift))
            count += 1
        }
    }
}
