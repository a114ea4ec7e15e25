import MartletWire

/// The queries of the DHT, in the order of `MainlineQueryKind`.
enum KRPCMethod: Int, CaseIterable, Sendable {
    case ping, findNode, getPeers, announcePeer, get, put, sampleInfohashes

    /// The method's name as it is sent.
    var name: StaticString {
        switch self {
        case .ping: "ping"
        case .findNode: "find_node"
        case .getPeers: "get_peers"
        case .announcePeer: "announce_peer"
        case .get: "get"
        case .put: "put"
        case .sampleInfohashes: "sample_infohashes"
        }
    }
}

/// A datagram of the DHT, taken apart (BEP 5, 32, 42, 43, 44, 51): a plain value that tells where in the datagram
/// everything stands, so that reading one allocates nothing.
///
/// It takes what is met in the wild: keys in any order and of any name, values of unexpected kinds where nothing depends
/// on them, bytes behind the end. What it insists on is bencode, and a transaction id of sane length.
struct KRPCMessage {
    /// A string or value of the datagram: where its bytes stand.
    struct Field {
        fileprivate(set) var start: UInt16 = 0
        fileprivate(set) var count: UInt16 = 0
        fileprivate(set) var isThere = false

        /// The bytes, out of the datagram that the message was read from.
        @_lifetime(copy datagram)
        func span(in datagram: RawSpan) -> RawSpan { datagram.extracting(Int(start)..<Int(start) + Int(count)) }

        /// A copy of the bytes, if there are any.
        func bytes(in datagram: RawSpan) -> Bytes? { isThere ? Bytes(copying: span(in: datagram)) : nil }
    }

    enum Kind {
        case query, answer, error
    }

    /// The longest transaction id that is sent back.
    static let longestTransaction = 32

    private(set) var kind = Kind.query
    /// What the sender knows its query by.
    private(set) var transaction = Field()
    /// The query's method; `nil` for an unknown one.
    private(set) var method: KRPCMethod?
    /// Whether the sender does not answer queries (BEP 43).
    private(set) var isReadOnly = false
    /// What the sender calls itself.
    private(set) var version = Field()
    /// Our own address as the sender sees it (BEP 42).
    private(set) var outsideAddress: SocketAddress?
    /// The sender's id.
    private(set) var id: NodeID?
    /// What the query is about: `target` or `info_hash`.
    private(set) var target: NodeID?
    private(set) var port: Int64?
    private(set) var impliesPort = false
    private(set) var wantsV4 = false
    private(set) var wantsV6 = false
    private(set) var token = Field()
    /// The value of an item as it is encoded.
    private(set) var value = Field()
    private(set) var key = Field()
    private(set) var signature = Field()
    private(set) var salt = Field()
    private(set) var sequence: Int64?
    /// The sequence number that a put is to replace.
    private(set) var expectedSequence: Int64?
    private(set) var nodes = Field()
    private(set) var nodes6 = Field()
    /// The list of peers as it is encoded.
    private(set) var values = Field()
    private(set) var samples = Field()
    private(set) var interval: Int64?
    private(set) var number: Int64?
    private(set) var errorCode: Int64?

    /// Takes `datagram` apart.
    init(_ datagram: RawSpan, maximumSize: Int = 4096) throws(WireError) {
        var reader = try BencodeReader(datagram, keyOrder: .any, maximumSize: min(maximumSize, Int(UInt16.max)))
        var said: UInt8?
        var parts: (query: Bool, answer: Bool, error: Bool) = (false, false, false)
        try reader.beginDictionary()
        while let name = try reader.nextKey() {
            switch name {
            case "a": parts.query = try readArguments(&reader, datagram)
            case "r": parts.answer = try readArguments(&reader, datagram)
            case "e": parts.error = try readError(&reader)
            case "q":
                let field = try Self.string(&reader)
                method = field.isThere ? Self.method(field.span(in: datagram)) : nil
                parts.query = true
            case "t": transaction = try Self.string(&reader)
            case "y":
                let field = try Self.string(&reader)
                said = field.count == 1 ? field.span(in: datagram)[0] : nil
            case "v": version = try Self.string(&reader)
            case "ip":
                let field = try Self.string(&reader)
                if field.isThere { outsideAddress = try? SocketAddress(compact: field.span(in: datagram)) }
            case "ro": isReadOnly = try Self.integer(&reader) == 1
            default: break
            }
        }
        // Some leave out what follows from the rest.
        switch said {
        case UInt8(ascii: "q"): kind = .query
        case UInt8(ascii: "r"): kind = .answer
        case UInt8(ascii: "e"): kind = .error
        case nil where parts.query: kind = .query
        case nil where parts.answer: kind = .answer
        case nil where parts.error: kind = .error
        default: throw WireError(.missing, at: 0)
        }
        guard transaction.isThere, Int(transaction.count) <= Self.longestTransaction else {
            throw WireError(transaction.isThere ? .tooLarge : .missing, at: Int(transaction.start))
        }
    }

    /// Reads the arguments of a query or the values of an answer. Says whether they are a dictionary.
    private mutating func readArguments(_ reader: inout BencodeReader, _ datagram: RawSpan) throws(WireError) -> Bool {
        guard try reader.kind() == .dictionary else { return false }
        try reader.beginDictionary()
        while let name = try reader.nextKey() {
            switch name {
            case "id": id = try Self.nodeID(&reader, datagram)
            case "target", "info_hash": target = try Self.nodeID(&reader, datagram)
            case "token": token = try Self.string(&reader)
            case "nodes": nodes = try Self.string(&reader)
            case "nodes6": nodes6 = try Self.string(&reader)
            case "values": values = try Self.raw(&reader, .list)
            case "port": port = try Self.integer(&reader)
            case "implied_port": impliesPort = try (Self.integer(&reader) ?? 0) != 0
            case "want": try readWant(&reader, datagram)
            case "v": value = try Self.raw(&reader, nil)
            case "k": key = try Self.string(&reader)
            case "sig": signature = try Self.string(&reader)
            case "salt": salt = try Self.string(&reader)
            case "seq": sequence = try Self.integer(&reader)
            case "cas": expectedSequence = try Self.integer(&reader)
            case "samples": samples = try Self.string(&reader)
            case "interval": interval = try Self.integer(&reader)
            case "num": number = try Self.integer(&reader)
            default: break
            }
        }
        return true
    }

    private mutating func readWant(_ reader: inout BencodeReader, _ datagram: RawSpan) throws(WireError) {
        guard try reader.kind() == .list else { return }
        try reader.beginList()
        while try reader.nextElement() {
            let family = try Self.string(&reader)
            guard family.count == 2 else { continue }
            let text = family.span(in: datagram)
            if text[0] == UInt8(ascii: "n"), text[1] == UInt8(ascii: "4") { wantsV4 = true }
            if text[0] == UInt8(ascii: "n"), text[1] == UInt8(ascii: "6") { wantsV6 = true }
        }
    }

    private mutating func readError(_ reader: inout BencodeReader) throws(WireError) -> Bool {
        errorCode = 201
        guard try reader.kind() == .list else { return true }
        try reader.beginList()
        var isFirst = true
        while try reader.nextElement() {
            if isFirst, let code = try Self.integer(&reader) { errorCode = code }
            isFirst = false
        }
        return true
    }

    // MARK: Values of the kind that is expected, and nothing for others

    private static func string(_ reader: inout BencodeReader) throws(WireError) -> Field {
        guard try reader.kind() == .string else { return Field() }
        let count = try reader.string().byteCount
        return Field(start: UInt16(reader.position - count), count: UInt16(count), isThere: true)
    }

    private static func raw(_ reader: inout BencodeReader, _ kind: BencodeReader.Kind?) throws(WireError) -> Field {
        if let kind { guard try reader.kind() == kind else { return Field() } }
        let count = try reader.raw().byteCount
        return Field(start: UInt16(reader.position - count), count: UInt16(count), isThere: true)
    }

    private static func integer(_ reader: inout BencodeReader) throws(WireError) -> Int64? {
        guard try reader.kind() == .integer else { return nil }
        return try reader.integer()
    }

    private static func nodeID(_ reader: inout BencodeReader, _ datagram: RawSpan) throws(WireError) -> NodeID? {
        let field = try string(&reader)
        guard Int(field.count) == NodeID.size else { return nil }
        return try NodeID(bytes: field.span(in: datagram))
    }

    private static func method(_ name: RawSpan) -> KRPCMethod? {
        KRPCMethod.allCases.first { method in
            let text = method.name
            guard text.utf8CodeUnitCount == name.byteCount else { return false }
            return name.withUnsafeBytes { bytes in
                UnsafeBufferPointer(start: text.utf8Start, count: bytes.count).elementsEqual(bytes)
            }
        }
    }
}
