public import MartletIdentity
public import MartletRuntime
internal import MartletTransport

extension Swarm {
    /// Remembers where `peer` is reachable, on the word of the caller, who answers for it: these addresses are dialled
    /// whenever a stream to the peer is wanted. Addresses that end with another peer are left out.
    public func add(addresses: [Multiaddr], of peer: PeerID) {
        addressBook.give(addresses, of: peer)
    }

    /// Where `peer` is said to be reachable: first where it was reached, then what callers gave, then what it says of itself.
    public func addresses(of peer: PeerID) -> [Multiaddr] {
        addressBook.addresses(of: peer)
    }

    /// Where `peer` is said to be reachable with at least the reason `origin`.
    package func addresses(of peer: PeerID, from origin: AddressOrigin) -> [Multiaddr] {
        addressBook.addresses(of: peer, from: origin)
    }

    /// Connects to `peer` at the `addresses` given and those that are remembered, by `deadline`. What the peer once said of
    /// itself is among these, for it is the caller who wants to see that peer.
    ///
    /// If there is a connection already, it is told of; if the peer is being dialled, this waits with the others. An
    /// address that ends with another peer is not dialled; if there is no other, that is why it fails.
    /// Several addresses are tried at once: QUIC first and TCP a quarter of a second behind, IPv6 and IPv4 by turns. The
    /// first to finish wins. An address that failed not long ago is left out, as long as there is another.
    @discardableResult
    public nonisolated(nonsending) func connect(
        to peer: PeerID, at addresses: [Multiaddr] = [], by deadline: Instant? = nil
    ) async throws(ConnectError) -> ConnectionInfo {
        let (own, others) = Self.separate(addresses, of: peer)
        addressBook.give(own, of: peer)
        if let member = peers[peer]?.preferred { return member.info }
        try mayDial(peer)
        let known = addressBook.addresses(of: peer)
        if own.isEmpty, known.isEmpty, dials[.peer(peer)] == nil, !others.isEmpty { throw .failed(others) }
        let dial = try dial(for: .peer(peer), at: dials[.peer(peer)] == nil ? known : own)
        return try await wait(for: dial, by: deadline ?? loop.now + limits.dialTimeout)
    }

    /// The ones of `addresses` that may lead to `peer`, without its name at the end; and what becomes of those that name
    /// another.
    private static func separate(
        _ addresses: [Multiaddr], of peer: PeerID
    ) -> (own: [Multiaddr], others: [ConnectError.Attempt]) {
        var own: [Multiaddr] = []
        var others: [ConnectError.Attempt] = []
        for address in addresses {
            switch address.peerID {
            case nil: own.append(address)
            case peer: if let address = address.withoutPeerID { own.append(address) }
            case let other?:
                let error = TransportError.wrongPeer(expected: peer, actual: other)
                others.append(ConnectError.Attempt(address: address, error: error))
            }
        }
        return (own, others)
    }

    /// Connects to whoever is at `address`, by `deadline`: the peer that it ends with where there is one, else whoever
    /// answers.
    @discardableResult
    public nonisolated(nonsending) func connect(
        to address: Multiaddr, by deadline: Instant? = nil
    ) async throws(ConnectError) -> ConnectionInfo {
        if let peer = address.peerID {
            return try await connect(to: peer, at: [address], by: deadline)
        }
        let dial = try dial(for: .address(address), at: [address])
        return try await wait(for: dial, by: deadline ?? loop.now + limits.dialTimeout)
    }

    /// Connects to `peer` at `addresses` and nowhere else, by `deadline`; if the peer is being dialled, these are tried as
    /// well. Only the one that leads to the peer is remembered: for addresses that were heard of and are not believed yet.
    @discardableResult
    public nonisolated(nonsending) func connect(
        to peer: PeerID, onlyAt addresses: [Multiaddr], by deadline: Instant? = nil
    ) async throws(ConnectError) -> ConnectionInfo {
        if let member = peers[peer]?.preferred { return member.info }
        try mayDial(peer)
        let dial = try dial(for: .peer(peer), at: addresses)
        return try await wait(for: dial, by: deadline ?? loop.now + limits.dialTimeout)
    }

    private func mayDial(_ peer: PeerID) throws(ConnectError) {
        let refusal = peer == localPeer ? Refusal.isSelf : access.refusal(of: peer)
        if let refusal {
            count(refusal, peer)
            throw .refused(refusal)
        }
    }

    /// The dial for `target` that is under way, which tries `addresses` as well, or a new one.
    private func dial(for target: DialTarget, at addresses: [Multiaddr]) throws(ConnectError) -> Dial {
        if let dial = dials[target] {
            if let more = try? dialable(addresses, for: target.peer) { pursue(more, by: dial) }
            return dial
        }
        guard !isShutDown else { throw .cancelled }
        guard dials.count < limits.pendingOutbound else {
            count(.pendingOutbound)
            throw .refused(.pendingOutbound)
        }
        guard gate.hasRoom else {
            count(.connections)
            throw .refused(.connections)
        }
        let ready = try dialable(addresses, for: target.peer)
        let plan = DialPlan([], atOnce: limits.dialsAtOnce, most: limits.addressesPerDial, at: loop.now)
        nextDial += 1
        let dial = Dial(
            target, number: nextDial, on: loop, plan: plan,
            attempt: { [weak self] dial, address in self?.attempt(address, for: dial) },
            ended: { [weak self] dial in
                if self?.dials[target] === dial { self?.dials[target] = nil }
            })
        dials[target] = dial
        pursue(ready, by: dial)
        return dial
    }

    /// Has `dial` try `addresses`, and what the names in them lead to.
    private func pursue(_ addresses: [Multiaddr], by dial: Dial) {
        let named = addresses.filter(Self.isLookedUp)
        lookUpNames(in: dial.takeNew(named), for: dial)
        dial.add(addresses.filter { !Self.isLookedUp($0) })
    }

    /// The ones of `addresses` that are to be tried for `peer`.
    private func dialable(_ addresses: [Multiaddr], for peer: PeerID?) throws(ConnectError) -> [Multiaddr] {
        let known = addresses.filter { address in
            transports.contains { $0.canDial(address) } && !announced.contains(address.withoutPeerID ?? address)
        }
        guard let first = known.first else { throw .noAddresses }
        let allowed = known.filter { refusal(of: $0) == nil }
        if allowed.isEmpty, let refusal = refusal(of: first) {
            count(refusal, nil, first)
            throw .refused(refusal)
        }
        let ready = allowed.filter { backoff.pause(of: $0, for: peer, at: loop.now) == nil }
        guard !ready.isEmpty else {
            let until = allowed.compactMap { backoff.pause(of: $0, for: peer, at: loop.now) }.min()
            throw .backingOff(until: until ?? loop.now)
        }
        return ready
    }

    private func refusal(of address: Multiaddr) -> Refusal? {
        address.ipAddress.flatMap { access.refusal(of: $0) }
    }

    private nonisolated(nonsending) func wait(
        for dial: Dial, by deadline: Instant
    ) async throws(ConnectError) -> ConnectionInfo {
        let waiter = dial.join()
        var isLate = false
        let timer = LoopTimer(on: loop, label: "connect") {
            isLate = true
            waiter.signal.signal()
        }
        timer.arm(at: deadline)
        defer { timer.cancel() }
        do {
            try await waiter.signal.wait()
        } catch {
            dial.leave(waiter)
            throw .cancelled
        }
        if let outcome = waiter.outcome { return try outcome.get().info }
        let failures = dial.failures
        dial.leave(waiter)
        throw isLate ? .timedOut(failures) : .cancelled
    }

    private func attempt(_ address: Multiaddr, for dial: Dial) -> Task<Void, Never> {
        let deadline = loop.now + limits.dialTimeout
        return loop.spawn("dial") { [weak self] in
            await self?.dial(address, for: dial, by: deadline)
        }
    }

    private nonisolated(nonsending) func dial(_ address: Multiaddr, for dial: Dial, by deadline: Instant) async {
        let wanted = dial.target.peer
        guard let transport = transports.first(where: { $0.canDial(address) }) else {
            return dial.failed(address, .unsupportedAddress(address))
        }
        if let ip = address.ipAddress { onDial?(ip) }
        let connection: Connection
        do throws(TransportError) {
            connection = try await transport.dial(address, expecting: wanted, deadline: deadline)
            try Self.check(connection, leadsTo: wanted)
        } catch {
            if dial.isOver { return }
            metrics.dialFailures[SwarmMetrics.Failure(error)].increment()
            log.debug("dial failed", ["address": address, "error": "\(error)"])
            if error != .cancelled { backoff.failed(address, for: wanted, at: loop.now) }
            return dial.failed(address, error)
        }
        backoff.succeeded(address, for: wanted)
        guard !dial.isOver, !isShutDown else { return connection.close() }
        reached(connection, by: dial)
    }

    /// Throws if `connection` is of no use to one who wants `peer`. A transport that knows better throws so itself; those
    /// who wait for the dial must hear the truth in any case.
    private static func check(_ connection: Connection, leadsTo peer: PeerID?) throws(TransportError) {
        if let peer, connection.remotePeer != peer {
            connection.close()
            throw .wrongPeer(expected: peer, actual: connection.remotePeer)
        }
        if connection.closeReason != nil { throw .ended(.handshake) }
    }

    private func reached(_ connection: Connection, by dial: Dial) {
        // Whoever answered at an address without a name may be connected already.
        if case .address = dial.target, let member = peers[connection.remotePeer]?.preferred {
            connection.close()
            return dial.finish(.success(member))
        }
        do throws(Refusal) {
            let member = try adopt(connection, by: .dialled)
            addressBook.prove(connection.remoteAddress, of: connection.remotePeer)
            dial.finish(.success(member))
        } catch {
            dial.finish(.failure(.refused(error)))
        }
    }

    /// A connection to `peer` is there: whoever waits for one has it.
    func settleDial(to peer: PeerID, with member: SwarmConnection) {
        dials[.peer(peer)]?.finish(.success(member))
    }
}
