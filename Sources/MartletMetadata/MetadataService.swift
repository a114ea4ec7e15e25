internal import MartletCrypto
public import MartletIdentity
public import MartletRuntime
public import MartletSwarm
internal import MartletTransport
internal import MartletWire

/// What the metadata service has to say.
public enum MetadataEvent: Hashable, Sendable {
    /// A peer that is connected has proven that it is on these topics.
    case neighbour(PeerID, topics: Set<TopicKey>)
    /// The conversation with a neighbour is over.
    case neighbourLost(PeerID)
    /// A record is new, or newer than the one before. A neighbour told it, which may be the one that it is about.
    case record(SignedMetadata, from: PeerID)
    /// This node has signed a record of its own, with this number.
    case signed(UInt64)
    /// Most neighbours' clocks disagree with this node's: what it shows, and what theirs do. It is told once, and again if it
    /// happens again.
    case clockDisputed(own: WallTime, theirs: WallTime)
    /// A record or a request was refused, or this node's own was.
    case refused(PeerID, MetadataRefusal)
}

/// The exchange of signed records with those who share a topic (`/martlet/metadata/1.0.0`).
///
/// Whoever made the connection opens the stream, each side proves its topics, and from then on both push what is news and
/// compare what they know. It lives on the swarm's loop.
public final class MetadataService {
    /// The name of the protocol.
    public static let name = "/martlet/metadata/1.0.0"

    /// How many questions a new neighbour is asked at the most to learn all that it knows: enough for a full book.
    static let maximumRounds = 512

    /// How it behaves.
    public let configuration: MetadataConfiguration
    /// What is known of others.
    public private(set) var book: MetadataBook
    /// Called on the loop for each event.
    public var onEvent: ((MetadataEvent) -> Void)?
    /// What this node says of itself, as it was last signed.
    public private(set) var own: SignedMetadata
    /// The topics that it is on.
    public let topics: [TopicKey]

    private let swarm: Swarm
    private var draft: NodeMetadata
    private var sessions: [ObjectIdentifier: MetadataSession] = [:]
    private var neighbours: [PeerID: MetadataSession] = [:]
    private var news = RateMeter()
    private var records: RateTable<IPAddress?>
    private var clocks: ClockWitnesses
    private var isDisputed = false
    private let turns: Turns
    private var timer: LoopTimer!
    private var pushTimer: LoopTimer!
    private var registration: ProtocolRegistration?
    /// When the own record is made anew, by the time since the machine was started, which goes on while it sleeps.
    private var nextRefresh: Instant
    /// The moment at which the own record was signed.
    private var signedAt: Moment
    private var random: RandomSource
    private let metrics: MetadataMetrics

    private var loop: EventLoop { swarm.loop }
    private var moment: Moment { Moment(wall: swarm.environment.wallTime, boot: swarm.environment.bootTime) }

    /// By how much the clock may be set until the own record, which has the old date, is made anew.
    private static let settledClock = Duration.seconds(60)

    /// Serves the protocol on `swarm` for a node on `topics` that says `metadata` of itself. The sequence number and the
    /// time are the service's own; `above` is the highest number that earlier records of this node had.
    public init(
        _ swarm: Swarm, topics: [TopicKey], saying metadata: NodeMetadata, above: UInt64 = 0,
        configuration: MetadataConfiguration = MetadataConfiguration(), metrics: MetricsRegistry = MetricsRegistry()
    ) {
        self.swarm = swarm
        self.topics = topics
        self.configuration = configuration
        self.metrics = MetadataMetrics(metrics)
        book = MetadataBook(of: swarm.localPeer, topics: topics, limits: configuration.book)
        random = swarm.environment.random
        draft = metadata
        draft.sequence = above
        draft.topicMarks = topics.map { $0.mark(of: swarm.localPeer) }
        own = Self.signed(&draft, by: swarm)
        signedAt = Moment(wall: own.metadata.time, boot: swarm.environment.bootTime)
        nextRefresh = signedAt.boot + configuration.refreshing
        records = RateTable(configuration.records, remembering: configuration.sessions)
        clocks = ClockWitnesses(configuration.book)
        turns = Turns(on: swarm.loop, longest: configuration.asking)
        timer = LoopTimer(on: swarm.loop, label: "metadata") { [weak self] in self?.upkeep() }
        pushTimer = LoopTimer(on: swarm.loop, label: "metadata push") { [weak self] in self?.push() }
        registration = swarm.handle(Self.name, limit: 2) { [weak self] stream, _ in self?.accept(stream) }
        armUpkeep()
    }

    /// Signs what `draft` says, with a number that is higher than any before and, by the clock, than those of a node
    /// that has forgotten its numbers.
    private static func signed(_ draft: inout NodeMetadata, by swarm: Swarm) -> SignedMetadata {
        let wall = swarm.environment.wallTime
        draft.time = wall
        draft.sequence = max(draft.sequence + 1, UInt64(clamping: wall.nanoseconds / 1_000_000))
        return SignedMetadata(draft, signedWith: swarm.identity)
    }

    /// Earlier records of this node had numbers up to `number`: those from now on are higher. To be called before anyone is
    /// told.
    public func resume(above number: UInt64) {
        guard draft.sequence <= number else { return }
        draft.sequence = number
        push()
    }

    /// What this node's clock shows and what most neighbours' do, while they disagree.
    public var clockDispute: (own: WallTime, theirs: WallTime)? {
        clocks.dispute(at: moment).map { ($0.own, $0.theirs) }
    }

    /// Those who are connected and have proven that they are on `topic`, in the order of their ids.
    public func neighbours(on topic: TopicKey) -> [PeerID] {
        neighbours.filter { $0.value.shared.contains(topic) }.map(\.key).sorted()
    }

    /// How many bytes wait to be handed to the streams of all conversations.
    public var waitingBytes: Int { sessions.values.reduce(0) { $0 + $1.waitingBytes } }

    /// The topics that `peer`, which is connected, has proven to be on.
    public func topics(of peer: PeerID) -> Set<TopicKey> { neighbours[peer]?.shared ?? [] }

    /// Changes what this node says of itself. Neighbours are told soon.
    public func update(_ change: (inout NodeMetadata) -> Void) {
        var changed = draft
        change(&changed)
        changed.topicMarks = draft.topicMarks
        changed.sequence = draft.sequence
        changed.time = draft.time
        guard changed != draft else { return }
        draft = changed
        if pushTimer.deadline == nil { pushTimer.arm(after: configuration.collecting) }
    }

    /// Ends all conversations and serves no more.
    public func stop() {
        if let registration { swarm.remove(registration) }
        registration = nil
        timer.cancel()
        pushTimer.cancel()
        for session in sessions.values { session.end() }
    }

    // MARK: Conversations

    /// Opens the conversation with `peer`, which must be connected. Throws where the two share no topic, and where the
    /// peer does not speak the protocol.
    @discardableResult
    public nonisolated(nonsending) func greet(_ peer: PeerID) async throws(MetadataSessionError) -> Set<TopicKey> {
        if let session = neighbours[peer], !session.isOver { return session.shared }
        let deadline = loop.now + configuration.timeout
        let stream: MartletTransport.Stream
        do throws(SwarmError) {
            stream = try await swarm.openStream(to: peer, Self.name, onlyConnected: true, by: deadline)
        } catch {
            throw error == .timedOut ? .timedOut : .ended
        }
        let session = begin(stream, isOpener: true)
        session.onRequest = { [weak self, weak session] in
            guard let self, let session else { return nil }
            return self.answer($0, in: session)
        }
        do throws(MetadataSessionError) {
            let binding = stream.binding
            guard !binding.isEmpty else { throw .protocolViolation }
            let proofs = topics.map {
                $0.proof(of: .opener, opener: swarm.localPeer, answerer: peer, binding: binding)
            }
            let topics = topics
            let own = swarm.localPeer
            let answer = try await session.ask(.hello(filled(proofs)), by: deadline) { answer in
                guard case .welcome(let shared) = answer else { return }
                session.shared = Self.proven(shared, of: topics, opener: own, answerer: peer, binding)
            }
            guard case .welcome = answer else { throw .protocolViolation }
            guard !session.shared.isEmpty else { throw .refused(.noCommonTopic) }
        } catch {
            session.end()
            if case .refused(let refusal) = error { refused(refusal, peer) }
            throw error
        }
        met(session)
        return session.shared
    }

    /// Those of the opener's `topics` for which `shared` has the answerer's proof.
    private static func proven(
        _ shared: [MetadataMessage.Shared], of topics: [TopicKey], opener: PeerID, answerer: PeerID, _ binding: Bytes
    ) -> Set<TopicKey> {
        let proven = shared.compactMap { one -> TopicKey? in
            let place = Int(one.place)
            guard place < topics.count else { return nil }
            let proof = topics[place].proof(of: .answerer, opener: opener, answerer: answerer, binding: binding)
            return proof.span.isEqualInConstantTime(to: one.proof.span) ? topics[place] : nil
        }
        return Set(proven)
    }

    private func accept(_ stream: MartletTransport.Stream) {
        guard sessions.count < configuration.sessions else {
            refused(.full, stream.remotePeer)
            return stream.reset()
        }
        let session = begin(stream, isOpener: false)
        session.onRequest = { [weak self, weak session] in
            guard let self, let session else { return nil }
            return self.answer($0, in: session)
        }
        let late = LoopTimer(on: loop, label: "metadata hello") { [weak session] in
            if let session, session.shared.isEmpty { session.end() }
        }
        late.arm(after: configuration.timeout)
        session.helloTimer = late
    }

    private func begin(_ stream: MartletTransport.Stream, isOpener: Bool) -> MetadataSession {
        let session = MetadataSession(
            stream, isOpener: isOpener, limits: configuration, memory: swarm.memory(of: stream.remotePeer),
            on: loop)
        sessions[ObjectIdentifier(session)] = session
        loop.spawn { [weak self] in
            await session.run()
            self?.ended(session)
        }
        return session
    }

    private func ended(_ session: MetadataSession) {
        sessions[ObjectIdentifier(session)] = nil
        if neighbours[session.peer].map({ $0 === session }) ?? true { clocks.forget(session.peer) }
        guard neighbours[session.peer] === session else { return }
        neighbours[session.peer] = nil
        book.parted(from: session.peer, dialled: session.isOpener)
        metrics.neighbours.record(Int64(neighbours.count))
        onEvent?(.neighbourLost(session.peer))
    }

    /// Proofs, filled up with noise to a multiple of eight, so that nobody counts the topics.
    private func filled(_ proofs: [Bytes]) -> [Bytes] {
        var all = proofs
        while all.count % 8 != 0 || all.isEmpty {
            all.append(Bytes((0..<TopicKey.markSize).map { _ in UInt8.random(in: 0...255, using: &random) }))
        }
        return all
    }

    // MARK: Answering

    private func answer(_ request: MetadataMessage.Body, in session: MetadataSession) -> MetadataMessage.Body? {
        metrics.requests.increment()
        switch request {
        case .hello(let proofs):
            guard !session.isOpener, !session.hasHeardHello else { return .refused(.outOfTurn) }
            session.hasHeardHello = true
            return welcome(proofs, in: session)
        case .push(let bytes):
            guard !session.shared.isEmpty else { return .refused(.outOfTurn) }
            do throws(MetadataRefusal) {
                return .taken(try take(bytes, from: session))
            } catch {
                refused(error, session.peer)
                return .refused(error)
            }
        case .summary(let summary):
            guard !session.shared.isEmpty else { return .refused(.outOfTurn) }
            let missing = book.missing(in: summary, on: session.shared, except: session.peer)
            return .records(missing.map(\.envelope.bytes))
        case .digest(let digest):
            guard !session.shared.isEmpty else { return .refused(.outOfTurn) }
            let known = book.summary(
                from: digest.first, to: digest.last, on: session.shared, except: session.peer,
                declined: session.declined)
            return .same(MetadataDigest(known) == digest)
        case .welcome, .taken, .records, .same, .refused:
            return nil
        }
    }

    private func welcome(_ proofs: [Bytes], in session: MetadataSession) -> MetadataMessage.Body? {
        let peer = session.peer
        let binding = session.stream.binding
        guard !binding.isEmpty else { return nil }
        var shared: [MetadataMessage.Shared] = []
        for topic in topics {
            let expected = topic.proof(of: .opener, opener: peer, answerer: swarm.localPeer, binding: binding)
            guard let place = proofs.firstIndex(where: { expected.span.isEqualInConstantTime(to: $0.span) }) else {
                continue
            }
            session.shared.insert(topic)
            let proof = topic.proof(of: .answerer, opener: peer, answerer: swarm.localPeer, binding: binding)
            shared.append(.init(place: UInt32(place), proof: proof))
        }
        guard !shared.isEmpty else {
            refused(.noCommonTopic, peer)
            return .refused(.noCommonTopic)
        }
        session.helloTimer = nil
        loop.afterThis { [weak self] in self?.met(session) }
        return .welcome(shared)
    }

    private func met(_ session: MetadataSession) {
        guard !session.isOver else { return }
        if let before = neighbours[session.peer], before !== session, !before.isOver, !isBetter(session, than: before) {
            return session.end()
        }
        let before = neighbours.updateValue(session, forKey: session.peer)
        if let before, before !== session { before.end() }
        book.met(teller(of: session))
        metrics.neighbours.record(Int64(neighbours.count))
        onEvent?(.neighbour(session.peer, topics: session.shared))
        session.tell(.push(own.envelope.bytes))
        loop.spawn { [weak self] in await self?.compareAll(with: session) }
    }

    /// Whether `session` takes the place of `other` with the same peer: of two that both sides opened at about the same
    /// time, the one of the smaller id, so that both sides keep the same; else the newer.
    private func isBetter(_ session: MetadataSession, than other: MetadataSession) -> Bool {
        let isSimultaneous = session.isOpener != other.isOpener && loop.now - other.begunAt < configuration.timeout
        return !isSimultaneous || session.isOpener == (swarm.localPeer < session.peer)
    }

    private func refused(_ refusal: MetadataRefusal, _ peer: PeerID) {
        metrics.refused[refusal].increment()
        onEvent?(.refused(peer, refusal))
    }

    // MARK: Records

    private func teller(of session: MetadataSession) -> Teller {
        Teller(session.peer, at: swarm.connections(to: session.peer).first?.remoteAddress.ipAddress)
    }

    /// Takes a signed record, and says what number is known now.
    private func take(_ bytes: Bytes, from session: MetadataSession) throws(MetadataRefusal) -> UInt64 {
        let claim: MetadataClaim
        do throws(WireError) {
            claim = try MetadataClaim(peekingInto: bytes)
        } catch {
            throw .invalid
        }
        let moment = moment
        do throws(MetadataRefusal) {
            try take(claim, bytes, from: session, at: moment)
        } catch {
            switch error {
            case .full, .expired, .fromTheFuture, .noCommonTopic, .invalid: session.decline(claim)
            case .tooMuch, .notNewer, .own, .outOfTurn, .other: break
            }
            throw error
        }
        return claim.sequence
    }

    /// Takes the record in `bytes`, which makes this `claim`. What is cheap to find out comes first.
    private func take(
        _ claim: MetadataClaim, _ bytes: Bytes, from session: MetadataSession, at moment: Moment
    ) throws(MetadataRefusal) {
        let teller = teller(of: session)
        do throws(MetadataRefusal) {
            try book.check(claim, from: teller, at: moment)
        } catch {
            guard claim.peer == session.peer else { throw error }
            switch error {
            case .fromTheFuture, .expired:
                // A peer's own record with a date that cannot be right shows that one of the two clocks is wrong.
                heardClock(of: try open(bytes, from: teller), in: session, at: moment)
            case .notNewer:
                // Another told it before.
                guard let known = book.record(of: claim.peer), known.envelope.bytes == bytes else { break }
                heardClock(of: known, in: session, at: moment)
            default: break
            }
            throw error
        }
        let record = try open(bytes, from: teller)
        heardClock(of: record, in: session, at: moment)
        try book.take(record, from: teller, at: moment)
        metrics.records.record(Int64(book.count))
        onEvent?(.record(record, from: session.peer))
        spread(record, except: session)
    }

    /// Opens the record in `bytes` and checks its signature, as often as the network of `teller` may make this node do that.
    private func open(_ bytes: Bytes, from teller: Teller) throws(MetadataRefusal) -> SignedMetadata {
        guard records.take(teller.network, at: loop.now) else { throw .tooMuch }
        do throws(MetadataError) {
            return try SignedMetadata(opening: bytes)
        } catch {
            throw .invalid
        }
    }

    /// A `record` has come whose signature was checked: if the other side of `session` made it, it shows what its clock does.
    private func heardClock(of record: SignedMetadata, in session: MetadataSession, at moment: Moment) {
        guard record.peer == session.peer, !session.shared.isEmpty, !session.isOver else { return }
        clocks.heard(record.metadata.time, from: record.peer, at: moment)
        judgeClock(at: moment)
    }

    /// Says so if most neighbours' clocks have begun to disagree with this node's.
    private func judgeClock(at moment: Moment) {
        let dispute = clocks.dispute(at: moment)
        if let dispute, !isDisputed { onEvent?(.clockDisputed(own: dispute.own, theirs: dispute.theirs)) }
        isDisputed = dispute != nil
    }

    /// Passes news on to a few neighbours, as far as the allowance reaches.
    private func spread(_ record: SignedMetadata, except source: MetadataSession) {
        let topics = book.topics(of: record.peer)
        let others = neighbours.keys.sorted().filter { peer in
            guard let session = neighbours[peer], session !== source, peer != record.peer else { return false }
            return !session.shared.isDisjoint(with: topics)
        }
        let size = record.envelope.bytes.count + 16
        for peer in others.shuffled(using: &random).prefix(configuration.fanOut) {
            guard news.take(configuration.news, amount: size, at: loop.now) else { return }
            neighbours[peer]?.tell(.push(record.envelope.bytes))
        }
    }

    /// Signs the own record anew and tells all neighbours.
    private func push() {
        own = Self.signed(&draft, by: swarm)
        signedAt = moment
        nextRefresh = signedAt.boot + configuration.refreshing
        onEvent?(.signed(own.metadata.sequence))
        for peer in neighbours.keys.sorted() { neighbours[peer]?.tell(.push(own.envelope.bytes)) }
    }

    // MARK: Comparing

    /// Asks a new neighbour for everything that is missing, stretch by stretch around the circle.
    private nonisolated(nonsending) func compareAll(with session: MetadataSession) async {
        loop.preconditionCurrent()
        var first: UInt64 = 0
        var learnt = 0
        // A neighbour that makes up news without end is not listened to for ever.
        for _ in 0..<Self.maximumRounds {
            // Most of what one neighbour knows, another has told a moment ago.
            let asksFirst: (MetadataSummary) -> Bool = { learnt == 0 && $0.entries.count >= Self.worthDigest }
            guard let (summary, news) = await compare(with: session, from: first, asksFirst) else { return }
            learnt = news ?? 0
            // An answer has a bound of its own, so a stretch is done when nothing more comes of it.
            if learnt > 0 { continue }
            guard summary.last >= first, summary.last < .max else { return }
            first = summary.last + 1
        }
    }

    /// From how many entries on a new neighbour is asked by a digest first whether it knows the same. A summary of fewer is
    /// about as short.
    private static let worthDigest = 16

    /// Asks a neighbour what is missing in the stretch from `first` on, or first, if `asksFirst` says so, whether it knows
    /// the same there. Returns how much of it was news, `nil` in place of that if both know the same; and `nil` if there is
    /// no answer.
    private nonisolated(nonsending) func compare(
        with session: MetadataSession, from first: UInt64, _ asksFirst: (MetadataSummary) -> Bool
    ) async -> (MetadataSummary, learnt: Int?)? {
        loop.preconditionCurrent()
        guard let turn = try? await turns.begin() else { return nil }
        defer { turns.end(turn) }
        let summary = book.summary(
            from: first, on: session.shared, except: session.peer, declined: session.declined)
        let answer: MetadataMessage.Body
        do throws(MetadataSessionError) {
            if asksFirst(summary) {
                let digest = MetadataDigest(summary)
                guard case .same(let isSame) = try await session.ask(.digest(digest), by: deadline) else {
                    session.end()
                    return nil
                }
                if isSame {
                    session.compared(learnt: nil)
                    return (summary, nil)
                }
            }
            answer = try await session.ask(.summary(summary), by: deadline)
        } catch {
            return nil
        }
        guard case .records(let records) = answer else {
            session.end()
            return nil
        }
        var learnt = 0
        for bytes in records {
            do throws(MetadataRefusal) {
                _ = try take(bytes, from: session)
                learnt += 1
            } catch {
                // As new a one has come another way meanwhile, or it is this node's own: neither is anybody's fault.
                if error != .notNewer, error != .own { refused(error, session.peer) }
            }
        }
        session.compared(learnt: learnt)
        return (summary, learnt)
    }

    private var deadline: Instant { loop.now + configuration.timeout }

    private func upkeep() {
        let moment = moment
        if !book.expire(at: moment.boot).isEmpty {
            for session in sessions.values { session.forgetDeclined() }
        }
        // A record that was signed before the clock was set has a date that others may refuse.
        let drift = (moment.wall - signedAt.wall) - (moment.boot - signedAt.boot)
        if moment.boot >= nextRefresh || abs(drift.nanoseconds) > Self.settledClock.nanoseconds { push() }
        judgeClock(at: moment)
        let place = random.next()
        let ready = neighbours.keys.sorted().filter { neighbours[$0].map { $0.comparesAgain <= loop.now } ?? false }
        if let peer = ready.randomElement(using: &random), let session = neighbours[peer] {
            loop.spawn { [weak self] in _ = await self?.compare(with: session, from: place) { _ in true } }
        }
        armUpkeep()
    }

    /// Not all at the same instant.
    private func armUpkeep() {
        let share = Int64.random(in: 900...1100, using: &random)
        timer.arm(after: configuration.comparing * Int(share) / 1000)
    }
}

/// What the metadata service counts.
struct MetadataMetrics {
    let requests: Counter
    let refused: Labelled<MetadataRefusal, Counter>
    let neighbours: Gauge
    let records: Gauge

    init(_ registry: MetricsRegistry) {
        requests = registry.counter("martlet_metadata_requests", help: "Requests of other peers for metadata.")
        refused = registry.counters(
            "martlet_metadata_refused", help: "Records and requests that were refused.", by: MetadataRefusal.self)
        neighbours = registry.gauge("martlet_metadata_neighbours", help: "Connected peers that share a topic.")
        records = registry.gauge("martlet_metadata_records", help: "Peers of whom a record is known.")
    }
}

extension MetadataRefusal: MetricLabels {
    /// One label.
    public static let names = ["reason"]

    /// The label's value.
    public var values: [String] {
        let text =
            switch self {
            case .other: "other"
            case .noCommonTopic: "no_common_topic"
            case .outOfTurn: "out_of_turn"
            case .invalid: "invalid"
            case .notNewer: "not_newer"
            case .expired: "expired"
            case .fromTheFuture: "from_the_future"
            case .own: "own"
            case .full: "full"
            case .tooMuch: "too_much"
            }
        return [text]
    }
}
