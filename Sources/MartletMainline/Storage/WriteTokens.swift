import MartletRuntime
import MartletWire

/// The tokens that prove that whoever stores something here receives what is sent to his address (BEP 5).
///
/// A token is a keyed hash of the host's address. The key is replaced at intervals, and the one before is still good,
/// so a token lasts for one interval at least and two at most.
struct WriteTokens {
    private var current: SipHash
    private var previous: SipHash
    private let rotation: Duration
    /// When the key is to be replaced.
    private(set) var deadline: Instant

    init(rotation: Duration, at now: Instant, using generator: inout some RandomNumberGenerator) {
        current = SipHash(using: &generator)
        previous = SipHash(using: &generator)
        self.rotation = rotation
        deadline = now + rotation
    }

    /// The token of `address`.
    func token(for address: IPAddress) -> UInt64 { current(address) }

    /// Whether `token` was given to `address`, not too long ago.
    func isValid(_ token: RawSpan, for address: IPAddress) -> Bool {
        var reader = Reader(token)
        guard let number: UInt64 = try? reader.integer(), reader.isAtEnd else { return false }
        return number == current(address) || number == previous(address)
    }

    /// Replaces the key where it is time.
    mutating func rotate(at now: Instant, using generator: inout some RandomNumberGenerator) {
        guard now >= deadline else { return }
        // After a pause of two intervals, the previous key is too old as well.
        previous = now >= deadline + rotation ? SipHash(using: &generator) : current
        current = SipHash(using: &generator)
        deadline = now + rotation
    }
}
