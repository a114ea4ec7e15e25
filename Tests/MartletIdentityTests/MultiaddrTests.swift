import MartletCrypto
import MartletIdentity
import MartletWire
import Testing

@Suite("Multiaddrs")
struct MultiaddrTests {
    /// Text and binary form, from the tables of multiformats/go-multiaddr and multiformats/rust-multiaddr.
    static let table: [(text: String, hex: String)] = [
        ("/ip4/127.0.0.1/udp/1234", "047f000001910204d2"),
        ("/ip4/127.0.0.1/tcp/4321", "047f0000010610e1"),
        ("/ip4/127.0.0.1/udp/1234/ip4/127.0.0.1/tcp/4321", "047f000001910204d2047f0000010610e1"),
        ("/ip4/192.0.2.42/tcp/443", "04c000022a0601bb"),
        ("/ip6/::1", "2900000000000000000000000000000001"),
        ("/ip6/2601:9:4f81:9700:803e:ca65:66e8:c21", "29260100094f819700803eca6566e80c21"),
        (
            "/ip6/fe80::9700:803e:ca65:66e8:c21/ip6zone/wlan0",
            "29fe80000000009700803eca6566e80c212a05776c616e30"
        ),
        ("/udp/0", "91020000"), ("/udp/65535", "9102ffff"), ("/tcp/1234/http", "0604d2e003"),
        ("/tcp/1234/tls/http", "0604d2c003e003"),
        (
            "/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
            "a503221220d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a68911c0b"
        ),
        (
            "/ip4/127.0.0.1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC/tcp/1234",
            "047f000001a503221220d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a68911c0b0604d2"
        ),
        (
            "/ip6/2001:8a0:7ac5:4201:3ac9:86ff:fe31:7095/tcp/8000/ws/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
            "29200108a07ac542013ac986fffe317095061f40dd03a503221220"
                + "d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a68911c0b"
        ),
        (
            "/ip4/127.0.0.1/tcp/9090/p2p-circuit/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
            "047f000001062382a202a503221220d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a68911c0b"
        ),
        (
            "/dnsaddr/sjc-1.bootstrap.libp2p.io/tcp/1234/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
            "3819736a632d312e626f6f7473747261702e6c69627032702e696f0604d2"
                + "a50322122006b3608aa000274049eb28ad8e793a26ff6fab281a7d3bd77cd18eb745dfaabb"
        ),
        ("/ip4/127.0.0.1/tcp/127/ws", "047f00000106007fdd03"), ("/ip4/127.0.0.1/tcp/127/tls", "047f00000106007fc003"),
        ("/ip4/127.0.0.1/tcp/127/tls/ws", "047f00000106007fc003dd03"),
        ("/ip4/127.0.0.1/tcp/127/wss", "047f00000106007fde03"),
        ("/ip4/127.0.0.1/tcp/127/noise", "047f00000106007fc603"),
        ("/ip4/127.0.0.1/udp/1234/webrtc-direct", "047f000001910204d29802"),
        (
            "/ip4/127.0.0.1/udp/1234/webrtc-direct/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g",
            "047f000001910204d29802d203221220c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2"
        ),
        ("/ip4/127.0.0.1/udp/1234/quic/webtransport", "047f000001910204d2cc03d103"),
        ("/ip4/127.0.0.1/udp/1234/quic-v1/webtransport", "047f000001910204d2cd03d103"),
        ("/ip4/1.2.3.4/tcp/443/tls/sni/example.com/ws", "04010203040601bbc003c1030b6578616d706c652e636f6ddd03"),
        ("/dns/a.b/udp/1/webrtc", "3503612e62" + "91020001" + "9902"), ("/dns4/a", "360161"), ("/dns6/a", "370161"),
        ("/unix/a/b/c", "9003062f612f622f63"), ("/unix/stdio", "9003062f737464696f"),
        ("/ip4/1.2.3.4/tcp/80/unix/a/b", "0401020304060050" + "9003042f612f62"),
    ]

    @Test("text and binary form are converted both ways", arguments: table)
    func vectors(text: String, hex: String) throws {
        let bytes = try Bytes(hex: hex)
        let parsed = try Multiaddr(parsing: text)
        #expect(parsed.bytes == bytes)
        let decoded = try Multiaddr(bytes)
        #expect(decoded == parsed)
        #expect(decoded.description == text)
        #expect(try Multiaddr(copying: bytes.span) == parsed)
    }

    @Test(
        "other ways to write an address become the canonical text",
        arguments: [
            ("/ip4/127.0.0.1/tcp/1234/", "/ip4/127.0.0.1/tcp/1234"), ("/ip4/127.0.0.1///", "/ip4/127.0.0.1"),
            ("/ip6/2001:DB8:0:0::1", "/ip6/2001:db8::1"), ("/ip6/::ffff:0102:0304", "/ip6/::ffff:1.2.3.4"),
            ("/ip6zone/x%y/ip6/fe80::1", "/ip6zone/x%y/ip6/fe80::1"),
            (
                "/ipfs/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
                "/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"
            ),
            (
                "/p2p/bafzbeigvf25ytwc3akrijfecaotc74udrhcxzh2cx3we5qqnw5vgrei4bm",
                "/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"
            ),
            (
                "/p2p/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7",
                "/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"
            ),
            (
                "/p2p/k51qzi5uqu5dhb6l8spkdx7yxafegfkee5by8h7lmjh2ehc2sgg34z7c15vzqs",
                "/p2p/12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV"
            ),
            (
                "/p2p/bafzaajaiaejcalj543iwv2d7pkjt7ykvefrkfu7qjfi6sduakhso4lay6abn2d5u",
                "/p2p/12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV"
            ),
            (
                "/certhash/b2uaraocy6yrdblb4sfptaddgimjmmpy/certhash/zQmbWTwYGcmdyK9CYfNBcfs9nhZs17a6FQ4Y8oea278xx41",
                "/certhash/u1QEQOFj2IjCsPJFfMAxmQxLGPw/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g"
            ),
        ])
    func canonical(text: String, canonical: String) throws {
        #expect(try Multiaddr(parsing: text).description == canonical)
    }

    @Test(
        "what go-multiaddr and rust-multiaddr refuse is refused",
        arguments: [
            "/ip4", "/ip4/::1", "/ip4/fdpsofodsajfdoisa", "/ip4/01.2.3.4", "/ip4/1.2.3.4.5", "/ip6", "/ip6/1.2.3.4",
            "/ip6/fe80::1%2", "/ip6zone", "/ip6zone/", "/ip6zone//ip6/fe80::1", "/udp", "/tcp", "/udp/65536",
            "/tcp/65536", "/tcp/-1", "/tcp/+1", "/tcp/080", "/tcp/ 1", "/quic/65536", "/quic-v1/65536", "/tls/1",
            "/ip4/127.0.0.1/udp/jfodsajfidosajfoidsa", "/ip4/127.0.0.1/udp", "/ip4/127.0.0.1/quic-v1/1234",
            "/ip4/127.0.0.1/udp/1234/quic-v1/webtransport/certhash",
            "/ip4/127.0.0.1/udp/1234/quic-v1/webtransport/certhash/b2uaraocy6yrdblb4sfptaddgimjmmp",
            "/ip4/127.0.0.1/ipfs", "/ip4/127.0.0.1/ipfs/tcp", "/ip4/127.0.0.1/p2p", "/ip4/127.0.0.1/p2p/tcp", "/unix",
            "/ip4/1.2.3.4/tcp/80/unix", "/", "", "ip4/1.2.3.4", "//ip4/1.2.3.4", "/ip4//1.2.3.4", "/IP4/1.2.3.4",
            "/p2p/QmxoHT6iViN5xAjoz1VZ553cL31U9F94ht3QvWR1FrEbZY", "/p2p-circuit/50", "/dns4//tcp/1", "/dns/a\u{0}b",
            "/dns/a\u{9B}b", "/dns4/a\u{202E}b", "/dnsaddr/a\u{2066}b", "/unix/a\u{85}b",
            "/ip6zone/\u{200F}/ip6/fe80::1",
            "/dns/" + String(repeating: "a", count: 254), "/unix/" + String(repeating: "a", count: 107),
            String(repeating: "/tls", count: 513), String(repeating: "/", count: 4097),
        ])
    func refused(text: String) {
        #expect(throws: MultiaddrError.self) { try Multiaddr(parsing: text) }
        #expect(Multiaddr(text) == nil)
    }

    @Test("an unknown protocol is an error that names its code or name")
    func unknown() throws {
        // sctp
        #expect(throws: MultiaddrError(.unknownCode(132), at: 5)) {
            try Multiaddr(Bytes(hex: "04010203048401" + "04d2"))
        }
        #expect(throws: MultiaddrError(.unknownCode(1 << 40), at: 0)) {
            try Multiaddr([0x80, 0x80, 0x80, 0x80, 0x80, 0x20])
        }
        #expect(throws: MultiaddrError(.unknownName("sctp"), at: 14)) { try Multiaddr(parsing: "/ip4/10.2.3.4/sctp/1") }
        let long = String(repeating: "x", count: 4000)
        #expect(throws: MultiaddrError(.unknownName(String(repeating: "x", count: 32)), at: 1)) {
            try Multiaddr(parsing: "/" + long)
        }
        #expect(MultiaddrError(.unknownCode(132), at: 5).description.contains("132"))
    }

    @Test("no code but those of the table is accepted")
    func everyCode() {
        for code in UInt64(0)..<70_000 {
            var writer = Writer()
            writer.varint(code)
            let known = UInt16(exactly: code).flatMap { AddressProtocol(rawValue: $0) }
            do throws(MultiaddrError) {
                let address = try Multiaddr(writer.finish())
                #expect(known.map { address.description == "/\($0.name)" } == true)
            } catch {
                if known == nil { #expect(error.reason == .unknownCode(code)) }
            }
        }
    }

    @Test("every name of the table leads back to its protocol")
    func names() {
        for step in AddressProtocol.allCases {
            #expect(AddressProtocol(name: step.name) == step)
        }
        #expect(AddressProtocol(name: "ipfs") == .p2p)
        #expect(AddressProtocol(name: "IP4") == nil)
    }

    @Test("binary forms that are wrong are errors at their offset")
    func badBinary() throws {
        func fails(_ hex: String, _ reason: MultiaddrError.Reason, _ offset: Int) throws {
            let bytes = try Bytes(hex: hex)
            #expect(throws: MultiaddrError(reason, at: offset), "\(hex)") { try Multiaddr(bytes) }
        }
        try fails("", .empty, 0)
        try fails("04", .malformed(.truncated), 1)
        try fails("0401020304" + "06", .malformed(.truncated), 6)
        // The code of ip4 in two bytes.
        try fails("8400" + "01020304", .malformed(.notMinimal), 0)
        // A length in two bytes, one beyond the end, and none.
        try fails("36" + "8100" + "61", .malformed(.notMinimal), 1)
        try fails("36" + "02" + "61", .malformed(.truncated), 2)
        try fails("36" + "ffffffffffffffff7f", .malformed(.truncated), 10)
        try fails("36" + "00", .value(.dns4, .missing), 2)
        try fails("36" + "022f61", .value(.dns4, .unexpected(0x2F)), 2)
        try fails("36" + "026100", .value(.dns4, .unexpected(0)), 3)
        try fails("36" + "02c328", .value(.dns4, .notUTF8), 2)
        try fails("9003" + "0161", .value(.unix, .unexpected(0x61)), 3)
        try fails("9003" + "012f", .value(.unix, .unexpected(0x2F)), 3)
        try fails("9003" + "032f612f", .value(.unix, .unexpected(0x2F)), 5)
        try fails("9003" + "022f61" + "c003", .value(.unix, .trailingBytes), 5)
        try fails("2a" + "00", .value(.ip6zone, .missing), 2)
        // A peer id with another hash, an empty one, one that is too long, and one with a byte behind it.
        try fails("a503" + "021301", .value(.p2p, .unexpected(0x13)), 3)
        try fails("a503" + "020000", .value(.p2p, .missing), 4)
        try fails("a503" + "03000161" + "61", .unknownCode(0x61), 6)
        try fails("a503" + "0400016161", .value(.p2p, .trailingBytes), 6)
        try fails("a503" + "2d" + "002b" + String(repeating: "61", count: 43), .value(.p2p, .tooLarge), 4)
        // 129 bytes of digest.
        try fails("d203" + "8401" + "008101" + String(repeating: "61", count: 129), .value(.certhash, .tooLarge), 5)
        // A certificate hash whose digest is shorter or longer than it says.
        try fails("d203" + "03122061", .value(.certhash, .truncated), 5)
        try fails("d203" + "0412016161", .value(.certhash, .trailingBytes), 6)
    }

    @Test("an address cut off or changed at any byte is an error or another valid address", arguments: table)
    func hostile(text: String, hex: String) throws {
        let bytes = try Bytes(hex: hex)
        for count in 0..<bytes.count { roundTrips(bytes.slice(0..<count)) }
        for position in 0..<bytes.count {
            for byte in UInt8.min...UInt8.max { roundTrips(bytes.replacing(position, with: byte)) }
        }
    }

    @Test("whatever bytes or text are accepted, they survive both ways")
    func property() {
        var random = Repeatable(seed: 0x0ADD_4E55)
        for _ in 0..<20_000 {
            // Pieces that mean something, in any order, find more than noise does.
            var bytes: [UInt8] = []
            for _ in 0..<random.below(6) {
                if random.below(8) == 0 { bytes += random.bytes(random.below(5)) }
                guard let step = AddressProtocol.allCases.randomElement(using: &random) else { continue }
                var writer = Writer()
                writer.varint(UInt64(step.rawValue))
                bytes += Array(writer.finish())
                if random.below(4) > 0 { bytes += random.bytes([0, 2, 4, 16].randomElement(using: &random) ?? 0) }
                if random.below(4) == 0 { bytes += [3, 0x2F, 0x61, 0x62] }
            }
            roundTrips(Bytes(bytes))
        }
    }

    private func roundTrips(_ bytes: Bytes) {
        guard let address = try? Multiaddr(bytes) else { return }
        let text = address.description
        do {
            #expect(try Multiaddr(parsing: text) == address, "\(bytes) \(text)")
        } catch {
            Issue.record("\(text) is not read back: \(error)")
        }
        #expect(address.components.reduce(0) { count, _ in count + 1 } > 0)
    }

    @Test("more bytes than the bound are refused before they are looked at")
    func bound() throws {
        let tls: [UInt8] = [0xC0, 0x03]
        let most = Bytes((0..<Multiaddr.maximumSize / 2).flatMap { _ in tls })
        #expect(try Multiaddr(most).bytes.count == Multiaddr.maximumSize)
        #expect(throws: MultiaddrError(.malformed(.tooLarge), at: 0)) { try Multiaddr(Bytes(Array(most) + tls)) }
    }

    @Test("order and equality are those of the bytes")
    func order() throws {
        let texts = ["/ip4/1.2.3.4", "/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.5", "/tcp/1", "/ip6/::1"]
        let addresses = try texts.map { try Multiaddr(parsing: $0) }
        var random = Repeatable(seed: 7)
        #expect(addresses.shuffled(using: &random).sorted() == addresses)
        #expect(Set(addresses + addresses).count == addresses.count)
    }
}
