/// Checks that a host that is off, or stands still, neither sends nor receives anything.
public final class SilenceOfTheDead: WorldWatcher {
    private var wrong: String?

    /// A checker.
    public init() {}

    /// "hosts that are off are silent".
    public var name: String { "hosts that are off are silent" }

    /// Looks whether the host may.
    public func sent(_ packet: Packet, by host: Host) { check(host, "sent") }

    /// Looks whether the host may.
    public func delivered(_ packet: Packet, to host: Host) { check(host, "received") }

    /// The first thing that was wrong.
    public func verdict(on world: World) -> String? { wrong }

    private func check(_ host: Host, _ what: String) {
        guard host.state != .up, wrong == nil else { return }
        wrong = "\(host.name) is \(host.state) and \(what) a packet"
    }
}
