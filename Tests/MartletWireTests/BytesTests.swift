import MartletWire
import TestSupport
import Testing

@Suite("Bytes")
struct BytesTests {
    private let ten = Bytes(0..<10)

    @Test("no bytes are no bytes, however they were made")
    func empty() {
        let slab = Slab.make(capacity: 16)
        let made: [Bytes] = [
            Bytes(), [], Bytes([UInt8]()), Bytes(utf8: ""), ten.slice(3..<3), Bytes(slab: slab, offset: 16, count: 0),
            Bytes(copying: Bytes().span), Bytes(count: 0) { _ in }, Writer(capacity: 8).finish(), Bytes().compacted(),
        ]
        for bytes in made {
            #expect(bytes.isEmpty)
            #expect(bytes == Bytes())
            #expect(bytes.hashValue == Bytes().hashValue)
            #expect(Array(bytes) == [])
            #expect(bytes.span.byteCount == 0)
            #expect(bytes.utf8 == "")
            #expect(bytes.description == "")
        }
    }

    @Test("a slice counts from 0, and so does a slice of it")
    func slices() {
        let part = ten.slice(2..<8)
        #expect(Array(part) == [2, 3, 4, 5, 6, 7])
        #expect(part[0] == 2)
        #expect(part.startIndex == 0)
        #expect(part.endIndex == 6)
        #expect(Array(part.slice(1..<3)) == [3, 4])
        #expect(part.slice(0..<6) == part)
        #expect(part.span[5] == 7)
        #expect(Array(part.reversed()) == [7, 6, 5, 4, 3, 2])
    }

    @Test("a slice shares memory with what it was cut from, a compacted one only while that is small")
    func compacted() {
        func address(_ bytes: Bytes) -> UInt { bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } }
        let large = Bytes(repeatElement(5, count: 4096))
        #expect(address(large.slice(7..<9)) == address(large) + 7)
        let small = large.slice(7..<9).compacted()
        #expect(address(small) != address(large) + 7)
        #expect(small == [5, 5])
        #expect(address(large.compacted()) == address(large))
        let half = large.slice(0..<2048)
        #expect(address(half.compacted()) == address(half))
    }

    @Test("equal bytes are equal and hash alike, wherever they stand")
    func equality() {
        for count in 0...40 {
            let source = (0..<count).map { UInt8($0 + 1) }
            let first = Bytes(source)
            let second = Bytes([9] + source + [9]).slice(1..<count + 1)
            #expect(first == second)
            #expect(first.hashValue == second.hashValue)
            #expect(!(first < second) && !(second < first))
            for index in source.indices {
                var changed = source
                changed[index] ^= 0x80
                #expect(first != Bytes(changed))
                #expect(first < Bytes(changed))
                #expect(!(Bytes(changed) < first))
            }
            if count > 0 {
                #expect(first.slice(0..<count - 1) != first)
                #expect(first.slice(0..<count - 1) < first)
            }
        }
    }

    @Test("the order is that of the bytes, one by one")
    func order() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<2000 {
            let left = (0..<Int.random(in: 0...20, using: &generator)).map { _ in
                UInt8.random(in: 0...1, using: &generator)
            }
            let right = (0..<Int.random(in: 0...20, using: &generator)).map { _ in
                UInt8.random(in: 0...1, using: &generator)
            }
            #expect((Bytes(left) < Bytes(right)) == left.lexicographicallyPrecedes(right), "seed 3")
            #expect((Bytes(left) == Bytes(right)) == (left == right), "seed 3")
        }
    }

    @Test("two neighbours in a hash do not run into each other")
    func hash() {
        let all = ten
        let left = [all.slice(0..<3), all.slice(3..<10)]
        let right = [all.slice(0..<4), all.slice(4..<10)]
        #expect(left.hashValue != right.hashValue)
        #expect(Set([all, Bytes(0..<10), all.slice(0..<9)]).count == 2)
    }

    @Test("bytes are made of any sequence, of text and of what fills them")
    func making() throws {
        #expect(Bytes(AnySequence(0..<10)) == ten)
        #expect(Bytes(ten) == ten)
        #expect(Array(Bytes(utf8: "né")) == [0x6E, 0xC3, 0xA9])
        #expect(Bytes(utf8: "né").utf8 == "né")
        #expect(Bytes([0xC3]).utf8 == nil)
        #expect(Bytes(count: 3) { $0.copyBytes(from: [1, 2, 3]) } == [1, 2, 3])
        #expect(throws: WireError(.missing, at: 1)) {
            _ = try Bytes(count: 3) { _ throws(WireError) in throw WireError(.missing, at: 1) }.count
        }
    }

    @Test("the description shows the first bytes and the number of them")
    func description() {
        #expect(Bytes([0x00, 0x0F, 0xA0]).description == "000fa0")
        let long = Bytes(repeatElement(0xAB, count: 33))
        #expect(long.description == String(repeating: "ab", count: 32) + "… (33 bytes)")
    }
}
