import MartletRouting
import MartletRuntime
import MartletWire

/// The part of a node that is a machine for answering what others ask.
extension MainlineNode {
    /// How many nodes an answer names in each family.
    static let nodesPerAnswer = 8
    /// How many peers an answer names at the most, if they fit.
    static let peersPerAnswer = 100

    mutating func handleQuery(
        _ query: KRPCMessage, _ datagram: RawSpan, from source: SocketAddress, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) {
        metrics.receivedByMethod[query.method?.rawValue ?? KRPCMethod.allCases.count].increment()
        guard !configuration.isReadOnly else { return metrics.dropped[.readOnly].increment() }
        guard gates.mayAsk(source.ip, at: now) else { return metrics.dropped[.sourceRate].increment() }
        let transaction = query.transaction.span(in: datagram)
        guard let id = query.id else { return refuse(.protocol, transaction, to: source, at: now) }
        guard let method = query.method else { return refuse(.unknownMethod, transaction, to: source, at: now) }
        answer.removeAll()
        do {
            switch method {
            case .ping: break
            case .findNode:
                try addNodes(for: query, asker: source)
            case .getPeers:
                try addNodes(for: query, asker: source)
                try addPeers(for: query, asker: source, at: now)
            case .announcePeer: try announce(query, datagram, from: source, at: now)
            case .get:
                try addNodes(for: query, asker: source)
                addItem(for: query, asker: source, at: now)
            case .put: try put(query, datagram, from: source, at: now)
            case .sampleInfohashes:
                try addNodes(for: query, asker: source)
                addSample(at: now, using: &generator)
            }
        } catch {
            return refuse(error, transaction, to: source, at: now)
        }
        let place = Int(source.ip.family.rawValue)
        guard let own = sides[place]?.table.own else { return }
        let bytes = answer.encoded(
            transaction: transaction, id: own, to: source, maximum: configuration.limits.answerSize)
        guard passes(bytes, to: source, at: now) else { return }
        metrics.answered.increment()
        transmit(bytes, to: source, from: asked)
        // A node that answers nobody is nobody to know (BEP 43).
        guard !query.isReadOnly else { return }
        let isPreferred = isPreferred(id, at: source.ip)
        sides[place]?.table.heard(id, at: source, isPreferred: isPreferred, now: now)
        if let check = sides[place]?.table.checkDeadline, check < nextHousekeeping {
            sides[place]?.silence.probeSoon(at: now)
            nextHousekeeping = min(nextHousekeeping, max(check, now + .seconds(1)))
            deadline = min(deadline, nextHousekeeping)
        }
    }

    private mutating func refuse(_ error: KRPCError, _ transaction: RawSpan, to source: SocketAddress, at now: Instant)
    {
        let bytes = KRPCAnswer.encoded(error, transaction: transaction, to: source)
        guard passes(bytes, to: source, at: now) else { return }
        metrics.errors.increment()
        transmit(bytes, to: source, from: asked)
    }

    private mutating func passes(_ bytes: Bytes, to source: SocketAddress, at now: Instant) -> Bool {
        switch gates.refusal(of: bytes.count, to: source.ip, at: now) {
        case nil: return true
        case .sourceRate: metrics.dropped[.sourceRate].increment()
        case .sourceBytes: metrics.dropped[.sourceBytes].increment()
        case .networkBytes: metrics.dropped[.networkBytes].increment()
        }
        return false
    }

    /// The nodes closest to the target, of the families that are wanted, or else of the asker's own.
    private mutating func addNodes(for query: KRPCMessage, asker: SocketAddress) throws(KRPCError) {
        guard let target = query.target else { throw .protocol }
        let saysWhat = query.wantsV4 || query.wantsV6
        answer.hasNodes4 = saysWhat ? query.wantsV4 : asker.ip.isV4
        answer.hasNodes6 = saysWhat ? query.wantsV6 : asker.ip.isV6
        if answer.hasNodes4 { addNodes(.v4, target, asker) }
        if answer.hasNodes6 { addNodes(.v6, target, asker) }
    }

    private mutating func addNodes(_ family: IPAddress.Family, _ target: NodeID, _ asker: SocketAddress) {
        sides[Int(family.rawValue)]?.table.closest(to: target, count: Self.nodesPerAnswer, into: &found)
        for node in found where node.contact != asker {
            answer.nodes.append(CompactNode(id: node.key, address: node.contact))
        }
    }

    private mutating func addPeers(
        for query: KRPCMessage, asker: SocketAddress, at now: Instant
    ) throws(KRPCError) {
        guard let infohash = query.target else { throw .protocol }
        answer.token = tokens.token(for: asker.ip)
        peers.peers(
            of: infohash, asker.ip.family, maximum: Self.peersPerAnswer, at: now, into: &answer.peers)
    }

    private mutating func checkToken(
        _ query: KRPCMessage, _ datagram: RawSpan, from source: SocketAddress, at now: Instant
    ) throws(KRPCError) {
        guard tokens.isValid(query.token.span(in: datagram), for: source.ip) else {
            metrics.dropped[.badToken].increment()
            throw .protocol
        }
        gates.prove(source.ip, at: now)
    }

    private mutating func announce(
        _ query: KRPCMessage, _ datagram: RawSpan, from source: SocketAddress, at now: Instant
    ) throws(KRPCError) {
        guard let infohash = query.target else { throw .protocol }
        try checkToken(query, datagram, from: source, at: now)
        var peer = SocketAddress(source.ip, port: source.port)
        if !query.impliesPort {
            guard let port = query.port.flatMap({ UInt16(exactly: $0) }), port != 0 else { throw .protocol }
            peer.port = port
        }
        guard peers.add(peer, to: infohash, at: now) == .stored else {
            metrics.dropped[.full].increment()
            throw .server
        }
    }

    private mutating func addItem(for query: KRPCMessage, asker: SocketAddress, at now: Instant) {
        answer.token = tokens.token(for: asker.ip)
        guard let target = query.target, let item = items.item(target, at: now) else { return }
        if let author = item.author, let known = query.sequence, author.sequence <= known {
            answer.sequence = author.sequence
        } else {
            answer.item = item
        }
    }

    private mutating func put(
        _ query: KRPCMessage, _ datagram: RawSpan, from source: SocketAddress, at now: Instant
    ) throws(KRPCError) {
        guard query.value.isThere else { throw .protocol }
        guard query.value.count <= MainlineItem.largestValue else { throw .valueTooLarge }
        guard query.salt.count <= MainlineItem.longestSalt else { throw .saltTooLarge }
        try checkToken(query, datagram, from: source, at: now)
        let value = Bytes(copying: query.value.span(in: datagram))
        let item: MainlineItem
        if let key = query.key.bytes(in: datagram) {
            guard let signature = query.signature.bytes(in: datagram), let sequence = query.sequence else {
                throw .protocol
            }
            item = try MainlineItem(
                value: value, key: key, salt: query.salt.bytes(in: datagram) ?? Bytes(), sequence: sequence,
                signature: signature)
        } else {
            item = try MainlineItem(immutable: value)
        }
        guard let own = side(source.ip.family)?.table.own else { throw .server }
        do throws(KRPCError) {
            try items.put(item, replacing: query.expectedSequence, from: source.ip, near: own, at: now)
        } catch {
            if error == .server { metrics.dropped[.full].increment() }
            throw error
        }
    }

    private mutating func addSample(at now: Instant, using generator: inout some RandomNumberGenerator) {
        let limits = configuration.limits
        if now >= sample.until {
            sample = (peers.sample(limits.sampleSize, using: &generator), now + limits.sampleInterval)
        }
        answer.sample = InfohashSample(
            infohashes: sample.infohashes, total: peers.topicCount,
            interval: limits.sampleInterval.nanoseconds / 1_000_000_000)
    }
}
