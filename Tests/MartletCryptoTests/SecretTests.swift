import MartletCrypto
import MartletWire
import Testing

struct SecretTests {
    @Test("a secret keeps its bytes and never prints them")
    func redacts() {
        let bytes: Bytes = [0xDE, 0xAD, 0xBE, 0xEF]
        let secret = Secret(copying: bytes.span)
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(Bytes(copying: secret.span) == bytes)
        for text in ["\(secret)", String(reflecting: secret), String(reflecting: [secret]), dumped] {
            #expect(text.contains("4 bytes"))
            #expect(!text.contains("222") && !text.contains("173"))
        }
    }

    @Test("secrets are equal when their bytes are, and a different length is no crash")
    func compares() {
        let one = Secret(copying: Bytes([1, 2, 3]).span)
        #expect(one == Secret(copying: Bytes([1, 2, 3]).span))
        #expect(one != Secret(copying: Bytes([1, 2, 4]).span))
        #expect(one != Secret(copying: Bytes([1, 2]).span))
        #expect(Secret(copying: Bytes().span) == Secret(copying: Bytes().span))
    }

    @Test("a drawn secret takes all its bytes from the generator")
    func draws() {
        struct Counting: RandomNumberGenerator {
            var state: UInt64 = 0
            mutating func next() -> UInt64 {
                state += 0x0101_0101_0101_0101
                return state
            }
        }
        var generator = Counting()
        let secret = Secret(count: 11, using: &generator)
        #expect(Bytes(copying: secret.span) == [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2])
    }
}
