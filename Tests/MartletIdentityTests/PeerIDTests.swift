import MartletCrypto
import MartletIdentity
import MartletWire
import Testing

@Suite("Peer ids")
struct PeerIDTests {
    /// The keys of libp2p's peer id specification with the ids that follow from them.
    static let ed25519 = "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
    static let secp256k1 = "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99"
    static let ecdsa =
        "0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530899d83abab44abf3161f16"
        + "2a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f77c409e62"

    @Test("short keys stand in the id, long ones as their SHA-256", arguments: [ed25519, secp256k1, ecdsa])
    func fromKey(hex: String) throws {
        let encoded = try Bytes(hex: hex)
        let key = try PublicKey(protobuf: encoded)
        let peer = PeerID(key)
        if encoded.count <= 42 {
            #expect(peer.bytes == Bytes([0, UInt8(encoded.count)] + Array(encoded)))
            #expect(try peer.publicKey() == key)
        } else {
            #expect(peer.bytes == Bytes([0x12, 32] + Array(HashAlgorithm.sha256.digest(of: encoded).bytes)))
            #expect(try peer.publicKey() == nil)
        }
        #expect(try PeerID(bytes: peer.span) == peer)
        #expect(try PeerID(parsing: peer.description) == peer)
        #expect(try PeerID(parsing: peer.cid) == peer)
    }

    @Test("the id of a new key of each kind is read back", arguments: [KeyType.ed25519, .secp256k1, .ecdsa, .rsa])
    func fromNewKey(type: KeyType) throws {
        var random = Repeatable(seed: 0x5EED)
        let key =
            switch type {
            case .ed25519: PrivateKey.ed25519(using: &random)
            case .secp256k1: PrivateKey.secp256k1(using: &random)
            case .ecdsa: PrivateKey.ecdsa(using: &random)
            case .rsa: PrivateKey.rsa(bits: 2048)
            }
        let peer = PeerID(key.publicKey)
        #expect(peer.description.hasPrefix(type == .ed25519 || type == .secp256k1 ? "1" : "Qm"))
        #expect(try PeerID(parsing: peer.description) == peer)
        #expect(try PeerID(parsing: peer.cid) == peer)
    }

    @Test(
        "all text forms of an id are one id",
        arguments: [
            // From libp2p's specification and go-multiaddr's table.
            (
                "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
                ["bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe"]
            ),
            (
                "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
                [
                    "bafzbeigvf25ytwc3akrijfecaotc74udrhcxzh2cx3we5qqnw5vgrei4bm",
                    "k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7",
                    "f01721220d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a68911c0b",
                    "BAFZBEIGVF25YTWC3AKRIJFECAOTC74UDRHCXZH2CX3WE5QQNW5VGREI4BM",
                ]
            ),
            (
                "12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV",
                [
                    "k51qzi5uqu5dhb6l8spkdx7yxafegfkee5by8h7lmjh2ehc2sgg34z7c15vzqs",
                    "bafzaajaiaejcalj543iwv2d7pkjt7ykvefrkfu7qjfi6sduakhso4lay6abn2d5u",
                ]
            ),
            ("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA", []),
        ])
    func text(base58: String, others: [String]) throws {
        let peer = try PeerID(parsing: base58)
        #expect(peer.description == base58)
        for other in others {
            #expect(try PeerID(parsing: other) == peer)
            if other.hasPrefix("baf") { #expect(peer.cid == other) }
        }
        for base in Multibase.allCases {
            let cid = Bytes([1, 0x72] + Array(peer.bytes))
            #expect(try PeerID(parsing: base.encode(cid.span)) == peer, "\(base)")
        }
    }

    @Test(
        "what is no id is refused",
        arguments: [
            "", "1", "Qm", "11", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5",
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5NN", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx50",
            " 12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
            // A SHA-256 whose digest is too long (go-multiaddr), and a CID of raw bytes.
            "QmxoHT6iViN5xAjoz1VZ553cL31U9F94ht3QvWR1FrEbZY",
            "bafkreigvf25ytwc3akrijfecaotc74udrhcxzh2cx3we5qqnw5vgrei4bm", "b", "bafz", "xyz", "tcp",
            String(repeating: "1", count: 129), "z" + String(repeating: "2", count: 127),
        ])
    func badText(text: String) {
        #expect(throws: WireError.self) { try PeerID(parsing: text) }
        #expect(PeerID(text) == nil)
    }

    @Test("an id of any other form than a fitting multihash is refused at its offset")
    func badBytes() throws {
        func fails(_ bytes: [UInt8], _ reason: WireError.Reason, _ offset: Int) {
            #expect(throws: WireError(reason, at: offset), "\(bytes)") { try PeerID(bytes: Bytes(bytes).span) }
        }
        let zeros = { (count: Int) in [UInt8](repeating: 0, count: count) }
        fails([], .truncated, 0)
        fails([0], .truncated, 1)
        fails([0, 0], .missing, 1)
        fails([0, 43] + zeros(43), .tooLarge, 1)
        fails([0, 5] + zeros(6), .trailingBytes, 7)
        fails([0x80, 0x00, 1, 0], .notMinimal, 0)
        fails([0, 0x81, 0x00, 0], .notMinimal, 1)
        fails([0x12, 31] + zeros(31), .unexpected(31), 1)
        fails([0x12, 33] + zeros(33), .unexpected(33), 1)
        fails([0x12, 32] + zeros(33), .trailingBytes, 34)
        for code in UInt8(1)...0x7F where code != 0x12 { fails([code, 32] + zeros(32), .unexpected(UInt64(code)), 0) }

        let longest = try PeerID(bytes: Bytes([0, 42] + zeros(42)).span)
        #expect(longest.count == 44)
        for peer in [try Self.peer(Self.ed25519), try Self.peer(Self.ecdsa), longest] {
            for count in 0..<peer.count {
                #expect(throws: WireError.self) { try PeerID(bytes: peer.bytes.slice(0..<count).span) }
            }
        }
    }

    @Test("an id whose bytes are no key is carried, and says so when it is asked for its key")
    func keyless() throws {
        let peer = try PeerID(bytes: Bytes([0, 3, 1, 2, 3]).span)
        #expect(try PeerID(parsing: peer.description) == peer)
        #expect(throws: KeyError.self) { try peer.publicKey() }
    }

    @Test("it is 48 plain bytes, equal and ordered as its bytes are")
    func order() throws {
        #expect(MemoryLayout<PeerID>.stride == 48)
        var random = Repeatable(seed: 0x01DE_0001)
        var peers: [PeerID] = []
        for _ in 0..<200 {
            let count = 1 + random.below(42)
            // Few values make prefixes and ties.
            peers.append(try PeerID(bytes: Bytes([0, UInt8(count)] + random.bytes(count).map { $0 & 1 }).span))
            peers.append(try PeerID(bytes: Bytes([0x12, 32] + random.bytes(32)).span))
        }
        for left in peers {
            for right in peers {
                #expect((left < right) == (left.bytes < right.bytes))
                #expect((left == right) == (left.bytes == right.bytes))
            }
        }
        #expect(Set(peers).count == Set(peers.map(\.bytes)).count)
    }

    @Test("distance is the exclusive or of the hashes of both ids")
    func distance() throws {
        let first = try Self.peer(Self.ed25519)
        let second = try Self.peer(Self.ecdsa)
        #expect(first.distance(to: first) == .zero)
        #expect(Distance.zero.commonPrefixLength == 256)
        #expect(first.distance(to: second) == second.distance(to: first))

        let keys = [first, second].map { HashAlgorithm.sha256.digest(of: $0.span).bytes }
        let difference = zip(keys[0], keys[1]).map { $0 ^ $1 }
        let zeroBytes = difference.prefix { $0 == 0 }.count
        let expected = zeroBytes * 8 + difference[zeroBytes].leadingZeroBitCount
        #expect(first.distance(to: second).commonPrefixLength == expected)
        #expect(KademliaKey(first).commonPrefixLength(with: KademliaKey(second)) == expected)
    }

    @Test("nearer means a smaller exclusive or, at every byte")
    func distanceOrder() throws {
        var random = Repeatable(seed: 0xD157)
        var places: [(KademliaKey, [UInt8])] = []
        for _ in 0..<300 {
            let name = Bytes(random.bytes(8))
            places.append((KademliaKey(hashing: name.span), Array(HashAlgorithm.sha256.digest(of: name).bytes)))
        }
        let origin = places.removeFirst()
        for (near, nearHash) in places {
            for (far, farHash) in places {
                let nearBits = zip(nearHash, origin.1).map { $0 ^ $1 }
                let farBits = zip(farHash, origin.1).map { $0 ^ $1 }
                let isNearer = origin.0.distance(to: near) < origin.0.distance(to: far)
                #expect(isNearer == nearBits.lexicographicallyPrecedes(farBits))
            }
        }
    }

    private static func peer(_ hex: String) throws -> PeerID {
        PeerID(try PublicKey(protobuf: Bytes(hex: hex)))
    }
}
