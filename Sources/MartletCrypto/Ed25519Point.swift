internal import MartletWire

/// What can be told of an Ed25519 public key (RFC 8032 §5.1.3) by its 32 bytes alone.
enum Ed25519Point {
    /// The y of the points whose order divides 8, low byte first: 0, 1, −1, and the two that a pair of points each
    /// share. The last bit of the encoding chooses the sign of x, so these are ten encodings; with the four below that
    /// name 0 and 1 by numbers over the prime, they are the fourteen that every careful verifier refuses.
    private static let smallOrder: [[UInt8]] = [
        [UInt8](repeating: 0, count: 32),
        [1] + [UInt8](repeating: 0, count: 31),
        [
            0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98, 0xF0,
            0xD5, 0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05,
        ],
        [
            0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67, 0x0F,
            0x2A, 0x20, 0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A,
        ],
        number(0xEC),
        number(0xED),
        number(0xEE),
    ]

    /// The number 2^255 − 256 + `lowest`, low byte first. The prime is the one with 0xED.
    private static func number(_ lowest: UInt8) -> [UInt8] {
        [lowest] + [UInt8](repeating: 0xFF, count: 30) + [0x7F]
    }

    /// Throws if the 32 bytes of `encoding` name a point of small order, or name y by a number that is not below the
    /// prime. A point of small order makes anyone a signer: a signature of zeros is valid under it for one message in
    /// eight or for all, so a peer id made of it would belong to everybody.
    static func check(_ encoding: RawSpan) throws(KeyError) {
        let isSmall = smallOrder.contains { y in
            for index in 0..<31 where encoding[index] != y[index] { return false }
            return encoding[31] & 0x7F == y[31]
        }
        if isSmall { throw .pointOfSmallOrder }
        let isOverPrime =
            encoding[0] >= 0xED && encoding[31] & 0x7F == 0x7F && !(1..<31).contains { encoding[$0] != 0xFF }
        if isOverPrime { throw .pointNotOnCurve }
    }
}
