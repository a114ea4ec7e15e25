import MartletRuntime
public import MartletWire

/// A network whose hosts reach each other directly. All but the internet hang from another by a gateway.
public final class Network {
    /// What it is called.
    public let name: String
    /// How its packets get to the network above, or `nil` for the internet.
    public let gateway: Gateway?
    // Networks are used only through their world.
    unowned(unsafe) let world: World
    private var residents: [IPAddress: Resident] = [:]

    /// Who has an address in a network.
    enum Resident {
        case host(Int)
        case gateway(Gateway)
    }

    init(name: String, world: World, gateway: Gateway?) {
        self.name = name
        self.world = world
        self.gateway = gateway
        gateway?.inside = self
    }

    func add(_ resident: Resident, at address: IPAddress) {
        precondition(residents[address] == nil, "two hosts have the address \(address) in \(name)")
        residents[address] = resident
        // What is not translated is reached from above by its own address.
        if let gateway, !gateway.translates(address) { gateway.outside.add(.gateway(gateway), at: address) }
    }

    func remove(_ address: IPAddress) {
        residents[address] = nil
        if let gateway, !gateway.translates(address) { gateway.outside.remove(address) }
    }

    /// Lets go of everyone, so that hosts and networks don't hold each other for ever.
    func dissolve() { residents = [:] }

    func resident(at address: IPAddress) -> Resident? { residents[address] }

    /// Carries a packet that has come to this network at `now`, on to its host or to the next gateway.
    func route(_ packet: Packet) {
        var packet = packet
        guard packet.hopsLeft > 0 else { return world.drop(packet, .hopLimit) }
        packet.hopsLeft -= 1
        switch residents[packet.destination.ip] {
        case .host(let host):
            world.carry(packet, to: host)
        case .gateway(let gateway):
            world.carry(packet, through: gateway, inbound: true)
        case nil:
            guard let gateway else { return world.drop(packet, .noRoute) }
            world.carry(packet, through: gateway, inbound: false)
        }
    }
}

/// What stands between a network and the one above: a router that lets everything through, a firewall or a NAT, and
/// the line to the network above.
public final class Gateway {
    /// What it does with packets.
    public enum Kind: Hashable, Sendable {
        /// Lets everything pass.
        case router
        /// Lets in what answers something that went out.
        case firewall(Filtering)
        /// Translates addresses.
        case nat(NATBehavior)
    }

    /// What it does with packets.
    public let kind: Kind
    /// Its address in the network above.
    public let address: IPAddress
    /// The line to the network above, one direction each.
    var up: Line
    var down: Line
    /// The network above.
    let outside: Network
    // Set by the network that is made with this gateway, which the world keeps as long as itself.
    unowned(unsafe) var inside: Network! = nil
    private var table: NATTable

    init(_ kind: Kind, address: IPAddress, outside: Network, line: LinkConditions, random: SeededRandom) {
        self.kind = kind
        self.address = address
        self.outside = outside
        up = Line(line)
        down = Line(line)
        table = NATTable(kind, address: address, random: random)
        outside.add(.gateway(self), at: address)
    }

    /// What the line to the network above does, both ways.
    public var line: LinkConditions {
        get { up.conditions }
        set {
            up.conditions = newValue
            down.conditions = newValue
        }
    }

    /// Whether hosts behind it that have such addresses seem to have another.
    func translates(_ address: IPAddress) -> Bool {
        if case .nat = kind { return address.isV4 == self.address.isV4 }
        return false
    }

    /// Forgets all mappings, as a box does that was switched off and on.
    public func restart() { table.removeAll() }

    /// A packet has come over the line (`inbound`) or from the network inside.
    func pass(_ packet: Packet, inbound: Bool) {
        let world = outside.world
        switch table.pass(packet, inbound: inbound, at: world.now) {
        case .forward(let translated) where inbound: inside.route(translated)
        case .forward(let translated): world.carry(translated, upFrom: self)
        case .turnBack(let translated): inside.route(translated)
        case .drop(let reason): world.drop(packet, reason)
        }
    }
}

extension World {
    /// A new network that hangs from `outside` (the internet where there is none given) by a gateway with `address` there.
    public func network(
        _ name: String, behind kind: Gateway.Kind, _ address: IPAddress, of outside: Network? = nil,
        line: LinkConditions = LinkConditions()
    ) -> Network {
        let gateway = Gateway(
            kind, address: address, outside: outside ?? internet, line: line, random: random.split())
        let network = Network(name: name, world: self, gateway: gateway)
        networks.append(network)
        return network
    }

    /// Takes a packet from a host onto its line.
    func send(_ packet: Packet, from host: Host) {
        var packet = packet
        packet.sender = host.number
        statistics.sent += 1
        note(.send, packet, host.number)
        for watcher in watchers { watcher.sent(packet, by: host) }
        if host.owns(packet.destination.ip) || packet.destination.ip.isLoopback {
            return schedule.add(.arrival(packet, at: host.number), at: now + .microseconds(10))
        }
        // An address that the host has no longer leads nowhere any more.
        guard let network = host.network(of: packet.source.ip) else { return drop(packet, .noRoute) }
        put(packet, onLineOf: host, into: network)
    }

    /// Puts `packet` on the line of `host` as it is: the source may be somebody else's address, and a segment may belong to
    /// no connection. No socket of the host knows of it, and what answers it goes to its source.
    ///
    /// This is the raw socket of those who mean ill, for tests of what strangers can do. What lies between the line and the
    /// destination treats the packet as any other: a NAT translates it, a partition keeps it, a line loses it.
    /// A host that is not up sends nothing.
    public func inject(_ packet: Packet, at host: Host) {
        guard host.state == .up else { return }
        var packet = packet
        packet.sender = host.number
        packet.hopsLeft = Packet.hops
        packet.lossReport = nil
        statistics.sent += 1
        note(.send, packet, host.number)
        for watcher in watchers { watcher.sent(packet, by: host) }
        guard let network = host.network else { return drop(packet, .noRoute) }
        put(packet, onLineOf: host, into: network)
    }

    private func put(_ packet: Packet, onLineOf host: Host, into network: Network) {
        switch host.up.carry(size: packet.size, at: now, random: &random) {
        case .lost(let reason):
            drop(packet, reason)
        case .arrives(let arrival, let again):
            enter(network, packet, at: arrival)
            if let again { enter(network, double(packet), at: again) }
        }
    }

    /// Takes note that the network makes two of a packet, and returns the second. Its loss is nobody's.
    private func double(_ packet: Packet) -> Packet {
        var second = packet
        second.lossReport = nil
        statistics.duplicated += 1
        for watcher in watchers { watcher.duplicated(second) }
        return second
    }

    /// Brings a packet into a network at a later time. Where no other packet could come before it on its host's line
    /// and change what becomes of it, that is decided at once, which saves an event.
    private func enter(_ network: Network, _ packet: Packet, at time: Instant) {
        if case .host(let host) = network.resident(at: packet.destination.ip), !downLines[host].conditions.remembers,
            paths.isEmpty
        {
            carry(packet, downTo: host, at: time)
        } else {
            schedule.add(.network(packet, network), at: time)
        }
    }

    /// Takes a packet that comes to a host at `time` over the path that lies before its line, where there is one.
    func carry(_ packet: Packet, to host: Int) {
        let key = PathKey(from: packet.sender, to: host)
        guard !paths.isEmpty, let outcome = paths[key]?.carry(size: packet.size, at: now, random: &random) else {
            return carry(packet, downTo: host, at: now)
        }
        switch outcome {
        case .lost(let reason): drop(packet, reason)
        case .arrives(let arrival, let again):
            schedule.add(.line(packet, to: host), at: arrival)
            if let again { schedule.add(.line(double(packet), to: host), at: again) }
        }
    }

    /// Takes a packet that comes to a host's line at `time` to the line's end.
    func carry(_ packet: Packet, downTo host: Int, at time: Instant) {
        switch downLines[host].carry(size: packet.size, at: time, random: &random) {
        case .lost(let reason):
            drop(packet, reason)
        case .arrives(let arrival, let again):
            schedule.add(.arrival(packet, at: host), at: arrival)
            if let again { schedule.add(.arrival(double(packet), at: host), at: again) }
        }
    }

    func carry(_ packet: Packet, through gateway: Gateway, inbound: Bool) {
        guard inbound else { return gateway.pass(packet, inbound: false) }
        switch gateway.down.carry(size: packet.size, at: now, random: &random) {
        case .lost(let reason): drop(packet, reason)
        case .arrives(let arrival, let again):
            schedule.add(.gateway(packet, gateway), at: arrival)
            if let again { schedule.add(.gateway(double(packet), gateway), at: again) }
        }
    }

    func carry(_ packet: Packet, upFrom gateway: Gateway) {
        switch gateway.up.carry(size: packet.size, at: now, random: &random) {
        case .lost(let reason): drop(packet, reason)
        case .arrives(let arrival, let again):
            schedule.add(.network(packet, gateway.outside), at: arrival)
            if let again { schedule.add(.network(double(packet), gateway.outside), at: again) }
        }
    }

    /// A packet has come to the end of a host's line.
    func arrive(_ packet: Packet, at number: Int) {
        let host = hosts[number]
        if !partitions.isEmpty, partitions.contains(where: { $0.separates(packet.sender, from: host.number) }) {
            return drop(packet, .partition)
        }
        // The host may have moved while the packet was on its way.
        guard host.owns(packet.destination.ip) || packet.destination.ip.isLoopback else {
            return drop(packet, .noRoute)
        }
        host.arrive(packet)
    }

    func delivered(_ packet: borrowing Packet, to host: Host) {
        statistics.delivered += 1
        note(.deliver, packet, host.number)
        guard !watchers.isEmpty else { return }
        for watcher in watchers { watcher.delivered(copy packet, to: host) }
    }

    func drop(_ packet: Packet, _ reason: DropReason) {
        statistics.dropped[reason] += 1
        note(.drop, packet, reason.rawValue)
        for watcher in watchers { watcher.dropped(packet, because: reason) }
        if let report = packet.lossReport { hosts[Int(report.host)].lost(packet, report) }
    }
}

/// Packets from some hosts that do not come to some others.
public struct Partition: Hashable, Sendable {
    let number: Int
    private let from: Set<Int>
    private let to: Set<Int>
    private let isOneWay: Bool

    init(number: Int, from: Set<Int>, to: Set<Int>, isOneWay: Bool) {
        self.number = number
        self.from = from
        self.to = to
        self.isOneWay = isOneWay
    }

    func separates(_ sender: Int, from receiver: Int) -> Bool {
        from.contains(sender) && to.contains(receiver)
            || !isOneWay && to.contains(sender) && from.contains(receiver)
    }
}

struct PathKey: Hashable {
    var from: Int
    var to: Int
}

extension World {
    /// Keeps packets of `some` hosts from `others`, and the other way unless it is `oneWay`, until it is healed.
    @discardableResult
    public func separate(_ some: [Host], from others: [Host], oneWay: Bool = false) -> Partition {
        let partition = Partition(
            number: nextPartition, from: Set(some.map(\.number)), to: Set(others.map(\.number)),
            isOneWay: oneWay)
        nextPartition += 1
        partitions.append(partition)
        return partition
    }

    /// Ends a partition.
    public func heal(_ partition: Partition) {
        partitions.removeAll { $0.number == partition.number }
    }

    /// Ends all partitions.
    public func healAll() { partitions.removeAll() }

    /// Adds a stretch between two hosts, in one direction, to the lines that they have; `nil` takes it away.
    public func setPath(from sender: Host, to receiver: Host, _ conditions: LinkConditions?) {
        paths[PathKey(from: sender.number, to: receiver.number)] = conditions.map { Line($0) }
    }
}
