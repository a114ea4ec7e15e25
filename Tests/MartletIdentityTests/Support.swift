import MartletCrypto
import MartletIdentity
import MartletWire

/// A generator of repeatable numbers (SplitMix64), for properties and keys.
struct Repeatable: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
}

extension Bytes {
    /// Bytes written in base16.
    init(hex: String) throws(WireError) {
        self = try Base16.decode(hex)
    }

    /// The same with one byte replaced.
    func replacing(_ position: Int, with byte: UInt8) -> Bytes {
        var copy = Array(self)
        copy[position] = byte
        return Bytes(copy)
    }
}
