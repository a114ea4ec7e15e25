internal import MartletIdentity
internal import MartletRuntime
internal import MartletTransport
internal import MartletWire

/// A name that stands in addresses of a dial, while it is looked up.
private final class NamedAddresses {
    let name: String
    var addresses: [Multiaddr] = []
    var pending = 0
    /// What some address was found for.
    var found: Set<Multiaddr> = []
    var errors: [NameError] = []

    init(_ name: String) {
        self.name = name
    }
}

// The swarm looks up names itself, and not its transports: so all that a name leads to is raced with all else that is
// known of a peer (RFC 8305), and passes the same lists and pauses.
extension Swarm {
    /// The most addresses of one family that a name is followed to. Whoever holds the name chose their number.
    private static let addressesPerName = 8

    /// Whether the name in `address` is looked up here: only its addresses matter to what connects to it.
    static func isLookedUp(_ address: Multiaddr) -> Bool {
        guard case .name = address.host else { return false }
        return address.transport == .tcp || address.transport == .quicV1
    }

    /// Looks up the names in `addresses`, each once for each family that is wanted, and hands what they lead to to `dial`.
    func lookUpNames(in addresses: [Multiaddr], for dial: Dial) {
        var names: [NamedAddresses] = []
        for address in addresses.prefix(limits.addressesPerDial) {
            guard case .name(let name, _) = address.host else { continue }
            if names.last(where: { $0.name == name }) == nil { names.append(NamedAddresses(name)) }
            names.last { $0.name == name }?.addresses.append(address)
        }
        for name in names {
            let families = [IPAddress.Family.v6, .v4].filter { family in
                name.addresses.contains { Self.wants($0, family) }
            }
            name.pending = families.count
            for family in families {
                dial.lookUp(family) { [weak self] in await self?.lookUp(name, family, for: dial) }
            }
        }
    }

    private static func wants(_ address: Multiaddr, _ family: IPAddress.Family) -> Bool {
        guard case .name(_, let wanted) = address.host else { return false }
        return wanted == nil || wanted == family
    }

    private nonisolated(nonsending) func lookUp(
        _ name: NamedAddresses, _ family: IPAddress.Family, for dial: Dial
    ) async {
        var addresses: [IPAddress] = []
        do throws(NameError) {
            let type = family == .v4 ? RecordType.a : .aaaa
            let records = try await environment.lookUp(name.name, type, deadline: loop.now + limits.dialTimeout)
            addresses = records.compactMap { if case .address(let ip) = $0, ip.family == family { ip } else { nil } }
            if addresses.isEmpty { name.errors.append(.noRecords) }
        } catch {
            name.errors.append(error)
        }
        guard !dial.isOver else { return }
        var found: [Multiaddr] = []
        for ip in addresses.prefix(Self.addressesPerName) {
            for address in name.addresses where Self.wants(address, family) {
                name.found.insert(address)
                if let address = address.leading(to: ip), mayTry(address, for: dial) { found.append(address) }
            }
        }
        name.pending -= 1
        if name.pending == 0 { giveUp(name, dial) }
        dial.found(found, of: family)
    }

    /// What `name` led to nothing for is a failure of the dial.
    private func giveUp(_ name: NamedAddresses, _ dial: Dial) {
        // One family without records says less than what became of the other.
        let error = name.errors.first { $0 != .noRecords } ?? .noRecords
        for address in name.addresses where !name.found.contains(address) {
            metrics.dialFailures[.name].increment()
            if error != .cancelled { backoff.failed(address, for: dial.target.peer, at: loop.now) }
            dial.leadsNowhere(address, error)
        }
    }

    private func mayTry(_ address: Multiaddr, for dial: Dial) -> Bool {
        guard let ip = address.ipAddress, !announced.contains(address.withoutPeerID ?? address) else { return false }
        if let refusal = access.refusal(of: ip) {
            count(refusal, nil, address)
            dial.obstacle = .refused(refusal)
            return false
        }
        if let until = backoff.pause(of: address, for: dial.target.peer, at: loop.now) {
            dial.obstacle = dial.obstacle ?? .backingOff(until: until)
            return false
        }
        return true
    }
}

extension Multiaddr {
    /// The same with `ip` in place of the name that it begins with.
    fileprivate func leading(to ip: IPAddress) -> Multiaddr? {
        components.dropFirst().reduce(Multiaddr(.ip(ip)) as Multiaddr?) { result, component in
            result.flatMap { try? $0.appending(component) }
        }
    }
}
