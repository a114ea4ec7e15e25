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
    /// How many nodes of one network are asked.
    public var nodesPerNetwork = 2
    /// How long the lookup may take.
    public var duration = Duration.seconds(60)
    /// How long an answer is waited for at the most.
    public var patience = Duration.seconds(4)

    /// The defaults.
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
/// It asks further ones as soon as an answer takes longer than answers usually do, and gives a node up that takes three
/// times as long. No node is asked twice, and no network more often than the limits say. Whatever a stranger answers,
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
        public internal(set) var key: Key?
        /// Where it is reached.
        public let contact: Contact
        /// Whether its key is one that its address entitles it to.
        public internal(set) var isPreferred: Bool
        /// What has become of it.
        public internal(set) var state = State.known
        /// When it was asked.
        public internal(set) var asked = Instant.start
    }

    /// What is looked for.
    public let target: Key
    /// The bounds.
    public let limits: LookupLimits
    /// When the lookup began.
    public let began: Instant
    /// How many nodes have been asked.
    public private(set) var askedCount = 0
    /// How many have answered.
    public private(set) var answeredCount = 0
    /// How long answers take.
    public private(set) var latency: Latency
    private var candidates: [Candidate] = []
    private var isStopped = false

    /// A lookup of `target` that knows nobody yet.
    public init(target: Key, limits: LookupLimits = LookupLimits(), latency: Latency = Latency(), at now: Instant) {
        self.target = target
        self.limits = limits
        self.latency = latency
        began = now
    }

    /// Tells of a node that may be asked. `key` is `nil` where only the address is known. Says whether it is new.
    @discardableResult
    public mutating func add(_ key: Key?, at contact: Contact, isPreferred: Bool) -> Bool {
        let new = Candidate(key: key, contact: contact, isPreferred: isPreferred)
        var ofNetwork = 0
        var lastOfNetwork: Int?
        for (index, candidate) in candidates.enumerated() {
            if candidate.contact == contact || candidate.key == key && key != nil { return false }
            if let network = contact.network, candidate.contact.network == network {
                ofNetwork += 1
                lastOfNetwork = candidate.state == .known ? index : lastOfNetwork
            }
        }
        if ofNetwork >= limits.nodesPerNetwork {
            // Of one network the closest are asked, where they become known in time.
            guard let last = lastOfNetwork, precedes(new, candidates[last]) else { return false }
            candidates.remove(at: last)
        }
        let place = self.place(of: new)
        candidates.insert(new, at: place)
        if candidates.count - askedCount > limits.candidates {
            guard let last = candidates.lastIndex(where: { $0.state == .known }) else { return true }
            candidates.remove(at: last)
            return last != place
        }
        return true
    }

    /// The next node to ask, which counts as asked from now on, or `nil` where there is nothing to do but wait.
    public mutating func nextQuery(at now: Instant) -> Candidate? {
        guard !isStopped, askedCount < limits.queries, inFlight < limits.parallel else { return nil }
        guard let index = window.first(where: { candidates[$0].state == .known }) else { return nil }
        candidates[index].state = .asked
        candidates[index].asked = now
        askedCount += 1
        return candidates[index]
    }

    /// The node at `contact` has answered, under `key`, and named others, which must be added before. Says whether the
    /// answer was still wanted.
    @discardableResult
    public mutating func answered(_ contact: Contact, as key: Key, isPreferred: Bool, at now: Instant) -> Bool {
        guard let index = candidates.firstIndex(where: { $0.contact == contact }) else { return false }
        var candidate = candidates[index]
        guard candidate.state != .known, candidate.state != .answered else { return false }
        latency.add(now - candidate.asked)
        answeredCount += 1
        candidate.state = .answered
        guard candidate.key != key || candidate.isPreferred != isPreferred else {
            candidates[index].state = .answered
            return true
        }
        // It has another key than was said of it. Where somebody else has answered under that one, it is nobody.
        candidates.remove(at: index)
        if candidates.contains(where: { $0.key == key && $0.state == .answered }) { candidate.state = .failed }
        candidate.key = key
        candidate.isPreferred = isPreferred
        candidates.insert(candidate, at: place(of: candidate))
        return candidate.state == .answered
    }

    /// The node at `contact` will not answer, or refused to.
    public mutating func failed(_ contact: Contact) {
        guard let index = candidates.firstIndex(where: { $0.contact == contact }) else { return }
        if candidates[index].state != .answered { candidates[index].state = .failed }
    }

    /// Ends the lookup with what it has.
    public mutating func stop() { isStopped = true }

    /// Takes note of answers that are late. To be called at `deadline`.
    public mutating func expire(at now: Instant) {
        if now >= began + limits.duration { isStopped = true }
        for index in candidates.indices {
            switch candidates[index].state {
            case .asked where now >= candidates[index].asked + latency.expected:
                candidates[index].state = now >= candidates[index].asked + givenUpAfter ? .failed : .slow
            case .slow where now >= candidates[index].asked + givenUpAfter:
                candidates[index].state = .failed
            default: break
            }
        }
    }

    /// When `expire` is to be called next; `nil` where the lookup has ended.
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

    /// The nodes that have answered, the closest first, at most `limits.closest`.
    public var closest: [Candidate] {
        Array(candidates.lazy.filter { $0.state == .answered }.prefix(limits.closest))
    }

    /// Every node that was asked, in order.
    public var asked: [Candidate] { candidates.filter { $0.state != .known } }

    // MARK: Order

    private var givenUpAfter: Duration { min(limits.patience, max(latency.expected * 3, .milliseconds(1500))) }

    private var inFlight: Int { candidates.count { $0.state == .asked } }

    /// The places of the first nodes that have not failed.
    private var window: some Sequence<Int> {
        candidates.indices.lazy.filter { candidates[$0].state != .failed }.prefix(limits.closest)
    }

    private func precedes(_ left: Candidate, _ right: Candidate) -> Bool {
        guard let leftKey = left.key else { return right.key != nil }
        guard let rightKey = right.key else { return false }
        if left.isPreferred != right.isPreferred { return left.isPreferred }
        return leftKey.isCloser(to: target, than: rightKey)
    }

    /// Where `candidate` belongs, behind its equals.
    private func place(of candidate: Candidate) -> Int {
        var low = 0
        var high = candidates.count
        while low < high {
            let middle = (low + high) / 2
            if precedes(candidate, candidates[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
