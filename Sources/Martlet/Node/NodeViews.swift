internal import MartletIdentity
internal import MartletMainline
internal import MartletMetadata
internal import MartletRuntime
internal import MartletStore
internal import MartletSwarm
internal import MartletTransport
internal import MartletWire

// What a node shows of itself and of its peers.
extension NodeDriver {
    /// A connection as it is shown.
    func link(of info: ConnectionInfo) -> NodePeer.Link {
        let measured = swarm.roundTrips(to: info.peer)
        let estimated = swarm.statistics(of: info.peer).first { $0.number == info.number }?.1.roundTripTime
        return NodePeer.Link(
            transport: info.nature.transport, direction: info.nature.direction, isRelayed: info.nature.isRelayed,
            address: info.remoteAddress,
            since: WallTime(nanoseconds: wall.nanoseconds - (loop.now - info.madeAt).nanoseconds),
            roundTrip: measured?.smoothed ?? estimated,
            jitter: measured.flatMap { $0.answered > 1 ? $0.variation : nil })
    }

    private func link(to peer: PeerID) -> NodePeer.Link? {
        swarm.connections(to: peer).last.map { link(of: $0) }
    }

    // MARK: Peers

    /// The peers that `filter` asks for: those that are connected first, out of the swarm; then the others, out of the
    /// database, which does the choosing.
    func peers(_ filter: NodePeer.Filter) async throws(MartletError) -> [NodePeer] {
        let limit = max(0, min(10_000, filter.limit))
        var mark: Bytes?
        if let name = filter.topic {
            // Nobody is known to be on a topic that this node is not on.
            guard let topic = topics.first(where: { $0.name == name }) else { return [] }
            mark = marks[topic]
        }
        let connected = swarm.connectedPeers
        var page: [NodePeer] = []
        if filter.after?.isConnected ?? true {
            page = Array(try await peers(filter, among: connected).prefix(limit))
        }
        guard !filter.connectedOnly, page.count < limit else { return page }
        let after = filter.after.flatMap { $0.isConnected ? nil : PeerCursor(score: $0.score, id: $0.id) }
        let query = PeerQuery(
            topic: mark, capability: filter.capability, excluding: connected + [swarm.localPeer], after: after,
            limit: limit - page.count)
        return page + (try await summaries(query)).map { peer(of: $0, isConnected: false) }
    }

    /// Those of `connected` that `filter` asks for, from its cursor on. What they proved or said a moment ago may not be
    /// in the database yet.
    private func peers(_ filter: NodePeer.Filter, among connected: [PeerID]) async throws(MartletError) -> [NodePeer] {
        var known: [PeerID: PeerSummary] = [:]
        for summary in try await summaries(PeerQuery(among: connected, limit: connected.count)) {
            known[summary.id] = summary
        }
        var all = connected.filter { swarm.isConnected(to: $0) }.map { id in
            known[id].map { peer(of: $0, isConnected: true) } ?? stranger(id)
        }
        if let topic = filter.topic { all.removeAll { !$0.topics.contains(topic) } }
        if let capability = filter.capability {
            let query = PeerQuery(capability: capability, among: connected, limit: connected.count)
            var able = Set(try await summaries(query).map(\.id))
            for id in connected where metadata.book.record(of: id)?.metadata.capabilities.contains(capability) ?? false
            {
                able.insert(id)
            }
            all.removeAll { !able.contains($0.id) }
        }
        if let after = filter.after { all.removeAll { ($0.score, after.id) >= (after.score, $0.id) } }
        all.sort { ($1.score, $0.id) < ($0.score, $1.id) }
        return all
    }

    private func summaries(_ query: PeerQuery) async throws(MartletError) -> [PeerSummary] {
        guard let store, query.limit > 0 else { return [] }
        do throws(StoreError) {
            return try await store.peers(matching: query)
        } catch {
            throw MartletError(.storage, "the peer database does not answer: \(error)")
        }
    }

    private func peer(of summary: PeerSummary, isConnected: Bool) -> NodePeer {
        let id = summary.id
        var names = Set(summary.topics.compactMap { topicsByMark[$0]?.name })
        for topic in metadata.topics(of: id) { names.insert(topic.name) }
        // A record that names no program does not hide the one that identify told.
        let version = summary.version.isEmpty ? swarm.info(of: id)?.agentVersion ?? "" : summary.version
        return NodePeer(
            id: id, name: summary.name, version: version, type: NodeMetadata.NodeType(text: summary.type),
            nat: NodeMetadata.NATKind(text: summary.nat), topics: names.sorted(),
            link: isConnected ? link(to: id) : nil, score: summary.score,
            lastSeen: isConnected ? wall : summary.lastSeen, addresses: summary.addresses)
    }

    private func stranger(_ peer: PeerID) -> NodePeer {
        let record = metadata.book.record(of: peer)?.metadata
        let program = record.map(\.version).flatMap { $0.isEmpty ? nil : $0 }
        let topics = metadata.topics(of: peer).union(metadata.book.topics(of: peer))
        return NodePeer(
            id: peer, name: record?.name ?? "", version: program ?? swarm.info(of: peer)?.agentVersion ?? "",
            type: record?.type ?? .unknown, nat: record?.nat ?? .unknown, topics: topics.map(\.name).sorted(),
            link: link(to: peer), score: 50, lastSeen: wall, addresses: swarm.addresses(of: peer).count)
    }

    func peer(_ id: PeerID) async throws(MartletError) -> NodePeerDetails? {
        var details: PeerDetails?
        if let store {
            do throws(StoreError) {
                details = try await store.peer(id)
            } catch {
                throw MartletError(.storage, "the peer database does not answer: \(error)", peer: id)
            }
        }
        guard let details else {
            guard swarm.isConnected(to: id) else { return nil }
            return NodePeerDetails(
                peer: stranger(id), metadata: metadata.book.record(of: id)?.metadata, addresses: [], evidence: [],
                quality: [], reasons: [])
        }
        let stored = details.metadata.first.flatMap { try? SignedMetadata(opening: $0.record) }
        return NodePeerDetails(
            peer: peer(of: details.summary, isConnected: swarm.isConnected(to: id)),
            metadata: stored?.metadata ?? metadata.book.record(of: id)?.metadata,
            addresses: details.addresses, evidence: details.evidence, quality: details.quality,
            reasons: details.reasons)
    }

    // MARK: Itself

    var status: NodeStatus {
        var status = NodeStatus(idle: configuration, id: swarm.localPeer, at: startedAtWall)
        status.uptime = loop.now - startedAt
        status.type = reach.type
        status.typeReasons = reach.reasons
        status.listening = fullAddresses
        status.observed = reach.addresses.map { Multiaddr.quicV1($0) }
        status.topics = topics.map { topic in
            NodeStatus.Topic(
                name: topic.name, neighbours: discovery.count(on: topic), known: metadata.book.peers(on: [topic]).count)
        }
        status.connections = connections
        status.known = metadata.book.count
        status.dht = partsInDHT
        status.store = NodeStatus.Store(
            path: configuration.keepsFiles ? store?.path : nil, waiting: store?.statistics.waiting ?? 0,
            trouble: store?.trouble)
        status.memory = NodeStatus.Memory(used: swarm.memory.used, limit: swarm.memory.limit)
        status.warnings = warnings
        return status
    }

    private var partsInDHT: [NodeStatus.DHT] {
        (dht?.status ?? []).map {
            NodeStatus.DHT(
                family: $0.family, state: $0.join, unanswered: $0.unanswered, nodes: $0.nodes.count,
                outsideAddress: $0.outsideAddress)
        }
    }

    private var connections: NodeStatus.Connections {
        var connections = NodeStatus.Connections()
        var transports: [String: Int] = [:]
        for info in swarm.connectedPeers.flatMap({ swarm.connections(to: $0) }) {
            connections.total += 1
            if info.nature.direction == .inbound { connections.inbound += 1 } else { connections.outbound += 1 }
            transports[info.nature.transport, default: 0] += 1
        }
        connections.byTransport = transports.sorted { $0.key < $1.key }.map {
            NodeStatus.TransportCount(transport: $0.key, count: $0.value)
        }
        return connections
    }

    var health: [HealthCheck] {
        let listening = swarm.listenAddresses.count
        let trouble = store?.trouble
        var checks = [
            HealthCheck(
                name: "loop", isOK: !isStopping, isRequired: true,
                detail: isStopping ? "the node is stopping" : "the node's loop answers"),
            HealthCheck(
                name: "listening", isOK: listening > 0 || configuration.listen.isEmpty, isRequired: true,
                detail: listening > 0 ? "listening at \(listening) addresses" : "listening nowhere"),
            HealthCheck(
                name: "database", isOK: trouble == nil && store != nil, isRequired: false,
                detail: trouble.map { "\($0); it goes on in memory" } ?? "the peer database takes what is written"),
        ]
        if dht != nil { checks.append(HealthCheck(ofDHT: partsInDHT)) }
        if !topics.isEmpty {
            let count = discovery.neighbourCount
            checks.append(
                HealthCheck(
                    name: "neighbours", isOK: count > 0, isRequired: false,
                    detail: "\(count) neighbours on \(topics.count) topics"))
        }
        return checks
    }

    /// How many entries everything has that others can make grow, by name.
    var tableSizes: [String: Int] {
        let held = discovery.held
        return [
            "candidates": held.candidates, "owners": held.owners, "useless": held.useless, "evidence": reach.held,
            "contacts": contacts.count, "links": links.count, "leases": leases.held.leases, "book": metadata.book.count,
            "connections": swarm.connectionCount, "memory": swarm.memory.used,
            "waiting": store?.statistics.waiting ?? 0, "warnings": warnings.count,
            "dht": (dht?.status ?? []).reduce(0) { $0 + $1.nodes.count },
        ]
    }

    // MARK: The database

    func take(_ event: StoreEvent) {
        tell(.store(event))
        switch event {
        case .failing(let error): warn("the peer database cannot be written (\(error)) and goes on in memory")
        case .setAside(let path, let reason): warn("the peer database was damaged (\(reason)) and is kept as \(path)")
        case .lost(let count, let error): warn("\(count) changes to the peer database were lost (\(error))")
        case .migrated, .recovered: break
        }
    }
}

extension HealthCheck {
    /// How the DHT is doing: well if the node has joined in one family and somebody answers there.
    init(ofDHT families: [NodeStatus.DHT]) {
        let isReached = families.contains { $0.state == .joined && $0.unanswered == nil }
        var detail = "nobody in the DHT has answered yet"
        if isReached {
            detail = "joined, with \(families.reduce(0) { $0 + $1.nodes }) nodes"
        } else if let silence = families.compactMap(\.unanswered).min() {
            // Somebody in the other family may have answered later than anybody in this one.
            let seconds = silence.nanoseconds / 1_000_000_000
            detail = "no answers for \(seconds < 120 ? "\(seconds) s" : "\(seconds / 60) min")"
        } else if families.contains(where: { $0.state == .joining }) {
            detail = "joining"
        }
        self.init(name: "dht", isOK: isReached, isRequired: false, detail: detail)
    }
}

extension NodeStatus {
    /// Of a node that does not run.
    init(idle configuration: NodeConfiguration, id: PeerID, at time: WallTime) {
        self.init(
            id: id, name: configuration.name, version: Martlet.version, role: configuration.role, startedAt: time,
            uptime: .zero, type: .unknown, nat: .unknown, typeReasons: [], listening: [], observed: [],
            topics: configuration.topics.map { Topic(name: $0, neighbours: 0, known: 0) }, connections: Connections(),
            known: 0, dht: [], store: Store(path: nil, waiting: 0, trouble: nil), memory: Memory(used: 0, limit: 0),
            warnings: [])
    }
}
