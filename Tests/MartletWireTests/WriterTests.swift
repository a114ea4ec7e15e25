import MartletWire
import Testing

@Suite("Writer")
struct WriterTests {
    private struct Refusal: Error, Equatable {}

    @Test("values are appended in order, in both byte orders")
    func values() {
        var writer = Writer()
        writer.byte(1)
        writer.integer(UInt32(0x0203_0405))
        writer.littleEndian(UInt16(0x0706))
        writer.bytes([8, 9] as Bytes)
        writer.utf8("né")
        writer.append(count: 2) { $0.copyBytes(from: [10, 11]) }
        writer.bytes(Bytes())
        writer.utf8("")
        writer.append(count: 0) { _ in }
        #expect(writer.finish() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0x6E, 0xC3, 0xA9, 10, 11])
    }

    @Test("growing keeps what was written", arguments: [0, 1, 63, 64, 65, 1000])
    func growth(capacity: Int) {
        var writer = Writer(capacity: capacity)
        for number in 0..<1000 { writer.integer(UInt16(number)) }
        let expected = (0..<1000).flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
        #expect(Array(writer.finish()) == expected)
    }

    @Test("what was reserved is not allocated again")
    func reserve() {
        var writer = Writer()
        writer.reserve(500)
        let capacity = writer.capacity
        #expect(capacity >= 500)
        writer.append(count: capacity) { $0.initializeMemory(as: UInt8.self, repeating: 1) }
        let after = writer.capacity
        let count = writer.count
        #expect(after == capacity)
        #expect(count == capacity)
    }

    @Test("an empty writer has nothing to read or change, and hands over nothing")
    func empty() {
        var writer = Writer()
        let count = writer.span.byteCount
        let mutable = writer.mutableSpan.byteCount
        #expect(count == 0)
        #expect(mutable == 0)
        #expect(writer.finish() == Bytes())
    }

    @Test("what was written can be changed where it stands")
    func change() {
        var writer = Writer()
        writer.integer(UInt16(0))
        writer.byte(3)
        var span = writer.mutableSpan
        span.storeBytes(of: UInt16(bigEndian: 0x0102), toByteOffset: 0, as: UInt16.self)
        let last = writer.span[2]
        #expect(last == 3)
        #expect(writer.finish() == [1, 2, 3])
    }

    @Test("a length stands before what was written behind it", arguments: [0, 1, 127, 128, 16383, 16384, 100_000])
    func lengthPrefixed(count: Int) throws {
        let content = Bytes((0..<count).map { UInt8(truncatingIfNeeded: $0) })
        var writer = Writer()
        writer.byte(0xEE)
        writer.lengthPrefixed { $0.bytes(content) }
        writer.byte(0xEF)
        let bytes = writer.finish()

        var plain = Writer()
        plain.byte(0xEE)
        plain.lengthPrefixed(content.span)
        plain.byte(0xEF)
        let expected = plain.finish()
        #expect(bytes == expected)

        var reader = Reader(bytes.span)
        try reader.skip(1)
        let read = Bytes(copying: try reader.lengthPrefixed())
        let behind = try reader.byte()
        #expect(read == content)
        #expect(behind == 0xEF)
        #expect(bytes.count == count + Varint.size(UInt64(count)) + 2)
    }

    @Test("lengths nest")
    func nested() {
        let filler = Bytes(repeatElement(1, count: 126))
        var writer = Writer()
        writer.lengthPrefixed { outer in
            outer.lengthPrefixed { $0.bytes(filler) }
            outer.lengthPrefixed { $0.byte(2) }
        }
        #expect(Array(writer.finish()) == [129, 1, 126] + Array(filler) + [1, 2])
    }

    @Test("where writing behind a length fails, nothing is appended")
    func failure() {
        var writer = Writer()
        writer.byte(1)
        do throws(Refusal) {
            try writer.lengthPrefixed { inner throws(Refusal) in
                inner.integer(UInt64.max)
                throw Refusal()
            }
            Issue.record("the error was swallowed")
        } catch {
            #expect(error == Refusal())
        }
        #expect(writer.finish() == [1])
    }
}
