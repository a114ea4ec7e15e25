internal import MartletRuntime
internal import MartletWire

/// To which hosts something was sent not long ago: a machine.
///
/// A NAT lets in what comes from where something was sent to, so a peer that comes from there proves nothing.
///
/// Time is cut into windows, each with a set of its own, of which the oldest is dropped when a new one begins: a host is
/// remembered for `lifetime` and at most one window longer. A small set is exact. A large one becomes a Bloom filter of
/// a fixed size, so a node may talk to any number of hosts: with more of them, more strangers are taken for hosts that
/// were contacted, which is the harmless mistake, but never all. At 100,000 hosts in a window it is one in 1,000; at a
/// million, every second one. The filter is keyed, so that nobody can choose hosts that fill it faster.
struct ContactedHosts {
    /// How long a NAT may remember. RFC 4787 asks for two minutes at least; half an hour is longer than any is known to.
    static let lifetime = Duration.seconds(1800)
    /// How long one set is filled.
    static let window = Duration.seconds(600)
    /// How many sets cover `lifetime`, the one that is being filled included.
    private static let windows = 4
    /// How many hosts a set holds before it becomes a filter.
    static let exact = 4096
    /// How many bits a filter has.
    static let bits = 1 << 21

    /// Hosts of one window.
    private struct Window {
        private var hosts: Set<UInt64> = []
        private var filter: [UInt64] = []
        private(set) var count = 0

        mutating func insert(_ host: UInt64) {
            guard filter.isEmpty else {
                if !holds(host) { count += 1 }
                return mark(host)
            }
            guard hosts.insert(host).inserted else { return }
            count += 1
            guard hosts.count > ContactedHosts.exact else { return }
            filter = [UInt64](repeating: 0, count: ContactedHosts.bits / 64)
            for host in hosts { mark(host) }
            hosts = []
        }

        func holds(_ host: UInt64) -> Bool {
            if filter.isEmpty { return hosts.contains(host) }
            return Self.places(of: host).allSatisfy { filter[$0 / 64] & 1 << UInt64($0 % 64) != 0 }
        }

        private mutating func mark(_ host: UInt64) {
            for place in Self.places(of: host) { filter[place / 64] |= 1 << UInt64(place % 64) }
        }

        /// Four places, out of two halves of one hash (Kirsch and Mitzenmacher, 2006).
        private static func places(of host: UInt64) -> some Sequence<Int> {
            let (first, step) = (Int(host & 0xFFFF_FFFF), Int(host >> 32 | 1))
            return (0..<4).lazy.map { (first + $0 * step) & (ContactedHosts.bits - 1) }
        }
    }

    private var sets: [Window] = [Window()]
    private var windowEnd: Instant?
    private let key: (UInt64, UInt64)

    /// No hosts yet. `random` chooses the key.
    init(random: inout some RandomNumberGenerator) {
        key = (random.next(), random.next())
    }

    /// Something was sent to `host`.
    mutating func contacted(_ host: IPAddress, at now: Instant) {
        turn(at: now)
        sets[0].insert(hash(host))
    }

    /// Whether nothing was sent to `host` for as long as a NAT remembers.
    mutating func isStranger(_ host: IPAddress, at now: Instant) -> Bool {
        turn(at: now)
        let host = hash(host)
        return !sets.contains { $0.holds(host) }
    }

    /// This node is in another network: what was sent from the old one opens nothing in a NAT of the new one.
    mutating func forget() {
        sets = [Window()]
        windowEnd = nil
    }

    /// How many are remembered, each counted once for each window.
    var count: Int { sets.reduce(0) { $0 + $1.count } }

    /// Begins the windows that have come since the last time.
    private mutating func turn(at now: Instant) {
        guard let end = windowEnd else { return windowEnd = now + Self.window }
        guard now >= end else { return }
        let passed = 1 + Int((now - end) / Self.window)
        for _ in 0..<min(passed, Self.windows) { sets.insert(Window(), at: 0) }
        sets.removeLast(max(0, sets.count - Self.windows))
        windowEnd = end + Self.window * passed
    }

    /// A keyed hash of an address: two rounds of SplitMix64's finalizer (Steele, Lea and Flood, 2014).
    private func hash(_ host: IPAddress) -> UInt64 {
        let host = host.unmapped
        var value = UInt64(truncatingIfNeeded: host.number >> 64) ^ key.0 ^ (host.isV4 ? 0 : 0x9E37_79B9_7F4A_7C15)
        value = Self.mixed(value) ^ UInt64(truncatingIfNeeded: host.number) &+ key.1
        return Self.mixed(value)
    }

    private static func mixed(_ number: UInt64) -> UInt64 {
        var number = number
        number = (number ^ number >> 30) &* 0xBF58_476D_1CE4_E5B9
        number = (number ^ number >> 27) &* 0x94D0_49BB_1331_11EB
        return number ^ number >> 31
    }
}
