import MartletRuntime

/// What is still to happen in a world apart from its hosts' timers, in order of time.
struct Schedule: ~Copyable {
    /// Something that will happen.
    enum Event {
        /// A packet comes to a host, by number.
        case arrival(Packet, at: Int)
        /// A packet comes into a network, from a host's line or from a gateway.
        case network(Packet, Network)
        /// A packet comes to a gateway from the network above.
        case gateway(Packet, Gateway)
        /// A packet comes to a host's line, from the path before it.
        case line(Packet, to: Int)
        /// Anything else.
        case action(() -> Void)
    }

    private var wheel = TimingWheel(now: .start)
    private var events: [Event?] = []

    /// How much is still to happen.
    var count: Int { wheel.count }

    /// When the next event is due; it may be said a little early.
    var nextDeadline: Instant? { wheel.nextDeadline }

    /// How many packets are on their way.
    var packets: Int {
        events.reduce(0) { count, event in
            switch event {
            case .arrival, .network, .gateway, .line: count + 1
            case .action, nil: count
            }
        }
    }

    mutating func add(_ event: consuming Event, at time: Instant) {
        let index = wheel.makeEntry()
        if Int(index) == events.count {
            events.append(event)
        } else {
            events[Int(index)] = event
        }
        wheel.insert(index, at: time)
    }

    mutating func popDue(at now: Instant) -> Event? {
        guard let index = wheel.popExpired(at: now) else { return nil }
        let event = events[Int(index)].take()
        wheel.dropEntry(index)
        return event
    }
}
