import MartletWire
import Testing

@Suite("Varint")
struct VarintTests {
    @Test(
        "a number and its varint are the same both ways",
        arguments: [
            (0, [0x00]), (1, [0x01]), (127, [0x7F]), (128, [0x80, 0x01]), (255, [0xFF, 0x01]),
            (300, [0xAC, 0x02]), (16384, [0x80, 0x80, 0x01]),
            (Varint.maximum, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
        ] as [(UInt64, [UInt8])])
    func roundTrip(value: UInt64, encoded: [UInt8]) throws {
        var writer = Writer()
        writer.varint(value)
        #expect(Varint.size(value) == encoded.count)
        let bytes = writer.finish()
        #expect(Array(bytes) == encoded)
        var reader = Reader(bytes.span)
        let read = try reader.varint()
        let atEnd = reader.isAtEnd
        #expect(read == value)
        #expect(atEnd)
    }
}
