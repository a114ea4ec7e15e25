internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletStore
internal import MartletSwarm
internal import MartletTransport
internal import MartletWire

// Who comes and goes, and how the lines to them do.
extension NodeDriver {
    func take(_ event: SwarmEvent) {
        guard !isStopping else { return }
        switch event {
        case .connected(let info): connected(info)
        case .connectionAdded(let info):
            arrived(info)
            if info.nature.direction == .outbound {
                links[info.peer]?.isDialled = true
                leases.connected(info.peer, from: origin(of: info), at: loop.now)
                discovery.chose(info.peer)
                greet(info.peer)
            }
        case .disconnected(let peer, let reason): disconnected(peer, reason)
        case .connectionRemoved: break
        case .listening(let address):
            tell(.listening(address))
            describe()
        case .stoppedListening(let address):
            tell(.stoppedListening(address))
            describe()
        case .observedAddress(let address, let peer): observed(address, by: peer)
        case .identified(let peer, let info):
            rememberIdentity(of: peer, info)
        case .refused: break
        }
    }

    private func origin(of info: ConnectionInfo) -> LeaseTable.Origin {
        LeaseTable.Origin(
            network: info.remoteAddress.ipAddress?.site, isChosen: info.nature.direction == .outbound)
    }

    private func connected(_ info: ConnectionInfo) {
        let peer = info.peer
        let link = PeerLink(peer, at: loop.now, wall)
        link.isDialled = info.nature.direction == .outbound
        links[peer] = link
        leases.connected(peer, from: origin(of: info), at: loop.now)
        welcome(peer)
        // The port of an inbound TCP connection is one at which nobody listens.
        let isAddress = info.nature.direction == .outbound || info.remoteAddress.transport == .quicV1
        discovery.connected(peer, at: isAddress ? info.remoteAddress.socketAddress : nil, now: loop.now)
        // How many are remembered of a network is the database's to bound; of one that is relayed none is known.
        if let place = info.remoteAddress.ipAddress {
            let network = IPBlock.neighbourhood(of: place)
            store?.record(.met(peer, network: "\(network.network)/\(network.length)"))
        }
        store?.record(.connected(peer, isAddress ? info.remoteAddress.withoutPeerID : nil))
        arrived(info)
        if let ip = info.remoteAddress.ipAddress { contacts.contacted(ip, at: loop.now) }
        tell(.connected(self.link(of: info), peer))
        metrics.count(swarm.connectedPeers.compactMap { swarm.connections(to: $0).first?.nature })
        if info.nature.direction == .outbound { greet(peer) }
    }

    private func disconnected(_ peer: PeerID, _ reason: DisconnectReason) {
        if let link = links[peer] { sample(link) }
        links[peer]?.pinger = nil
        left(peer)
        links[peer] = nil
        leases.disconnected(peer, at: loop.now)
        leasesChanged(of: peer)
        messages.forget(peer)
        let byPeer = if case .ended(.closedByPeer) = reason { true } else { false }
        discovery.disconnected(peer, byPeer: byPeer, at: loop.now)
        tell(.disconnected(peer, reason: reason.inWords))
        metrics.count(swarm.connectedPeers.compactMap { swarm.connections(to: $0).first?.nature })
        discoverSoon()
    }

    /// Whether more is written down of the peer of `link` than that it was here: this side dialled it, it proved to be on
    /// a topic, the user wants it, or it uses what the user offers. What strangers say of themselves is theirs to choose.
    func isRemembered(_ link: PeerLink) -> Bool {
        link.isDialled || leases.isOfUse(link.peer)
    }

    /// Takes what `peer` says of itself by identify, and writes it down if the peer is remembered.
    func rememberIdentity(of peer: PeerID, _ info: PeerInfo) {
        let addresses = discovery.located(
            peer, at: info.listenAddresses.filter { $0.transport != nil }, from: source(peer))
        guard let link = links[peer] else { return }
        store?.record(.identified(peer, agent: info.agentVersion))
        guard isRemembered(link) else { return }
        store?.record(.addresses(peer, addresses, .identify))
    }

    // MARK: Meeting

    /// Begins the exchange of records with `peer`, which is connected.
    func greet(_ peer: PeerID) {
        guard !topics.isEmpty, let link = links[peer], !link.isGreeting, swarm.takesStreams(peer) else { return }
        link.isGreeting = true
        link.greetings += 1
        begin("greet") { [weak self] in
            await self?.greet(link)
            link.isGreeting = false
        }
    }

    private nonisolated(nonsending) func greet(_ link: PeerLink) async {
        let peer = link.peer
        guard swarm.takesStreams(peer) else { return }
        do throws(MetadataSessionError) {
            try await metadata.greet(peer)
        } catch {
            // The other side may have greeted at the same time, and its conversation be the one that is kept.
            guard !isStopping, links[peer] === link, metadata.topics(of: peer).isEmpty else { return }
            switch error {
            case .refused(.noCommonTopic), .protocolViolation: unrelated(link)
            // Its connection can carry no more; that says nothing of its topics.
            case .ended where !swarm.takesStreams(peer): release(peer, for: .arrival)
            case .ended where link.greetings > 1: unrelated(link)
            case .ended: greetLater(link)
            case .refused, .timedOut: release(link.peer, for: .arrival)
            }
        }
    }

    /// The conversation with `peer` is over; where it is still connected, one of the two begins another.
    func greetAgain(_ peer: PeerID) {
        guard let link = links[peer], swarm.takesStreams(peer) else { return }
        greetLater(link)
    }

    private func greetLater(_ link: PeerLink) {
        // Not both at the same time.
        let pause = swarm.localPeer < link.peer ? Duration.milliseconds(300) : .seconds(3)
        begin("greet again") { [weak self] in
            do { try await self?.loop.sleep(for: pause) } catch { return }
            guard let self, self.links[link.peer] === link, self.metadata.topics(of: link.peer).isEmpty else { return }
            self.greet(link.peer)
        }
    }

    /// The peer of `link` is on none of this node's topics, or speaks no records.
    private func unrelated(_ link: PeerLink) {
        guard !isWanted(link.peer) else { return }
        discovery.isUseless(.peer(link.peer), at: loop.now)
        if link.isDialled, !leases.isOfUse(link.peer) {
            store?.record(.judged(link.peer, reason: "no common topic", points: -10))
        }
        release(link.peer, for: .arrival)
        discoverSoon()
    }

    // MARK: Measuring

    /// Does what is due at each heartbeat.
    func beat() {
        guard !isStopping else { return }
        let now = loop.now
        heartbeatTimer.arm(after: configuration.heartbeat)
        for peer in links.keys.sorted() {
            guard let link = links[peer] else { continue }
            // To a peer that is connected something is sent all the time.
            for info in swarm.connections(to: peer) {
                if let ip = info.remoteAddress.ipAddress { contacts.contacted(ip, at: now) }
            }
            sample(link)
            reviewUse(of: link)
            // Who came in and has said nothing of topics is asked; what comes of it decides whether he stays.
            guard metadata.topics(of: peer).isEmpty else { continue }
            if now - link.since >= .seconds(15), link.greetings == 0 { greet(peer) }
        }
        if let store { metrics.store.update(store.statistics) }
        pingSome()
        reach.expire(at: now)
        reachChanged()
        if now >= nextDescription {
            nextDescription = now + .seconds(600)
            describeLoad()
        }
        guard now >= nextPrune, let store else { return }
        nextPrune = now + .seconds(3600)
        begin("prune") { try? await store.prune() }
    }

    /// Writes down how the line of `link` did since the last time.
    private func sample(_ link: PeerLink) {
        let now = loop.now
        var (bytesIn, bytesOut): (UInt64, UInt64) = (0, 0)
        for (_, statistics) in swarm.statistics(of: link.peer) {
            bytesIn += statistics.bytesReceived
            bytesOut += statistics.bytesSent
        }
        let measured = swarm.roundTrips(to: link.peer)
        let packets = measured.map { $0.answered + $0.lost } ?? 0
        var sample = QualitySample(connected: now - link.sampledAt)
        sample.roundTrip = measured?.last ?? swarm.statistics(of: link.peer).first?.1.roundTripTime
        sample.jitter = measured?.variation ?? .zero
        sample.packets = max(0, packets - link.packets)
        sample.lost = max(0, (measured?.lost ?? 0) - link.lost)
        // Where a connection has gone, its bytes have gone with it.
        sample.bytesIn = Int(clamping: bytesIn >= link.bytesIn ? bytesIn - link.bytesIn : bytesIn)
        sample.bytesOut = Int(clamping: bytesOut >= link.bytesOut ? bytesOut - link.bytesOut : bytesOut)
        (link.bytesIn, link.bytesOut, link.sampledAt) = (bytesIn, bytesOut, now)
        (link.packets, link.lost) = (packets, measured?.lost ?? 0)
        metrics.transferred(in: sample.bytesIn, out: sample.bytesOut)
        if isRemembered(link) { store?.record(.quality(link.peer, sample)) }
    }

    /// Pings some of those that this node has dialled, by turns, so that many cost no more than a few.
    private func pingSome() {
        let most = 16
        let dialled = links.keys.sorted().filter { peer in
            swarm.connections(to: peer).contains { $0.nature.direction == .outbound }
        }
        guard !dialled.isEmpty else { return }
        for offset in 0..<min(most, dialled.count) {
            guard let link = links[dialled[(pingTurn + offset) % dialled.count]], !link.isPinging else { continue }
            link.isPinging = true
            begin("ping") { [weak self] in
                await self?.ping(link)
                link.isPinging = false
            }
        }
        pingTurn = (pingTurn + most) % dialled.count
    }

    private nonisolated(nonsending) func ping(_ link: PeerLink) async {
        do throws(SwarmError) {
            guard swarm.isConnected(to: link.peer) else { return }
            if link.pinger == nil {
                let pinger = try await swarm.pinger(to: link.peer, onlyConnected: true)
                guard links[link.peer] === link else { return pinger.close() }
                link.pinger = pinger
            }
            _ = try await link.pinger?.ping()
        } catch {
            link.pinger?.close()
            link.pinger = nil
        }
    }
}

extension DisconnectReason {
    /// The reason in a few words.
    var inWords: String {
        switch self {
        case .requested: "this side let it go"
        case .trimmed: "there were too many connections"
        case .replaced: "another connection took its place"
        case .refused(let refusal): "it may not be connected (\(refusal.rawValue))"
        case .shutDown: "this node stops"
        case .ended(.closedByPeer): "the other side closed it"
        case .ended(.unanswered), .ended(.idle): "it did not answer any more"
        case .ended(.network(let reason)): "the network: \(reason)"
        case .ended(.violation(_, let detail)): "it broke the rules: \(detail)"
        case .ended(let error): "\(error)"
        }
    }
}
