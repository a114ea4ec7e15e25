import MartletWire
import TestSupport
import Testing

@Suite("Base encodings")
struct BaseTests {
    private static let names: [String: Multibase] = [
        "base16": .base16, "base16upper": .base16Upper, "base32": .base32, "base32upper": .base32Upper,
        "base32pad": .base32Padded, "base32padupper": .base32PaddedUpper, "base36": .base36,
        "base36upper": .base36Upper, "base58btc": .base58, "base64": .base64, "base64pad": .base64Padded,
        "base64url": .base64URL, "base64urlpad": .base64URLPadded,
    ]

    /// The bytes and the texts of one table, for the bases that are known here.
    private static func table(_ text: String) -> (bytes: Bytes, rows: [(Multibase, String)]) {
        let lines = text.split(separator: "\n").map { line in
            line.split(separator: ",", maxSplits: 1).map { $0.drop { $0 == " " } }
        }
        var content = String(lines[0][1].dropFirst().dropLast())
        var bytes: [UInt8] = []
        while content.hasPrefix("\\x00") {
            bytes.append(0)
            content.removeFirst(4)
        }
        let rows = lines.dropFirst().compactMap { line in
            names[String(line[0])].map { ($0, String(line[1].dropFirst().dropLast())) }
        }
        return (Bytes(bytes + content.utf8), rows)
    }

    @Test(
        "multibase's vectors, both ways",
        arguments: [MultibaseVectors.basic, MultibaseVectors.leadingZero, MultibaseVectors.twoLeadingZeros])
    func vectors(csv: String) throws {
        let table = Self.table(csv)
        #expect(table.rows.count == Multibase.allCases.count)
        for (base, text) in table.rows {
            #expect(base.encode(table.bytes.span) == text)
            let decoded = try Multibase.decode(text)
            #expect(decoded.base == base)
            #expect(decoded.bytes == table.bytes)
        }
    }

    @Test("multibase's vectors of mixed letter case are read")
    func caseInsensitivity() throws {
        let table = Self.table(MultibaseVectors.caseInsensitivity)
        #expect(table.rows.count == 8)
        for (base, text) in table.rows {
            let decoded = try Multibase.decode(text)
            #expect(decoded.base == base)
            #expect(decoded.bytes == table.bytes)
        }
    }

    @Test("any bytes survive every base", arguments: Multibase.allCases)
    func roundTrip(base: Multibase) throws {
        var generator = SeededGenerator(seed: 1)
        for count in 0...200 {
            let zeros = Int.random(in: 0...min(count, 3), using: &generator)
            let bytes = Bytes((0..<count).map { $0 < zeros ? 0 : UInt8.random(in: 0...255, using: &generator) })
            let text = base.encode(bytes.span)
            let decoded = try Multibase.decode(text)
            #expect(decoded.bytes == bytes, "seed 1, \(count) bytes")
        }
        for byte in [0x00, 0x01, 0xFF] as [UInt8] {
            let bytes = Bytes(repeatElement(byte, count: 99))
            let decoded = try Multibase.decode(base.encode(bytes.span))
            #expect(decoded.bytes == bytes)
        }
    }

    @Test(
        "base58 of known values",
        arguments: [
            ("", ""), ("00", "1"), ("0000", "11"), ("61", "2g"), ("626262", "a3gV"), ("ff", "5Q"),
            ("516b6fcd0f", "ABnLTmg"),
            (
                "000111d38e5fc9071ffcd20b4a763cc9ae4f252bb4e48fd66a835e252ada93ff480d6dd43dc62a641155a5",
                "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
            ),
        ])
    func base58(hex: String, text: String) throws {
        let bytes = try Base16.decode(hex)
        #expect(Base58.encode(bytes.span) == text)
        #expect(try Base58.decode(text) == bytes)
    }

    @Test(
        "RFC 4648's vectors",
        arguments: [
            ("", "", "", ""), ("f", "66", "MY======", "Zg=="), ("fo", "666F", "MZXQ====", "Zm8="),
            ("foo", "666F6F", "MZXW6===", "Zm9v"), ("foob", "666F6F62", "MZXW6YQ=", "Zm9vYg=="),
            ("fooba", "666F6F6261", "MZXW6YTB", "Zm9vYmE="), ("foobar", "666F6F626172", "MZXW6YTBOI======", "Zm9vYmFy"),
        ])
    func rfc4648(text: String, base16: String, base32: String, base64: String) throws {
        let bytes = Bytes(utf8: text)
        #expect(Base16.encode(bytes.span, uppercase: true) == base16)
        #expect(Base32.encode(bytes.span, uppercase: true, padded: true) == base32)
        #expect(Base64.encode(bytes.span, padded: true) == base64)
        #expect(try Base16.decode(base16) == bytes)
        #expect(try Base32.decode(base32, padded: true) == bytes)
        #expect(try Base64.decode(base64, padded: true) == bytes)
    }

    @Test(
        "a text that is not the encoding of anything is refused where it goes wrong",
        arguments: [
            ("", .truncated, 0), ("1", .unexpected(0x31), 0), ("é", .unexpected(0xC3), 0),
            ("f0", .truncated, 2), ("f0g", .unexpected(0x67), 2), ("f/0", .unexpected(0x2F), 1),
            ("ba", .truncated, 2), ("baaa", .truncated, 4), ("baaaaaa", .truncated, 7), ("ba1", .unexpected(0x31), 2),
            ("bab", .unexpected(0x62), 2), ("bmy======", .unexpected(0x3D), 3), ("bmy=", .unexpected(0x3D), 3),
            ("cmy", .truncated, 3), ("cmy=====", .truncated, 8), ("c========", .unexpected(0x3D), 1),
            ("cmyy=====", .unexpected(0x3D), 4), ("cmy==a===", .unexpected(0x3D), 3),
            ("cmz======", .unexpected(0x7A), 2),
            ("k-", .unexpected(0x2D), 1), ("z0", .unexpected(0x30), 1), ("z1I", .unexpected(0x49), 2),
            ("zO", .unexpected(0x4F), 1), ("zabcl", .unexpected(0x6C), 4), ("z ", .unexpected(0x20), 1),
            ("mZ", .truncated, 2), ("mZh", .unexpected(0x68), 2), ("mZm9v-A", .unexpected(0x2D), 5),
            ("uZm9v+A", .unexpected(0x2B), 5), ("mZg==", .unexpected(0x3D), 3), ("MZg", .truncated, 3),
            ("MZg=A", .unexpected(0x3D), 3), ("MZ===", .unexpected(0x3D), 2), ("M====", .unexpected(0x3D), 1),
            ("MZm9=", .unexpected(0x39), 3), ("UZh==", .unexpected(0x68), 2),
        ] as [(String, WireError.Reason, Int)])
    func refused(text: String, reason: WireError.Reason, offset: Int) {
        #expect(throws: WireError(reason, at: offset)) { _ = try Multibase.decode(text) }
    }

    @Test("base58 and base36 refuse a text over their bound")
    func bound() throws {
        let longest = String(repeating: "z", count: Base58.maximumText)
        let from58 = try Base58.decode(longest)
        #expect(Base58.encode(from58.span) == longest)
        let from36 = try Base36.decode(longest)
        #expect(Base36.encode(from36.span) == longest)
        #expect(throws: WireError(.tooLarge, at: 0)) { _ = try Base58.decode(longest + "z") }
        #expect(throws: WireError(.tooLarge, at: 1)) { _ = try Multibase.decode("k" + longest + "z") }
    }

    @Test("each character is either in a base's alphabet or refused", arguments: Multibase.allCases)
    func everyCharacter(base: Multibase) {
        let alphabets: [Multibase: Int] = [
            .base16: 22, .base16Upper: 22, .base32: 58, .base32Upper: 58, .base32Padded: 58, .base32PaddedUpper: 58,
            .base36: 62, .base36Upper: 62, .base58: 58, .base64: 64, .base64Padded: 64, .base64URL: 64,
            .base64URLPadded: 64,
        ]
        let accepted = (0..<128 as Range<UInt8>).filter { character in
            let text =
                String(UnicodeScalar(base.rawValue)) + String(repeating: String(UnicodeScalar(character)), count: 8)
            return (try? Multibase.decode(text)) != nil
        }
        #expect(accepted.count == alphabets[base])
    }
}
