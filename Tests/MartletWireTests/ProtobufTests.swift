import MartletWire
import Testing

/// A libp2p peer record, as RFC 0003 has it: the shape that must decode with at most two allocations.
private struct PeerRecord: Equatable {
    var peer = Bytes()
    var sequence: UInt64 = 0
    var addresses: [Bytes] = []

    init() {}

    init(_ bytes: Bytes) throws(WireError) {
        var reader = ProtobufReader(bytes.span)
        while let field = try reader.next() {
            switch field.number {
            case 1: peer = bytes.slice(try reader.range(maximum: 64))
            case 2: sequence = try reader.uint64()
            case 3:
                var address = try reader.message()
                while let field = try address.next() {
                    if field.number == 1 { addresses.append(bytes.slice(try address.range())) }
                }
            default: break
            }
        }
    }

    func encoded() -> Bytes {
        var writer = Writer()
        writer.field(1, bytes: peer)
        writer.field(2, uint64: sequence)
        for address in addresses {
            writer.field(3) { $0.field(1, bytes: address) }
        }
        return writer.finish()
    }
}

/// What `read` makes of the first field of `bytes`.
private func first<Value>(
    _ bytes: Bytes, _ read: (borrowing ProtobufReader) throws(WireError) -> Value
) throws(WireError) -> Value? {
    var reader = ProtobufReader(bytes.span)
    guard try reader.next() != nil else { return nil }
    return try read(reader)
}

/// The error that reading all fields of `bytes`, and nothing in them, ends with.
private func failure(_ bytes: Bytes) -> WireError? {
    do throws(WireError) {
        var reader = ProtobufReader(bytes.span)
        while try reader.next() != nil {}
        return nil
    } catch {
        return error
    }
}

@Suite("Protobuf")
struct ProtobufTests {
    private enum Colour: Int32, Equatable { case red, green }

    private static var record: PeerRecord {
        var record = PeerRecord()
        record.peer = Bytes((0..<38).map { UInt8($0) })
        record.sequence = 1_700_000_000
        record.addresses = [[4, 127, 0, 0, 1, 6, 0x1F, 0x90], Bytes(repeatElement(7, count: 300))]
        return record
    }

    @Test("a peer record is the same both ways")
    func peerRecord() throws {
        let bytes = Self.record.encoded()
        #expect(bytes.prefix(2).elementsEqual([0x0A, 38]))
        #expect(try PeerRecord(bytes) == Self.record)
    }

    @Test("the bytes of the encoding guide's examples come out and go in")
    func guide() throws {
        var writer = Writer()
        writer.field(1, uint64: 150)
        writer.field(2, string: "testing")
        writer.field(3) { $0.field(1, int32: 150) }
        writer.field(6, packed: [3, 270, 86942])
        writer.field(7, packed: [])
        let bytes = writer.finish()
        let expected: Bytes = [
            0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6E, 0x67, 0x1A, 0x03, 0x08, 0x96, 0x01,
            0x32, 0x06, 0x03, 0x8E, 0x02, 0x9E, 0xA7, 0x05,
        ]
        #expect(bytes == expected)

        var reader = ProtobufReader(bytes.span)
        var seen: [Int] = []
        while let field = try reader.next() {
            seen.append(field.number)
            switch field.number {
            case 1: #expect(try reader.uint64() == 150)
            case 2: #expect(try reader.string() == "testing")
            case 3:
                var nested = try reader.message()
                let inner = try nested.next()
                #expect(inner?.number == 1)
                #expect(try nested.int32() == 150)
            default:
                var numbers: [UInt64] = []
                try reader.varints { numbers.append($0) }
                #expect(numbers == [3, 270, 86942])
            }
        }
        #expect(seen == [1, 2, 3, 6])
    }

    @Test("signed numbers keep their sign", arguments: [0, 1, -1, 63, -64, Int64(Int32.max), Int64(Int32.min)])
    func signed(value: Int64) throws {
        var writer = Writer()
        writer.field(1, int64: value)
        let plain = writer.finish()
        #expect(try first(plain) { reader throws(WireError) in try reader.int64() } == value)
        #expect(try first(plain) { reader throws(WireError) in try reader.int32() } == Int32(value))
        var zigzag = Writer()
        zigzag.field(1, sint64: value)
        let bytes = zigzag.finish()
        #expect(try first(bytes) { reader throws(WireError) in try reader.sint64() } == value)
        #expect(try first(bytes) { reader throws(WireError) in try reader.sint32() } == Int32(value))
    }

    @Test("zigzag of the extremes")
    func zigzag() throws {
        for value in [Int64.min, Int64.max] {
            var writer = Writer()
            writer.field(1, sint64: value)
            #expect(try first(writer.finish()) { reader throws(WireError) in try reader.sint64() } == value)
        }
    }

    @Test("a number wider than its field is cut off, as protobuf wants it")
    func truncation() throws {
        let bytes: Bytes = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]
        #expect(try first(bytes) { reader throws(WireError) in try reader.uint64() } == .max)
        #expect(try first(bytes) { reader throws(WireError) in try reader.uint32() } == .max)
        #expect(try first(bytes) { reader throws(WireError) in try reader.int32() } == -1)
        #expect(try first(bytes) { reader throws(WireError) in try reader.bool() } == true)
    }

    @Test("varints may be longer than they need, up to ten bytes")
    func longVarints() throws {
        let padded: Bytes = [0x88, 0x00, 0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]
        #expect(try first(padded) { reader throws(WireError) in try reader.uint64() } == 5)
        let eleven: Bytes = [0x08, 0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]
        #expect(failure(eleven)?.reason == .tooLarge)
        let overflow: Bytes = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]
        #expect(failure(overflow) == WireError(.tooLarge, at: 10))
    }

    @Test("fixed-width numbers, alone and packed")
    func fixed() throws {
        var writer = Writer()
        writer.field(1, fixed64: 0x0102_0304_0506_0708)
        writer.field(2, fixed32: 0x0102_0304)
        writer.field(3) {
            $0.littleEndian(UInt64(5)); $0.littleEndian(UInt64(6))
        }
        writer.field(4) {
            $0.littleEndian(UInt32(7)); $0.littleEndian(UInt32(8))
        }
        let bytes = writer.finish()
        var reader = ProtobufReader(bytes.span)
        var long: [UInt64] = []
        var short: [UInt32] = []
        while let field = try reader.next() {
            if field.number % 2 == 1 { try reader.fixed64s { long.append($0) } }
            if field.number % 2 == 0 { try reader.fixed32s { short.append($0) } }
        }
        #expect(long == [0x0102_0304_0506_0708, 5, 6])
        #expect(short == [0x0102_0304, 7, 8])
    }

    @Test("packed numbers that end inside one are refused at the place")
    func packedTruncated() throws {
        let bytes: Bytes = [0x0A, 0x02, 0x01, 0x80]
        #expect(throws: WireError(.truncated, at: 4)) {
            try first(bytes) { reader throws(WireError) in try reader.varints { _ in } }
        }
        #expect(throws: WireError(.truncated, at: 2)) {
            try first(bytes) { reader throws(WireError) in try reader.fixed32s { _ in } }
        }
    }

    @Test("an enumeration's value that the type lacks is nil")
    func enumeration() throws {
        var writer = Writer()
        writer.field(1, enumeration: Colour.green)
        let green = writer.finish()
        #expect(try first(green) { reader throws(WireError) in try reader.enumeration(Colour.self) } == .green)
        for unknown in [2, 127, 128, UInt64(UInt32.max), .max] {
            var writer = Writer()
            writer.field(1, uint64: unknown)
            let bytes = writer.finish()
            let read = try first(bytes) { reader throws(WireError) in try reader.enumeration(Colour.self) }
            #expect(read == .some(nil))
        }
    }

    @Test("the last of a field that comes twice wins")
    func lastWins() throws {
        var writer = Writer(capacity: 8)
        writer.field(2, uint64: 1)
        writer.field(2, uint64: 2)
        #expect(try PeerRecord(writer.finish()).sequence == 2)
    }

    @Test("unknown fields of every wire type are skipped, and their bytes can be kept")
    func unknown() throws {
        var unknown = Writer()
        unknown.field(100, uint64: 300)
        unknown.field(101, fixed64: 1)
        unknown.field(102, fixed32: 1)
        unknown.field(103, string: "later")
        let carried = unknown.finish()
        var writer = Writer()
        writer.field(2, uint64: 5)
        writer.bytes(carried)
        let bytes = writer.finish()
        #expect(try PeerRecord(bytes).sequence == 5)
        var reader = ProtobufReader(bytes.span)
        var kept = Writer()
        while let field = try reader.next() {
            if field.number >= 100 { kept.bytes(reader.rawField) }
        }
        #expect(kept.finish() == carried)
    }

    @Test("field numbers and wire types that do not exist are refused")
    func tags() {
        #expect(failure([0x00, 0x00]) == WireError(.unexpected(0), at: 0))
        #expect(failure([0x07, 0x00]) == WireError(.unexpected(0), at: 0))
        for type in [3, 4, 6, 7] as [UInt8] {
            #expect(failure([0x08, 0x01, 0x08 | type, 0x0C]) == WireError(.unexpected(UInt64(type)), at: 2))
        }
        #expect(failure([0x80, 0x80, 0x80, 0x80, 0x10, 0x00]) == WireError(.tooLarge, at: 0))
        var writer = Writer()
        writer.field(1 << 29 - 1, uint64: 1)
        #expect(failure(writer.finish()) == nil)
    }

    @Test("an accessor for another wire type tells the one that is there")
    func wrongType() {
        let varint: Bytes = [0x08, 0x01]
        #expect(throws: WireError(.unexpected(0), at: 0)) {
            try first(varint) { reader throws(WireError) in _ = try reader.bytes() }
        }
        #expect(throws: WireError(.unexpected(0), at: 0)) {
            try first(varint) { reader throws(WireError) in _ = try reader.fixed32() }
        }
        #expect(throws: WireError(.unexpected(2), at: 0)) {
            try first([0x0A, 0x00]) { reader throws(WireError) in _ = try reader.uint64() }
        }
    }

    @Test("text must be UTF-8 and values no longer than their bound")
    func values() {
        #expect(throws: WireError(.notUTF8, at: 2)) {
            try first([0x0A, 0x02, 0xC3, 0x28]) { reader throws(WireError) in try reader.string() }
        }
        #expect(throws: WireError(.tooLarge, at: 0)) {
            try first([0x0A, 0x02, 0x61, 0x62]) { reader throws(WireError) in try reader.string(maximum: 1) }
        }
    }

    @Test("messages nest to the bound and no deeper")
    func depth() throws {
        func descend(_ reader: inout ProtobufReader, _ level: Int) throws(WireError) -> Int {
            guard try reader.next() != nil else { return level }
            var inner = try reader.message()
            return try descend(&inner, level + 1)
        }
        var bytes = Bytes()
        for _ in 0..<ProtobufReader.defaultDepth {
            var writer = Writer()
            writer.field(1, bytes: bytes)
            bytes = writer.finish()
        }
        var reader = ProtobufReader(bytes.span)
        let reached = try descend(&reader, 0)
        #expect(reached == ProtobufReader.defaultDepth)
        var writer = Writer()
        writer.field(1, bytes: bytes)
        let deeper = writer.finish()
        #expect {
            var reader = ProtobufReader(deeper.span)
            _ = try descend(&reader, 0)
        } throws: {
            ($0 as? WireError)?.reason == .tooDeep
        }
    }

    @Test("a record cut at every byte is an error unless a field ends there, and the offset is inside")
    func everyTruncation() throws {
        let whole = Self.record.encoded()
        var accepted: [Int] = []
        for count in 0..<whole.count {
            do throws(WireError) {
                _ = try PeerRecord(whole.slice(0..<count))
                accepted.append(count)
            } catch {
                #expect(error.reason == .truncated)
                #expect(error.offset <= count)
            }
        }
        #expect(accepted == [0, 40, 46, 46 + 12])
    }

    @Test("every length, lied about, is an error or another message, and never read outside")
    func everyByteChanged() {
        let whole = Array(Self.record.encoded())
        var refused = 0
        for index in whole.indices {
            for value in [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF] as [UInt8] {
                var changed = whole
                changed[index] = value
                do throws(WireError) {
                    _ = try PeerRecord(Bytes(changed))
                } catch {
                    refused += 1
                    #expect(error.offset <= changed.count)
                }
            }
        }
        #expect(refused > 50)
        #expect(failure([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01])?.reason == .truncated)
    }
}
