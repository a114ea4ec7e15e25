internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

/// In which order and when the addresses of one peer are tried: a machine, after RFC 8305 (Happy Eyeballs).
///
/// Addresses stand in lanes: QUIC, TCP a quarter of a second behind it, and relays when nothing else is left. Within a
/// lane IPv6 and IPv4 take turns, and one more is begun every quarter of a second, or at once when one has failed and no
/// other is on its way. What names lead to is added when the answers come; IPv4 waits a moment for IPv6. Ask for
/// `nextAddress` until it is `nil`, after each call and at `deadline`.
struct DialPlan: Sendable {
    /// How long one address has for itself before the next is tried beside it (RFC 8305 §5).
    static let stagger = Duration.milliseconds(250)
    /// How long the IPv4 addresses of a name wait for its IPv6 addresses (RFC 8305 §3).
    static let resolutionDelay = Duration.milliseconds(50)

    /// Addresses of one kind, each family in the order in which it came.
    private struct Lane: Sendable {
        var v4: ArraySlice<Multiaddr> = []
        var other: ArraySlice<Multiaddr> = []
        var lastWasOther = false
        /// When the next may begin.
        var start = Instant.start

        var isEmpty: Bool { v4.isEmpty && other.isEmpty }

        mutating func add(_ address: Multiaddr) {
            if DialPlan.isV4(address) { v4.append(address) } else { other.append(address) }
        }

        /// IPv6, and everything that may be it, comes first and then takes turns with IPv4.
        mutating func next() -> Multiaddr? {
            lastWasOther = !(other.isEmpty || (lastWasOther && !v4.isEmpty))
            return lastWasOther ? other.popFirst() : v4.popFirst()
        }
    }

    private var lanes = [Lane(), Lane(), Lane()]
    private var seen: Set<Multiaddr> = []
    private let atOnce: Int
    /// How many may still be begun.
    private var left: Int
    private var running = 0
    private var hasBegun = false
    private var hasAny = false
    private var lookUps: (v4: Int, other: Int) = (0, 0)
    /// Until when IPv4 waits for IPv6.
    private var held: Instant?

    /// A plan for `addresses`, which begins at `now`, tries at most `atOnce` of them at the same time and at most `most`
    /// in all.
    init(_ addresses: [Multiaddr], atOnce: Int, most: Int = .max, at now: Instant) {
        self.atOnce = max(1, atOnce)
        left = max(1, most)
        add(addresses, at: now)
    }

    /// Whether nothing is left to try, nothing is being tried, and no name is being looked up.
    var isExhausted: Bool {
        running == 0 && (left == 0 || (lanes.allSatisfy(\.isEmpty) && lookUps == (0, 0)))
    }

    /// When to ask again, where nothing else happens before.
    var deadline: Instant? {
        guard left > 0, running < atOnce else { return nil }
        guard let start = open.map({ lanes[$0].start }).min() else { return nil }
        return max(start, held ?? start)
    }

    /// The next address to be tried now.
    mutating func nextAddress(at now: Instant) -> Multiaddr? {
        guard left > 0, running < atOnce, held.map({ $0 <= now }) ?? true else { return nil }
        for index in open where lanes[index].start <= now {
            guard let address = lanes[index].next() else { continue }
            lanes[index].start = now + Self.stagger
            // Relays are tried last, and then as far apart as the others.
            lanes[2].start = now + Self.stagger
            running += 1
            left -= 1
            hasBegun = true
            held = nil
            return address
        }
        return nil
    }

    /// One that was tried has failed.
    mutating func failed(at now: Instant) {
        running -= 1
        if running == 0, let first = open.first { lanes[first].start = min(lanes[first].start, now) }
    }

    /// Adds `addresses`, as far as they are new.
    mutating func add(_ addresses: [Multiaddr], at now: Instant) {
        for address in addresses where seen.insert(address).inserted { lanes[Self.lane(address)].add(address) }
        if running == 0, let first = open.first { lanes[first].start = min(lanes[first].start, now) }
        guard !hasAny, !open.isEmpty else { return }
        hasAny = true
        lanes[0].start = now
        lanes[1].start = lanes[0].isEmpty ? now : now + Self.stagger
        lanes[2].start = now
    }

    /// A name's addresses of one family are being looked up.
    mutating func beginLookUp(of family: IPAddress.Family) {
        if family == .v4 { lookUps.v4 += 1 } else { lookUps.other += 1 }
    }

    /// A name's addresses of one family are `addresses`; none where it has none.
    mutating func endLookUp(of family: IPAddress.Family, _ addresses: [Multiaddr], at now: Instant) {
        if family == .v4 { lookUps.v4 -= 1 } else { lookUps.other -= 1 }
        if !hasBegun, !hasAny, !addresses.isEmpty, family == .v4, lookUps.other > 0 {
            held = now + Self.resolutionDelay
        }
        if lookUps.other == 0 { held = nil }
        add(addresses, at: now)
    }

    /// The lanes from which something may begin.
    private var open: [Int] {
        let direct = [0, 1].filter { !lanes[$0].isEmpty }
        return direct.isEmpty && !lanes[2].isEmpty ? [2] : direct
    }

    private static func lane(_ address: Multiaddr) -> Int {
        if address.isRelayed { return 2 }
        return address.contains(.udp) ? 0 : 1
    }

    private static func isV4(_ address: Multiaddr) -> Bool {
        switch address.host {
        case .ip(let ip): ip.isV4
        case .name(_, let family): family == .v4
        case nil: false
        }
    }
}
