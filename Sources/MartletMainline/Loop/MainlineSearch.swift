import MartletRouting
import MartletRuntime
public import MartletWire

/// A lookup that somebody waits for: what it finds, as it comes, and in the end how it went.
///
/// It belongs to its node's loop. Letting go of it, or `cancel`, ends the lookup.
public final class MainlineSearch {
    private let signal: Signal
    private weak var dht: MainlineDHT?
    private var ids: [SearchID] = []
    private var running = 0
    private var found: Set<SocketAddress> = []
    private var waiting: [SocketAddress] = []
    private var foundHashes: Set<NodeID> = []
    private var waitingHashes: [NodeID] = []
    /// The newest item that was found so far.
    public private(set) var item: MainlineItem?
    /// How each family's part went, when it has ended.
    public private(set) var reports: [SearchReport] = []
    /// Called whenever something has come.
    public var onChange: (() -> Void)?

    init(of dht: MainlineDHT) {
        self.dht = dht
        signal = Signal(on: dht.environment.loop)
    }

    deinit {
        guard let dht else { return }
        for id in ids { dht.cancel(id) }
    }

    /// Whether nothing more will come.
    public var isEnded: Bool { running == 0 }

    /// The next peer, which comes once whatever the number of nodes that name it; `nil` when all have come.
    public nonisolated(nonsending) func next() async throws(CancellationError) -> SocketAddress? {
        while true {
            if !waiting.isEmpty { return waiting.removeFirst() }
            if isEnded { return nil }
            try await signal.wait()
        }
    }

    /// The next infohash of a sample; `nil` when all have come.
    public nonisolated(nonsending) func nextInfohash() async throws(CancellationError) -> NodeID? {
        while true {
            if !waitingHashes.isEmpty { return waitingHashes.removeFirst() }
            if isEnded { return nil }
            try await signal.wait()
        }
    }

    /// Waits until nothing more will come, and says how it went in each family.
    @discardableResult
    public nonisolated(nonsending) func end() async throws(CancellationError) -> [SearchReport] {
        while !isEnded { try await signal.wait() }
        return reports
    }

    /// How far it has come: the parts that have ended, and those that run.
    public var progress: [SearchReport] {
        guard let dht else { return reports }
        return reports + ids.compactMap { dht.node.progress(of: $0, at: dht.environment.loop.now) }
    }

    /// Ends the lookup. What has come can still be read.
    public func cancel() {
        guard let dht else { return }
        for id in ids { dht.cancel(id) }
        finish()
    }

    func begin(_ id: SearchID) {
        ids.append(id)
        running += 1
    }

    func take(_ event: MainlineEvent) {
        switch event {
        case .peers(_, let peers):
            for peer in peers where found.insert(peer).inserted { waiting.append(peer) }
        case .item(_, let new):
            if let sequence = item?.author?.sequence, let other = new.author?.sequence, other <= sequence { return }
            item = new
        case .infohashes(_, let infohashes):
            for infohash in infohashes where foundHashes.insert(infohash).inserted { waitingHashes.append(infohash) }
        case .ended(_, let report):
            reports.append(report)
            running -= 1
        default: return
        }
        onChange?()
        signal.signal()
    }

    func finish() {
        running = 0
        signal.signal()
    }
}

/// Keeps something of ours alive in the DHT. Letting go of it, or `stop`, ends that.
public final class MainlineRepetition {
    private weak var dht: MainlineDHT?
    private var ids: [RepetitionID]

    init(of dht: MainlineDHT, _ ids: [RepetitionID]) {
        self.dht = dht
        self.ids = ids
    }

    deinit { stop() }

    /// Stops repeating. What is stored is forgotten by and by.
    public func stop() {
        for id in ids { dht?.node.stopRepeating(id) }
        ids = []
    }
}

/// What a node can be asked for.
extension MainlineDHT {
    /// The peers of `topic`, in all families, those that come first at once.
    public func peers(of topic: Topic) -> MainlineSearch { peers(of: topic.infohash) }

    /// The peers of `infohash`, in all families, those that come first at once.
    public func peers(of infohash: NodeID) -> MainlineSearch {
        search { $0.findPeers(of: infohash, $1, at: $2, using: &$3) }
    }

    /// Tells others that this host takes part in `topic` under `port`, again and again before it is forgotten.
    public func announce(_ topic: Topic, _ port: AnnouncedPort) -> MainlineRepetition {
        announce(topic.infohash, port)
    }

    /// Tells others that this host takes part in `infohash` under `port`, again and again before it is forgotten.
    public func announce(_ infohash: NodeID, _ port: AnnouncedPort) -> MainlineRepetition {
        MainlineRepetition(
            of: self,
            families.map { family in change { node, now, _ in node.announce(infohash, port, family, at: now) } })
    }

    /// Tells others once that this host takes part in `infohash`, and finds its peers on the way.
    public func announceOnce(_ infohash: NodeID, _ port: AnnouncedPort) -> MainlineSearch {
        search { $0.findPeers(of: infohash, $1, announcing: port, at: $2, using: &$3) }
    }

    /// The item at `target`; `salt` is that of a mutable item that has one.
    public func item(_ target: NodeID, salt: Bytes = Bytes()) -> MainlineSearch {
        search { $0.findItem(target, salt: salt, $1, at: $2, using: &$3) }
    }

    /// Stores `item`; where `expected` is given, only in the place of that version.
    public func put(_ item: MainlineItem, replacing expected: Int64? = nil) -> MainlineSearch {
        search { $0.put(item, replacing: expected, $1, at: $2, using: &$3) }
    }

    /// Stores `item` again and again before it is forgotten.
    public func keep(_ item: MainlineItem) -> MainlineRepetition {
        MainlineRepetition(
            of: self, families.map { family in change { node, now, _ in node.keep(item, family, at: now) } })
    }

    /// Some of what the nodes between here and `target` store.
    public func sampleInfohashes(towards target: NodeID) -> MainlineSearch {
        search { $0.sampleInfohashes(towards: target, $1, at: $2, using: &$3) }
    }

    /// The nodes closest to `target`.
    public func nodes(around target: NodeID) -> MainlineSearch {
        search { $0.findNodes(around: target, $1, at: $2, using: &$3) }
    }

    private func search(
        _ begin: (inout MainlineNode, IPAddress.Family, Instant, inout RandomSource) -> SearchID?
    ) -> MainlineSearch {
        let search = MainlineSearch(of: self)
        for family in families {
            self.begin(search) { node, now, random in begin(&node, family, now, &random) }
        }
        return search
    }

    /// How the node is doing, family by family.
    public var status: [MainlineStatus] {
        families.compactMap { family in
            guard let id = node.id(family) else { return nil }
            return MainlineStatus(
                family: family, id: id, join: node.joinState(family),
                unanswered: node.unanswered(family, at: environment.loop.now),
                outsideAddress: node.outsideAddress(family),
                nodes: node.nodes(family).map {
                    MainlineStatus.Node(
                        id: $0.key, address: $0.contact, roundTrip: $0.roundTrip,
                        quality: "\(node.quality(of: $0, at: environment.loop.now))", isBound: $0.isPreferred)
                })
        }
    }
}

/// How a node is doing in one family.
public struct MainlineStatus: Sendable {
    /// A node that it knows.
    public struct Node: Sendable {
        /// The node's id.
        public var id: NodeID
        /// Where it is.
        public var address: SocketAddress
        /// How long its last answer took.
        public var roundTrip: Duration?
        /// `good`, `questionable` or `bad`.
        public var quality: String
        /// Whether its id follows from its address.
        public var isBound: Bool
    }

    /// The family.
    public var family: IPAddress.Family
    /// Our id.
    public var id: NodeID
    /// How far it has come in joining.
    public var join: JoinState
    /// How long our queries have gone unanswered, all of them; `nil` while somebody answers.
    public var unanswered: Duration?
    /// Our address as others see it.
    public var outsideAddress: SocketAddress?
    /// The nodes of its table.
    public var nodes: [Node]
}
