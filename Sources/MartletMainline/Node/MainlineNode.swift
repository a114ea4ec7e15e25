import MartletCrypto
public import MartletRouting
public import MartletRuntime
public import MartletWire

/// A datagram that is to be sent.
public struct Transmit: Sendable {
    /// What it carries.
    public let bytes: Bytes
    /// Where it goes.
    public let destination: SocketAddress
    /// The address of ours that it must come from, because it was asked; `nil` for any.
    public let source: IPAddress?
}

/// A node of the BitTorrent DHT (BEP 5, 32, 42, 43, 44, 51), in both families at once.
///
/// It is a machine. Feed it with `handle` for each datagram and `handleDeadline` when it is time; ask it for things by
/// `find…`, `announce`, `put` and `join`. After every call, drain `nextTransmit` and `nextEvent` until both are empty,
/// then arm one timer for `deadline`.
public struct MainlineNode: ~Copyable {
    /// One of the two networks in which the node may take part, each with its own addresses.
    struct Side {
        let family: IPAddress.Family
        /// The port that its datagrams leave from, if that is known.
        var localPort: UInt16?
        var table: RoutingTable<NodeID, SocketAddress>
        var votes = AddressVotes()
        var latency = Latency()
        var join = JoinState.idle
        var neighbourhood = Neighbourhood(at: .start)
        var silence = Silence()
        /// Whether it was told last that somebody answers, or that nobody does; `nil` as long as neither was.
        var isReached: Bool?
        /// How many attempts to join have failed in a row.
        var failedJoins = 0
        /// Whether addresses to begin with have been asked for, and none have been given yet.
        var awaitsBootstrap = false
        /// Addresses to begin with, and nodes that were known before.
        var bootstrap: [SocketAddress] = []
        var saved: [CompactNode] = []
        var hearsay: Hearsay

        /// Whether nobody answers at all.
        var isSilent: Bool { silence.isTotal(known: table.count) }
    }

    /// How the node behaves.
    public let configuration: MainlineConfiguration
    /// What it counts.
    public let metrics: MainlineMetrics
    /// When `handleDeadline` is to be called next.
    public internal(set) var deadline: Instant
    var sides: [Side?]
    var peers: PeerStore
    var items: ItemStore
    var tokens: WriteTokens
    var gates: TrafficGates
    var outgoing = RateGate()
    var transactions: Transactions
    var searches: [Search] = []
    var waitingSearches: [Search] = []
    var repetitions: [Repetition] = []
    var transmits = Outbox<Transmit>()
    var events = Outbox<MainlineEvent>()
    var sample: (infohashes: [NodeID], until: Instant) = ([], .start)
    var nextHousekeeping: Instant
    var nextSweep: Instant
    var lastNumber: UInt64 = 0
    /// The address of ours that is asked while a datagram is taken in.
    var asked: IPAddress?
    /// Memory that each answer uses again.
    var answer = KRPCAnswer()
    var found: [RoutingTable<NodeID, SocketAddress>.Node] = []

    /// A node that knows nobody yet.
    public init(
        _ configuration: MainlineConfiguration, metrics: MainlineMetrics = MainlineMetrics(), at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) {
        self.configuration = configuration
        self.metrics = metrics
        let limits = configuration.limits
        let id = NodeID(using: &generator)
        sides = [configuration.usesV4 ? IPAddress.Family.v4 : nil, configuration.usesV6 ? .v6 : nil].map { family in
            family.map {
                Side(
                    family: $0, table: RoutingTable(own: id, limits: limits.routing, at: now),
                    hearsay: Hearsay(limits: limits))
            }
        }
        peers = PeerStore(limits: limits, hash: SipHash(using: &generator))
        items = ItemStore(limits: limits, hash: SipHash(using: &generator))
        tokens = WriteTokens(rotation: limits.tokenRotation, at: now, using: &generator)
        gates = TrafficGates(limits: limits, hash: SipHash(using: &generator))
        transactions = Transactions(patience: limits.lookup.patience)
        nextHousekeeping = now + .seconds(1)
        nextSweep = now + .seconds(60)
        deadline = nextHousekeeping
    }

    // MARK: What it has to say

    /// The next datagram to send, or `nil`.
    public mutating func nextTransmit() -> Transmit? { transmits.popFirst() }

    /// The next thing to tell, or `nil`.
    public mutating func nextEvent() -> MainlineEvent? { events.popFirst() }

    // MARK: What it is

    /// Says that datagrams of `family` leave from `port` of this host.
    public mutating func setLocalPort(_ port: UInt16, _ family: IPAddress.Family) {
        for index in sides.indices where sides[index]?.family == family { sides[index]?.localPort = port }
    }

    /// Its id in `family`, or `nil` where it does not take part.
    public func id(_ family: IPAddress.Family) -> NodeID? { side(family)?.table.own }

    /// How far it has come in joining.
    public func joinState(_ family: IPAddress.Family) -> JoinState { side(family)?.join ?? .idle }

    /// How long our queries have gone unanswered, all of them; `nil` while somebody answers.
    public func unanswered(_ family: IPAddress.Family, at now: Instant) -> Duration? {
        side(family)?.silence.duration(at: now)
    }

    /// Its address as others see it, once enough of them agree.
    public func outsideAddress(_ family: IPAddress.Family) -> SocketAddress? { side(family)?.votes.winner }

    /// The nodes of its table.
    public func nodes(_ family: IPAddress.Family) -> [RoutingTable<NodeID, SocketAddress>.Node] {
        side(family)?.table.nodes ?? []
    }

    /// What is to be thought of a node of its table.
    public func quality(
        of node: RoutingTable<NodeID, SocketAddress>.Node, at now: Instant
    ) -> RoutingTable<NodeID, SocketAddress>.Quality {
        side(node.contact.ip.family)?.table.quality(of: node, at: now) ?? .bad
    }

    /// How many announcements are stored here.
    public var announcementCount: Int { peers.count }

    /// How many items are stored here.
    public var itemCount: Int { items.count }

    /// How many lookups run or wait.
    public var searchCount: Int { searches.count + waitingSearches.count }

    /// How a lookup that runs is going, or `nil` where there is none of that number.
    public func progress(of search: SearchID, at now: Instant) -> SearchReport? {
        searches.first { $0.id == search }?.report(at: now)
    }

    func side(_ family: IPAddress.Family) -> Side? { sides[Int(family.rawValue)] }

    /// Whether an id at `address` counts among the first. Nothing is asked of addresses that are not global, which only
    /// a private DHT lets in.
    func isPreferred(_ id: NodeID, at address: IPAddress) -> Bool {
        !configuration.bindsIDs || id.isBound(to: address)
    }

    /// Whether a node may be at `address`.
    func accepts(_ address: SocketAddress) -> Bool {
        guard address.port != 0, sides[Int(address.ip.family.rawValue)] != nil else { return false }
        if configuration.isPrivate { return !address.ip.isMulticast && !address.ip.isUnspecified }
        return address.ip.isGlobal
    }

    // MARK: What comes in

    /// Takes in a datagram from `source`, which came to `local` where that is known: the answer goes out from there.
    public mutating func handle(
        _ datagram: RawSpan, from source: SocketAddress, to local: IPAddress? = nil, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) {
        metrics.bytesIn.increment(by: UInt64(datagram.byteCount))
        let source = source.unmapped
        guard accepts(source) else { return metrics.dropped[.address].increment() }
        let message: KRPCMessage
        do {
            message = try KRPCMessage(datagram, maximumSize: configuration.limits.datagramSize)
        } catch {
            return metrics.dropped[.malformed].increment()
        }
        switch message.kind {
        case .query:
            asked = local
            handleQuery(message, datagram, from: source, at: now, using: &generator)
        case .answer, .error:
            handleAnswer(message, datagram, from: source, at: now, using: &generator)
            rearm(at: now)
        }
    }

    /// Does what time has come for. To be called at `deadline`; early calls do no harm.
    public mutating func handleDeadline(at now: Instant, using generator: inout some RandomNumberGenerator) {
        while let late = transactions.nextExpired(at: now) {
            metrics.timeouts.increment()
            fail(late, at: now)
        }
        for index in searches.indices { searches[index].lookup.expire(at: now) }
        if now >= nextHousekeeping { keepHouse(at: now, using: &generator) }
        advanceSearches(at: now, using: &generator)
        rearm(at: now)
    }

    /// Says when there is something to do again.
    mutating func rearm(at now: Instant) {
        var next = nextHousekeeping
        if let expiry = transactions.deadline { next = min(next, expiry) }
        for search in searches {
            if let deadline = search.lookup.deadline, !search.isStoring { next = min(next, deadline) }
            if search.isHeldUp { next = min(next, outgoingReopens) }
        }
        deadline = next
    }

    // MARK: Sending

    static let outgoingBurst = Duration.seconds(2)

    var outgoingReopens: Instant {
        outgoing.reopens(perSecond: configuration.limits.queriesPerSecond, burst: Self.outgoingBurst)
    }

    /// Whether there is an allowance for a query.
    func maySend(at now: Instant) -> Bool {
        transactions.count < configuration.limits.transactions
            && outgoing.isOpen(
                perSecond: configuration.limits.queriesPerSecond, burst: Self.outgoingBurst, at: now)
    }

    mutating func send(
        _ query: KRPCQuery, to address: SocketAddress, _ purpose: Transactions.Purpose, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) {
        guard let side = side(address.ip.family) else { return }
        _ = outgoing.pass(
            1, perSecond: configuration.limits.queriesPerSecond, burst: Self.outgoingBurst, at: now)
        let transaction = transactions.begin(address, purpose, at: now, using: &generator)
        let bytes = query.encoded(
            transaction: transaction, id: side.table.own, isReadOnly: configuration.isReadOnly,
            wantsBoth: sides[0] != nil && sides[1] != nil)
        sides[Int(address.ip.family.rawValue)]?.silence.sent(at: now)
        metrics.sent.increment()
        transmit(bytes, to: address)
    }

    mutating func transmit(_ bytes: Bytes, to address: SocketAddress, from source: IPAddress? = nil) {
        metrics.bytesOut.increment(by: UInt64(bytes.count))
        transmits.append(Transmit(bytes: bytes, destination: address, source: source))
    }
}
