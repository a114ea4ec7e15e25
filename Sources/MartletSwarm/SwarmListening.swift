public import MartletIdentity
internal import MartletRuntime
public import MartletTransport
internal import MartletWire

/// A place where the swarm listens.
struct Listener {
    /// What was asked for, with the port that was given.
    let address: Multiaddr
    let listener: TransportListener
}

extension Swarm {
    /// Accepts connections at `address`, whose port may be 0 for any, and says where. Throws where no transport can, or
    /// why it did not work.
    @discardableResult
    public func listen(on address: Multiaddr) throws(TransportError) -> Multiaddr {
        guard !isShutDown, let transport = transports.first(where: { $0.canListen(on: address) }) else {
            throw .unsupportedAddress(address)
        }
        let inbound = Inbound(
            admit: { [weak self] in self?.admit(from: $0, isProven: $1) ?? .refused },
            failed: { [weak self] in self?.failed(from: $0, $1) },
            connected: { [weak self] connection, admission in
                guard let self else { return connection.abort() }
                self.arrived(connection, admission)
            })
        let listener = try transport.listen(on: address, inbound)
        listeners.append(Listener(address: listener.address, listener: listener))
        if interfaces == nil {
            interfaces = try? environment.watchInterfaces { [weak self] in self?.announceListeners() }
        }
        announceListeners()
        return listener.address
    }

    /// Stops accepting at `address`, which is one that `listen` told. Connections live on.
    public func stopListening(on address: Multiaddr) {
        for listener in listeners where listener.address == address { listener.listener.close() }
        listeners.removeAll { $0.address == address }
        announceListeners()
    }

    /// Where the node accepts connections: for an unspecified address, one for each interface that is up.
    public var listenAddresses: [Multiaddr] { announced }

    private func announceListeners() {
        let interfaces = (try? environment.interfaces()) ?? []
        var seen: Set<Multiaddr> = []
        let now = listeners.flatMap { Self.expand($0.address, interfaces) }.filter { seen.insert($0).inserted }
        let before = announced
        guard now != before else { return }
        announced = now
        for address in before where !now.contains(address) { tell(.stoppedListening(address)) }
        for address in now where !before.contains(address) { tell(.listening(address)) }
        addressesChanged()
    }

    /// `address`, or one for each interface where it is unspecified. Addresses that hold on one link alone are left out.
    static func expand(_ address: Multiaddr, _ interfaces: [NetworkInterface]) -> [Multiaddr] {
        guard let ip = address.ipAddress, ip.isUnspecified else { return [address] }
        let locals = interfaces.filter { $0.isUp && $0.address.family == ip.family && !$0.address.isLinkLocal }
        return locals.compactMap { interface in
            let outer = Multiaddr(.ip(interface.address))
            return address.components.dropFirst().reduce(outer) { result, component in
                result.flatMap { try? $0.appending(component) }
            }
        }
    }

    // MARK: Who comes

    private func admit(from address: Multiaddr, isProven: Bool) -> Inbound.Answer {
        let ip = address.ipAddress
        var refusal = ip.flatMap { access.refusal(of: $0) } ?? (resources.makeRoom() ? nil : .memory)
        if refusal == nil {
            switch gate.admit(from: ip, isProven: isProven, at: loop.now) {
            case .admitted: break
            case .mustProve: return .proveAddress
            case .refused(let reason): refusal = reason
            }
        }
        metrics.pendingInbound.record(Int64(gate.pending))
        if let refusal {
            count(refusal, nil, address)
            return .refused
        }
        return .admitted(
            Admission(of: address, isProven: isProven) { [weak self] in
                guard let self else { return }
                gate.leave(from: ip, isProven: isProven)
                metrics.pendingInbound.record(Int64(gate.pending))
            })
    }

    private func failed(from address: Multiaddr, _ error: TransportError) {
        metrics.inboundFailures[SwarmMetrics.Failure(error)].increment()
        log.debug("an inbound connection came to nothing", ["address": address, "error": "\(error)"])
    }

    private func arrived(_ connection: Connection, _ admission: Admission) {
        let ip = admission.address.ipAddress
        // Its handshake is done, so what was sent to the address did arrive.
        if !admission.isProven { gate.charge(ip, at: loop.now) }
        admission.giveBack()
        guard !isShutDown else { return connection.close() }
        // Why it was refused has been counted; there is nothing more to do.
        _ = try? adopt(connection, by: .admitted(ip))
    }
}
