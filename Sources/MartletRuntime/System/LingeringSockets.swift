internal import MartletWire

/// The bounds of TCP connections that are closed and still send what was queued before.
///
/// Their owner has forgotten them and counts them no more, but each holds a descriptor and its queue. A peer that reads
/// nothing decides how long, so there is little room for it; one that reads is done in an instant and rarely meets a bound.
public struct LingerLimits: Hashable, Sendable {
    /// How long what is queued may take to leave.
    public var time = Duration.seconds(5)
    /// How many there may be. One more resets the oldest.
    public var sockets = 128
    /// How many there may be to one IPv4 address or IPv6 /64.
    public var socketsPerHost = 2
    /// How many there may be to one IPv4 /24 or IPv6 /48.
    public var socketsPerNetwork = 8
    /// How many bytes may be queued on all of them but the newest.
    public var bytes = 16 << 20

    /// The defaults.
    public init() {}
}

/// TCP connections that are closed and still send what was queued: a machine that says which of them must go.
struct LingeringSockets<Socket: AnyObject> {
    private struct Entry {
        let socket: Socket
        let host: IPAddress
        let network: IPAddress
        let bytes: Int
    }

    let limits: LingerLimits
    /// In the order in which they came. They are few, so they are simply looked through.
    private var entries: [Entry] = []
    private var bytes = 0

    /// None yet.
    init(_ limits: LingerLimits) {
        self.limits = limits
    }

    /// How many there are.
    var count: Int { entries.count }

    /// Counts `socket`, which is connected to `address` and has `queued` bytes to send. Returns those that are beyond a
    /// bound now, the oldest first: they are counted no more and are to be reset.
    mutating func add(_ socket: Socket, to address: IPAddress, queued: Int) -> [Socket] {
        let address = address.unmapped
        let host = address.isV4 ? address : address.prefix(64)
        let network = address.prefix(address.isV4 ? 24 : 48)
        var victims: [Socket] = []
        if entries.count(where: { $0.host == host }) >= limits.socketsPerHost {
            victims += removeFirst { $0.host == host }
        }
        if entries.count(where: { $0.network == network }) >= limits.socketsPerNetwork {
            victims += removeFirst { $0.network == network }
        }
        while !entries.isEmpty, entries.count >= limits.sockets || bytes > limits.bytes {
            victims += removeFirst { _ in true }
        }
        entries.append(Entry(socket: socket, host: host, network: network, bytes: queued))
        bytes += queued
        return victims
    }

    /// Counts `socket` no more.
    mutating func remove(_ socket: Socket) {
        _ = removeFirst { $0.socket === socket }
    }

    /// Removes the oldest for which `isMeant` holds, and returns it; none if there is none.
    private mutating func removeFirst(_ isMeant: (Entry) -> Bool) -> [Socket] {
        guard let index = entries.firstIndex(where: isMeant) else { return [] }
        let entry = entries.remove(at: index)
        bytes -= entry.bytes
        return [entry.socket]
    }
}
