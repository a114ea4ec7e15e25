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

    func peers(_ filter: NodePeer.Filter) async throws(MartletError) -> [NodePeer] {
        let limit = max(0, min(10_000, filter.limit))
        var found: [PeerID: PeerSummary] = [:]
        if let store {
            let query = PeerQuery(capability: filter.capability, limit: 10_000)
            do throws(StoreError) {
                for summary in try await store.peers(matching: query) { found[summary.id] = summary }
            } catch {
                throw MartletError(.storage, "the peer database does not answer: \(error)")
            }
        }
        let connected = Set(swarm.connectedPeers)
        var all = found.values.filter { !filter.connectedOnly || connected.contains($0.id) }.map { peer(of: $0) }
        if filter.capability == nil {
            // Those who came a moment ago may not be in the database yet.
            all += connected.filter { found[$0] == nil }.map { stranger($0) }
        }
        if let topic = filter.topic { all = all.filter { $0.topics.contains(topic) } }
        all.removeAll { $0.id == swarm.localPeer }
        all.sort { left, right in
            if (left.link != nil) != (right.link != nil) { return left.link != nil }
            if left.score != right.score { return left.score > right.score }
            return left.id < right.id
        }
        return Array(all.prefix(limit))
    }

    private func peer(of summary: PeerSummary) -> NodePeer {
        NodePeer(
            id: summary.id, name: summary.name, version: summary.version,
            type: NodeMetadata.NodeType(text: summary.type), nat: NodeMetadata.NATKind(text: summary.nat),
            topics: topics(of: summary.id, marks: summary.topics), link: link(to: summary.id), score: summary.score,
            lastSeen: swarm.isConnected(to: summary.id) ? wall : summary.lastSeen, addresses: summary.addresses)
    }

    private func stranger(_ peer: PeerID) -> NodePeer {
        let record = metadata.book.record(of: peer)?.metadata
        return NodePeer(
            id: peer, name: record?.name ?? "", version: record?.version ?? swarm.info(of: peer)?.agentVersion ?? "",
            type: record?.type ?? .unknown, nat: record?.nat ?? .unknown,
            topics: topics(of: peer, marks: record?.topicMarks ?? []), link: link(to: peer), score: 50, lastSeen: wall,
            addresses: swarm.addresses(of: peer).count)
    }

    /// Which of this node's topics `peer` is on, by what it proved and by what it wrote into its record.
    private func topics(of peer: PeerID, marks: [Bytes]) -> [String] {
        let proven = metadata.topics(of: peer)
        return topics.filter { proven.contains($0) || marks.contains($0.mark(of: peer)) }.map(\.name).sorted()
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
        var summary = details.summary
        summary.topics = details.metadata.first?.topics ?? []
        return NodePeerDetails(
            peer: peer(of: summary), metadata: stored?.metadata ?? metadata.book.record(of: id)?.metadata,
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
        status.dht = (dht?.status ?? []).map {
            NodeStatus.DHT(
                family: $0.family, state: $0.join, unanswered: $0.unanswered, nodes: $0.nodes.count,
                outsideAddress: $0.outsideAddress)
        }
        status.store = NodeStatus.Store(
            path: configuration.keepsFiles ? store?.path : nil, waiting: store?.statistics.waiting ?? 0,
            trouble: store?.trouble)
        status.memory = NodeStatus.Memory(used: swarm.memory.used, limit: swarm.memory.limit)
        status.warnings = warnings
        return status
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
        if let dht {
            let states = dht.status
            let isJoined = states.contains { $0.join == .joined }
            checks.append(
                HealthCheck(
                    name: "dht", isOK: isJoined, isRequired: false,
                    detail: isJoined
                        ? "joined, with \(states.reduce(0) { $0 + $1.nodes.count }) nodes"
                        : "nobody in the DHT has answered yet"))
        }
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
            "contacts": contacts.count, "links": links.count, "kept": kept.count, "book": metadata.book.count,
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
