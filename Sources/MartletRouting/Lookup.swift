public import MartletRuntime

/// The bounds of a lookup.
public struct LookupLimits: Hashable, Sendable {
    /// How many of the closest nodes must have answered for the lookup to end.
    public var closest = 8
    /// How many answers are waited for at once.
    public var parallel = 4
    /// How many nodes are asked in all.
    public var queries = 128
    /// How many nodes are remembered that have not been asked.
    public var candidates = 64
    /// How many of those that one node names are taken.
    public var candidatesPerAnswer = 16
    /// How many nodes of one network are asked, beyond those that left it at silence.
    public var nodesPerNetwork = 2
    /// How many nodes of one network are asked, whoever names them.
    public var queriesPerNetwork = 4
    /// How many more are asked that are each named by another node, of whose word about the network nothing was tried:
    /// nodes that name silent addresses there use up their own word alone.
    public var furtherQueriesPerNetwork = 4
    /// How many nodes that one node has named are tried at once, until some of them have answered.
    public var unprovenPerTeller = 2
    /// How many claims of our own about one key, or about one address, are kept apart until one is tried. Of each node
    /// that tells of others there is one, so that none of them keeps out what another tells.
    public var claims = 4
    /// How long the lookup may take.
    public var duration = Duration.seconds(60)
    /// How long an answer is waited for at the most.
    public var patience = Duration.seconds(4)

    /// The defaults.
    @inlinable
    public init() {}
}

/// The search for the nodes closest to a key: asks those it knows for closer ones, several at a time, until the
/// closest have answered.
///
/// It is a machine. After each call ask `nextQuery` until there is none; report every `answered` and `failed`; call
/// `expire` at `deadline`; and stop when it `isFinished`.
///
/// Nodes stand in the order in which they are wanted: those whose address alone is known (bootstrap nodes), then those
/// whose keys are `preferred`, then all others, each by distance. The first `closest` of them that have not failed are
/// the window. Only they are asked, and when all of them have answered, the lookup ends. So nodes that break a rule are
/// asked only where there are not enough that keep it, and do not keep the lookup from ending.
///
/// What a node says of others is a claim: that a key lives at an address. Claims that contradict each other stand side by
/// side until one is tried. Each claim has a teller, and of one teller's claims only a few are in the window before some
/// have come true; those of a teller whose claims turn out false are left for last. So the lookup goes several disjoint
/// paths at once (Baumgart and Mies, "S/Kademlia", 2007), and one that invents nodes costs it two queries.
///
/// It asks further ones as soon as an answer takes longer than answers usually do, and gives a node up that takes three
/// times as long. No address is asked twice, and no network more often than the limits say: the last questions to a network
/// are each left to a node that has not been believed about it. Whatever a stranger answers,
/// the lookup asks at most `limits.queries` nodes and ends by `limits.duration`.
public struct Lookup<Key: RoutingKey, Contact: RoutingContact> {
    /// What has become of a node.
    public enum State: Hashable, Sendable {
        /// It has not been asked.
        case known
        /// It has been asked, and its answer is not late.
        case asked
        /// It has been asked, and another one is asked meanwhile.
        case slow
        /// It has answered.
        case answered
        /// It has not, or the lookup no longer counts on it.
        case failed
    }

    /// A node that the lookup knows.
    public struct Candidate: Sendable {
        /// Its key; `nil` where only its address is known.
        public var key: Key?
        /// Where it is reached.
        public let contact: Contact
        /// Whether its key is one that its address entitles it to.
        public var isPreferred: Bool
        /// What has become of it.
        public var state = State.known
        /// When it was asked.
        public var asked = Instant.start
        /// The most trusted of those that have named it; `nil` if we knew it ourselves.
        @usableFromInline var teller: Int?
        /// The others that have.
        @usableFromInline var seconds: [Int] = []
        /// All that have.
        @inlinable var voices: [Int] { teller.map { [$0] + seconds } ?? [] }

        @inlinable
        init(key: Key?, contact: Contact, isPreferred: Bool, teller: Int?) {
            self.key = key
            self.contact = contact
            self.isPreferred = isPreferred
            self.teller = teller
        }
    }

    /// A node that has named others, and what came of those.
    @usableFromInline
    struct Teller: Sendable {
        @usableFromInline let contact: Contact
        @usableFromInline var kept = 0
        /// How many of its claims nobody answered.
        @usableFromInline var silent = 0
        /// How many were answered under another key.
        @usableFromInline var renamed = 0

        @inlinable
        init(contact: Contact) { self.contact = contact }

        /// How many of its claims that have not come true may be in the window.
        @inlinable
        func allowance(_ first: Int) -> Int { isLiar ? 0 : first + kept }

        /// How many of its claims count as false. A node that answers under another key may have deceived the teller as it
        /// deceives us, so that counts half.
        @inlinable
        var broken: Int { silent + renamed / 2 }

        /// Loss and churn break one claim or two of an honest node.
        @inlinable
        var isLiar: Bool { broken >= 2 && broken > kept }
    }

    /// What is looked for.
    public let target: Key
    /// The bounds.
    public let limits: LookupLimits
    /// When the lookup began.
    public let began: Instant
    /// How many nodes have been asked.
    public var askedCount = 0
    /// How many have answered.
    public var answeredCount = 0
    /// How long answers take.
    public var latency: Latency
    @usableFromInline var candidates: [Candidate] = []
    @usableFromInline var tellers: [Teller] = []
    @usableFromInline var isStopped = false

    /// A lookup of `target` that knows nobody yet.
    @inlinable
    public init(target: Key, limits: LookupLimits = LookupLimits(), latency: Latency = Latency(), at now: Instant) {
        self.target = target
        self.limits = limits
        self.latency = latency
        began = now
    }

    /// Tells of a node that may be asked. `key` is `nil` where only the address is known, and `teller` is the node that
    /// has named it, or `nil` where we knew it. Says whether it is new.
    @inlinable
    @discardableResult
    public mutating func add(
        _ key: Key?, at contact: Contact, isPreferred: Bool, toldBy source: Contact? = nil
    ) -> Bool {
        let teller = source.map { index(ofTeller: $0) }
        var new = Candidate(key: key, contact: contact, isPreferred: isPreferred, teller: teller)
        var ofContact = 0
        var ofKey = 0
        var ofNetwork = 0
        var lastOfNetwork: Int?
        for (index, candidate) in candidates.enumerated() {
            if candidate.contact == contact {
                // It has been asked and will say itself which key it has, or this is said again.
                if candidate.key == key { second(index, by: teller) }
                if candidate.state != .known || key == nil || candidate.key == key { return false }
                ofContact += candidate.teller == teller && (candidate.isPreferred || !isPreferred) ? 1 : 0
            }
            if let key, candidate.key == key {
                if candidate.state == .answered, candidate.isPreferred || !isPreferred { return false }
                if candidate.state == .known, candidate.teller == teller, candidate.isPreferred || !isPreferred {
                    ofKey += 1
                }
            }
            if let network = contact.network, candidate.state == .known, candidate.teller == teller,
                candidate.contact.network == network
            {
                ofNetwork += 1
                lastOfNetwork = index
            }
        }
        // The claims of one node never stand in the way of another's: `candidates` bounds them all.
        let claims = teller == nil ? limits.claims : 1
        guard ofContact < claims, ofKey < claims else { return false }
        if ofNetwork >= limits.nodesPerNetwork {
            // Of one network the closest are asked, where they become known in time.
            guard let last = lastOfNetwork, precedes(new, candidates[last]) else { return false }
            candidates.remove(at: last)
        }
        new.state = .known
        candidates.insert(new, at: place(of: new))
        return candidates.count - askedCount <= limits.candidates || dropOne() != contact
    }

    @inlinable
    mutating func index(ofTeller contact: Contact) -> Int {
        if let index = tellers.lastIndex(where: { $0.contact == contact }) { return index }
        tellers.append(Teller(contact: contact))
        return tellers.count - 1
    }

    /// The claim at `index` is made again, by `teller`, which shares in what becomes of it, or has become. As long as it is
    /// not tried it counts as that one's if that one is to be trusted more.
    @inlinable
    mutating func second(_ index: Int, by teller: Int?) {
        let candidate = candidates[index]
        guard let before = candidate.teller, before != teller else { return }
        guard let teller else {
            guard candidate.state == .known else { return }
            candidates[index].teller = nil
            candidates[index].seconds = []
            return
        }
        guard !candidate.seconds.contains(teller) else { return }
        switch candidate.state {
        case .known where trust(in: teller) > trust(in: before):
            candidates[index].teller = teller
            candidates[index].seconds.append(before)
            return
        case .known, .asked, .slow: break
        case .answered: tellers[teller].kept += 1
        case .failed: tellers[teller].silent += 1
        }
        candidates[index].seconds.append(teller)
    }

    @inlinable
    func trust(in teller: Int) -> Int { tellers[teller].kept - tellers[teller].broken }

    /// Forgets one of too many claims: the farthest of the teller that has made most of those that are left, of liars first.
    @inlinable
    mutating func dropOne() -> Contact? {
        var counts = [Int](repeating: 0, count: tellers.count)
        for candidate in candidates where candidate.state == .known {
            if let teller = candidate.teller { counts[teller] += 1 }
        }
        let most = counts.indices.filter { counts[$0] > 0 }.max { left, right in
            let (isLiar, isOtherLiar) = (tellers[left].isLiar, tellers[right].isLiar)
            return isLiar == isOtherLiar ? counts[left] < counts[right] : isOtherLiar
        }
        let last =
            candidates.lastIndex { $0.state == .known && $0.teller != nil && $0.teller == most }
            ?? candidates.lastIndex { $0.state == .known }
        return last.map { candidates.remove(at: $0).contact }
    }

    /// The next node to ask, which counts as asked from now on, or `nil` where there is nothing to do but wait.
    @inlinable
    public mutating func nextQuery(at now: Instant) -> Candidate? {
        guard !isStopped, askedCount < limits.queries, inFlight < limits.parallel else { return nil }
        guard let index = window.first(where: { candidates[$0].state == .known }) else { return nil }
        candidates[index].state = .asked
        candidates[index].asked = now
        askedCount += 1
        let asked = candidates[index]
        // Whatever else was said of the address, it says itself now which key it has.
        candidates.removeAll { $0.state == .known && $0.contact == asked.contact }
        return asked
    }

    /// The node at `contact` has answered, under `key`, and named others, which must be added before. Says whether the
    /// answer was still wanted.
    @inlinable
    @discardableResult
    public mutating func answered(_ contact: Contact, as key: Key, isPreferred: Bool, at now: Instant) -> Bool {
        guard let index = candidates.firstIndex(where: { $0.contact == contact }) else { return false }
        var candidate = candidates[index]
        guard candidate.state != .known, candidate.state != .answered else { return false }
        latency.add(now - candidate.asked)
        answeredCount += 1
        for teller in candidate.voices {
            if candidate.state == .failed { tellers[teller].silent -= 1 }
            if candidate.key == key { tellers[teller].kept += 1 } else { tellers[teller].renamed += 1 }
        }
        candidate.state = .answered
        candidates.remove(at: index)
        // It may have another key than was said of it. Where somebody else has answered under that one, it is nobody.
        if candidates.contains(where: { $0.key == key && $0.state == .answered && ($0.isPreferred || !isPreferred) }) {
            candidate.state = .failed
        }
        candidate.key = key
        candidate.isPreferred = isPreferred
        if candidate.state == .answered {
            // The claims that contradict it are settled, unless they are better founded.
            candidates.removeAll { $0.state == .known && $0.key == key && (isPreferred || !$0.isPreferred) }
        }
        candidates.insert(candidate, at: place(of: candidate))
        return candidate.state == .answered
    }

    /// The node at `contact` will not answer, or refused to.
    @inlinable
    public mutating func failed(_ contact: Contact) {
        guard let index = candidates.firstIndex(where: { $0.contact == contact }) else { return }
        if candidates[index].state != .answered { giveUp(index) }
    }

    @inlinable
    mutating func giveUp(_ index: Int) {
        guard candidates[index].state != .failed else { return }
        candidates[index].state = .failed
        for teller in candidates[index].voices { tellers[teller].silent += 1 }
    }

    /// Ends the lookup with what it has.
    @inlinable
    public mutating func stop() { isStopped = true }

    /// Takes note of answers that are late. To be called at `deadline`.
    @inlinable
    public mutating func expire(at now: Instant) {
        if now >= began + limits.duration { isStopped = true }
        for index in candidates.indices {
            switch candidates[index].state {
            case .asked where now >= candidates[index].asked + latency.expected:
                candidates[index].state = .slow
                if now >= candidates[index].asked + givenUpAfter { giveUp(index) }
            case .slow where now >= candidates[index].asked + givenUpAfter:
                giveUp(index)
            default: break
            }
        }
    }

    /// When `expire` is to be called next; `nil` where the lookup has ended.
    @inlinable
    public var deadline: Instant? {
        guard !isFinished else { return nil }
        return candidates.reduce(began + limits.duration) { deadline, candidate in
            switch candidate.state {
            case .asked: min(deadline, candidate.asked + latency.expected)
            case .slow: min(deadline, candidate.asked + givenUpAfter)
            default: deadline
            }
        }
    }

    /// Whether the closest nodes have answered, or nothing more can be done.
    @inlinable
    public var isFinished: Bool {
        if isStopped { return true }
        let mayAsk = askedCount < limits.queries
        return window.allSatisfy { index in
            switch candidates[index].state {
            case .known: !mayAsk
            case .asked, .slow: false
            case .answered, .failed: true
            }
        }
    }

    /// The nodes that have answered, the closest first, at most `limits.closest`: those that have named silent nodes only
    /// if there are not enough others.
    @inlinable
    public var closest: [Candidate] {
        let liars = liars
        let answered = candidates.indices.filter { candidates[$0].state == .answered }
        guard answered.count > limits.closest, !liars.isEmpty else {
            return answered.prefix(limits.closest).map { candidates[$0] }
        }
        var places = answered.filter { !liars.contains(candidates[$0].contact) }.prefix(limits.closest)
        places += answered.filter { liars.contains(candidates[$0].contact) }.prefix(limits.closest - places.count)
        return places.sorted().map { candidates[$0] }
    }

    /// Every node that was asked, in order.
    @inlinable
    public var asked: [Candidate] { candidates.filter { $0.state != .known } }

    // MARK: Order

    @inlinable
    var givenUpAfter: Duration { min(limits.patience, max(latency.expected * 3, .milliseconds(1500))) }

    @inlinable
    var inFlight: Int { candidates.count { $0.state == .asked } }

    /// The nodes that have named others of which too many were silent.
    @inlinable
    var liars: [Contact] { tellers.filter(\.isLiar).map(\.contact) }

    /// The places of the first nodes that have not failed: of each teller no more than it is allowed, and liars and those
    /// that they name only if there are not enough others. A window full of liars that answer would end the lookup.
    @inlinable
    var window: [Int] {
        let liars = liars
        var window: [Int] = []
        var passedOver: [Int] = []
        var ofTeller = [Int](repeating: 0, count: tellers.count)
        for (index, candidate) in candidates.enumerated() where candidate.state != .failed {
            if window.count >= limits.closest { break }
            if candidate.state == .known, !hasRoomForNetwork(of: candidate) { continue }
            if candidate.state == .answered, !liars.isEmpty, liars.contains(candidate.contact) {
                passedOver.append(index)
                continue
            }
            if candidate.state != .answered, let teller = candidate.teller {
                ofTeller[teller] += 1
                if ofTeller[teller] > tellers[teller].allowance(limits.unprovenPerTeller) {
                    passedOver.append(index)
                    continue
                }
            }
            window.append(index)
        }
        if window.count < limits.closest { window += passedOver.prefix(limits.closest - window.count) }
        return window
    }

    /// Whether another node of the candidate's network may be asked. Once some have been, each node that has named one is
    /// believed about that network no more, so that those who name silent addresses do not speak for all others.
    @inlinable
    func hasRoomForNetwork(of candidate: Candidate) -> Bool {
        guard let network = candidate.contact.network else { return true }
        var living = 0
        var all = 0
        for other in candidates where other.state != .known && other.contact.network == network {
            all += 1
            if other.state != .failed { living += 1 }
        }
        guard living < limits.nodesPerNetwork else { return false }
        if all < limits.queriesPerNetwork { return true }
        guard all < limits.queriesPerNetwork + limits.furtherQueriesPerNetwork else { return false }
        return hasOwnVoice(candidate, about: network)
    }

    /// Whether one of those that have named the candidate has named nobody else of `network` who has been asked.
    @inlinable
    func hasOwnVoice(_ candidate: Candidate, about network: Contact.Network) -> Bool {
        let tried = candidates.filter { $0.state != .known && $0.contact.network == network }
        guard candidate.teller != nil else { return !tried.contains { $0.teller == nil } }
        return candidate.voices.contains { voice in !tried.contains { $0.voices.contains(voice) } }
    }

    @inlinable
    func precedes(_ left: Candidate, _ right: Candidate) -> Bool {
        guard let leftKey = left.key else { return right.key != nil }
        guard let rightKey = right.key else { return false }
        if left.isPreferred != right.isPreferred { return left.isPreferred }
        return leftKey.isCloser(to: target, than: rightKey)
    }

    /// Where `candidate` belongs, behind its equals.
    @inlinable
    func place(of candidate: Candidate) -> Int {
        var low = 0
        var high = candidates.count
        while low < high {
            let middle = (low + high) / 2
            if precedes(candidate, candidates[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
