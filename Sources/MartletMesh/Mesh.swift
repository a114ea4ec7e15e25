import MartletRuntime
import MartletWire

/// The mesh as one node sees it: a machine that speaks the protocol with every peer, decides who is dialled and who is
/// sent away, and keeps time.
///
/// What happens outside goes in by `handle…`, what a user wants by `connect` and `say`. After each of these take
/// `nextAction` until there is none, then set one timer for `deadline`, at which `handleTimeout` is called.
struct Mesh<Random: RandomNumberGenerator> {
    /// What the owner is to do.
    enum Action: Hashable {
        /// Connect to an address, and say by `handleDialled` or `handleEnd` what came of it.
        case dial(Int, MeshAddress)
        /// Send on a connection.
        case send(Int, Bytes)
        /// Close a connection, or stop dialling, and say nothing more of it.
        case close(Int)
        /// Tell the user.
        case report(MeshEvent)
        /// The address that a user wants to be connected to is, or cannot be.
        case ended(MeshAddress, MeshFailure?)
    }

    /// How long who has dialled at the same time waits for what becomes of this node's own dial.
    static var holdLimit: Duration { .seconds(1) }
    /// How long a peer has for a sign of life when its id turns up a second time.
    static var probeLimit: Duration { .seconds(5) }

    let configuration: MeshConfiguration
    let greeting: Greeting
    var vantage: Vantage
    var random: Random
    var book: AddressBook
    /// Every connection, also those that are only being made. It is never gone through in its own order.
    var connections: [Int: MeshConnection] = [:]
    /// The connections of peers, in the order in which they came.
    var order: [Int] = []
    /// The same by who the peer is.
    var peers: [PeerKey: Int] = [:]
    /// The addresses at which a user waits for a peer.
    var wanted: Set<MeshAddress> = []
    private var nextNumber = 1
    private var actions: [Action] = []
    private var taken = 0
    private var nextMaintenance: Instant
    private var nextDiscovery: Instant
    private var nextDial = Instant.never
    private var knownDeadline: Instant?
    private(set) var isStopped = false

    /// A node that listens on `port` of a host with the addresses `own`.
    init(port: UInt16, own: Set<IPAddress>, configuration: MeshConfiguration, random: Random, at now: Instant) {
        self.configuration = configuration
        self.random = random
        let name = configuration.name?.split(whereSeparator: \.isNewline).joined(separator: " ")
        greeting = Greeting(port: port, name: name.map { String($0.prefix(200)) })
        vantage = Vantage(port: port, own: own)
        book = AddressBook(capacity: max(256, 8 * configuration.maximumPeers))
        nextMaintenance = now + configuration.maintenanceInterval
        nextDiscovery = now + configuration.discoveryInterval
    }

    // MARK: Out

    /// What is to be done next.
    mutating func nextAction() -> Action? {
        guard taken < actions.count else {
            actions.removeAll(keepingCapacity: actions.capacity <= 1024)
            taken = 0
            return nil
        }
        taken += 1
        return actions[taken - 1]
    }

    mutating func act(_ action: Action) { actions.append(action) }

    /// When `handleTimeout` wants to be called.
    var deadline: Instant {
        mutating get {
            if let knownDeadline { return knownDeadline }
            let deadline = findDeadline()
            knownDeadline = deadline
            return deadline
        }
    }

    private func findDeadline() -> Instant {
        guard !isStopped else { return .never }
        var deadline = min(nextMaintenance, nextDiscovery, nextDial)
        for connection in connections.values { deadline = min(deadline, connection.deadline) }
        return deadline
    }

    // MARK: In

    /// Begins at `addresses`.
    mutating func start(at addresses: [MeshAddress], now: Instant) {
        act(.report(.started(id: greeting.id, name: greeting.name, port: vantage.port)))
        for address in addresses.map(vantage.canonical) where !vantage.isSelf(address) {
            _ = book.add(address, .given(isBootstrap: true), rank: random.next(), at: now)
        }
        proceed(at: now)
    }

    /// A user wants to be connected to `address`: `Action.ended` says what came of it. Returns how it will call it.
    mutating func connect(to address: MeshAddress, at now: Instant) -> MeshAddress {
        let address = vantage.canonical(address)
        want(address, at: now)
        return address
    }

    private mutating func want(_ address: MeshAddress, at now: Instant) {
        if isStopped { return act(.ended(address, .stopped)) }
        if vantage.isSelf(address) || book[address]?.stage == .own { return act(.ended(address, .oneself)) }
        if case .connected = book[address]?.stage { return act(.ended(address, nil)) }
        if peers.count >= configuration.maximumPeers { return act(.ended(address, .full)) }
        wanted.insert(address)
        _ = book.add(address, .given(isBootstrap: false), rank: random.next(), at: now)
        proceed(at: now)
    }

    /// Says `text` to every peer. Returns to how many.
    mutating func say(_ text: String) throws(MeshLine.Unsayable) -> Int {
        let bytes = try MeshLine.saying(text).bytes
        for number in order { act(.send(number, bytes)) }
        return order.count
    }

    /// Asks every peer for its peers.
    mutating func discover(at now: Instant) {
        for number in order { send(.requestPeers, to: number) }
        nextDiscovery = now + configuration.discoveryInterval
        knownDeadline = nil
    }

    /// The host has other addresses now.
    mutating func handleInterfaces(_ own: Set<IPAddress>) { vantage.own = own }

    /// Someone at `remote` has connected. Returns the connection's number, or `nil` where there are too many already
    /// that have not said who they are.
    mutating func handleAccepted(from remote: SocketAddress, local: SocketAddress, at now: Instant) -> Int? {
        let most = 64 + configuration.maximumPeers
        let strangers = connections.values.filter { $0.stage == .accepted }
        // One host may not use up the room of all others.
        guard !isStopped, strangers.count < most, strangers.count(where: { $0.remote?.ip == remote.ip }) < most / 2
        else { return nil }
        var connection = makeConnection(.accepted, at: now)
        connection.remote = remote.unmapped
        connection.local = local.unmapped
        connections[connection.number] = connection
        knownDeadline = nil
        return connection.number
    }

    /// The other side of a connection that was accepted has proven that it has this key.
    mutating func handleFingerprint(_ number: Int, _ fingerprint: String?) {
        connections[number]?.fingerprint = fingerprint
    }

    /// Bytes have come.
    mutating func handleBytes(_ number: Int, _ bytes: RawSpan, at now: Instant) {
        guard var lines = connections[number]?.lines.take() else { return }
        connections[number]?.lastHeard = now
        do {
            try lines.take(bytes) { line in
                handleLine(number, line, at: now)
                return connections[number] != nil
            }
            guard let stage = connections[number]?.stage else { return settle(at: now) }
            connections[number]?.lines = lines
            if stage != .connected, lines.waiting > Greeting.longest {
                fail(number, .noPeer("its greeting is too long"), at: now)
            }
        } catch {
            fail(number, .noPeer("a line of more than \(LineBuffer.longestLine) bytes"), at: now)
        }
        settle(at: now)
    }

    /// A connection has ended, or did not come about, for `failure`; or well, where that is `nil`.
    mutating func handleEnd(_ number: Int, _ failure: MeshFailure?, at now: Instant) {
        guard let connection = connections[number] else { return }
        switch connection.stage {
        case .accepted, .held:
            connections[number] = nil
            if let failure, let remote = connection.remote { act(.report(.refused(remote, failure))) }
        case .connecting, .greeted:
            fail(number, failure ?? .noPeer("it closed the connection without a greeting"), at: now, mustClose: false)
        case .connected:
            fail(number, failure ?? .network(.closed), at: now, mustClose: false)
        }
        proceed(at: now)
    }

    /// The time `deadline` has come.
    mutating func handleTimeout(at now: Instant) {
        guard !isStopped else { return }
        for number in connections.values.filter({ $0.deadline <= now }).map(\.number).sorted() {
            expire(number, at: now)
        }
        if nextMaintenance <= now {
            nextMaintenance = now + configuration.maintenanceInterval
            maintain(at: now)
        }
        if nextDiscovery <= now { discover(at: now) }
        proceed(at: now)
    }

    /// Closes everything; nothing happens any more.
    mutating func stop() {
        guard !isStopped else { return }
        isStopped = true
        for number in connections.keys.sorted() { act(.close(number)) }
        for address in wanted.sorted() { act(.ended(address, .stopped)) }
        connections = [:]
        order = []
        peers = [:]
        wanted = []
    }

    // MARK: Dialling

    /// Whether nothing is under way that could bring new peers: no dial, no greeting, no list that was asked for.
    func isSettled(at now: Instant) -> Bool {
        let isBusy = connections.values.contains { connection in
            switch connection.stage {
            case .connecting, .greeted, .held: true
            case .accepted: false
            case .connected: connection.owesList
            }
        }
        return !isBusy && (hasNoPlace(at: now) || book.nextDue > now)
    }

    private func hasNoPlace(at now: Instant) -> Bool {
        var held = 0
        for connection in connections.values {
            let hangs = connection.stage == .connecting && now - connection.since >= AddressBook.hangs
            if connection.stage.holdsPlace, !hangs { held += 1 }
        }
        return held >= configuration.maximumPeers || connections.count >= 2 * configuration.maximumPeers + 128
    }

    /// Something other than chat has happened: dials what is due.
    mutating func proceed(at now: Instant) {
        knownDeadline = nil
        guard !isStopped else { return }
        while !hasNoPlace(at: now), let address = book.due(at: now) {
            var connection = makeConnection(.connecting, at: now)
            connection.dialled = address
            connections[connection.number] = connection
            book.began(address, connection.number, at: now)
            act(.dial(connection.number, address))
        }
        nextDial = hasNoPlace(at: now) ? nextPlace(after: now) : book.nextDue
    }

    /// When the next of the dials that are under way will have hung for so long that it no longer holds a place.
    private func nextPlace(after now: Instant) -> Instant {
        var next = Instant.never
        for connection in connections.values where connection.stage == .connecting {
            let hangs = connection.since + AddressBook.hangs
            if hangs > now { next = min(next, hangs) }
        }
        return next
    }

    private mutating func settle(at now: Instant) {
        // Chat changes nothing that a dial or a timer could depend on, and there is much of it.
        if hasChanged { proceed(at: now) }
        hasChanged = false
    }

    /// Whether a line has changed more than what was said.
    var hasChanged = false

    private mutating func makeConnection(_ stage: MeshConnection.Stage, at now: Instant) -> MeshConnection {
        defer { nextNumber += 1 }
        return MeshConnection(
            number: nextNumber, stage: stage, since: now, deadline: now + configuration.connectionTimeout)
    }

    /// A number from 0 up to 1.
    var spread: Double {
        mutating get { Double(random.next() >> 11) * 0x1p-53 }
    }
}
