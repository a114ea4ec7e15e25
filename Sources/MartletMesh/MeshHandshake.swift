import MartletRuntime
import MartletWire

/// How connections become peers, or do not: the part of a machine that greets.
extension Mesh {
    /// What is said to one who begins with something else than a greeting. Without a colon, for then it would be one.
    private static var answerToOthers: Bytes {
        Bytes(utf8: "REFUSED - a mesh is joined by a first line of an id, a colon and a name\n")
    }

    // MARK: As who has dialled

    /// The dial `number` has connected: this node greets.
    mutating func handleDialled(
        _ number: Int, remote: SocketAddress, local: SocketAddress?, fingerprint: String? = nil, at now: Instant
    ) {
        guard var connection = connections[number], connection.stage == .connecting, let address = connection.dialled
        else { return }
        connection.remote = remote.unmapped
        connection.local = local?.unmapped
        connection.fingerprint = fingerprint
        connections[number] = connection
        if let key = expected(connection), let existing = peers[key] {
            // It has become a peer while it was dialled.
            drop(number)
            book.connected(address, existing)
            end(address, nil)
        } else if taken(besides: nil) >= configuration.maximumPeers {
            drop(number)
            book.postponed(address, number, by: MeshAddressBook.firstWait, at: now)
            end(address, .full)
        } else {
            connections[number]?.stage = .greeted
            connections[number]?.since = now
            act(.send(number, greeting.bytes))
        }
        proceed(at: now)
    }

    /// The answer to this node's greeting.
    mutating func handleAnswer(_ number: Int, _ line: String, at now: Instant) {
        switch MeshLine(line) {
        case .duplicate: return fail(number, .duplicate, at: now)
        case .full: return fail(number, .full, at: now)
        default: break
        }
        guard let connection = connections[number], let remote = connection.remote, let answer = Greeting(line) else {
            return fail(number, .noPeer("it answers '\(line.prefix(200))'"), at: now)
        }
        let key = PeerKey(id: answer.id, host: host(remote.ip))
        guard key != own else { return foundOneself(number) }
        if let existing = peers[key] {
            let isReplaceable = connections[existing]?.dialled == nil && own(towards: connection).rank < key.rank
            guard isReplaceable else { return yield(number, to: existing) }
            // Both have accepted the other's dial. The smaller one's stays, and the other goes without a word.
            drop(existing)
            remove(existing)
            become(number, answer, key, at: now)
        } else {
            become(number, answer, key, at: now)
            announce(number)
        }
        send(.requestPeers, to: number)
        connections[number]?.owesList = true
        resolveHeld(key, at: now)
    }

    private mutating func yield(_ number: Int, to existing: Int) {
        guard let address = connections[number]?.dialled else { return }
        drop(number)
        book.answered(address)
        book.connected(address, existing)
        connections[existing]?.aliases.append(address)
        end(address, nil)
    }

    // MARK: As who was dialled

    /// The greeting of someone who has dialled.
    mutating func handleGreeting(_ number: Int, _ line: String, at now: Instant) {
        guard let connection = connections[number], let remote = connection.remote else { return }
        guard let theirs = Greeting(line) else {
            act(.send(number, Self.answerToOthers))
            return fail(number, .noPeer("it begins with something else than a greeting"), at: now)
        }
        let key = PeerKey(id: theirs.id, host: host(remote.ip))
        let selfDial = connections.values.first { $0.dialled != nil && $0.local == remote && $0.stage == .greeted }
        if key == own || selfDial != nil && theirs == greeting {
            refuse(number, .duplicate, .oneself)
            if let selfDial { foundOneself(selfDial.number) }
            return
        }
        if let existing = peers[key] {
            probe(existing, at: now)
            return refuse(number, .duplicate, .duplicate)
        }
        if connections.values.contains(where: { $0.key == key }) { return refuse(number, .duplicate, .duplicate) }
        if taken(besides: key) >= configuration.maximumPeers { return refuse(number, .full, .full) }
        if dials(to: key).isEmpty || key.rank < own(towards: connection).rank {
            return accept(number, theirs, key, at: now)
        }
        // This node's own dial is the one that is to stay. But should the other not know that rule and turn it away,
        // this one must still be there, so it is answered only when that is known.
        connections[number]?.stage = .held(theirs)
        connections[number]?.key = key
        connections[number]?.deadline = now + Self.holdLimit
    }

    private mutating func accept(_ number: Int, _ theirs: Greeting, _ key: PeerKey, at now: Instant) {
        act(.send(number, greeting.bytes))
        become(number, theirs, key, at: now)
        announce(number)
        // Dials that have said nothing yet are called off; the others are answered, by the rule, with `DUPLICATE`.
        for dial in dials(to: key) where dial.stage == .connecting { yield(dial.number, to: number) }
    }

    private mutating func refuse(_ number: Int, _ line: MeshLine, _ failure: MeshFailure) {
        act(.send(number, line.bytes))
        if let remote = connections[number]?.remote { act(.report(.refused(remote, failure))) }
        drop(number)
    }

    /// What was waited for is known: who was held back is sent away where the peer is connected now, else taken in.
    mutating func resolveHeld(_ key: PeerKey, at now: Instant) {
        for held in connections.values.filter({ $0.key == key }).sorted(by: { $0.number < $1.number }) {
            guard case .held(let theirs) = held.stage else { continue }
            if peers[key] != nil {
                refuse(held.number, .duplicate, .duplicate)
            } else if taken(besides: key) >= configuration.maximumPeers {
                refuse(held.number, .full, .full)
            } else {
                accept(held.number, theirs, key, at: now)
            }
        }
    }

    // MARK: Either

    /// The connection is a peer from now on.
    private mutating func become(_ number: Int, _ theirs: Greeting, _ key: PeerKey, at now: Instant) {
        guard var connection = connections[number], let remote = connection.remote else { return }
        func here(_ port: UInt16) -> MeshAddress {
            vantage.canonical(MeshAddress(SocketAddress(remote.ip, port: port, scope: remote.scope)))
        }
        let byID = theirs.port.map(here)
        // Where it was reached it can be reached again; what it says of its port is the next best.
        let dialled: MeshAddress? =
            switch connection.dialled {
            case .ip: connection.dialled
            case .name(_, let port): here(port)
            case nil: nil
            }
        connection.stage = .connected
        connection.deadline = .never
        connection.key = key
        connection.listens = dialled ?? byID
        connection.peer = MeshPeer(
            id: theirs.id, name: theirs.name, address: connection.listens ?? MeshAddress(remote),
            isInbound: connection.dialled == nil, fingerprint: connection.fingerprint)
        let names = [byID, dialled, connection.dialled].compactMap(\.self)
        for address in names where !connection.aliases.contains(address) {
            _ = book.add(address, .met, rank: random.next(), at: now)
            connection.aliases.append(address)
        }
        connections[number] = connection
        peers[key] = number
        order.append(number)
        for address in connection.aliases {
            let isBeginning = book[address]?.isBootstrap ?? false
            book.answered(address)
            book.connected(address, number)
            if isBeginning { act(.report(.bootstrapSucceeded(address))) }
            end(address, nil)
        }
    }

    private mutating func announce(_ number: Int) {
        guard let peer = connections[number]?.peer else { return }
        act(.report(.connected(peer, count: peers.count, maximum: configuration.maximumPeers)))
    }

    /// Ends a connection for a fault of the other side or of the network.
    mutating func fail(_ number: Int, _ failure: MeshFailure, at now: Instant, mustClose: Bool = true) {
        guard let connection = connections[number] else { return }
        if mustClose { drop(number) } else { connections[number] = nil }
        switch connection.stage {
        case .connected: return leave(connection, failure, at: now)
        case .accepted, .held:
            if let remote = connection.remote { act(.report(.refused(remote, failure))) }
        case .connecting, .greeted:
            dialFailed(connection, failure, at: now)
        }
        hasChanged = true
    }

    private mutating func dialFailed(_ connection: MeshConnection, _ failure: MeshFailure, at now: Instant) {
        guard let address = connection.dialled else { return }
        if failure == .duplicate || failure == .full { book.answered(address) }
        if let key = expected(connection) {
            resolveHeld(key, at: now)
            if let existing = peers[key] {
                book.connected(address, existing)
                connections[existing]?.aliases.append(address)
                return end(address, nil)
            }
        }
        let entry = book[address]
        let times = book.failed(address, connection.number, isFull: failure == .full, spread: spread, at: now)
        if times == 1, let entry {
            if entry.isBootstrap {
                act(.report(.bootstrapFailed(address, failure)))
            } else if entry.isGiven || !entry.isProven {
                act(.report(.connectionFailed(address, failure)))
            }
        }
        end(address, failure)
    }

    /// A peer's connection is gone.
    private mutating func leave(_ connection: MeshConnection, _ failure: MeshFailure, at now: Instant) {
        remove(connection.number)
        guard let peer = connection.peer else { return }
        var wait = MeshAddressBook.firstWait
        // Who breaks the protocol is not met again at once.
        if case .noPeer = failure { wait = MeshAddressBook.longestWaits.other }
        for address in connection.aliases {
            book.disconnected(address, connection.number, wait: wait * (0.5 + spread), at: now)
        }
        if failure == .timedOut { act(.report(.removedStale(peer))) }
        act(.report(.disconnected(peer, count: peers.count, maximum: configuration.maximumPeers)))
    }

    private mutating func remove(_ number: Int) {
        order.removeAll { $0 == number }
        peers = peers.filter { $0.value != number }
        hasChanged = true
    }

    /// A connection has lasted too long in its stage.
    mutating func expire(_ number: Int, at now: Instant) {
        guard let connection = connections[number] else { return }
        if case .held(let theirs) = connection.stage, let key = connection.key {
            // This node's own dial has not been answered in time, and may never be.
            connections[number]?.deadline = .never
            if peers[key] == nil, taken(besides: key) < configuration.maximumPeers {
                accept(number, theirs, key, at: now)
            } else {
                resolveHeld(key, at: now)
            }
        } else {
            fail(number, .timedOut, at: now)
        }
    }

    /// Closes a connection and forgets it.
    mutating func drop(_ number: Int) {
        guard connections.removeValue(forKey: number) != nil else { return }
        hasChanged = true
        act(.close(number))
    }

    private mutating func foundOneself(_ number: Int) {
        guard let address = connections[number]?.dialled else { return }
        drop(number)
        book.answered(address)
        book.isOwn(address)
        end(address, .oneself)
    }

    private mutating func end(_ address: MeshAddress, _ failure: MeshFailure?) {
        if wanted.remove(address) != nil { act(.ended(address, failure)) }
    }

    // MARK: Who is who

    private func host(_ ip: IPAddress) -> IPAddress { vantage.isHere(ip) ? .loopbackV4 : ip.unmapped }

    /// This node as a neighbour on the same host sees it.
    private var own: PeerKey { PeerKey(id: greeting.id, host: .loopbackV4) }

    /// This node as the other side of `connection` sees it.
    private func own(towards connection: MeshConnection) -> PeerKey {
        guard let remote = connection.remote, let local = connection.local, !vantage.isHere(remote.ip) else {
            return own
        }
        return PeerKey(id: greeting.id, host: local.ip.unmapped)
    }

    /// Who is expected to answer a dial.
    private func expected(_ connection: MeshConnection) -> PeerKey? {
        guard let address = connection.dialled, let ip = connection.remote?.ip ?? address.ip else { return nil }
        return PeerKey(id: "peer-\(address.port)", host: host(ip))
    }

    /// This node's dials on which `key` is expected to answer.
    private func dials(to key: PeerKey) -> [MeshConnection] {
        connections.values.filter { connection in
            (connection.stage == .connecting || connection.stage == .greeted) && expected(connection) == key
        }.sorted { $0.number < $1.number }
    }

    /// How many peers there are, or may be as soon as they answer; but for `key`, which is asked about.
    private func taken(besides key: PeerKey?) -> Int {
        peers.count + connections.values.count { $0.stage == .greeted && (key == nil || expected($0) != key) }
    }
}
