internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

/// In which order and when the addresses of one peer are tried: a machine, after RFC 8305 (Happy Eyeballs).
///
/// QUIC comes first and TCP a quarter of a second behind it; within each, IPv6 and IPv4 take turns, and one more is begun
/// every quarter of a second, or at once when one has failed and no other is on its way. Addresses through a relay come
/// last. Ask for `nextAddress` until it is `nil`, after each call and at `deadline`.
struct DialPlan: Sendable {
    /// How long one address has for itself before the next is tried beside it (RFC 8305 §5).
    static let stagger = Duration.milliseconds(250)

    private var waiting: [Multiaddr]
    private var next = 0
    private let atOnce: Int
    private var running = 0
    private var nextStart: Instant

    /// A plan for `addresses`, which begins at `now` and tries at most `atOnce` of them at the same time.
    init(_ addresses: [Multiaddr], atOnce: Int, at now: Instant) {
        waiting = Self.order(addresses)
        self.atOnce = max(1, atOnce)
        nextStart = now
    }

    /// Whether nothing is left to try and nothing is being tried.
    var isExhausted: Bool { next == waiting.count && running == 0 }

    /// When to ask again, where nothing else happens before.
    var deadline: Instant? { next < waiting.count && running < atOnce ? nextStart : nil }

    /// The next address to be tried now.
    mutating func nextAddress(at now: Instant) -> Multiaddr? {
        guard next < waiting.count, running < atOnce, nextStart <= now else { return nil }
        let address = waiting[next]
        next += 1
        running += 1
        nextStart = now + Self.stagger
        return address
    }

    /// One that was tried has failed.
    mutating func failed(at now: Instant) {
        running -= 1
        if running == 0 { nextStart = now }
    }

    /// The order in which `addresses` are tried, each once.
    static func order(_ addresses: [Multiaddr]) -> [Multiaddr] {
        var seen: Set<Multiaddr> = []
        let all = addresses.filter { seen.insert($0).inserted }
        let groups = (0..<3).map { rank in all.filter { Self.rank($0) == rank } }
        return groups.flatMap(interleaved)
    }

    private static func rank(_ address: Multiaddr) -> Int {
        if address.isRelayed { return 2 }
        return address.contains(.udp) ? 0 : 1
    }

    /// IPv6 and everything that may be it take turns with IPv4; each family keeps its order.
    private static func interleaved(_ addresses: [Multiaddr]) -> [Multiaddr] {
        let four = addresses.filter(isV4)
        let six = addresses.filter { !isV4($0) }
        return (0..<max(four.count, six.count)).flatMap { index in
            [six, four].compactMap { index < $0.count ? $0[index] : nil }
        }
    }

    private static func isV4(_ address: Multiaddr) -> Bool {
        switch address.host {
        case .ip(let ip): ip.isV4
        case .name(_, let family): family == .v4
        case nil: false
        }
    }
}
