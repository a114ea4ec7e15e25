internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletSwarm
internal import MartletTransport
internal import MartletWire

// Where a node listens, and what follows from it.
extension NodeDriver {
    /// Listens wherever the configuration says. A family of addresses that this machine does not have is left out, as
    /// long as there is another.
    func listen() throws(MartletError) {
        let wanted = configuration.listen
        var port: UInt16 = 0
        var failure: MartletError?
        var listening = 0
        for address in wanted {
            do throws(TransportError) {
                let bound = try listen(on: address, preferring: port)
                listening += 1
                if port == 0, address.port == 0 { port = bound.port ?? 0 }
            } catch {
                let words = MartletError(
                    .listen,
                    "cannot listen on \(address): \(error.inWords); choose another, with port 0 for any free one",
                    address: address)
                guard wanted.count > 1, isMissingFamily(error, at: address) else { throw words }
                failure = failure ?? words
                log.debug("an address cannot be listened on", ["address": address, "error": words])
            }
        }
        if listening == 0, let failure { throw failure }
    }

    /// Whether this machine has no addresses of the kind that `address` stands for.
    private func isMissingFamily(_ error: TransportError, at address: Multiaddr) -> Bool {
        guard case .network(let error) = error, address.ipAddress?.isUnspecified ?? false else { return false }
        switch error.reason {
        case .addressNotAvailable, .unreachable, .system: return true
        default: return false
        }
    }

    /// Listens on `address`, by the port `preferred` where it wants any.
    private func listen(on address: Multiaddr, preferring preferred: UInt16) throws(TransportError) -> Multiaddr {
        if address.port == 0, preferred != 0, let same = address.replacingPort(preferred),
            let bound = try? swarm.listen(on: same)
        {
            return bound
        }
        return try swarm.listen(on: address)
    }

    /// Takes note of the addresses that this host has.
    func noteInterfaces() {
        guard let interfaces = try? environment.interfaces() else { return }
        let up = interfaces.filter { $0.isUp && !$0.isLoopback }
        if reach.has(up.map(\.address), at: loop.now) {
            contacts.forget()
            discovery.networkChanged()
            discoverSoon()
        }
        for interface in up where interface.address.isGlobal {
            note("interface", interface.address.description, by: interface.name)
        }
        reachChanged()
    }

    /// Where the node listens, as others on its networks may dial it. Loopback counts where there is nothing else.
    var ownAddresses: [Multiaddr] {
        let all = swarm.listenAddresses
        let outside = all.filter { !($0.ipAddress?.isLoopback ?? false) }
        return outside.isEmpty ? all : outside
    }

    /// Where the node listens, with its id.
    var fullAddresses: [Multiaddr] {
        swarm.listenAddresses.map { (try? $0.appending(.p2p(swarm.localPeer))) ?? $0 }
    }

    /// The port that others are told in the DHT.
    var listensByQUIC: Bool {
        swarm.listenAddresses.contains { $0.transport == .quicV1 }
    }
}

extension Multiaddr {
    /// The same with `port` in place of the first.
    func replacingPort(_ port: UInt16) -> Multiaddr? {
        var result: Multiaddr?
        var isReplaced = false
        for component in components {
            var part = component
            if !isReplaced, component.protocol == .tcp || component.protocol == .udp {
                part = component.protocol == .tcp ? .tcp(port) : .udp(port)
                isReplaced = true
            }
            result = result == nil ? Multiaddr(part) : try? result?.appending(part)
        }
        return result
    }

    /// Where QUIC is spoken at `address`.
    static func quicV1(_ address: SocketAddress) -> Multiaddr {
        Multiaddr(.ip(address.ip.unmapped), .udp(address.port), .quicV1)
    }
}
