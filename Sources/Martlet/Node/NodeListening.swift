internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletSwarm
internal import MartletTransport
internal import MartletWire

// Where a node listens, and what follows from it.
extension NodeDriver {
    /// Listens wherever the configuration says. Where it is the usual places, one of them is enough.
    func listen() throws(MartletError) {
        let wanted = configuration.listen
        let isUsual = wanted == NodeConfiguration.everywhere
        var port: UInt16 = 0
        var failure: MartletError?
        var listening = 0
        for address in wanted {
            do throws(MartletError) {
                let bound = try listen(on: address, preferring: port)
                listening += 1
                if port == 0, address.port == 0 { port = bound.port ?? 0 }
            } catch {
                // A machine without one of the families does with the other.
                guard isUsual else { throw error }
                failure = failure ?? error
                log.debug("an address cannot be listened on", ["address": address, "error": error])
            }
        }
        if listening == 0, let failure { throw failure }
    }

    /// Listens on `address`, by the port `preferred` where it wants any.
    private func listen(on address: Multiaddr, preferring preferred: UInt16) throws(MartletError) -> Multiaddr {
        if address.port == 0, preferred != 0, let same = address.replacingPort(preferred),
            let bound = try? swarm.listen(on: same)
        {
            return bound
        }
        do throws(TransportError) {
            return try swarm.listen(on: address)
        } catch {
            throw MartletError(
                .listen,
                "cannot listen on \(address): \(error.inWords)"
                    + "; choose another port, or 0 for any that is free", address: address)
        }
    }

    /// Takes note of the addresses that this host has.
    func noteInterfaces() {
        let interfaces = (try? environment.interfaces()) ?? []
        let up = interfaces.filter { $0.isUp && !$0.isLoopback }
        reach.has(up.map(\.address), at: loop.now)
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
