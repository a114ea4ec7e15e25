import MartletRuntime
import MartletWire

/// Which outside packets a NAT or a firewall lets in to an inside socket that has sent something (RFC 4787 §5).
public enum Filtering: Hashable, CaseIterable, Sendable {
    /// From anyone.
    case endpointIndependent
    /// From addresses that it has sent to.
    case addressDependent
    /// From addresses and ports that it has sent to.
    case addressAndPortDependent
}

/// What a NAT does, in the words of RFC 4787.
public struct NATBehavior: Hashable, Sendable {
    /// When two packets of an inside socket seem to come from the same outside port (§4.1).
    public enum Mapping: Hashable, CaseIterable, Sendable {
        /// Always.
        case endpointIndependent
        /// When they go to the same address.
        case addressDependent
        /// When they go to the same address and port.
        case addressAndPortDependent
    }

    /// Which outside port a mapping is given (§4.2).
    public enum PortAllocation: Hashable, CaseIterable, Sendable {
        /// The inside port, where it is free.
        case preserving
        /// Any.
        case random
        /// The one after the last.
        case sequential
    }

    /// When two packets seem to come from the same outside port.
    public var mapping = Mapping.endpointIndependent
    /// Which outside packets are let in.
    public var filtering = Filtering.addressAndPortDependent
    /// Which outside port a mapping is given.
    public var allocation = PortAllocation.preserving
    /// How long a UDP mapping lasts after the last packet that went out.
    public var lifetime = Duration.seconds(120)
    /// How long a TCP mapping lasts after the last packet.
    public var tcpLifetime = Duration.seconds(7440)
    /// Whether what comes in makes a mapping last longer, too.
    public var refreshesInbound = false
    /// Whether inside hosts reach each other by their outside addresses (§6).
    public var hairpins = false
    /// Whether UDP does not pass at all.
    public var blocksUDP = false

    /// The commonest kind: maps independently of the endpoint, filters by address and port, preserves ports.
    public init() {}

    /// A NAT of the given behaviour, in all else like the commonest kind.
    public init(mapping: Mapping, filtering: Filtering, allocation: PortAllocation = .preserving) {
        self.mapping = mapping
        self.filtering = filtering
        self.allocation = allocation
    }

    /// What is called "full cone".
    public static let fullCone = NATBehavior(mapping: .endpointIndependent, filtering: .endpointIndependent)
    /// What is called "restricted cone".
    public static let restrictedCone = NATBehavior(mapping: .endpointIndependent, filtering: .addressDependent)
    /// What is called "port-restricted cone".
    public static let portRestrictedCone = NATBehavior()
    /// What is called "symmetric".
    public static let symmetric = NATBehavior(
        mapping: .addressAndPortDependent, filtering: .addressAndPortDependent, allocation: .random)
}

/// The machine in a gateway: mappings and filters, as packets make them and time ends them.
struct NATTable {
    enum Verdict {
        /// The packet goes on in its direction.
        case forward(Packet)
        /// The packet came from inside and goes back inside.
        case turnBack(Packet)
        case drop(DropReason)
    }

    /// What tells one mapping from another.
    private struct Key: Hashable {
        var isTCP: Bool
        var inside: SocketAddress
        var remote: SocketAddress?
    }

    private struct OutsidePort: Hashable {
        var isTCP: Bool
        var port: UInt16
    }

    private struct Mapping {
        var key: Key
        var port: UInt16
        var expires: Instant
        /// To whom something was sent, and until when that lets answers in.
        var permitted: [SocketAddress: Instant] = [:]
        private var nextSweep = 256

        init(key: Key, port: UInt16, expires: Instant) {
            self.key = key
            self.port = port
            self.expires = expires
        }

        mutating func permit(_ remote: SocketAddress, until expires: Instant, at now: Instant) {
            permitted[remote] = expires
            guard permitted.count >= nextSweep else { return }
            permitted = permitted.filter { $0.value > now }
            nextSweep = max(256, 2 * permitted.count)
        }
    }

    private static let firstPort: UInt16 = 1024

    private let kind: Gateway.Kind
    private let address: IPAddress
    private var random: SeededRandom
    private var lastPort: UInt16
    private var ports: [Key: UInt16] = [:]
    private var mappings: [OutsidePort: Mapping] = [:]
    /// What a firewall lets in: which pairs of inside and outside sockets have spoken.
    private var flows: [Key: Mapping] = [:]

    init(_ kind: Gateway.Kind, address: IPAddress, random: SeededRandom) {
        self.kind = kind
        self.address = address
        self.random = random
        lastPort = UInt16.random(in: Self.firstPort...60_000, using: &self.random)
    }

    mutating func removeAll() {
        ports = [:]
        mappings = [:]
        flows = [:]
    }

    mutating func pass(_ packet: Packet, inbound: Bool, at now: Instant) -> Verdict {
        switch kind {
        case .router: .forward(packet)
        case .firewall(let filtering):
            inbound ? checkIn(packet, filtering, at: now) : noteOut(packet, at: now)
        case .nat(let behavior) where behavior.blocksUDP && packet.transport == .udp: .drop(.udpBlocked)
        // The other family's addresses are not translated, only guarded.
        case .nat(let behavior) where packet.destination.ip.isV4 != address.isV4:
            inbound ? checkIn(packet, behavior.filtering, at: now) : noteOut(packet, at: now)
        case .nat(let behavior):
            inbound ? translateIn(packet, behavior, at: now) : translateOut(packet, behavior, at: now)
        }
    }

    // MARK: NAT

    private mutating func translateOut(_ packet: Packet, _ behavior: NATBehavior, at now: Instant) -> Verdict {
        let isTCP = packet.transport != .udp
        let remote: SocketAddress? =
            switch behavior.mapping {
            case .endpointIndependent: nil
            case .addressDependent: SocketAddress(packet.destination.ip, port: 0)
            case .addressAndPortDependent: packet.destination
            }
        let key = Key(isTCP: isTCP, inside: packet.source, remote: remote)
        guard let port = ports[key].flatMap({ isAlive($0, isTCP, now) ? $0 : nil }) ?? allocate(key, behavior, now)
        else {
            return .drop(.portsExhausted)
        }
        let expires = now + (isTCP ? behavior.tcpLifetime : behavior.lifetime)
        let outside = OutsidePort(isTCP: isTCP, port: port)
        mappings[outside]?.expires = expires
        mappings[outside]?.permit(packet.destination, until: expires, at: now)
        var translated = packet
        translated.source = SocketAddress(address, port: port)
        guard packet.destination.ip == address else { return .forward(translated) }
        guard behavior.hairpins else { return .drop(.filtered) }
        guard case .forward(let turned) = translateIn(translated, behavior, at: now) else { return .drop(.filtered) }
        return .turnBack(turned)
    }

    private mutating func translateIn(_ packet: Packet, _ behavior: NATBehavior, at now: Instant) -> Verdict {
        let isTCP = packet.transport != .udp
        let outside = OutsidePort(isTCP: isTCP, port: packet.destination.port)
        guard let mapping = mappings[outside], mapping.expires > now else { return .drop(.filtered) }
        guard permits(mapping, packet.source, behavior.filtering, at: now) else { return .drop(.filtered) }
        if behavior.refreshesInbound || isTCP {
            let expires = now + (isTCP ? behavior.tcpLifetime : behavior.lifetime)
            mappings[outside]?.expires = expires
            mappings[outside]?.permit(packet.source, until: expires, at: now)
        }
        var translated = packet
        translated.destination = mapping.key.inside
        return .forward(translated)
    }

    private func permits(_ mapping: Mapping, _ source: SocketAddress, _ filtering: Filtering, at now: Instant) -> Bool {
        switch filtering {
        case .endpointIndependent: true
        case .addressDependent: mapping.permitted.contains { $0.key.ip == source.ip && $0.value > now }
        case .addressAndPortDependent: (mapping.permitted[source] ?? .start) > now
        }
    }

    private func isAlive(_ port: UInt16, _ isTCP: Bool, _ now: Instant) -> Bool {
        mappings[OutsidePort(isTCP: isTCP, port: port)].map { $0.expires > now } ?? false
    }

    private mutating func allocate(_ key: Key, _ behavior: NATBehavior, _ now: Instant) -> UInt16? {
        let first: UInt16
        switch behavior.allocation {
        case .preserving: first = max(key.inside.port, Self.firstPort)
        case .sequential: first = lastPort == .max ? Self.firstPort : lastPort + 1
        case .random: first = UInt16.random(in: Self.firstPort...UInt16.max, using: &random)
        }
        var port = first
        repeat {
            if !isAlive(port, key.isTCP, now) {
                let outside = OutsidePort(isTCP: key.isTCP, port: port)
                if let old = mappings[outside], ports[old.key] == port { ports[old.key] = nil }
                mappings[outside] = Mapping(key: key, port: port, expires: now)
                ports[key] = port
                lastPort = port
                return port
            }
            port = port == .max ? Self.firstPort : port + 1
        } while port != first
        return nil
    }

    // MARK: Firewall

    /// How long a firewall remembers what went out.
    private static let flowLifetime = Duration.seconds(120)
    private static let tcpFlowLifetime = Duration.seconds(7440)

    private mutating func noteOut(_ packet: Packet, at now: Instant) -> Verdict {
        note(Key(isTCP: packet.transport != .udp, inside: packet.source, remote: nil), packet.destination, at: now)
        return .forward(packet)
    }

    private mutating func checkIn(_ packet: Packet, _ filtering: Filtering, at now: Instant) -> Verdict {
        let key = Key(isTCP: packet.transport != .udp, inside: packet.destination, remote: nil)
        guard let flow = flows[key], flow.expires > now, permits(flow, packet.source, filtering, at: now) else {
            return .drop(.filtered)
        }
        if key.isTCP { note(key, packet.source, at: now) }
        return .forward(packet)
    }

    private mutating func note(_ key: Key, _ remote: SocketAddress, at now: Instant) {
        let expires = now + (key.isTCP ? Self.tcpFlowLifetime : Self.flowLifetime)
        flows[key, default: Mapping(key: key, port: key.inside.port, expires: expires)].expires = expires
        flows[key]?.permit(remote, until: expires, at: now)
    }
}
