import MartletRouting
public import MartletRuntime
public import MartletWire

/// Something of ours that is stored in the DHT again and again.
struct Repetition {
    enum Kind {
        case announcement(NodeID, AnnouncedPort)
        case item(MainlineItem)
    }

    let id: RepetitionID
    let family: IPAddress.Family
    var kind: Kind
    var next: Instant
    /// How soon it is done again when few nodes took it: twice as late after each time that they were few, up to
    /// `MainlineLimits.announceEvery`.
    var pause = Duration.seconds(60)
    /// The lookup that does it now.
    var search: SearchID?
}

/// An announcement or item that a node keeps alive, by the number that the node knows it by.
public struct RepetitionID: Hashable, Sendable {
    let number: UInt64
}

/// When a node looks for its own neighbours again: soon after it has joined, for others join meanwhile, and then ever
/// more seldom.
struct Neighbourhood {
    private(set) var next: Instant
    private var pause = Duration.seconds(15)

    init(at now: Instant) { next = now + pause }

    mutating func wait(at now: Instant) {
        pause = pause.doubled(atMost: .seconds(15 * 60))
        next = now + pause
    }
}

/// The part of a node that is a machine for what is to be done at intervals.
extension MainlineNode {
    // MARK: Joining

    /// Looks for our own neighbours, beginning with what is known. Where nothing is, `needsBootstrap` is told, and
    /// `bootstrap` waited for.
    public mutating func join(
        _ family: IPAddress.Family, at now: Instant, using generator: inout some RandomNumberGenerator
    ) {
        guard let side = side(family), side.join != .joining || side.awaitsBootstrap else { return }
        let isNew = side.failedJoins == 0 && !side.awaitsBootstrap
        sides[Int(family.rawValue)]?.awaitsBootstrap = false
        guard side.table.count > 0 || !side.bootstrap.isEmpty || !side.saved.isEmpty || !side.hearsay.isEmpty else {
            if isNew {
                sides[Int(family.rawValue)]?.awaitsBootstrap = true
                setJoin(.joining, family, at: now)
                events.append(.needsBootstrap(family))
            } else {
                failJoin(family, at: now)
                advanceSearches(at: now, using: &generator)
            }
            return rearm(at: now)
        }
        setJoin(.joining, family, at: now)
        _ = start(.join, side.table.own, family, at: now, using: &generator)
    }

    /// Addresses to begin with, where too few nodes are known; those of the other family are passed over. The first ones
    /// that a node is given are tried at once, others when it tries again.
    public mutating func bootstrap(
        with addresses: [SocketAddress], _ family: IPAddress.Family, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) {
        guard let side = side(family) else { return }
        var fit: [SocketAddress] = []
        for address in addresses where address.ip.family == family && accepts(address) { fit.append(address) }
        // Names that cannot be looked up are no reason to forget what they stood for.
        if !fit.isEmpty { sides[Int(family.rawValue)]?.bootstrap = fit }
        if side.awaitsBootstrap || side.bootstrap.isEmpty && !fit.isEmpty { join(family, at: now, using: &generator) }
    }

    mutating func ended(joinOf family: IPAddress.Family, _ report: SearchReport, at now: Instant) {
        let place = Int(family.rawValue)
        guard report.answered > 0 else { return failJoin(family, at: now) }
        sides[place]?.failedJoins = 0
        sides[place]?.hearsay.joined()
        sides[place]?.neighbourhood = Neighbourhood(at: now)
        setJoin(.joined, family, at: now)
        tellReached(true, family)
        // What others should know of us they may have forgotten meanwhile; but they are not told all of it at once.
        var next = now
        for index in repetitions.indices where repetitions[index].family == family {
            repetitions[index].next = next
            repetitions[index].pause = .seconds(60)
            next = min(next + configuration.limits.repeatSpacing, now + configuration.limits.announceEvery)
        }
    }

    private mutating func tellReached(_ isReached: Bool, _ family: IPAddress.Family) {
        let place = Int(family.rawValue)
        guard sides[place]?.isReached != isReached else { return }
        sides[place]?.isReached = isReached
        events.append(.reached(family, isReached))
    }

    /// Somebody in `family` has answered, whatever the answer is: if nobody did before, the node joins at once.
    mutating func endSilence(_ family: IPAddress.Family, at now: Instant) {
        let place = Int(family.rawValue)
        sides[place]?.silence.answered()
        guard case .unreachable = sides[place]?.join else { return }
        sides[place]?.join = .unreachable(retryAt: now)
        nextHousekeeping = now
    }

    private mutating func failJoin(_ family: IPAddress.Family, at now: Instant) {
        guard let side = side(family) else { return }
        let limits = configuration.limits
        let wait = limits.joinRetry.doubled(side.failedJoins, atMost: limits.joinRetryMaximum)
        sides[Int(family.rawValue)]?.failedJoins += 1
        sides[Int(family.rawValue)]?.hearsay.attemptFailed()
        sides[Int(family.rawValue)]?.silence.gaveUp()
        setJoin(.unreachable(retryAt: now + wait), family, at: now)
        tellReached(false, family)
        events.append(.needsBootstrap(family))
    }

    private mutating func setJoin(_ state: JoinState, _ family: IPAddress.Family, at now: Instant) {
        sides[Int(family.rawValue)]?.join = state
        // Each state has other things to be done.
        nextHousekeeping = now
        events.append(.join(family, state))
    }

    /// Others see us at `address`: where our id does not follow from it, we take one that does (BEP 42).
    mutating func learn(_ address: SocketAddress, at now: Instant, using generator: inout some RandomNumberGenerator) {
        let place = Int(address.ip.family.rawValue)
        guard let side = sides[place] else { return }
        events.append(.outsideAddress(side.votes.winner ?? address))
        guard configuration.bindsIDs, !side.table.own.isBound(to: address.ip) else { return }
        let id = NodeID(boundTo: address.ip, using: &generator)
        sides[place]?.table = side.table.moved(to: id, at: now)
        // Our neighbours are others now.
        _ = start(.nodes, id, address.ip.family, at: now, using: &generator)
    }

    // MARK: Repeating

    /// Tells the nodes closest to `infohash` of us, now and again before they forget it, until `stopRepeating`.
    public mutating func announce(
        _ infohash: NodeID, _ port: AnnouncedPort, _ family: IPAddress.Family, at now: Instant
    ) -> RepetitionID {
        `repeat`(.announcement(infohash, port), family, at: now)
    }

    /// Stores `item` at the nodes closest to its target, now and again before they forget it, until `stopRepeating`. A
    /// newer version that is found takes its place, and where enough others do the same, nothing is stored (BEP 44).
    public mutating func keep(_ item: MainlineItem, _ family: IPAddress.Family, at now: Instant) -> RepetitionID {
        `repeat`(.item(item), family, at: now)
    }

    private mutating func `repeat`(
        _ kind: Repetition.Kind, _ family: IPAddress.Family, at now: Instant
    ) -> RepetitionID {
        lastNumber += 1
        let id = RepetitionID(number: lastNumber)
        repetitions.append(Repetition(id: id, family: family, kind: kind, next: now))
        nextHousekeeping = now
        deadline = now
        return id
    }

    /// Stops what `announce` or `keep` began. What is stored is forgotten by and by.
    public mutating func stopRepeating(_ id: RepetitionID) {
        for repetition in repetitions where repetition.id == id {
            if let search = repetition.search { cancel(search) }
        }
        repetitions.removeAll { $0.id == id }
    }

    /// What the lookup for a repetition has come to.
    mutating func noteRepetition(_ search: Search, at now: Instant) {
        guard let index = repetitions.firstIndex(where: { $0.search == search.id }) else { return }
        repetitions[index].search = nil
        var isKeptByOthers = false
        if case .item(let wanted) = search.purpose, let item = wanted.stored {
            repetitions[index].kind = .item(item)
            isKeptByOthers = search.isKeptByOthers(item)
        }
        // Where few nodes were there to take it, more will come.
        if search.stored < configuration.limits.lookup.closest / 2, !isKeptByOthers {
            repetitions[index].next = min(repetitions[index].next, now + repetitions[index].pause)
            repetitions[index].pause = repetitions[index].pause.doubled(atMost: configuration.limits.announceEvery)
        } else {
            repetitions[index].pause = .seconds(60)
        }
        nextHousekeeping = min(nextHousekeeping, max(repetitions[index].next, now + .seconds(1)))
    }

    // MARK: At intervals

    mutating func keepHouse(at now: Instant, using generator: inout some RandomNumberGenerator) {
        tokens.rotate(at: now, using: &generator)
        if now >= nextSweep {
            peers.expire(at: now)
            items.expire(at: now)
            nextSweep = now + .seconds(60)
        }
        var next = min(nextSweep, tokens.deadline)
        for place in sides.indices where sides[place] != nil {
            next = min(next, keepHouse(of: place, at: now, using: &generator))
        }
        for index in repetitions.indices where repetitions[index].search == nil {
            // Those that wait for the node to join are seen to when it has.
            guard side(repetitions[index].family)?.join == .joined else { continue }
            if now >= repetitions[index].next { `repeat`(index, at: now, using: &generator) }
            next = min(next, repetitions[index].next)
        }
        metrics.nodes.record(Int64(sides.reduce(0) { $0 + ($1?.table.count ?? 0) }))
        metrics.announcements.record(Int64(peers.count))
        metrics.items.record(Int64(items.count))
        nextHousekeeping = max(next, now + .seconds(1))
    }

    /// Pings whom the table wants pinged, looks through buckets, and joins again where that is due. Says when to look again.
    private mutating func keepHouse(
        of place: Int, at now: Instant, using generator: inout some RandomNumberGenerator
    ) -> Instant {
        // As long as few are known, there is a hurry.
        let isNew = (sides[place]?.table.count ?? 0) < 32
        if sides[place]?.isSilent == true {
            probe(place, at: now, using: &generator)
        } else {
            for _ in 0..<configuration.limits.checksPerSecond * (isNew ? 8 : 1) where maySend(at: now) {
                guard let node = sides[place]?.table.nextCheck(at: now) else { break }
                send(.ping, to: node.contact, .check, at: now, using: &generator)
            }
        }
        guard let side = sides[place] else { return .never }
        let nextCheck = side.isSilent ? side.silence.nextProbe : side.table.checkDeadline
        switch side.join {
        case .joining where side.awaitsBootstrap && side.table.count > 0:
            // Someone who asked us was the way in.
            join(side.family, at: now, using: &generator)
            return now
        case .idle, .joining: return nextCheck
        case .unreachable(let retry):
            guard now >= retry else { return min(retry, nextCheck) }
            join(side.family, at: now, using: &generator)
            return now
        case .joined where side.table.count == 0:
            failJoin(side.family, at: now)
            return now
        case .joined where side.isSilent && side.silence.duration(at: now) != nil:
            join(side.family, at: now, using: &generator)
            return now
        case .joined: break
        }
        if now >= side.neighbourhood.next, waitingSearches.isEmpty {
            sides[place]?.neighbourhood.wait(at: now)
            _ = start(.nodes, side.table.own, side.family, at: now, using: &generator)
        }
        if waitingSearches.isEmpty, let target = sides[place]?.table.nextRefresh(at: now, using: &generator) {
            _ = start(.nodes, target, side.family, at: now, using: &generator)
        }
        guard let table = sides[place]?.table else { return .never }
        return min(nextCheck, table.checkDeadline, table.refreshDeadline, sides[place]?.neighbourhood.next ?? .never)
    }

    /// Pings a few nodes while nobody answers: those that asked us first, then those that are known, in turn, and one of
    /// those that are known by hearsay.
    private mutating func probe(_ place: Int, at now: Instant, using generator: inout some RandomNumberGenerator) {
        guard sides[place]?.silence.mayProbe(at: now) == true, let side = sides[place] else { return }
        let known = side.table.nodes.map(\.contact) + side.saved.map(\.address)
        for _ in 0..<Silence.probes where maySend(at: now) {
            if let node = sides[place]?.table.nextCheck(at: now) {
                send(.ping, to: node.contact, .check, at: now, using: &generator)
            } else if !known.isEmpty, let turn = sides[place]?.silence.nextTurn(of: known.count) {
                send(.ping, to: known[turn], .check, at: now, using: &generator)
            }
        }
        // Hearsay takes no turn of a node that is known.
        if maySend(at: now), let node = sides[place]?.hearsay.nextTurn() {
            send(.ping, to: node, .check, at: now, using: &generator)
        }
    }

    private mutating func `repeat`(_ index: Int, at now: Instant, using generator: inout some RandomNumberGenerator) {
        let repetition = repetitions[index]
        let interval: Duration
        let search: SearchID?
        switch repetition.kind {
        case .announcement(let infohash, let port):
            interval = configuration.limits.announceEvery
            search = findPeers(of: infohash, repetition.family, announcing: port, at: now, using: &generator)
        case .item(let item):
            interval = configuration.limits.putEvery
            search = refresh(item, repetition.family, at: now, using: &generator)
        }
        // If there is no room for one more lookup, there will be.
        guard search != nil else { return repetitions[index].next = now + repetitions[index].pause }
        // A tenth more or less, so that what began together does not stay together.
        let tenth =
            Int64(generator.next(upperBound: UInt64(max(1, interval.nanoseconds / 5)))) - interval.nanoseconds / 10
        repetitions[index].next = now + interval + .nanoseconds(tenth)
        repetitions[index].search = search
    }
}
