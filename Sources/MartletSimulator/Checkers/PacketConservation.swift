/// Checks that no packet comes from nowhere or gets lost without a reason: those sent and doubled are those
/// delivered, dropped and still on their way.
public final class PacketConservation: WorldWatcher {
    private var made = 0
    private var gone = 0
    /// What was on its way before this began to look.
    private var before: Int

    /// A checker for what happens in `world` from now on.
    public init(of world: World) {
        before = world.packetsInFlight
    }

    /// "packets are conserved".
    public var name: String { "packets are conserved" }

    /// Counts one more.
    public func sent(_ packet: Packet, by host: Host) { made += 1 }

    /// Counts one more.
    public func duplicated(_ packet: Packet) { made += 1 }

    /// Counts one less.
    public func delivered(_ packet: Packet, to host: Host) { gone += 1 }

    /// Counts one less.
    public func dropped(_ packet: Packet, because reason: DropReason) { gone += 1 }

    /// Says by how many the counts differ.
    public func verdict(on world: World) -> String? {
        let inFlight = world.packetsInFlight
        guard before + made != gone + inFlight else { return nil }
        return "\(before) were there and \(made) made, but \(gone) are gone and \(inFlight) on their way"
    }
}
