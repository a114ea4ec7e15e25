import MartletWire
import Testing

@Suite("IP addresses")
struct IPAddressTests {
    @Test(
        "canonical text is read and printed back",
        arguments: [
            "0.0.0.0", "1.2.3.4", "255.255.255.255", "127.0.0.1", "::", "::1", "1::", "2001:db8::1",
            "2001:db8::1:0:0:1", "2001:db8:0:1:1:1:1:1", "2001:0:0:1::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4",
            "fe80::ffff:fe00:1", "0:1:0:1:0:1:0:1", "1:0:0:2::3", "64:ff9b::102:304", "0:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:0",
        ])
    func canonical(text: String) throws {
        #expect(try IPAddress(parsing: text).description == text)
    }

    @Test(
        "other forms of RFC 4291 become the canonical one",
        arguments: [
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"), ("2001:0db8::0001", "2001:db8::1"), ("::1.2.3.4", "::102:304"),
            ("0:0:0:0:0:FFFF:129.144.52.38", "::ffff:129.144.52.38"), ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
            ("1::2:1.2.3.4", "1::2:102:304"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("0:0:0:0:0:0:0:0", "::"),
        ])
    func forms(text: String, canonical: String) throws {
        #expect(try IPAddress(parsing: text).description == canonical)
    }

    @Test(
        "what is not exactly an address is an error at its offset",
        arguments: [
            ("", .truncated, 0), ("1.2.3", .truncated, 5), ("1.2.3.", .truncated, 6), ("1.2.3.4.", .trailingBytes, 7),
            ("1.2.3.4.5", .trailingBytes, 7), ("256.1.1.1", .tooLarge, 0), ("1.2.3.04", .notMinimal, 6),
            ("01.2.3.4", .notMinimal, 0), ("0x7f.0.0.1", .unexpected(UInt64(UInt8(ascii: "x"))), 1),
            ("1.2.3.-4", .unexpected(UInt64(UInt8(ascii: "-"))), 6), (" 1.2.3.4", .unexpected(32), 0),
            ("1.2.3.4 ", .trailingBytes, 7), ("1", .truncated, 1), ("2130706433", .tooLarge, 0),
            (":", .truncated, 1), (":1", .unexpected(UInt64(UInt8(ascii: "1"))), 1), (":::", .trailingBytes, 2),
            ("1::2::3", .unexpected(UInt64(UInt8(ascii: ":"))), 5), ("1:2:3:4:5:6:7", .truncated, 13),
            ("1:2:3:4:5:6:7:", .truncated, 14), ("1:2:3:4:5:6:7:8:9", .tooLarge, 16),
            ("1:2:3:4::5:6:7:8", .tooLarge, 15), ("12345::", .tooLarge, 0), ("g::", .unexpected(103), 0),
            ("::1%1", .trailingBytes, 3), ("1:2:3:4:5:6:7:1.2.3.4", .tooLarge, 14), ("::1.2.3", .truncated, 7),
            ("::1.2.3.4:1", .trailingBytes, 9), ("1:2:3:4:5:6:7:8::", .unexpected(58), 16),
            ("[::1]", .unexpected(91), 0),
        ] as [(String, WireError.Reason, Int)])
    func bad(text: String, reason: WireError.Reason, offset: Int) {
        #expect(throws: WireError(reason, at: offset)) { try IPAddress(parsing: text) }
        #expect(IPAddress(text) == nil)
    }

    @Test("any address survives its text and its bytes")
    func property() throws {
        var random = SplitMix(seed: 0x1BAD_B002)
        for _ in 0..<2_000 {
            // Zero groups at random places try every shape of `::`.
            var number: UInt128 = 0
            for _ in 0..<8 { number = number << 16 | (random.next() % 2 == 0 ? 0 : UInt128(random.next() % 0x10000)) }
            for address in [IPAddress(v6: number), IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))] {
                #expect(try IPAddress(parsing: address.description) == address)
                var writer = Writer()
                writer.address(address)
                let bytes = writer.finish()
                #expect(bytes.count == address.family.size)
                #expect(try IPAddress(bytes: bytes.span) == address)
            }
        }
    }

    @Test("bytes of any count but 4 and 16 are an error", arguments: [0, 1, 3, 5, 15, 17, 100])
    func counts(count: Int) {
        let bytes = Bytes([UInt8](repeating: 1, count: count))
        #expect(throws: WireError(count < 16 ? .truncated : .trailingBytes, at: min(count, 16))) {
            try IPAddress(bytes: bytes.span)
        }
    }

    @Test("an address and its mapped form differ, and unmapping brings them together")
    func mapping() {
        let address = IPAddress(1, 2, 3, 4)
        #expect(address.mapped != address)
        #expect(address.mapped.unmapped == address)
        #expect(address.mapped.description == "::ffff:1.2.3.4")
        #expect(IPAddress.loopbackV6.unmapped == .loopbackV6)
        #expect(address < IPAddress.anyV6)
        #expect(IPAddress(1, 2, 3, 4) < IPAddress(1, 2, 4, 0))
    }

    @Test("a prefix keeps the first bits")
    func prefixes() {
        #expect(IPAddress("10.1.2.3")?.prefix(8).description == "10.0.0.0")
        #expect(IPAddress("10.1.2.3")?.prefix(0).description == "0.0.0.0")
        #expect(IPAddress("10.1.2.3")?.prefix(99).description == "10.1.2.3")
        #expect(IPAddress("2001:db8:1:2:3::")?.prefix(48).description == "2001:db8:1::")
        #expect(IPAddress("2001:db8::1")?.prefix(0).description == "::")
        #expect(IPAddress(10, 0, 0, 1).isInside(IPAddress(10, 9, 9, 9), prefix: 8))
        #expect(!IPAddress(10, 0, 0, 1).isInside(.anyV6, prefix: 0))
    }

    @Test(
        "the registries tell what is global",
        arguments: [
            ("8.8.8.8", true), ("1.1.1.1", true), ("223.255.255.255", true), ("192.0.0.9", true), ("192.0.0.8", false),
            ("0.1.2.3", false), ("10.0.0.1", false), ("100.64.0.1", false), ("100.128.0.0", true), ("127.9.9.9", false),
            ("169.254.1.1", false), ("172.16.0.1", false), ("172.31.255.255", false), ("172.32.0.0", true),
            ("192.168.1.1", false), ("198.18.0.1", false), ("198.19.255.255", false), ("198.20.0.0", true),
            ("203.0.113.7", false), ("224.0.0.1", false), ("255.255.255.255", false), ("::", false), ("::1", false),
            ("2606:4700::1111", true), ("2001:db8::1", false), ("2001::1", false), ("2001:1::1", true),
            ("2001:1::4", false), ("2001:20::1", true), ("2001:200::1", true), ("2002:808:808::1", false),
            ("fc00::1", false), ("fe80::1", false), ("ff02::1", false), ("::ffff:8.8.8.8", false), ("3fff::1", false),
            ("64:ff9b::808:808", true), ("64:ff9b::7f00:1", false), ("64:ff9b:1::1", false), ("5f00::1", false),
        ])
    func global(text: String, isGlobal: Bool) throws {
        #expect(try IPAddress(parsing: text).isGlobal == isGlobal)
    }

    @Test("each scope has its own networks, mapped or not")
    func scopes() throws {
        func all(_ texts: String...) -> [IPAddress] { texts.compactMap { IPAddress($0) } }
        for address in all("127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1") { #expect(address.isLoopback) }
        for address in all("10.0.0.1", "172.20.0.1", "192.168.9.9", "fd00::1", "::ffff:10.0.0.1") {
            #expect(address.isPrivate)
        }
        for address in all("169.254.0.1", "fe80::1", "febf::1", "::ffff:169.254.0.1") { #expect(address.isLinkLocal) }
        for address in all("224.0.0.251", "ff02::fb") { #expect(address.isMulticast) }
        #expect(IPAddress(100, 127, 255, 255).isShared)
        for address in all("8.8.8.8", "2606:4700::1", "172.32.0.1", "11.0.0.0", "fec0::1", "128.0.0.1", "100.128.0.1") {
            let isAny =
                address.isLoopback || address.isPrivate || address.isLinkLocal || address.isMulticast
                || address.isShared || address.isUnspecified
            #expect(!isAny)
        }
    }
}

@Suite("Socket addresses")
struct SocketAddressTests {
    @Test(
        "canonical text is read and printed back",
        arguments: ["1.2.3.4:80", "0.0.0.0:0", "[::1]:80", "[::]:65535", "[fe80::1%2]:4001", "[::ffff:1.2.3.4]:1"])
    func canonical(text: String) throws {
        #expect(try SocketAddress(parsing: text).description == text)
    }

    @Test(
        "what is not exactly an address and a port is an error",
        arguments: [
            "", "1.2.3.4", "1.2.3.4:", "1.2.3.4:080", "1.2.3.4:65536", "1.2.3.4:1 ", "[1.2.3.4]:1", "::1:80", "[::1]",
            "[::1]80", "[::1:80", "[::1%]:80", "[::1%01]:80", "[::1%4294967296]:80", "1.2.3.4%1:80", "localhost:1",
        ])
    func bad(text: String) {
        #expect(throws: WireError.self) { try SocketAddress(parsing: text) }
        #expect(SocketAddress(text) == nil)
    }

    @Test("it is 24 plain bytes and ordered by host, interface and port")
    func layout() {
        #expect(MemoryLayout<SocketAddress>.stride == 24)
        let first = SocketAddress(.loopbackV4, port: 9)
        #expect(first < SocketAddress(.loopbackV4, port: 10))
        #expect(first < SocketAddress(.loopbackV6, port: 1))
        #expect(Set([first, SocketAddress(IPAddress.loopbackV4.mapped, port: 9).unmapped]).count == 1)
    }
}

/// A generator of repeatable numbers (SplitMix64), for properties.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
