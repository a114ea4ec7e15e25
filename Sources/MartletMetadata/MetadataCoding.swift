internal import MartletIdentity
internal import MartletRuntime
public import MartletWire

// The protobuf message of `NodeMetadata`: a machine that writes it and reads it within `MetadataLimits`.
extension NodeMetadata {
    /// The record as it is signed. What goes beyond a limit is cut off there.
    public var encoded: Bytes {
        var writer = Writer(capacity: 512)
        writer.field(1, bytes: peer.span)
        writer.field(2, uint64: sequence)
        writer.field(3, uint64: UInt64(clamping: time.nanoseconds / 1_000_000))
        if !name.isEmpty { writer.field(4, string: name.cut(to: MetadataLimits.nameSize)) }
        if !version.isEmpty { writer.field(5, string: version.cut(to: MetadataLimits.versionSize)) }
        for mark in topicMarks.prefix(MetadataLimits.topics) { writer.field(6, bytes: mark) }
        for address in listenAddresses.prefix(MetadataLimits.addresses) { writer.field(7, bytes: address.bytes) }
        for address in observedAddresses.prefix(MetadataLimits.addresses) { writer.field(8, bytes: address.bytes) }
        for address in privateAddresses.prefix(MetadataLimits.addresses) { writer.field(9, bytes: address.bytes) }
        if type != .unknown { writer.field(10, enumeration: type) }
        if nat != .unknown { writer.field(11, enumeration: nat) }
        for name in capabilities.prefix(MetadataLimits.capabilities) {
            writer.field(12, string: name.cut(to: MetadataLimits.capabilitySize))
        }
        for service in services.prefix(MetadataLimits.services) {
            writer.field(13) { service.write(to: &$0) }
        }
        if load != Load() { writer.field(14) { load.write(to: &$0) } }
        if uptime != 0 { writer.field(15, uint64: uptime) }
        writer.bytes(unknownFields)
        return writer.finish()
    }

    /// The record that all of `bytes` is.
    ///
    /// An address that is malformed or has a protocol unknown here is left out, and an enumeration's unknown value is
    /// `unknown`: both may come from a later version.
    public init(_ bytes: Bytes) throws(WireError) {
        var record = NodeMetadata(peer: try Self.peer(in: bytes), sequence: 0, time: WallTime(nanoseconds: 0))
        var unknown = Writer()
        var reader = ProtobufReader(bytes.span)
        while let field = try reader.next() {
            switch field.number {
            case 1: break
            case 7: try record.listenAddresses.append(reader, of: bytes)
            case 8: try record.observedAddresses.append(reader, of: bytes)
            case 9: try record.privateAddresses.append(reader, of: bytes)
            case 2...6, 10...15: try record.take(field.number, reader, of: bytes)
            default:
                guard unknown.count + reader.rawField.byteCount <= MetadataLimits.unknownSize else {
                    throw reader.error(.tooLarge)
                }
                unknown.bytes(reader.rawField)
            }
        }
        record.unknownFields = unknown.finish()
        self = record
    }

    private static func peer(in bytes: Bytes) throws(WireError) -> PeerID {
        var peer: PeerID?
        var reader = ProtobufReader(bytes.span)
        while let field = try reader.next() {
            if field.number == 1 { peer = try PeerID(bytes: reader.bytes()) }
        }
        guard let peer else { throw WireError(.missing, at: bytes.count) }
        return peer
    }

    private mutating func take(_ number: Int, _ reader: ProtobufReader, of bytes: Bytes) throws(WireError) {
        switch number {
        case 2: sequence = try reader.uint64()
        case 3:
            let milliseconds = try reader.uint64()
            guard milliseconds <= UInt64(Int64.max / 1_000_000) else { throw reader.error(.tooLarge) }
            time = WallTime(nanoseconds: Int64(milliseconds) * 1_000_000)
        case 4: name = try reader.string(maximum: MetadataLimits.nameSize)
        case 5: version = try reader.string(maximum: MetadataLimits.versionSize)
        case 6:
            guard topicMarks.count < MetadataLimits.topics else { throw reader.error(.tooLarge) }
            topicMarks.append(bytes.slice(try reader.range(maximum: TopicKey.markSize)))
        case 10: type = try reader.enumeration() ?? .unknown
        case 11: nat = try reader.enumeration() ?? .unknown
        case 12:
            guard capabilities.count < MetadataLimits.capabilities else { throw reader.error(.tooLarge) }
            capabilities.append(try reader.string(maximum: MetadataLimits.capabilitySize))
        case 13:
            guard services.count < MetadataLimits.services else { throw reader.error(.tooLarge) }
            services.append(try Service(reader.message()))
        case 14: load = try Load(reader.message())
        default: uptime = try reader.uint64()
        }
    }
}

extension NodeMetadata.Service {
    fileprivate func write(to writer: inout Writer) {
        writer.field(1, string: name.cut(to: MetadataLimits.nameSize))
        if port != 0 { writer.field(2, uint32: UInt32(port)) }
        if !description.isEmpty { writer.field(3, string: description.cut(to: MetadataLimits.descriptionSize)) }
    }

    fileprivate init(_ message: consuming ProtobufReader) throws(WireError) {
        self.init(name: "")
        var reader = message
        while let field = try reader.next() {
            switch field.number {
            case 1: name = try reader.string(maximum: MetadataLimits.nameSize)
            case 2:
                guard let number = UInt16(exactly: try reader.uint64()) else { throw reader.error(.tooLarge) }
                port = number
            case 3: description = try reader.string(maximum: MetadataLimits.descriptionSize)
            default: break
            }
        }
    }
}

extension NodeMetadata.Load {
    fileprivate func write(to writer: inout Writer) {
        writer.field(1, uint32: processor)
        writer.field(2, uint32: memory)
        writer.field(3, uint32: connections)
    }

    fileprivate init(_ message: consuming ProtobufReader) throws(WireError) {
        self.init()
        var reader = message
        while let field = try reader.next() {
            switch field.number {
            case 1: processor = try reader.uint32()
            case 2: memory = try reader.uint32()
            case 3: connections = try reader.uint32()
            default: break
            }
        }
    }
}

extension [Multiaddr] {
    /// Appends the address that `reader` stands at, unless it makes no sense here.
    fileprivate mutating func append(_ reader: ProtobufReader, of bytes: Bytes) throws(WireError) {
        guard count < MetadataLimits.addresses else { throw reader.error(.tooLarge) }
        let text = bytes.slice(try reader.range())
        if let address = try? Multiaddr(text) { append(address) }
    }
}

extension String {
    /// The characters from the beginning that fit into `size` bytes.
    func cut(to size: Int) -> String {
        guard utf8.count > size else { return self }
        var text = ""
        var left = size
        for character in self {
            left -= character.utf8.count
            if left < 0 { break }
            text.append(character)
        }
        return text
    }
}
