import MartletWire
import TestSupport
import Testing

/// What a node of the DHT reads out of a `get_peers` query (BEP 5).
private struct GetPeers: Equatable {
    var transaction = Bytes()
    var method = Bytes()
    var id = Bytes()
    var target = Bytes()
    var arguments = Bytes()

    static let message = Bytes(
        utf8: "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe")

    init() {}

    init(_ bytes: Bytes, keyOrder: BencodeReader.KeyOrder = .ascending) throws(WireError) {
        var reader = try BencodeReader(bytes.span, keyOrder: keyOrder)
        try reader.beginDictionary()
        while let key = try reader.nextKey() {
            switch key {
            case "a":
                try reader.beginDictionary()
                while let key = try reader.nextKey() {
                    switch key {
                    case "id": id = Bytes(copying: try reader.string(maximum: 20))
                    case "info_hash": target = Bytes(copying: try reader.string(maximum: 20))
                    default: break
                    }
                }
            case "q": method = Bytes(copying: try reader.string())
            case "t": transaction = Bytes(copying: try reader.string(maximum: 16))
            default: break
            }
        }
        try reader.expectEnd()
    }
}

private func failure(_ text: String, keyOrder: BencodeReader.KeyOrder = .ascending) -> WireError? {
    failure(Bytes(utf8: text), keyOrder: keyOrder)
}

/// The error of reading all of `bytes`; reading into memory and skipping must agree on it.
private func failure(_ bytes: Bytes, keyOrder: BencodeReader.KeyOrder = .ascending) -> WireError? {
    var read: WireError?
    var skipped: WireError?
    do throws(WireError) {
        _ = try Bencode(bytes, keyOrder: keyOrder)
    } catch {
        read = error
    }
    do throws(WireError) {
        var reader = try BencodeReader(bytes.span, keyOrder: keyOrder)
        try reader.skip()
        try reader.expectEnd()
    } catch {
        skipped = error
    }
    #expect(read == skipped)
    return read
}

@Suite("Bencode")
struct BencodeTests {
    @Test("a get_peers query is read")
    func query() throws {
        let query = try GetPeers(GetPeers.message)
        #expect(query.transaction.utf8 == "aa")
        #expect(query.method.utf8 == "get_peers")
        #expect(query.id.utf8 == "abcdefghij0123456789")
        #expect(query.target.utf8 == "mnopqrstuvwxyz123456")
    }

    @Test(
        "a value has one text",
        arguments: [
            ("i0e", .integer(0)), ("i-1e", .integer(-1)), ("i42e", .integer(42)),
            ("i9223372036854775807e", .integer(.max)), ("i-9223372036854775808e", .integer(.min)),
            ("0:", .string([])), ("4:spam", .string(Bytes(utf8: "spam"))), ("le", .list([])), ("de", .dictionary([])),
            ("l4:spami7ee", .list([.string(Bytes(utf8: "spam")), .integer(7)])),
            ("lllee1:ae", .list([.list([.list([])]), .string(Bytes(utf8: "a"))])),
            (
                "d3:cow3:moo4:spamd0:leee",
                .dictionary([
                    .init(Bytes(utf8: "cow"), .string(Bytes(utf8: "moo"))),
                    .init(Bytes(utf8: "spam"), .dictionary([.init([], .list([]))])),
                ])
            ),
        ] as [(String, Bencode)])
    func values(text: String, value: Bencode) throws {
        #expect(try Bencode(Bytes(utf8: text)) == value)
        #expect(value.encoded().utf8 == text)
    }

    @Test(
        "anything but the one text of a value is refused, where it goes wrong",
        arguments: [
            ("", .truncated, 0), ("i", .truncated, 1), ("i-", .truncated, 2), ("i1", .truncated, 2),
            ("ie", .unexpected(0x65), 1), ("i-e", .unexpected(0x65), 2), ("i+1e", .unexpected(0x2B), 1),
            ("i 1e", .unexpected(0x20), 1), ("i1.5e", .unexpected(0x2E), 2), ("i--1e", .unexpected(0x2D), 2),
            ("i00e", .notMinimal, 1), ("i03e", .notMinimal, 1), ("i-0e", .notMinimal, 0), ("i-03e", .notMinimal, 2),
            ("i9223372036854775808e", .tooLarge, 1), ("i-9223372036854775809e", .tooLarge, 2),
            ("i99999999999999999999999e", .tooLarge, 1),
            ("1", .truncated, 1), ("1:", .truncated, 0), ("5:spam", .truncated, 0), ("00:", .notMinimal, 0),
            ("04:spam", .notMinimal, 0), ("4spam", .unexpected(0x73), 1), ("-1:a", .unexpected(0x2D), 0),
            ("2147483648:a", .tooLarge, 0), ("99999999999999999999:a", .tooLarge, 0), ("2147483647:a", .truncated, 0),
            ("l", .truncated, 1), ("li1e", .truncated, 4), ("e", .unexpected(0x65), 0), ("x", .unexpected(0x78), 0),
            ("d", .truncated, 1), ("d1:a", .truncated, 4), ("d1:ae", .unexpected(0x65), 4),
            ("di1ei1ee", .unexpected(0x69), 1), ("dlei1ee", .unexpected(0x6C), 1),
            ("d1:bi1e1:ai1ee", .unsorted, 7), ("d2:aai1e1:ai1ee", .unsorted, 8), ("d1:ai1e1:ai1ee", .duplicateKey, 7),
            ("d1:bd1:ai1ee1:ai1ee", .unsorted, 12), ("d0:i1e0:i1ee", .duplicateKey, 6),
            ("i1ei2e", .trailingBytes, 3), ("dee", .trailingBytes, 2), ("0:0:", .trailingBytes, 2),
        ] as [(String, WireError.Reason, Int)])
    func refused(text: String, reason: WireError.Reason, offset: Int) {
        #expect(failure(text) == WireError(reason, at: offset))
    }

    @Test("keys are ordered as raw bytes")
    func keyOrder() throws {
        let keys: [Bytes] = [[], [0x00], [0x00, 0x00], [0x41], [0x61], [0x7F], [0x80], [0xFF], [0xFF, 0x00]]
        let value = Bencode.dictionary(keys.reversed().map { .init($0, .integer(1)) })
        let encoded = value.encoded()
        #expect(try Bencode(encoded) == .dictionary(keys.map { .init($0, .integer(1)) }))
    }

    @Test("keys in any order are read only where that is asked for")
    func lenient() throws {
        let text = "d1:y1:q1:ad9:info_hash20:mnopqrstuvwxyz1234562:id20:abcdefghij0123456789e1:t2:aa1:q9:get_peerse"
        #expect(failure(text) == WireError(.unsorted, at: 7))
        #expect(failure(text, keyOrder: .any) == nil)
        #expect(try GetPeers(Bytes(utf8: text), keyOrder: .any) == GetPeers(GetPeers.message))
        #expect(try Bencode(Bytes(utf8: text), keyOrder: .any).encoded() == GetPeers.message)
        let twice = try Bencode(Bytes(utf8: "d1:ai1e1:ai2ee"), keyOrder: .any)
        #expect(twice.encoded().utf8 == "d1:ai2ee")
        #expect(failure("d1:bi01e1:ai1ee", keyOrder: .any) == WireError(.notMinimal, at: 5))
    }

    @Test("the raw bytes of a value are handed out, whatever it is")
    func raw() throws {
        let values = ["i-5e", "3:abc", "le", "ld1:ali1eeee", "d1:a1:b2:aalee"]
        for value in values {
            let bytes = Bytes(utf8: "d1:ki0e1:v" + value + "1:zi1ee")
            var reader = try BencodeReader(bytes.span)
            try reader.beginDictionary()
            var seen: [String] = []
            while let key = try reader.nextKey() {
                switch key {
                case "v":
                    let raw = Bytes(copying: try reader.raw())
                    seen.append(raw.utf8 ?? "")
                case "z": seen.append(String(try reader.integer()))
                default: break
                }
            }
            try reader.expectEnd()
            #expect(seen == [value, "1"])
        }
    }

    @Test("a value of another kind is an error that moves nothing")
    func otherKind() throws {
        let bytes = Bytes(utf8: "l1:ai5ee")
        var reader = try BencodeReader(bytes.span)
        var errors: [WireError] = []
        do throws(WireError) { _ = try reader.integer() } catch { errors.append(error) }
        do throws(WireError) { try reader.beginDictionary() } catch { errors.append(error) }
        try reader.beginList()
        // Between a list's elements there is no value until the next one is asked for.
        do throws(WireError) { _ = try reader.string() } catch { errors.append(error) }
        do throws(WireError) { _ = try reader.nextKey() } catch { errors.append(error) }
        do throws(WireError) { try reader.expectEnd() } catch { errors.append(error) }
        let more = try reader.nextElement()
        do throws(WireError) { _ = try reader.string(maximum: 0) } catch { errors.append(error) }
        let expected: [WireError] = [
            WireError(.unexpected(0x6C), at: 0), WireError(.unexpected(0x6C), at: 0),
            WireError(.unexpected(0x31), at: 1),
            WireError(.unexpected(0x31), at: 1), WireError(.trailingBytes, at: 1), WireError(.tooLarge, at: 1),
        ]
        #expect(errors == expected)
        #expect(more)
    }

    @Test(
        "lists and dictionaries nest to the bound and no deeper",
        arguments: [("l", "le"), ("d0:", "de"), ("ld0:", "le")])
    func depth(open: String, innermost: String) {
        let levels = open == "ld0:" ? 2 : 1
        let fits = BencodeReader.maximumDepth / levels - 1
        func nested(_ count: Int) -> String {
            let close = open == "ld0:" ? "ee" : "e"
            return String(repeating: open, count: count) + innermost + String(repeating: close, count: count)
        }
        #expect(failure(nested(fits)) == nil)
        #expect(failure(nested(BencodeReader.maximumDepth))?.reason == .tooDeep)
        #expect(failure(String(repeating: open, count: 100_000))?.reason == .tooDeep)
    }

    @Test("more bytes than the bound are refused before they are read")
    func size() {
        #expect(throws: WireError(.tooLarge, at: 0)) {
            let bytes = Bytes(utf8: "3:abc")
            _ = try BencodeReader(bytes.span, maximumSize: 4).position
        }
    }

    @Test("a query cut at every byte is an error inside, never a trap")
    func everyTruncation() {
        for count in 0..<GetPeers.message.count {
            let cut = GetPeers.message.slice(0..<count)
            #expect(failure(cut)?.reason == .truncated)
            #expect(failure(cut).map { $0.offset <= count } == true)
        }
    }

    @Test("whatever is changed in a query, reading it agrees with skipping it, and what is accepted has one text")
    func everyByteChanged() throws {
        let whole = Array(GetPeers.message)
        var accepted = 0
        for index in whole.indices {
            for value in Array("0123456789:-ilde".utf8) + [0x00, 0xFF] {
                var changed = whole
                changed[index] = value
                let bytes = Bytes(changed)
                guard failure(bytes) == nil else { continue }
                accepted += 1
                #expect(try Bencode(bytes).encoded() == bytes)
                _ = try? GetPeers(bytes)
            }
        }
        #expect(accepted > 100)
    }

    @Test("random values survive being written and read")
    func roundTrip() throws {
        var generator = SeededGenerator(seed: 7)
        func value(_ depth: Int) -> Bencode {
            switch Int.random(in: 0..<(depth > 4 ? 2 : 4), using: &generator) {
            case 0:
                return .integer(
                    Int64(truncatingIfNeeded: generator.next()) >> Int64.random(in: 0..<64, using: &generator))
            case 1: return .string(Bytes((0..<Int.random(in: 0...12, using: &generator)).map { UInt8($0 * 23 & 0xFF) }))
            case 2: return .list((0..<Int.random(in: 0...4, using: &generator)).map { _ in value(depth + 1) })
            default:
                let entries = (0..<Int.random(in: 0...4, using: &generator)).map { index in
                    Bencode.Entry(Bytes(utf8: "key\(index)"), value(depth + 1))
                }
                return .dictionary(entries)
            }
        }
        for _ in 0..<300 {
            let value = value(0)
            #expect(try Bencode(value.encoded()) == value, "seed 7")
        }
    }

    @Test("the writer makes the query, byte by byte")
    func writer() {
        var writer = BencodeWriter(capacity: 128)
        writer.dictionary { query in
            query.key("a")
            query.dictionary { arguments in
                arguments.key("id")
                arguments.string(Bytes(utf8: "abcdefghij0123456789"))
                arguments.key("info_hash")
                arguments.string("mnopqrstuvwxyz123456")
            }
            query.key("q")
            query.string("get_peers")
            query.key("t")
            query.raw(Bytes(utf8: "2:aa").span)
            query.key(Bytes(utf8: "y"))
            query.string("q")
        }
        #expect(writer.finish() == GetPeers.message)
        var numbers = BencodeWriter()
        numbers.list { list in
            for number in [0, 9, 10, -10, 1_000_000, Int64.max, Int64.min] { list.integer(number) }
        }
        #expect(
            numbers.finish().utf8
                == "li0ei9ei10ei-10ei1000000ei9223372036854775807ei-9223372036854775808ee")
    }
}
