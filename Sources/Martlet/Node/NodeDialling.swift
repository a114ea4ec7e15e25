internal import MartletIdentity
internal import MartletMainline
internal import MartletMetadata
internal import MartletRuntime
internal import MartletStore
internal import MartletSwarm
internal import MartletTransport
internal import MartletWire

// How a node comes to have neighbours.
extension NodeDriver {
    // MARK: Discovery

    /// Does what discovery wants done, once what happens now has happened.
    func discoverSoon() {
        guard !isStopping else { return }
        discoveryTimer.arm(at: loop.now)
    }

    func discover() {
        guard !isStopping else { return }
        let now = loop.now
        while let candidate = discovery.nextDial(at: now) {
            begin("dial") { [weak self] in await self?.reach(candidate) }
        }
        for topic in discovery.searches(at: now) { search(topic) }
        discoveryTimer.arm(at: discovery.deadline)
    }

    /// Announces `topic` in the DHT and takes who else is there.
    private func search(_ topic: TopicKey) {
        guard let dht, searching.insert(topic).inserted else { return }
        let scope = scopeOfDHT
        begin("search") { [weak self] in
            let port = self?.announcedPort ?? .implied
            let search = dht.announceOnce(Topic(topic.name).infohash, port)
            while let address = try? await search.next() {
                guard let self, !self.isStopping else { return }
                self.discovery.found(address, on: topic, scope: scope, at: self.loop.now)
                self.discoverSoon()
            }
            self?.searching.remove(topic)
            self?.metrics.searches.increment()
        }
    }

    /// The scope in which the DHT is heard: the widest of its nodes', since any of them may have said what it says.
    private var scopeOfDHT: AddressScope {
        let nodes = (dht?.status ?? []).lazy.flatMap(\.nodes)
        return nodes.compactMap { AddressScope($0.address.ip) }.max() ?? .world
    }

    private var announcedPort: AnnouncedPort {
        if listensByQUIC { return .implied }
        return swarm.listenAddresses.compactMap(\.port).first.map { .number($0) } ?? .implied
    }

    func take(_ event: MainlineEvent) {
        guard !isStopping else { return }
        switch event {
        case .join(_, .joined):
            discovery.beginSearching(at: loop.now)
            discoverSoon()
        case .reached(let family, true): tell(.dht("joined the DHT over \(family)"))
        case .reached(let family, false):
            tell(.dht("nobody in the DHT answers over \(family); it is tried again until somebody does"))
        case .outsideAddress(let address): observed(address)
        default: break
        }
    }

    // MARK: Dialling

    /// Dials `candidate`, and tells discovery what came of it.
    private nonisolated(nonsending) func reach(_ candidate: TopicDiscovery.Candidate) async {
        // However it ends, a place for another dial is free then.
        defer { discoverSoon() }
        var reached: PeerID?
        switch candidate {
        case .peer(let peer):
            if let store, swarm.addresses(of: peer).isEmpty, discovery.told(of: peer).isEmpty {
                let remembered = (try? await store.addressesToDial(peer)) ?? []
                discovery.heard(of: peer, at: remembered, topics: [], from: nil, now: loop.now)
            }
            let known = swarm.addresses(of: peer)
            let trusted = swarm.addresses(of: peer, from: .given)
            let addresses = discovery.addressesToDial(peer, trusted: trusted, claimed: known, at: loop.now)
            if addresses.isEmpty, !known.isEmpty || !discovery.told(of: peer).isEmpty {
                return discovery.postponed(candidate, at: loop.now)
            }
            do throws(ConnectError) {
                reached = try await swarm.connect(to: peer, onlyAt: addresses).peer
            } catch {
                failed(error, to: peer)
            }
        case .address(let address):
            for target in [Multiaddr.quicV1(address), .tcp(address)] where reached == nil {
                do throws(ConnectError) {
                    reached = try await swarm.connect(to: target).peer
                } catch {
                    if case .refused(.isSelf) = error { discovery.isUseless(candidate, at: loop.now) }
                }
                guard !isStopping else { return }
            }
        }
        guard !isStopping else { return }
        discovery.dialled(candidate, reached: reached, at: loop.now)
        if let reached, discovery.isKnownUseless(.peer(reached), at: loop.now) { release(reached, for: .arrival) }
    }

    /// Keeps for later at which addresses `peer` was not to be reached.
    func failed(_ error: ConnectError, to peer: PeerID) {
        switch error {
        case .failed(let attempts), .timedOut(let attempts):
            for attempt in attempts {
                store?.record(.failed(peer, attempt.address, attempt.error.inWords))
                if case .wrongPeer(_, let actual) = attempt.error, actual != swarm.localPeer,
                    let place = attempt.address.socketAddress
                {
                    discovery.found(actual, at: place, now: loop.now)
                }
            }
        default: break
        }
    }

    /// Looks into the database whom to dial first: those that an operator named, those that proved to be on a topic, and
    /// a few of the others.
    nonisolated(nonsending) func rememberPeers() async {
        guard let store else { return }
        let most = 1024
        let named = PeerQuery(isKept: true, order: .lastConnected, limit: most)
        // One network may have any number of peers that came a moment ago.
        let proven = PeerQuery(
            isProven: true, wasConnected: true, order: .lastConnected,
            ofNetwork: configuration.discovery.rememberedOfNetwork, limit: most)
        let others = PeerQuery(
            isProven: false, wasConnected: true, order: .lastConnected,
            ofNetwork: configuration.discovery.rememberedStrangersOfNetwork, limit: most)
        var plan = RememberedPeers(configuration.discovery)
        var found: [PeerID: PeerSummary] = [:]
        func candidates(_ query: PeerQuery) async -> [RememberedPeers.Candidate] {
            let peers = (try? await store.peers(matching: query)) ?? []
            for peer in peers { found[peer.id] = peer }
            return peers.map { RememberedPeers.Candidate(peer: $0.id, network: $0.network) }
        }
        plan.addNamed(await candidates(named))
        plan.addProven(await candidates(proven))
        plan.addOthers(await candidates(others))
        for peer in plan.chosen where peer != swarm.localPeer {
            guard !isStopping, let addresses = try? await store.addressesToDial(peer) else { return }
            let known = Set((found[peer]?.topics ?? []).compactMap { topicsByMark[$0] })
            discovery.heard(of: peer, at: addresses, topics: known, from: nil, now: loop.now)
            discoverSoon()
        }
    }

    /// The longest between two looks at whether a bootstrap address is to be dialled.
    private static let longestBootstrapPause = Duration.seconds(60)

    /// Sees to it that whoever is at `bootstrap` is connected while there is need of him, for ever.
    nonisolated(nonsending) func pursue(_ bootstrap: BootstrapAddress) async {
        var pause = Duration.seconds(1)
        var peer: PeerID?
        while !isStopping {
            let isUseless = peer.map { discovery.isKnownUseless(.peer($0), at: loop.now) } ?? false
            if let peer, swarm.isConnected(to: peer) {
                pause = .seconds(1)
            } else if isUseless {
                pause = Self.longestBootstrapPause
            } else if peer == nil || discovery.chosenCount == 0 || configuration.topics.isEmpty {
                for address in bootstrap.dialled {
                    peer = (try? await swarm.connect(to: address))?.peer ?? peer
                    guard let peer, swarm.isConnected(to: peer) else { continue }
                    store?.record([.kept(peer, true), .addresses(peer, [address], .configured)])
                    break
                }
                if peer == nil { log.debug("nobody answers at a bootstrap address", ["address": bootstrap]) }
            }
            let share = Int(Int64.random(in: 800...1200, using: &random))
            do { try await loop.sleep(for: pause * share / 1000) } catch { return }
            pause = min(Self.longestBootstrapPause, pause * 2)
        }
    }

    // MARK: For the user

    func connect(_ address: Multiaddr) async throws(MartletError) -> PeerID {
        do throws(ConnectError) {
            let info = try await swarm.connect(to: address)
            keep(info.peer)
            if info.nature.direction == .outbound {
                store?.record(.addresses(info.peer, [info.remoteAddress], .configured))
            }
            return info.peer
        } catch {
            throw MartletError(error, address: address)
        }
    }

    func connect(_ peer: PeerID) async throws(MartletError) {
        try await dial(peer)
        keep(peer)
    }

    private func dial(_ peer: PeerID) async throws(MartletError) {
        // Whom the user names is dialled wherever it is said to be, by whoever may speak of such addresses. That makes none
        // of them more believable.
        var addresses = swarm.addresses(of: peer) + discovery.told(of: peer)
        if let store, addresses.isEmpty { addresses = (try? await store.addressesToDial(peer)) ?? [] }
        do throws(ConnectError) {
            _ = try await swarm.connect(to: peer, onlyAt: addresses)
        } catch {
            failed(error, to: peer)
            throw MartletError(error, peer: peer)
        }
    }

    /// The user wants `peer` to be connected.
    private func keep(_ peer: PeerID) {
        hold(peer, for: .user, worth: Worth.user)
        store?.record(.kept(peer, true))
        swarm.protect(peer, for: "user")
    }

    func disconnect(_ peer: PeerID) {
        leases.revoke(peer, at: loop.now)
        leasesChanged(of: peer)
        store?.record(.kept(peer, false))
        swarm.unprotect(peer, for: "user")
        discovery.isUseless(.peer(peer), at: loop.now)
        closeUnheld()
    }

    func open(_ name: String, to peer: PeerID) async throws(MartletError) -> MartletTransport.Stream {
        if !(links[peer]?.isUsing ?? false) {
            hold(peer, for: .use, worth: Worth.use, lasting: leases.limits.use)
        }
        if !swarm.isConnected(to: peer) { try await dial(peer) }
        do throws(SwarmError) {
            let stream = try await swarm.openStream(to: peer, name)
            opened(stream)
            return stream
        } catch {
            throw MartletError(error, peer: peer)
        }
    }
}
