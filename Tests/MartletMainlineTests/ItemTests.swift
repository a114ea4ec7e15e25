import MartletCrypto
import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import MartletMainline

@Suite("Items")
struct ItemTests {
    private let value = Bytes(utf8: "12:Hello World!")
    private static let publicKey = hex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548")

    @Test(
        "the vectors of BEP 44 hold",
        arguments: [
            (
                "", "4a533d47ec9c7d95b1ad75f576cffc641853b750",
                "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
                    + "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01", "3:seqi1e1:v12:Hello World!"
            ),
            (
                "foobar", "411eba73b6f087ca51a3795d9c8c938d365e32c1",
                "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
                    + "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
                "4:salt6:foobar3:seqi1e1:v12:Hello World!"
            ),
        ])
    func mutable(salt: String, target: String, signature: String, signed: String) throws {
        let salt = Bytes(utf8: salt)
        #expect(MainlineItem.signed(value, sequence: 1, salt: salt) == Bytes(utf8: signed))
        let item = try MainlineItem(
            value: value, key: Self.publicKey, salt: salt, sequence: 1, signature: hex(signature))
        #expect(item.target.description == target)
        for broken in [
            (Bytes(utf8: "12:Hello world!"), salt, Int64(1)), (value, Bytes(utf8: "x"), 1), (value, salt, 2),
        ] {
            #expect(throws: KRPCError.invalidSignature) {
                try MainlineItem(
                    value: broken.0, key: Self.publicKey, salt: broken.1, sequence: broken.2, signature: hex(signature))
            }
        }
    }

    @Test("an immutable item stands under its own hash")
    func immutable() throws {
        #expect(try MainlineItem(immutable: value).target.description == "e5f96f6f38320f0f33959cb4d3d656452117aadb")
    }

    @Test("what is too large or no bencode is refused")
    func refused() throws {
        #expect(throws: KRPCError.valueTooLarge) {
            try MainlineItem(immutable: Bytes(utf8: "997:\(String(repeating: "x", count: 997))"))
        }
        #expect(throws: KRPCError.protocol) { try MainlineItem(immutable: Bytes(utf8: "5:abc")) }
        #expect(throws: KRPCError.protocol) { try MainlineItem(immutable: Bytes(utf8: "3:abcd")) }
        #expect(throws: KRPCError.protocol) { try MainlineItem(immutable: Bytes()) }
        var generator = SeededGenerator(seed: 1)
        let key = PrivateKey.ed25519(using: &generator)
        #expect(throws: KRPCError.saltTooLarge) {
            try MainlineItem(mutable: value, sequence: 1, salt: Bytes([UInt8](repeating: 1, count: 65)), signedBy: key)
        }
        #expect(throws: KRPCError.protocol) { try MainlineItem(mutable: value, sequence: -1, signedBy: key) }
    }

    @Test("a store takes newer versions, compares where it is told to, and never goes back")
    func versions() throws {
        var generator = SeededGenerator(seed: 2)
        let key = PrivateKey.ed25519(using: &generator)
        var store = ItemStore(limits: MainlineLimits(), hash: SipHash(using: &generator))
        let own = NodeID(using: &generator)
        let source = IPAddress(8, 8, 8, 8)
        func put(_ text: String, _ sequence: Int64, cas: Int64? = nil) -> KRPCError? {
            do throws(KRPCError) {
                let item = try MainlineItem(mutable: Bytes(utf8: text), sequence: sequence, signedBy: key)
                try store.put(item, replacing: cas, from: source, near: own, at: .start)
                return nil
            } catch {
                return error
            }
        }
        // Without a value, what is to be replaced does not matter.
        #expect(put("1:a", 5, cas: 99) == nil)
        #expect(put("1:b", 4) == .sequenceTooLow)
        #expect(put("1:b", 5) == .sequenceTooLow)
        #expect(put("1:a", 5) == nil)
        #expect(put("1:b", 6, cas: 4) == .sequenceMismatch)
        #expect(put("1:b", 6, cas: 5) == nil)
        #expect(put("1:c", 3, cas: 6) == .sequenceTooLow)
        #expect(store.count == 1)
        let target = MainlineItem.target(key: key.publicKey.data.span)
        #expect(store.item(target, at: .start)?.value == Bytes(utf8: "1:b"))
        #expect(store.item(target, at: .start + .seconds(7200)) == nil)
        store.expire(at: .start + .seconds(7200))
        #expect(store.count == 0)
    }

    @Test("a full store keeps what is closest to its own id; one source gets no more than its share")
    func bounds() throws {
        var generator = SeededGenerator(seed: 3)
        var limits = MainlineLimits()
        limits.items = 20
        limits.itemsPerSource = 5
        var store = ItemStore(limits: limits, hash: SipHash(using: &generator))
        let own = NodeID(using: &generator)
        func put(_ number: Int, from source: IPAddress) -> NodeID? {
            guard let item = try? MainlineItem(immutable: Bytes(utf8: "i\(number)e")) else { return nil }
            return (try? store.put(item, replacing: nil, from: source, near: own, at: .start)).map { item.target }
        }
        let ofOne = (0..<10).compactMap { put($0, from: IPAddress(v4: 1)) }
        #expect(ofOne.count == 5)
        for number in 0..<200 { _ = put(1000 + number, from: IPAddress(v4: UInt32(100 + number))) }
        #expect(store.count == 20)
        let all = ((0..<5).map { $0 } + (1000..<1200)).compactMap {
            try? MainlineItem(immutable: Bytes(utf8: "i\($0)e")).target
        }
        let closest = Set(all.sorted { $0.isCloser(to: own, than: $1) }.prefix(20))
        #expect(closest.allSatisfy { store.item($0, at: .start) != nil })
    }
}

func hex(_ text: String) -> Bytes {
    let digits = Array(text)
    return Bytes(stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16) ?? 0 })
}
