import MartletWire
import Testing

@Suite("Reader")
struct ReaderTests {
    @Test("values are read one after the other, in both byte orders")
    func values() throws {
        let bytes: Bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
        var reader = Reader(bytes.span)
        let byte = try reader.byte()
        let big = try reader.integer(UInt16.self)
        let little = try reader.littleEndian(UInt32.self)
        let peeked = reader.peek()
        try reader.skip(1)
        let span = Bytes(copying: try reader.span(2))
        let remaining = reader.remaining
        let rest = Bytes(copying: reader.rest())
        let atEnd = reader.isAtEnd
        let past = reader.peek()
        try reader.expectEnd()
        #expect(byte == 1)
        #expect(big == 0x0203)
        #expect(little == 0x0706_0504)
        #expect(peeked == 8)
        #expect(span == [9, 10])
        #expect(remaining == 6)
        #expect(rest == [11, 12, 13, 14, 15, 16])
        #expect(atEnd)
        #expect(past == nil)
    }

    @Test("a read beyond the end fails where it begins and moves nothing")
    func truncated() throws {
        let bytes: Bytes = [1, 2, 3]
        var reader = Reader(bytes.span, origin: 100)
        try reader.skip(2)
        var errors: [WireError] = []
        do throws(WireError) { _ = try reader.integer(UInt16.self) } catch { errors.append(error) }
        do throws(WireError) { _ = try reader.littleEndian(UInt64.self) } catch { errors.append(error) }
        do throws(WireError) { _ = try reader.span(2) } catch { errors.append(error) }
        do throws(WireError) { _ = try reader.span(-1) } catch { errors.append(error) }
        do throws(WireError) { _ = try reader.span(.max) } catch { errors.append(error) }
        do throws(WireError) { try reader.skip(2) } catch { errors.append(error) }
        do throws(WireError) { try reader.skip(-1) } catch { errors.append(error) }
        do throws(WireError) { _ = try reader.reader(2) } catch { errors.append(error) }
        #expect(errors == Array(repeating: WireError(.truncated, at: 102), count: 8))
        #expect(throws: WireError(.trailingBytes, at: 0)) { try Reader(bytes.span).expectEnd() }
        let last = try reader.byte()
        #expect(last == 3)
        var end: WireError?
        do throws(WireError) { _ = try reader.byte() } catch { end = error }
        #expect(end == WireError(.truncated, at: 103))
    }

    @Test("a reader of a part stays inside it and counts offsets from the outermost input")
    func nested() throws {
        let bytes = Bytes(0..<10)
        var outer = Reader(bytes.span)
        try outer.skip(2)
        var inner = try outer.reader(5)
        try inner.skip(1)
        var innermost = try inner.reader(2)
        let byte = try innermost.byte()
        #expect(byte == 3)
        try innermost.skip(1)
        var failure: WireError?
        do throws(WireError) { _ = try innermost.byte() } catch { failure = error }
        #expect(failure == WireError(.truncated, at: 5))
        let error = inner.error(.missing)
        let earlier = inner.error(.missing, at: 0)
        let offset = outer.offset
        let seen = Bytes(copying: inner.span(in: 0..<5))
        #expect(error == WireError(.missing, at: 5))
        #expect(earlier == WireError(.missing, at: 2))
        #expect(offset == 7)
        #expect(seen == [2, 3, 4, 5, 6])
    }

    @Test("nothing can be read from no bytes")
    func empty() {
        let bytes = Bytes()
        var reader = Reader(bytes.span)
        let atEnd = reader.isAtEnd
        let rest = reader.rest().byteCount
        #expect(atEnd)
        #expect(rest == 0)
        var errors: [WireError] = []
        do throws(WireError) { _ = try reader.byte() } catch { errors.append(error) }
        do throws(WireError) { _ = try reader.varint() } catch { errors.append(error) }
        do throws(WireError) { _ = try reader.integer(UInt8.self) } catch { errors.append(error) }
        do throws(WireError) { _ = try reader.lengthPrefixed() } catch { errors.append(error) }
        #expect(errors == Array(repeating: WireError(.truncated, at: 0), count: 4))
    }
}
