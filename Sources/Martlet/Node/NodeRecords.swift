internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletStore
internal import MartletSwarm
internal import MartletTransport
internal import MartletWire

// What a node says of itself, and what it hears of others.
extension NodeDriver {
    // MARK: Its own record

    /// What is known of a node from its configuration alone.
    static func firstRecord(_ configuration: NodeConfiguration, of peer: PeerID, at time: WallTime) -> NodeMetadata {
        var record = NodeMetadata(peer: peer, sequence: 0, time: time)
        record.name = configuration.name
        record.version = "martlet/\(Martlet.version)"
        var capabilities = configuration.capabilities
        if configuration.role != .peer, !capabilities.contains(configuration.role.rawValue) {
            capabilities.append(configuration.role.rawValue)
        }
        record.capabilities = capabilities
        record.services = configuration.services
        return record
    }

    /// Puts into the own record where this node is now, and of what type.
    func describe() {
        guard !isStopping else { return }
        let addresses = ownAddresses
        let now = loop.now
        let seen = reach.addressesToTell(at: now) { discovery.isOthers($0, at: now) }
        let observed = listensByQUIC ? seen.map { Multiaddr.quicV1($0) } : []
        let type = reach.type
        let isShared = configuration.sharesPrivateAddresses
        metadata.update { record in
            record.listenAddresses = addresses.filter { $0.ipAddress?.isGlobal ?? true }
            record.privateAddresses = isShared ? addresses.filter { !($0.ipAddress?.isGlobal ?? true) } : []
            record.observedAddresses = observed.filter { !addresses.contains($0) }
            record.type = type
        }
        discovery.owns(Set((swarm.listenAddresses + observed).compactMap(\.socketAddress)))
    }

    /// Puts into the own record how busy this node and its machine are, in coarse steps, for each change goes to all
    /// neighbours.
    func describeLoad() {
        let connections = Self.coarse(swarm.connectionCount)
        let use = environment.machineUse
        let memory = Self.coarse(use?.memoryShare ?? 0)
        var processor = 0
        if let use, let earlier = machineUse { processor = Self.coarse(use.processorShare(since: earlier)) }
        machineUse = use
        let uptime = UInt64(max(0, (loop.now - startedAt) / .seconds(1)))
        metadata.update { record in
            let load = NodeMetadata.Load(
                processor: UInt32(processor), memory: UInt32(memory), connections: UInt32(connections))
            // Uptime alone is no reason to send a record to everyone.
            guard load != record.load || uptime >= 2 * max(600, record.uptime) else { return }
            record.load = load
            record.uptime = uptime
        }
    }

    /// `number` without all but its two highest bits.
    static func coarse(_ number: Int) -> Int {
        guard number > 3 else { return max(0, number) }
        let shift = Int.bitWidth - number.leadingZeroBitCount - 2
        return (number >> shift) << shift
    }

    // MARK: Others' records

    func take(_ event: MetadataEvent) {
        guard !isStopping else { return }
        switch event {
        case .neighbour(let peer, let topics):
            discovery.proved(
                peer, topics: topics, isChosen: links[peer]?.isDialled ?? false,
                from: swarm.connections(to: peer).lazy.compactMap(\.remoteAddress.ipAddress).first, at: loop.now)
            proved(peer, topics)
            metrics.neighbours.record(Int64(discovery.neighbourCount))
            discoverSoon()
        case .neighbourLost(let peer):
            discovery.lost(peer, at: loop.now)
            left(peer)
            // One of the two begins another conversation.
            if links[peer] != nil { welcome(peer) }
            metrics.neighbours.record(Int64(discovery.neighbourCount))
            greetAgain(peer)
            discoverSoon()
        case .record(let record, let teller): take(record, from: teller)
        case .signed(let number): sequence.keep(number)
        case .clockDisputed(let own, let theirs):
            warn(
                "this node's clock shows \(own), and most neighbours' clocks show about \(theirs); until they agree, records "
                    + "are refused on both sides: set the clock")
        case .refused(let peer, let refusal):
            log.debug("a record or a request was refused", ["peer": peer, "reason": "\(refusal)"])
        }
    }

    /// `peer` has proven to be on `proven`, for the first time or in a new conversation. It is remembered from now on.
    private func proved(_ peer: PeerID, _ proven: Set<TopicKey>) {
        guard let link = links[peer] else { return }
        let change = link.prove(proven)
        for topic in change.left { left(peer, topic) }
        for topic in change.joined {
            hold(peer, for: .topic(topic), worth: Worth.topic)
            tell(.joined(peer, topic: topic.name))
        }
        release(peer, for: .arrival)
        store?.record(.proved(peer, topics: topics.filter(proven.contains).compactMap { marks[$0] }))
        if let info = swarm.info(of: peer) { rememberIdentity(of: peer, info) }
    }

    /// Says that `peer` is on none of its topics any more, as far as is known.
    func left(_ peer: PeerID) {
        for topic in links[peer]?.prove([]).left ?? [] { left(peer, topic) }
    }

    private func left(_ peer: PeerID, _ topic: TopicKey) {
        release(peer, for: .topic(topic))
        tell(.left(peer, topic: topic.name))
    }

    /// On what terms the word of `teller`, which is connected, is taken.
    func source(_ teller: PeerID) -> TopicDiscovery.Source {
        let connections = swarm.connections(to: teller)
        // A peer that is connected over several networks is in all of them.
        let scope = connections.map(\.scope).min() ?? .world
        let place = connections.lazy.compactMap(\.remoteAddress.ipAddress).first
        return TopicDiscovery.Source(teller: Teller(teller, at: place), scope: scope)
    }

    private func take(_ record: SignedMetadata, from teller: PeerID) {
        let said = record.metadata
        let shared = metadata.book.topics(of: said.peer)
        let addresses = discovery.heard(
            of: said.peer, at: said.listenAddresses + said.observedAddresses + said.privateAddresses,
            topics: shared, from: source(teller), now: loop.now)
        var fields = PeerMetadata(peer: said.peer, sequence: said.sequence, record: record.envelope.bytes)
        fields.name = said.name
        fields.version = said.version
        fields.type = said.type.text
        fields.nat = said.nat.text
        fields.capabilities = said.capabilities
        fields.topics = said.topicMarks
        fields.members = topics.filter(shared.contains).compactMap { marks[$0] }
        fields.services = said.services.map {
            PeerService(name: $0.name, port: $0.port, description: $0.description)
        }
        store?.record([.metadata(fields), .addresses(said.peer, addresses, .signed)])
        tell(.updated(said.peer, name: said.name, sequence: said.sequence))
        metrics.known.record(Int64(metadata.book.count))
        discoverSoon()
    }

    // MARK: Reachability

    /// Keeps for later who said what of this node.
    func note(_ kind: String, _ value: String, by witness: String) {
        store?.record(.evidence(Evidence(kind: kind, value: value, witness: witness)))
    }

    /// Says so where what is concluded has changed.
    func reachChanged() {
        if reach.type != toldType {
            toldType = reach.type
            tell(.typeChanged(reach.type))
        }
        describe()
    }

    /// A peer says where it sees this node.
    func observed(_ address: Multiaddr, by peer: PeerID) {
        guard let seen = address.socketAddress, let connection = swarm.connections(to: peer).first,
            let place = connection.remoteAddress.ipAddress
        else { return }
        let isDialable = address.transport == .quicV1 && listensByQUIC
        let counts = reach.observed(
            seen, isDialable: isDialable, by: peer.description, at: place,
            to: connection.localAddress.ipAddress, now: loop.now, wall: wall)
        guard counts else { return }
        note("observed-address", address.description, by: peer.description)
        tell(.observedAddress(address, by: peer.description))
        reachChanged()
    }

    /// Nodes of the DHT agree where they see this node.
    func observed(_ address: SocketAddress) {
        let witness = "nodes of the DHT"
        let counts = reach.agreed(address, by: witness, now: loop.now, wall: wall)
        tell(.observedAddress(.quicV1(address), by: witness))
        guard counts else { return }
        note("observed-address", Multiaddr.quicV1(address).description, by: witness)
        reachChanged()
    }

    /// Somebody has come in.
    func arrived(_ info: ConnectionInfo) {
        guard info.nature.direction == .inbound, !info.nature.isRelayed, let place = info.remoteAddress.ipAddress
        else { return }
        let isStranger = contacts.isStranger(place, at: loop.now)
        let counts = reach.arrived(
            info.peer.description, from: place, to: info.localAddress.ipAddress, isStranger: isStranger, now: loop.now,
            wall: wall)
        guard counts else { return }
        note("inbound", info.remoteAddress.description, by: info.peer.description)
        reachChanged()
    }
}
