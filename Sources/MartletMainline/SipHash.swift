internal import MartletWire

/// SipHash-2-4 (Aumasson and Bernstein, 2012) of short messages: a keyed hash that strangers cannot foresee and that
/// costs less than any of libcrypto's. Write tokens are made with it, and strangers are spread over counters.
struct SipHash: Sendable {
    private let key0: UInt64
    private let key1: UInt64

    /// The hash under a key of 128 bits.
    init(key: (UInt64, UInt64)) {
        (key0, key1) = key
    }

    /// The hash under a drawn key.
    init(using generator: inout some RandomNumberGenerator) {
        self.init(key: (generator.next(), generator.next()))
    }

    /// The hash of two words as the 16 bytes that they are, the least significant first.
    func callAsFunction(_ first: UInt64, _ second: UInt64) -> UInt64 {
        var state = State(key0, key1)
        state.absorb(first)
        state.absorb(second)
        // The last block of 16 bytes is empty but for the length.
        state.absorb(16 << 56)
        return state.finish()
    }

    /// The hash of an address.
    func callAsFunction(_ address: IPAddress) -> UInt64 {
        self(
            UInt64(truncatingIfNeeded: address.number),
            UInt64(truncatingIfNeeded: address.number >> 64) ^ (address.isV4 ? 1 : 0))
    }

    private struct State {
        var v0: UInt64, v1: UInt64, v2: UInt64, v3: UInt64

        init(_ key0: UInt64, _ key1: UInt64) {
            v0 = key0 ^ 0x736f_6d65_7073_6575
            v1 = key1 ^ 0x646f_7261_6e64_6f6d
            v2 = key0 ^ 0x6c79_6765_6e65_7261
            v3 = key1 ^ 0x7465_6462_7974_6573
        }

        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            round()
            v0 ^= word
        }

        mutating func finish() -> UInt64 {
            v2 ^= 0xFF
            for _ in 0..<4 { round() }
            return v0 ^ v1 ^ v2 ^ v3
        }

        private mutating func round() {
            v0 &+= v1
            v1 = v1 << 13 | v1 >> 51
            v1 ^= v0
            v0 = v0 << 32 | v0 >> 32
            v2 &+= v3
            v3 = v3 << 16 | v3 >> 48
            v3 ^= v2
            v0 &+= v3
            v3 = v3 << 21 | v3 >> 43
            v3 ^= v0
            v2 &+= v1
            v1 = v1 << 17 | v1 >> 47
            v1 ^= v2
            v2 = v2 << 32 | v2 >> 32
        }
    }
}
