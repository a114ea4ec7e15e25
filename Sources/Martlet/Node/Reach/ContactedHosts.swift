internal import MartletRuntime
internal import MartletWire

/// To which hosts something was sent not long ago: a machine.
///
/// A NAT lets in what comes from where something was sent to, so who comes from there proves nothing.
struct ContactedHosts {
    /// How long a NAT may remember. RFC 4787 asks for two minutes at least; half an hour is longer than any is known to.
    static let lifetime = Duration.seconds(1800)
    private var hosts: BoundedTable<IPAddress, Instant>
    /// When one was last pushed out that a NAT may still remember.
    private var forgotten: Instant?

    /// Remembers at most so many hosts.
    init(_ capacity: Int = 16_384) {
        hosts = BoundedTable(capacity)
    }

    /// Something was sent to `host`.
    mutating func contacted(_ host: IPAddress, at now: Instant) {
        let host = host.unmapped
        // Most is sent to the same few again and again.
        if let last = hosts[host], last + .seconds(60) > now { return }
        if hosts.count >= hosts.capacity, hosts[host] == nil { forgotten = now }
        hosts[host] = now
    }

    /// Whether nothing was sent to `host` for as long as a NAT remembers. Where there were more than can be remembered,
    /// nobody is a stranger.
    func isStranger(_ host: IPAddress, at now: Instant) -> Bool {
        if let forgotten, forgotten + Self.lifetime > now { return false }
        guard let last = hosts[host.unmapped] else { return true }
        return last + Self.lifetime < now
    }

    /// How many are remembered.
    var count: Int { hosts.count }
}
