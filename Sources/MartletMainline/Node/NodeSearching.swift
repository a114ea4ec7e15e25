import MartletRouting
public import MartletRuntime
public import MartletWire

/// The part of a node that is a machine for asking others.
extension MainlineNode {
    // MARK: What can be asked for

    /// Looks for the peers of `infohash`, and tells those that are closest to it of us where `port` is given. `nil` where
    /// too many lookups wait already, or the node does not take part in `family`.
    public mutating func findPeers(
        of infohash: NodeID, _ family: IPAddress.Family, announcing port: AnnouncedPort? = nil, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) -> SearchID? {
        let id = start(.peers(announcing: port), infohash, family, at: now, using: &generator)
        guard let id else { return nil }
        var own: [SocketAddress] = []
        peers.peers(of: infohash, family, maximum: Self.peersPerAnswer, at: now, into: &own)
        hand(own, to: id)
        return id
    }

    /// Looks for the item at `target`; for a mutable item with a salt, the salt must be given.
    public mutating func findItem(
        _ target: NodeID, salt: Bytes = Bytes(), _ family: IPAddress.Family, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) -> SearchID? {
        start(.item(Search.Wanted(salt: salt)), target, family, at: now, using: &generator)
    }

    /// Stores `item` at the nodes closest to its target; where `expected` is given, only in the place of that version.
    public mutating func put(
        _ item: MainlineItem, replacing expected: Int64? = nil, _ family: IPAddress.Family, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) -> SearchID? {
        let wanted = Search.Wanted(put: item, expected: expected, salt: item.author?.salt ?? Bytes())
        return start(.item(wanted), item.target, family, at: now, using: &generator)
    }

    /// Stores `item`, or a newer version of it that is found, where there are not copies enough.
    mutating func refresh(
        _ item: MainlineItem, _ family: IPAddress.Family, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) -> SearchID? {
        let wanted = Search.Wanted(put: item, isKept: true, salt: item.author?.salt ?? Bytes())
        return start(.item(wanted), item.target, family, at: now, using: &generator)
    }

    /// Looks for the nodes closest to `target`.
    public mutating func findNodes(
        around target: NodeID, _ family: IPAddress.Family, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) -> SearchID? {
        start(.nodes, target, family, at: now, using: &generator)
    }

    /// Asks the nodes on the way to `target` for some of the infohashes that they store (BEP 51).
    public mutating func sampleInfohashes(
        towards target: NodeID, _ family: IPAddress.Family, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) -> SearchID? {
        start(.sample, target, family, at: now, using: &generator)
    }

    /// Ends a lookup. Nothing more is told of it.
    public mutating func cancel(_ search: SearchID) {
        searches.removeAll { $0.id == search }
        waitingSearches.removeAll { $0.id == search }
    }

    // MARK: How a lookup runs

    mutating func start(
        _ purpose: Search.Purpose, _ target: NodeID, _ family: IPAddress.Family, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) -> SearchID? {
        guard let side = side(family) else { return nil }
        let isJoin = if case .join = purpose { true } else { false }
        guard isJoin || waitingSearches.count < configuration.limits.waitingSearches else { return nil }
        lastNumber += 1
        let lookup = Lookup<NodeID, SocketAddress>(
            target: target, limits: configuration.limits.lookup, latency: side.latency, at: now)
        let search = Search(id: SearchID(number: lastNumber), family: family, purpose: purpose, lookup: lookup)
        waitingSearches.append(search)
        advanceSearches(at: now, using: &generator)
        rearm(at: now)
        return search.id
    }

    /// Does what each lookup can do now: begin, ask, store, end.
    mutating func advanceSearches(at now: Instant, using generator: inout some RandomNumberGenerator) {
        repeat {
            while let index = nextToBegin { begin(waitingSearches.remove(at: index), at: now) }
            for index in searches.indices { ask(index, at: now, using: &generator) }
            endSearches(at: now)
        } while nextToBegin != nil
    }

    /// Which of the lookups that wait may begin: while the node joins, only that by which it does.
    private var nextToBegin: Int? {
        guard searches.count < configuration.limits.searches else { return nil }
        return waitingSearches.firstIndex { search in
            if case .join = search.purpose { return true }
            return side(search.family)?.join != .joining
        }
    }

    private mutating func begin(_ search: Search, at now: Instant) {
        var search = search
        guard let side = side(search.family) else { return }
        let isJoin = if case .join = search.purpose { true } else { false }
        if isJoin { sides[Int(search.family.rawValue)]?.hearsay.attemptBegan() }
        let old = search.lookup
        // It may have waited, and what is known now may be more.
        search.lookup = Lookup(target: old.target, limits: old.limits, latency: side.latency, at: now)
        side.table.closest(to: old.target, count: 4 * old.limits.closest, into: &found)
        for node in found { search.lookup.add(node.key, at: node.contact, isPreferred: node.isPreferred) }
        if found.count < old.limits.closest {
            for address in side.bootstrap { search.lookup.add(nil, at: address, isPreferred: true) }
            // Once the node has joined, what it knew before tells it nothing new.
            for node in side.saved where side.join != .joined {
                search.lookup.add(
                    node.id, at: node.address, isPreferred: isPreferred(node.id, at: node.address.ip))
            }
            for (node, teller) in side.hearsay.nodes {
                search.lookup.add(
                    node.id, at: node.address, isPreferred: isPreferred(node.id, at: node.address.ip), toldBy: teller)
            }
            // Those that did not answer lately may do so now that nobody else does.
            for node in side.table.nodes where node.failures > 0 {
                search.lookup.add(node.key, at: node.contact, isPreferred: node.isPreferred)
            }
        }
        searches.append(search)
    }

    /// Sends what the lookup at `index` wants to send.
    mutating func ask(_ index: Int, at now: Instant, using generator: inout some RandomNumberGenerator) {
        guard !searches[index].isStoring else { return }
        searches[index].isHeldUp = false
        while true {
            guard maySend(at: now) else {
                searches[index].isHeldUp = true
                return
            }
            guard let candidate = searches[index].lookup.nextQuery(at: now) else { break }
            let target = searches[index].lookup.target
            let query: KRPCQuery =
                switch searches[index].purpose {
                case .join, .nodes: .findNode(target)
                case .peers: .getPeers(target)
                case .item(let wanted): .get(target, newerThan: wanted.best?.author?.sequence)
                case .sample: .sample(target)
                }
            send(query, to: candidate.contact, .step(searches[index].id), at: now, using: &generator)
        }
        if searches[index].lookup.isFinished { store(index, at: now, using: &generator) }
    }

    /// The query that tells of us, in `family`, under `infohash`.
    private func announcement(
        of infohash: NodeID, _ port: AnnouncedPort, _ family: IPAddress.Family, token: Bytes
    ) -> KRPCQuery {
        switch port {
        case .number(let number): return .announce(infohash, port: number, isImplied: false, token: token)
        case .implied:
            let side = side(family)
            // Without either, 1 is what a node that reads it takes for a port at all.
            let seen = side?.votes.winner?.port ?? side?.localPort ?? 1
            return .announce(infohash, port: seen, isImplied: true, token: token)
        }
    }

    /// Stores what the lookup at `index` was for, at the closest nodes that gave us a token.
    private mutating func store(_ index: Int, at now: Instant, using generator: inout some RandomNumberGenerator) {
        searches[index].isStoring = true
        let search = searches[index]
        for node in search.lookup.closest {
            guard let token = search.tokens[node.contact] else { continue }
            let query: KRPCQuery
            switch search.purpose {
            case .peers(announcing: let port?):
                query = announcement(of: search.lookup.target, port, node.contact.ip.family, token: token)
            case .item(let wanted):
                guard let item = wanted.stored, !wanted.isKept || !search.isKeptByOthers(item) else { return }
                // A node that has no version cannot have the expected one.
                let expected = search.versions[node.contact] == nil ? nil : wanted.expected
                query = .put(item, replacing: expected, token: token)
            default: return
            }
            searches[index].storing += 1
            send(query, to: node.contact, .store(search.id), at: now, using: &generator)
        }
    }

    /// Takes leave of the lookups that have nothing left to do.
    private mutating func endSearches(at now: Instant) {
        for search in searches where search.isStoring && search.storing == 0 {
            let report = search.report(at: now)
            if case .join = search.purpose { ended(joinOf: search.family, report, at: now) }
            noteRepetition(search, at: now)
            events.append(.ended(search.id, report))
        }
        searches.removeAll { $0.isStoring && $0.storing == 0 }
    }

    // MARK: What comes back

    mutating func handleAnswer(
        _ message: KRPCMessage, _ datagram: RawSpan, from source: SocketAddress, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) {
        guard let pending = transactions.end(message.transaction.span(in: datagram), from: source) else {
            return metrics.dropped[.unexpectedAnswer].increment()
        }
        gates.prove(source.ip, at: now)
        endSilence(source.ip.family, at: now)
        // An answer under our own id is our own, or a trick.
        guard message.kind == .answer, let id = message.id, id != side(source.ip.family)?.table.own else {
            metrics.refusals.increment()
            fail(pending, at: now, isSilent: false)
            return advanceSearches(at: now, using: &generator)
        }
        let roundTrip = now - pending.sent
        metrics.successes.increment()
        metrics.roundTrip.record(roundTrip)
        note(id, at: source, roundTrip, message, at: now, using: &generator)
        switch pending.purpose {
        case .check: break
        case .step(let search):
            guard let index = searches.firstIndex(where: { $0.id == search }), !searches[index].isStoring else { break }
            take(message, datagram, from: source, id, into: index, at: now)
            ask(index, at: now, using: &generator)
            endSearches(at: now)
        case .store(let search):
            guard let index = searches.firstIndex(where: { $0.id == search }) else { break }
            searches[index].storing -= 1
            searches[index].stored += 1
            endSearches(at: now)
        }
        if !waitingSearches.isEmpty { advanceSearches(at: now, using: &generator) }
    }

    /// What every answer tells: that the node is there, and where it sees us.
    private mutating func note(
        _ id: NodeID, at source: SocketAddress, _ roundTrip: Duration, _ message: KRPCMessage, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) {
        let place = Int(source.ip.family.rawValue)
        sides[place]?.latency.add(roundTrip)
        let isPreferred = isPreferred(id, at: source.ip)
        sides[place]?.table.answered(id, at: source, isPreferred: isPreferred, roundTrip: roundTrip, now: now)
        guard let outside = message.outsideAddress?.unmapped, accepts(outside), outside.ip.family == source.ip.family,
            sides[place]?.votes.add(outside, from: source.ip) == true
        else { return }
        learn(outside, at: now, using: &generator)
    }

    private mutating func take(
        _ message: KRPCMessage, _ datagram: RawSpan, from source: SocketAddress, _ id: NodeID, into index: Int,
        at now: Instant
    ) {
        let family = searches[index].family
        addNodes(of: message, datagram, from: source, to: index, family, at: now)
        searches[index].lookup.answered(source, as: id, isPreferred: isPreferred(id, at: source.ip), at: now)
        if message.token.isThere, message.token.count <= 64 {
            searches[index].tokens[source] = message.token.bytes(in: datagram)
        }
        switch searches[index].purpose {
        case .join, .nodes: break
        case .peers:
            guard message.values.isThere else { break }
            var named: [SocketAddress] = []
            CompactPeers.forEach(in: message.values.span(in: datagram), maximum: 256) { named.append($0) }
            var fit: [SocketAddress] = []
            for peer in named where peer.ip.family == family && accepts(peer) { fit.append(peer) }
            hand(fit, to: searches[index].id)
        case .item(var wanted):
            searches[index].versions[source] = version(of: message, datagram, searches[index].lookup.target)
            guard takeItem(message, datagram, searches[index].lookup.target, into: &wanted) else { break }
            searches[index].purpose = .item(wanted)
            if let best = wanted.best { events.append(.item(searches[index].id, best)) }
        case .sample:
            takeSample(message, datagram, into: index)
        }
    }

    private mutating func addNodes(
        of message: KRPCMessage, _ datagram: RawSpan, from source: SocketAddress, to index: Int,
        _ family: IPAddress.Family, at now: Instant
    ) {
        let limit = configuration.limits.lookup.candidatesPerAnswer
        var named: [CompactNode] = []
        let lists = [(message.nodes, IPAddress.Family.v4), (message.nodes6, .v6)]
        for (list, ofList) in lists where list.isThere {
            CompactNode.forEach(in: list.span(in: datagram), ofList, maximum: limit) { named.append($0) }
        }
        for node in named where accepts(node.address) && node.id != side(node.address.ip.family)?.table.own {
            guard node.address.ip.family == family else {
                noteOther(node, toldBy: source, at: now)
                continue
            }
            searches[index].lookup.add(
                node.id, at: node.address, isPreferred: isPreferred(node.id, at: node.address.ip), toldBy: source)
        }
    }

    /// A node of the other family, told of while this one was asked: a way in where nobody is known there (BEP 32).
    private mutating func noteOther(_ node: CompactNode, toldBy source: SocketAddress, at now: Instant) {
        let place = Int(node.address.ip.family.rawValue)
        guard let side = sides[place], side.table.count < 8,
            !side.saved.contains(where: { $0.address == node.address }),
            sides[place]?.hearsay.add(node, toldBy: source) == true
        else { return }
        guard case .unreachable(let retry) = side.join, let next = sides[place]?.hearsay.hastened(retry, at: now)
        else { return }
        sides[place]?.join = .unreachable(retryAt: next)
        nextHousekeeping = min(nextHousekeeping, next)
    }

    /// Hands out those of `peers` that the lookup has not found before.
    private mutating func hand(_ peers: [SocketAddress], to search: SearchID) {
        guard let index = searches.firstIndex(where: { $0.id == search }) else { return }
        let limit = configuration.limits.peersPerSearch
        let new = peers.filter { searches[index].peers.count < limit && searches[index].peers.insert($0).inserted }
        if !new.isEmpty { events.append(.peers(search, new)) }
    }

    /// Whether the answer's item is what is wanted, and newer than what was found.
    private mutating func takeItem(
        _ message: KRPCMessage, _ datagram: RawSpan, _ target: NodeID, into wanted: inout Search.Wanted
    ) -> Bool {
        guard let value = message.value.bytes(in: datagram) else { return false }
        let item: MainlineItem?
        if let key = message.key.bytes(in: datagram), let signature = message.signature.bytes(in: datagram),
            let sequence = message.sequence
        {
            // One that is no newer is not worth the check of its signature.
            if let best = wanted.best?.author, sequence <= best.sequence { return false }
            item = try? MainlineItem(
                value: value, key: key, salt: wanted.salt, sequence: sequence, signature: signature)
        } else {
            guard wanted.best == nil else { return false }
            item = try? MainlineItem(immutable: value)
        }
        guard let item, item.target == target else {
            metrics.dropped[.badItem].increment()
            return false
        }
        wanted.best = item
        return true
    }

    /// Which version of the item at `target` the sender says that it has; `nil` for none, 0 for an immutable one.
    private func version(of message: KRPCMessage, _ datagram: RawSpan, _ target: NodeID) -> Int64? {
        if let sequence = message.sequence { return sequence }
        guard message.value.isThere, !message.key.isThere else { return nil }
        return NodeID(hashing: message.value.span(in: datagram)) == target ? 0 : nil
    }

    private mutating func takeSample(_ message: KRPCMessage, _ datagram: RawSpan, into index: Int) {
        guard message.samples.isThere else { return }
        var reader = Reader(message.samples.span(in: datagram))
        var new: [NodeID] = []
        while new.count < 64, let infohash = try? NodeID(bytes: reader.span(NodeID.size)) {
            guard searches[index].infohashes.count < configuration.limits.peersPerSearch else { break }
            if searches[index].infohashes.insert(infohash).inserted { new.append(infohash) }
        }
        if !new.isEmpty { events.append(.infohashes(searches[index].id, new)) }
    }

    /// A query was not answered, or refused.
    mutating func fail(_ pending: Transactions.Pending, at now: Instant, isSilent: Bool = true) {
        let place = Int(pending.address.ip.family.rawValue)
        if isSilent { sides[place]?.silence.timedOut() }
        if isSilent, sides[place]?.isSilent == false {
            sides[place]?.table.failed(pending.address, now: now)
        } else {
            sides[place]?.table.refused(pending.address)
            // If nobody at all answers, the node sees to that first.
            if isSilent { nextHousekeeping = min(nextHousekeeping, now + .seconds(1)) }
        }
        switch pending.purpose {
        case .check: break
        case .step(let search):
            guard let index = searches.firstIndex(where: { $0.id == search }) else { return }
            searches[index].lookup.failed(pending.address)
        case .store(let search):
            guard let index = searches.firstIndex(where: { $0.id == search }) else { return }
            searches[index].storing -= 1
            if !isSilent { searches[index].refused += 1 }
        }
    }
}
