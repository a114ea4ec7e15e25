internal import MartletRuntime

/// Random numbers that follow from a seed: xoshiro256** by Blackman and Vigna, seeded by SplitMix64.
///
/// The same on every machine and in every process. Not for keys outside a simulated world.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    /// The numbers that follow from `seed`.
    public init(seed: UInt64) {
        var mixer = seed
        func mixed() -> UInt64 {
            mixer &+= 0x9E37_79B9_7F4A_7C15
            var z = mixer
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        state = (mixed(), mixed(), mixed(), mixed())
    }

    /// The next number.
    public mutating func next() -> UInt64 {
        func rotated(_ value: UInt64, by bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }
        let result = rotated(state.1 &* 5, by: 7) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = rotated(state.3, by: 45)
        return result
    }

    /// A number from 0 up to, but not including, 1.
    public mutating func fraction() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// Whether something of this probability happens. Draws nothing where it cannot, or must.
    public mutating func chance(_ probability: Double) -> Bool {
        if probability <= 0 { return false }
        if probability >= 1 { return true }
        return fraction() < probability
    }

    /// A duration from nothing up to `longest`.
    public mutating func duration(upTo longest: Duration) -> Duration {
        .nanoseconds(Int64(fraction() * Double(longest.nanoseconds)))
    }

    /// Another generator, whose numbers have nothing to do with the further ones of this.
    public mutating func split() -> SeededRandom {
        SeededRandom(seed: next())
    }
}
