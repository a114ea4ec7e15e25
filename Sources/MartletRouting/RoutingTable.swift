public import MartletRuntime

/// The nodes that a node knows, many of them close to itself and few far away: Kademlia's k-buckets, by the rules of
/// BEP 5.
///
/// The bucket at index *i* holds nodes that share exactly *i* leading bits with our own key; the last one holds all
/// that share more, and splits when it is full.
///
/// - A node enters when it has answered us, and never before. Those that only asked us wait until they have been tried.
/// - It is **good** for a while after it answered, or after it asked us if it ever answered; **bad** after it left
///   several queries in a row unanswered; and **questionable** else.
/// - A good node is never displaced by one that is no better. A bad one is displaced by any that answers; one whose key
///   is not `preferred`, by one whose key is.
/// - A key has one address and an address one key. Each bucket has a bound on the nodes of one network that stand in it,
///   and on those of one host and of one network that wait. One that was tried waits no longer, whatever came of it.
///
/// It is a machine: `nextCheck` says whom to ping, `nextRefresh` what to look up, and `answered`, `heard` and `failed`
/// tell it what came of everything that was ever sent.
public struct RoutingTable<Key: RoutingKey, Contact: RoutingContact> {
    /// A node of the table, or one that waits for a place.
    ///
    /// What a search for the closest reads of it stands first, and so in one line of the processor's cache.
    public struct Node: Sendable {
        /// Its key.
        public let key: Key
        /// Whether its key is one that its address entitles it to.
        public var isPreferred: Bool
        /// How many queries it has left unanswered since its last answer.
        public var failures: Int32 = 0
        /// Where it is reached.
        public let contact: Contact
        /// How long its last answer took.
        public var roundTrip: Duration?
        /// When it last answered; `nil` where it never did.
        public var lastAnswer: Instant?
        /// When it last answered or asked.
        public var lastHeard: Instant
        /// When it was last tried.
        @usableFromInline var checked: Instant?

        @usableFromInline
        init(key: Key, contact: Contact, isPreferred: Bool, lastHeard: Instant) {
            self.key = key
            self.contact = contact
            self.isPreferred = isPreferred
            self.lastHeard = lastHeard
        }
    }

    /// How far a node is to be trusted to be there.
    public enum Quality: Hashable, Sendable {
        /// It was heard from lately.
        case good
        /// Nothing was heard from it for a while.
        case questionable
        /// It leaves our queries unanswered.
        case bad
    }

    /// What became of a node that answered.
    public enum Outcome: Hashable, Sendable {
        /// It stands in the table.
        case kept
        /// There is no place for it yet; it waits.
        case waits
        /// As many of its host or of its network stand in its bucket, or wait for it, as may.
        case networkIsFull
        /// Another address has its key.
        case keyIsTaken
        /// It has our own key.
        case isOwn
    }

    @usableFromInline
    struct Bucket: Sendable {
        @usableFromInline var nodes: [Node] = []
        /// Those without a place, the one that came last at the end.
        @usableFromInline var waiting: [Node] = []
        @usableFromInline var changed: Instant

        @usableFromInline
        init(changed: Instant) { self.changed = changed }
    }

    /// Our own key.
    public let own: Key
    /// The bounds.
    public let limits: RoutingLimits
    /// How many nodes the table holds, without those that wait.
    @inlinable public var count: Int { keys.count }
    @usableFromInline var buckets: [Bucket]
    /// The key of each address in the table.
    @usableFromInline var keys: [Contact: Key] = [:]
    /// Before this there is nobody to check.
    @usableFromInline var nextCheckTime = Instant.start

    /// An empty table around `own`.
    @inlinable
    public init(own: Key, limits: RoutingLimits = RoutingLimits(), at now: Instant) {
        self.own = own
        self.limits = limits
        buckets = [Bucket(changed: now)]
    }

    @inlinable
    func bucket(of key: Key) -> Int { min(own.commonPrefixLength(with: key), buckets.count - 1) }

    /// What is to be thought of `node` at `now`.
    @inlinable
    public func quality(of node: Node, at now: Instant) -> Quality {
        if node.failures >= limits.failures { return .bad }
        return node.lastAnswer != nil && now - node.lastHeard < limits.goodFor ? .good : .questionable
    }

    /// The key of the node at `contact`, if it stands in the table.
    @inlinable
    public func key(of contact: Contact) -> Key? { keys[contact] }

    /// All nodes of the table, the farthest bucket first.
    @inlinable
    public var nodes: [Node] { buckets.flatMap(\.nodes) }

    /// How many buckets there are.
    @inlinable
    public var bucketCount: Int { buckets.count }

    /// How many nodes wait for a place.
    @inlinable
    public var waitingCount: Int { buckets.reduce(0) { $0 + $1.waiting.count } }
}

// MARK: What was heard

extension RoutingTable {
    /// The node `key` at `contact` has answered a query of ours, after `roundTrip`.
    @inlinable
    @discardableResult
    public mutating func answered(
        _ key: Key, at contact: Contact, isPreferred: Bool, roundTrip: Duration?, now: Instant
    ) -> Outcome {
        // Whatever comes of its answer, it has been tried: it makes room for another that waits.
        if keys[contact] == nil { stopWaiting(contact) }
        guard key != own else { return .isOwn }
        // An address that answers under another key than before has no claim to the one before.
        if let before = keys[contact], before != key { remove(before) }
        var node = Node(key: key, contact: contact, isPreferred: isPreferred, lastHeard: now)
        node.lastAnswer = now
        node.roundTrip = roundTrip
        let index = bucket(of: key)
        if let place = buckets[index].nodes.firstIndex(where: { $0.key == key }) {
            let before = buckets[index].nodes[place]
            if before.contact != contact {
                guard quality(of: before, at: now) == .bad else { return .keyIsTaken }
                keys[before.contact] = nil
                keys[contact] = key
            }
            node.roundTrip = roundTrip ?? before.roundTrip
            buckets[index].nodes[place] = node
            buckets[index].changed = now
            return .kept
        }
        return admit(node, at: now)
    }

    /// The node `key` at `contact` has asked us something.
    @inlinable
    public mutating func heard(_ key: Key, at contact: Contact, isPreferred: Bool, now: Instant) {
        let index = bucket(of: key)
        if let place = buckets[index].nodes.firstIndex(where: { $0.key == key }) {
            guard buckets[index].nodes[place].contact == contact else { return }
            buckets[index].nodes[place].lastHeard = now
            return
        }
        noticeStranger(key, at: contact, isPreferred: isPreferred, now: now)
    }

    @inlinable
    mutating func noticeStranger(_ key: Key, at contact: Contact, isPreferred: Bool, now: Instant) {
        let index = bucket(of: key)
        // What a flood meets first is what costs least.
        let room = max(0, limits.bucketSize(index) - buckets[index].nodes.count)
        let isFull = buckets[index].waiting.count >= max(limits.replacements, room)
        // One that waits and was heard from before this is nobody's heir any more.
        let oldest = now - limits.goodFor
        guard !isFull || buckets[index].waiting.contains(where: { $0.lastHeard < oldest }) else { return }
        guard key != own, keys[contact] == nil, hasPlace(in: index, at: now) else { return }
        buckets[index].waiting.removeAll { $0.lastHeard < oldest }
        guard mayWait(contact, in: index) else { return }
        // Strangers never push out those who wait already, so a flood of them pushes out nobody.
        buckets[index].waiting.append(Node(key: key, contact: contact, isPreferred: isPreferred, lastHeard: now))
        nextCheckTime = .start
    }

    /// Whether `contact` may wait in the bucket at `index`: not if it does, and not if as many of its host or of its
    /// network do as may.
    @inlinable
    func mayWait(_ contact: Contact, in index: Int) -> Bool {
        var ofHost = 0
        var ofNetwork = 0
        for node in buckets[index].waiting {
            if node.contact == contact { return false }
            if let host = contact.host, node.contact.host == host { ofHost += 1 }
            if let network = contact.network, node.contact.network == network { ofNetwork += 1 }
        }
        return ofHost < limits.waitingPerHost && ofNetwork < limits.waitingPerNetwork
    }

    @inlinable
    mutating func stopWaiting(_ contact: Contact) {
        for index in buckets.indices where !buckets[index].waiting.isEmpty {
            buckets[index].waiting.removeAll { $0.contact == contact }
        }
    }

    /// The node at `contact` has answered a query of ours by an error. That says nothing against one that stands in the
    /// table, but one that waits makes room for another.
    @inlinable
    public mutating func refused(_ contact: Contact) {
        if keys[contact] == nil { stopWaiting(contact) }
    }

    /// The node at `contact` has left a query of ours unanswered.
    @inlinable
    public mutating func failed(_ contact: Contact, now: Instant) {
        guard let key = keys[contact] else { return stopWaiting(contact) }
        let index = bucket(of: key)
        guard let place = buckets[index].nodes.firstIndex(where: { $0.key == key }) else { return }
        buckets[index].nodes[place].failures += 1
        let failures = buckets[index].nodes[place].failures
        if failures >= limits.failuresUntilForgotten {
            remove(key)
        } else if failures >= limits.failures, let heir = popHeir(of: index) {
            remove(key)
            insert(heir, into: index, at: now)
        }
        nextCheckTime = .start
    }

    /// The same nodes around another key of our own.
    @inlinable
    public func moved(to own: Key, at now: Instant) -> RoutingTable {
        var table = RoutingTable(own: own, limits: limits, at: now)
        for node in nodes where node.key != own { _ = table.admit(node, at: now) }
        return table
    }

    /// Forgets the node `key`.
    @inlinable
    public mutating func remove(_ key: Key) {
        let index = bucket(of: key)
        guard let place = buckets[index].nodes.firstIndex(where: { $0.key == key }) else { return }
        keys[buckets[index].nodes.remove(at: place).contact] = nil
    }
}

// MARK: Places

extension RoutingTable {
    @inlinable
    mutating func admit(_ node: Node, at now: Instant) -> Outcome {
        var index = bucket(of: node.key)
        while buckets[index].nodes.count >= limits.bucketSize(index), index == buckets.count - 1,
            buckets.count < Key.bitCount
        {
            split(at: now)
            index = bucket(of: node.key)
        }
        buckets[index].waiting.removeAll { $0.key == node.key || $0.contact == node.contact }
        guard hasRoomForNetwork(of: node, in: index) else { return .networkIsFull }
        if buckets[index].nodes.count < limits.bucketSize(index) {
            insert(node, into: index, at: now)
            return .kept
        }
        guard let place = displaceable(in: index, by: node, at: now) else {
            guard mayWait(node.contact, in: index) else { return .networkIsFull }
            if buckets[index].waiting.count >= limits.replacements { buckets[index].waiting.removeFirst() }
            buckets[index].waiting.append(node)
            return .waits
        }
        keys[buckets[index].nodes.remove(at: place).contact] = nil
        insert(node, into: index, at: now)
        return .kept
    }

    @inlinable
    mutating func insert(_ node: Node, into index: Int, at now: Instant) {
        buckets[index].nodes.append(node)
        buckets[index].changed = now
        keys[node.contact] = node.key
        nextCheckTime = .start
    }

    @inlinable
    func hasRoomForNetwork(of node: Node, in index: Int) -> Bool {
        guard let network = node.contact.network else { return true }
        return buckets[index].nodes.count { $0.contact.network == network } < limits.nodesPerNetwork
    }

    /// Whether a node that answered now would get a place in the bucket at `index`.
    @inlinable
    func hasPlace(in index: Int, at now: Instant) -> Bool {
        buckets[index].nodes.count < limits.bucketSize(index) || index == buckets.count - 1
            || buckets[index].nodes.contains { quality(of: $0, at: now) != .good || !$0.isPreferred }
    }

    /// Which node of the full bucket at `index` gives way to `node`: a bad one first, else one whose key breaks the rule.
    @inlinable
    func displaceable(in index: Int, by node: Node, at now: Instant) -> Int? {
        let nodes = buckets[index].nodes
        let bad = nodes.indices.filter { quality(of: nodes[$0], at: now) == .bad }
        if let worst = bad.max(by: { nodes[$0].failures < nodes[$1].failures }) { return worst }
        guard node.isPreferred else { return nil }
        return nodes.indices.filter { !nodes[$0].isPreferred }.min { nodes[$0].lastHeard < nodes[$1].lastHeard }
    }

    @inlinable
    mutating func popHeir(of index: Int) -> Node? {
        let waiting = buckets[index].waiting
        let heirs = waiting.indices.filter { place in
            waiting[place].lastAnswer != nil && hasRoomForNetwork(of: waiting[place], in: index)
                && keys[waiting[place].contact] == nil
        }
        guard let heir = heirs.last(where: { waiting[$0].isPreferred }) ?? heirs.last else { return nil }
        return buckets[index].waiting.remove(at: heir)
    }

    /// Makes two of the last bucket. Who finds no place in a smaller one waits.
    @inlinable
    mutating func split(at now: Instant) {
        let index = buckets.count - 1
        var old = Bucket(changed: buckets[index].changed)
        var new = Bucket(changed: buckets[index].changed)
        for node in buckets[index].nodes {
            if own.commonPrefixLength(with: node.key) > index {
                if new.nodes.count < limits.bucketSize(index + 1) || index + 2 < Key.bitCount {
                    new.nodes.append(node)
                } else {
                    keys[node.contact] = nil
                }
            } else {
                old.nodes.append(node)
            }
        }
        for node in buckets[index].waiting {
            if own.commonPrefixLength(with: node.key) > index {
                new.waiting.append(node)
            } else {
                old.waiting.append(node)
            }
        }
        buckets[index] = old
        buckets.append(new)
        // The next bucket may be smaller than what it was given, and splits in its turn.
        if buckets[index + 1].nodes.count > limits.bucketSize(index + 1), buckets.count < Key.bitCount {
            split(at: now)
        }
    }
}

// MARK: What is to be done

extension RoutingTable {
    /// The node to ping now, or `nil` where there is none: one that waits where there is a place for it, else the one
    /// that has been questionable for longest. Whoever asks does ping it, and reports what came of it.
    @inlinable
    public mutating func nextCheck(at now: Instant) -> Node? {
        guard now >= nextCheckTime else { return nil }
        var oldest: (bucket: Int, place: Int, heard: Instant)?
        var next = Instant.never
        for index in buckets.indices {
            let place = buckets[index].waiting.firstIndex { $0.lastAnswer == nil && $0.checked == nil }
            if let place, hasPlace(in: index, at: now) {
                buckets[index].waiting[place].checked = now
                return buckets[index].waiting[place]
            }
            for place in buckets[index].nodes.indices {
                let node = buckets[index].nodes[place]
                let due = checkTime(of: node)
                if due > now {
                    next = min(next, due)
                } else if oldest.map({ node.lastHeard < $0.heard }) ?? true {
                    oldest = (index, place, node.lastHeard)
                }
            }
        }
        guard let oldest else {
            nextCheckTime = next
            return nil
        }
        buckets[oldest.bucket].nodes[oldest.place].checked = now
        return buckets[oldest.bucket].nodes[oldest.place]
    }

    /// When there will be somebody to check, at the earliest.
    @inlinable
    public var checkDeadline: Instant { nextCheckTime }

    /// When `node` is to be pinged unless it is heard from: when it ceases to be good, and ever more seldom after it
    /// has not answered.
    @inlinable
    func checkTime(of node: Node) -> Instant {
        let due = node.lastHeard + limits.goodFor
        guard let checked = node.checked, checked >= node.lastHeard else { return due }
        return max(due, checked + .seconds(10 << min(8, node.failures)))
    }

    /// A key to look up because nothing has changed in its bucket for too long, or `nil`.
    @inlinable
    public mutating func nextRefresh(at now: Instant, using generator: inout some RandomNumberGenerator) -> Key? {
        for index in buckets.indices where now - buckets[index].changed >= limits.refreshAfter {
            buckets[index].changed = now
            return own.drawn(sharing: index, using: &generator)
        }
        return nil
    }

    /// When the next bucket is due to be refreshed.
    @inlinable
    public var refreshDeadline: Instant {
        (buckets.lazy.map(\.changed).min() ?? .start) + limits.refreshAfter
    }

    /// The nodes closest to `target`, at most `count` and never more than 32, the closest first: those whose keys are
    /// preferred before all others, and none that has left its last query unanswered. Writes them to `found`, whose memory
    /// it uses again.
    @inlinable
    public func closest(to target: Key, count: Int, into found: inout [Node]) {
        found.removeAll(keepingCapacity: true)
        var closest = Closest<Key>(target, wanted: min(count, Closest<Key>.most))
        gather(around: bucket(of: target), isPreferred: true, &closest)
        if !closest.isFull { gather(around: bucket(of: target), isPreferred: false, &closest) }
        for index in 0..<closest.count {
            let place = closest.places[index]
            found.append(buckets[Int(place.bucket)].nodes[Int(place.node)])
        }
    }

    @inlinable
    func gather(around home: Int, isPreferred: Bool, _ closest: inout Closest<Key>) {
        // Closer than all others are those of the target's own bucket; then the ones nearer to us; then each farther one.
        gather(home..<home + 1, isPreferred, &closest)
        if !closest.isFull, home + 1 < buckets.count { gather(home + 1..<buckets.count, isPreferred, &closest) }
        var index = home - 1
        while !closest.isFull, index >= 0 {
            gather(index..<index + 1, isPreferred, &closest)
            index -= 1
        }
    }

    /// Adds the closest nodes of some buckets behind what has been found, in order.
    @inlinable
    func gather(_ indices: Range<Int>, _ isPreferred: Bool, _ closest: inout Closest<Key>) {
        closest.settle()
        for index in indices {
            let nodes = buckets[index].nodes
            for place in nodes.indices where nodes[place].failures == 0 && nodes[place].isPreferred == isPreferred {
                closest.add(nodes[place].key, (UInt32(index), UInt32(place)))
            }
        }
    }
}
