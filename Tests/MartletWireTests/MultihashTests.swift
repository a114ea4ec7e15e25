import MartletWire
import Testing

@Suite("Multihash and CID")
struct MultihashTests {
    /// The peer id and its texts that libp2p's peer id specification shows.
    private static let peerText = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
    private static let contentText = "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe"

    private static func error<Value>(_ body: () throws(WireError) -> Value) -> WireError? {
        do throws(WireError) {
            _ = try body()
            return nil
        } catch {
            return error
        }
    }

    private static func multihashError(_ bytes: Bytes) -> WireError? {
        error { () throws(WireError) in try Multihash(bytes) }
    }

    private static func contentError(_ bytes: Bytes) -> WireError? {
        error { () throws(WireError) in try CID(bytes) }
    }

    @Test("the specification's peer id is the same in base58 and as a CID")
    func peerID() throws {
        let multihash = try Multihash(Base58.decode(Self.peerText))
        #expect(multihash.function == .sha256)
        #expect(multihash.digest.count == 32)
        let content = try CID(text: Self.contentText)
        #expect(content.codec == .libp2pKey)
        #expect(content.multihash == multihash)
        #expect(CID(.libp2pKey, multihash).text() == Self.contentText)
        #expect(multihash.description == Self.peerText)
        #expect(try CID(text: content.text(in: .base36)) == content)
    }

    @Test("an identity hash holds its digest, up to the bound", arguments: [0, 1, 42, 127, 128])
    func identity(count: Int) throws {
        let digest = Bytes(repeatElement(9, count: count))
        let multihash = Multihash(.identity, digest: digest.span)
        #expect(multihash.digest == digest)
        let read = try Multihash(multihash.encoded)
        #expect(read == multihash)
        #expect(read.digest == digest)
    }

    @Test("unknown functions, wrong lengths and bytes behind are refused where they stand")
    func refused() {
        #expect(Self.multihashError([]) == WireError(.truncated, at: 0))
        #expect(Self.multihashError([0x13, 0x00]) == WireError(.unexpected(0x13), at: 0))
        #expect(Self.multihashError([0x12, 0x01, 0x00]) == WireError(.unexpected(1), at: 1))
        #expect(Self.multihashError([0x00, 0x01, 0x05, 0x06]) == WireError(.trailingBytes, at: 3))
        #expect(Self.multihashError([0x00, 0x81, 0x01]) == WireError(.tooLarge, at: 1))
        #expect(Self.multihashError([0x92, 0x00, 0x00]) == WireError(.notMinimal, at: 0))
        #expect(Self.contentError([0x00, 0x72, 0x00, 0x00]) == WireError(.unexpected(0), at: 0))
        #expect(Self.contentError([0x01, 0x71, 0x00, 0x00]) == WireError(.unexpected(0x71), at: 1))
        #expect(Self.contentError([0x01, 0x72, 0x00, 0x00, 0x00]) == WireError(.trailingBytes, at: 4))
        #expect(
            Self.error { () throws(WireError) in try CID(text: Self.peerText) } == WireError(.unexpected(0x51), at: 0))
    }

    @Test("a CID cut at every byte is truncated, and says where")
    func everyTruncation() throws {
        let whole = try CID(text: Self.contentText).encoded
        for count in 0..<whole.count {
            let error = Self.contentError(whole.slice(0..<count))
            #expect(error?.reason == .truncated)
            #expect(error.map { $0.offset <= count } == true)
        }
        #expect(Self.contentError(whole) == nil)
    }

    @Test("a multihash is read out of larger bytes, and a bad one moves nothing")
    func reader() throws {
        let bytes: Bytes = [0x00, 0x02, 0x05, 0x06, 0x13]
        var reader = Reader(bytes.span)
        let view = try reader.multihash()
        let digest = Bytes(copying: view.digest)
        #expect(digest == [0x05, 0x06])
        let position = reader.position
        #expect(position == 4)
        #expect(throws: WireError(.unexpected(0x13), at: 4)) {
            var second = Reader(bytes.span)
            try second.skip(4)
            _ = try second.multihash()
        }
    }
}
