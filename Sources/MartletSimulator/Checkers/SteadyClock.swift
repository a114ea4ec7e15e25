import MartletRuntime

/// Checks that the clock never goes back.
public final class SteadyClock: WorldWatcher {
    private var latest = Instant.start
    private var wrong: String?

    /// A checker.
    public init() {}

    /// "the clock goes forward".
    public var name: String { "the clock goes forward" }

    /// Looks at the clock.
    public func sent(_ packet: Packet, by host: Host) { look(host.environment.loop.now) }

    /// Looks at the clock.
    public func delivered(_ packet: Packet, to host: Host) { look(host.environment.loop.now) }

    /// Looks at the clock.
    public func changed(_ host: Host) { look(host.environment.loop.now) }

    /// The first thing that was wrong.
    public func verdict(on world: World) -> String? {
        look(world.now)
        return wrong
    }

    private func look(_ now: Instant) {
        if now < latest, wrong == nil { wrong = "it went back from \(latest) to \(now)" }
        latest = max(latest, now)
    }
}

extension World {
    /// Adds every checker that this library has: what they look for is wrong in any world.
    public func addCheckers() {
        add(PacketConservation(of: self))
        add(StreamIntegrity())
        add(SilenceOfTheDead())
        add(SteadyClock())
    }
}
