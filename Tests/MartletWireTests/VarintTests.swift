import MartletWire
import Testing

@Suite("Varint")
struct VarintTests {
    /// The numbers at which a varint takes another byte, with their neighbours.
    private static let edges: [UInt64] =
        [0, 1]
        + (1...9).flatMap { size -> [UInt64] in
            let edge = UInt64(1) << UInt64(7 * size)
            return [edge - 1, edge, edge + 1].filter { $0 <= Varint.maximum }
        }

    private static func encoded(_ value: UInt64) -> Bytes {
        var writer = Writer()
        writer.varint(value)
        return writer.finish()
    }

    private static func read(_ bytes: Bytes) throws(WireError) -> UInt64 {
        var reader = Reader(bytes.span)
        return try reader.varint()
    }

    private static func protobuf(_ bytes: Bytes) throws(WireError) -> UInt64 {
        var reader = Reader(bytes.span)
        return try reader.protobufVarint()
    }

    @Test(
        "a number and its varint are the same both ways",
        arguments: [
            (0, [0x00]), (1, [0x01]), (127, [0x7F]), (128, [0x80, 0x01]), (255, [0xFF, 0x01]),
            (300, [0xAC, 0x02]), (16384, [0x80, 0x80, 0x01]),
            (Varint.maximum, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
        ] as [(UInt64, [UInt8])])
    func vectors(value: UInt64, encoded: [UInt8]) throws {
        #expect(Varint.size(value) == encoded.count)
        #expect(Array(Self.encoded(value)) == encoded)
        #expect(try Self.read(Bytes(encoded)) == value)
    }

    @Test("every size is read, and nothing behind it")
    func roundTrip() throws {
        for value in Self.edges {
            let bytes = Self.encoded(value)
            #expect(bytes.count == Varint.size(value))
            var reader = Reader(bytes.span)
            let read = try reader.varint()
            let atEnd = reader.isAtEnd
            #expect(read == value)
            #expect(atEnd)
            let followed = Bytes(Array(bytes) + [0x80, 0xFF])
            var second = Reader(followed.span)
            let again = try second.varint()
            let remaining = second.remaining
            #expect(again == value)
            #expect(remaining == 2)
            #expect(try Self.protobuf(bytes) == value)
        }
    }

    @Test("a varint that is longer than it needs to be is refused, except by protobuf")
    func notMinimal() throws {
        for value in Self.edges where Varint.size(value) < Varint.maximumSize {
            var bytes = Array(Self.encoded(value))
            bytes[bytes.count - 1] |= 0x80
            while bytes.count < Varint.maximumSize {
                let padded = Bytes(bytes + [0x00])
                #expect(throws: WireError(.notMinimal, at: 0)) { _ = try Self.read(padded) }
                #expect(try Self.protobuf(padded) == value)
                bytes.append(0x80)
            }
        }
    }

    @Test("ten bytes are refused, except by protobuf, for which they hold 64 bits")
    func tenBytes() throws {
        let nine = [UInt8](repeating: 0xFF, count: 9)
        #expect(throws: WireError(.tooLarge, at: 0)) { _ = try Self.read(Bytes(nine + [0x01])) }
        #expect(throws: WireError(.tooLarge, at: 0)) { _ = try Self.read(Bytes(nine)) }
        #expect(try Self.protobuf(Bytes(nine + [0x01])) == .max)
        #expect(try Self.protobuf(Self.encoded(.max)) == .max)
        #expect(throws: WireError(.tooLarge, at: 9)) { _ = try Self.protobuf(Bytes(nine + [0x02])) }
        #expect(throws: WireError(.tooLarge, at: 9)) { _ = try Self.protobuf(Bytes(nine + [0x80, 0x00])) }
    }

    @Test("a varint cut at every byte is truncated there")
    func everyTruncation() {
        for value in Self.edges + [.max] {
            let bytes = Self.encoded(value)
            for count in 0..<min(bytes.count, Varint.maximumSize) {
                let cut = bytes.slice(0..<count)
                #expect(throws: WireError(.truncated, at: count)) { _ = try Self.read(cut) }
                #expect(throws: WireError(.truncated, at: count)) { _ = try Self.protobuf(cut) }
            }
        }
    }

    @Test("a length that is lied about or over the bound is an error that moves nothing")
    func lengthPrefixed() throws {
        var writer = Writer()
        writer.lengthPrefixed(Bytes(repeatElement(1, count: 300)).span)
        let bytes = writer.finish()
        for count in 0..<bytes.count {
            let cut = bytes.slice(0..<count)
            var reader = Reader(cut.span)
            var failure: WireError?
            do throws(WireError) { _ = try reader.lengthPrefixed() } catch { failure = error }
            let position = reader.position
            #expect(failure == WireError(.truncated, at: min(count, 2)))
            #expect(position == 0)
        }
        var reader = Reader(bytes.span)
        var failure: WireError?
        do throws(WireError) { _ = try reader.lengthPrefixed(maximum: 299) } catch { failure = error }
        #expect(failure == WireError(.tooLarge, at: 0))
        let count = try reader.lengthPrefixed(maximum: 300).byteCount
        #expect(count == 300)
        let largest = Self.encoded(Varint.maximum)
        var huge = Reader(largest.span)
        do throws(WireError) { _ = try huge.lengthPrefixed() } catch { failure = error }
        #expect(failure == WireError(.truncated, at: 9))
    }
}
