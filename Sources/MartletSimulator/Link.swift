import MartletRuntime

/// What a line does to the packets that go over it in one direction.
///
/// Changes hold for the packets that are sent from then on; what becomes of those on their way may be settled already.
public struct LinkConditions: Hashable, Sendable {
    /// How long a packet takes, at the least.
    public var latency: Duration = .milliseconds(1)
    /// How much longer it may take; drawn evenly for each packet.
    public var jitter: Duration = .zero
    /// The share of packets that is lost.
    public var loss = 0.0
    /// The share of packets that arrives twice.
    public var duplication = 0.0
    /// The share of packets that may be overtaken. All others keep their order, whatever the jitter.
    public var reordering = 0.0
    /// Bits a second, or `nil` for as many as there are.
    public var rate: Int?
    /// How many bytes may be queued where there is a rate, those that are being sent included; the rest is lost.
    public var queueBound = 1 << 20
    /// The largest packet, its headers included. Larger ones are lost: there is no fragmentation.
    public var mtu = 1500

    /// Whether what becomes of a packet depends on those before it.
    var remembers: Bool { rate != nil || jitter > .zero }

    /// A millisecond and nothing bad.
    public init() {}

    /// A line with the given latency and, where they are given, jitter, loss and rate.
    public init(latency: Duration, jitter: Duration = .zero, loss: Double = 0, rate: Int? = nil) {
        self.latency = latency
        self.jitter = jitter
        self.loss = loss
        self.rate = rate
    }
}

/// One direction of a line: its conditions, which may change at any time, and what is on it.
struct Line {
    var conditions: LinkConditions
    private var busyUntil = Instant.start
    /// The rate by which `busyUntil` was reckoned.
    private var pace = 0
    private var lastArrival = Instant.start

    init(_ conditions: LinkConditions) { self.conditions = conditions }

    enum Outcome {
        case lost(DropReason)
        case arrives(Instant, andAgain: Instant?)
    }

    /// Puts a packet of `size` bytes on the line at `now`.
    mutating func carry(size: Int, at now: Instant, random: inout SeededRandom) -> Outcome {
        guard size <= conditions.mtu else { return .lost(.tooLarge) }
        var departure = now
        if let rate = conditions.rate {
            guard rate > 0 else { return .lost(.queueFull) }
            if rate != pace { keepPace(rate, at: now) }
            let begin = max(now, busyUntil)
            let waiting = Double((begin - now).nanoseconds) * Double(rate) / 8e9
            guard Int(waiting) + size <= conditions.queueBound || begin == now else { return .lost(.queueFull) }
            departure = begin + .nanoseconds(Int64(Double(size) * 8e9 / Double(rate)))
            busyUntil = departure
        }
        guard !random.chance(conditions.loss) else { return .lost(.loss) }
        let arrival = arrival(of: departure, random: &random)
        guard random.chance(conditions.duplication) else { return .arrives(arrival, andAgain: nil) }
        return .arrives(arrival, andAgain: self.arrival(of: departure, random: &random))
    }

    /// The rate has changed: what waits goes out at the new one.
    private mutating func keepPace(_ rate: Int, at now: Instant) {
        if busyUntil > now {
            let waiting = Double((busyUntil - now).nanoseconds) * Double(pace) / Double(rate)
            busyUntil = now + .nanoseconds(Int64(waiting))
        }
        pace = rate
    }

    private mutating func arrival(of departure: Instant, random: inout SeededRandom) -> Instant {
        var arrival = departure + conditions.latency
        if random.chance(conditions.reordering) {
            // An overtaken packet is late by up to as much again, and holds up nobody behind it.
            return arrival + random.duration(upTo: conditions.latency + conditions.jitter)
        }
        guard conditions.jitter > .zero else { return arrival }
        arrival += random.duration(upTo: conditions.jitter)
        arrival = max(arrival, lastArrival)
        lastArrival = arrival
        return arrival
    }
}

/// Why a packet did not arrive.
public enum DropReason: Int, Hashable, CaseIterable, Sendable {
    /// The line lost it.
    case loss
    /// Too much was waiting for the line.
    case queueFull
    /// It was larger than the line carries.
    case tooLarge
    /// A partition lies between.
    case partition
    /// No host has the address.
    case noRoute
    /// The host is down.
    case hostDown
    /// The host has no socket at the port.
    case noSocket
    /// A NAT has no mapping for it, or a firewall no state.
    case filtered
    /// A NAT has no port left.
    case portsExhausted
    /// The network lets no UDP through.
    case udpBlocked
    /// It went round and round between networks.
    case hopLimit
}
