internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletWire

/// Why a peer is to stay connected.
struct LeaseReason: Hashable, Sendable {
    /// How firmly it holds.
    enum Kind: Hashable, Sendable {
        /// The connection stays until the lease is over.
        case firm
        /// The connection stays, unless there are more peers than the high mark that are held for such reasons alone, and
        /// enough others are held for this one.
        case shared
        /// The connection stays until the lease is over, and counts towards no mark.
        case passing
    }

    /// What it is, for logs and for telling reasons apart: `user`, `topic chess`.
    let name: String
    let kind: Kind

    /// The user wants the peer connected. Such a lease outlives the connection.
    static let user = LeaseReason(name: "user", kind: .firm)
    /// A stream that the user opened is open.
    static let stream = LeaseReason(name: "stream", kind: .firm)
    /// The peer uses a protocol that the user handles, or did so not long ago, or the user used one of its.
    static let use = LeaseReason(name: "use", kind: .passing)
    /// The peer has come, and has yet to show what it is of use for.
    static let arrival = LeaseReason(name: "arrival", kind: .passing)
    /// The peer has proven to be on `topic`.
    static func topic(_ topic: TopicKey) -> LeaseReason {
        LeaseReason(name: "topic \(topic.name)", kind: .shared)
    }
}

/// A claim that a peer stay connected, until it is released.
struct Lease: Hashable, Sendable {
    let peer: PeerID
    fileprivate let number: UInt64
}

/// Who keeps which connection, for what, and which is closed: a machine.
///
/// Of a node, it alone decides that a connection is closed. Tell it who is connected, and `hold` a peer for each reason that
/// there is; after each change, take `nextClosing` until there is none, and come again at `deadline`.
///
/// A peer that nothing holds is let go once it has lingered. When more than the high mark are held for shared reasons, as
/// for topics, one after the other is let go down to the low mark: of a network that crowds the others, if there is one,
/// else of all, the one whose leases are worth least, and of several such one at random, so that each of many nodes keeps
/// others and the whole hangs together. It is never one that is held firmly, nor one that a reason has no more of than its
/// share. Nor is it one that this side chose, while a reason has no more of those than half of its share: whoever comes in
/// great numbers cannot push out all that this side has looked for.
struct LeaseTable {
    /// How many peers may be held for shared reasons.
    struct Marks: Hashable, Sendable {
        /// With more of them, it begins to let some go…
        var high: Int
        /// …until there are this many.
        var low: Int
        /// How many peers each shared reason keeps in any case.
        var share: Int

        /// How many of one network may be held for shared reasons before they crowd the others.
        var crowd: Int { max(2, low / 4) }
    }

    /// Where a peer is connected from, and whose wish that was.
    struct Origin: Hashable, Sendable {
        /// The network, in which many may be one; `nil` if none is known.
        var network: IPAddress?
        /// Whether this side dialled.
        var isChosen: Bool
    }

    /// A peer to be let go, and why.
    struct Closing: Hashable, Sendable {
        enum Cause: String, Hashable, Sendable {
            /// Nothing holds it.
            case unheld
            /// More than the high mark are held.
            case surplus
            /// It was revoked.
            case revoked
        }

        var peer: PeerID
        var cause: Cause
    }

    private struct Claim {
        var number: UInt64
        var reason: LeaseReason
        var worth: Int
        var until: Instant
    }

    private struct Entry {
        var claims: [Claim] = []
        /// `nil` while there is no connection.
        var origin: Origin?
        var isRevoked = false
        /// When it is let go if nothing holds it by then.
        var unheldUntil = Instant.never

        var isConnected: Bool { origin != nil }
        var isFirm: Bool { claims.contains { $0.reason.kind == .firm } }
        var isShared: Bool { claims.contains { $0.reason.kind == .shared } }
        var worth: Int { claims.reduce(0) { $0 + $1.worth } }
    }

    let limits: LeaseLimits
    let marks: Marks
    /// Whether a peer that nothing holds is let go. A node that is there for whoever comes keeps it.
    let closesUnheld: Bool
    private var random: RandomSource
    private var entries: [PeerID: Entry] = [:]
    private var holders: [LeaseReason: Int] = [:]
    /// The same of those that this side chose.
    private var chosenHolders: [LeaseReason: Int] = [:]
    /// How many peers of each network are held for shared reasons.
    private var networks: [IPAddress: Int] = [:]
    /// How many connected peers are held for shared reasons.
    private var sharedCount = 0
    private var lastNumber: UInt64 = 0
    /// Peers that are to be looked at now: something about them has changed.
    private var changed: Set<PeerID> = []
    /// Those of them that are looked at just now, the next one last.
    private var looking: [PeerID] = []
    /// Peers of which a lease has ended by itself.
    private var ended: Set<PeerID> = []
    /// When the first of the others is to be looked at; never later than that.
    private var nextLook = Instant.never
    private var isClosing = false
    private var nextSurplus = Instant.start

    init(_ limits: LeaseLimits, marks: Marks, closesUnheld: Bool, random: RandomSource) {
        self.limits = limits
        self.marks = marks
        self.closesUnheld = closesUnheld
        self.random = random
    }

    // MARK: What it is

    /// How many leases there are, and of how many peers: for tests that watch what grows.
    var held: (leases: Int, peers: Int) { (entries.values.reduce(0) { $0 + $1.claims.count }, entries.count) }

    /// What the leases of `peer` are worth together.
    func worth(of peer: PeerID) -> Int { entries[peer]?.worth ?? 0 }

    /// Whether `peer` is held for `reason`.
    func isHeld(_ peer: PeerID, for reason: LeaseReason) -> Bool {
        entries[peer]?.claims.contains { $0.reason == reason } ?? false
    }

    /// Whether `peer` is held for anything but having come.
    func isOfUse(_ peer: PeerID) -> Bool {
        entries[peer]?.claims.contains { $0.reason != .arrival } ?? false
    }

    // MARK: What happens

    /// There is a connection to `peer`, or one more. It is one that this side chose if it dialled any of them.
    mutating func connected(_ peer: PeerID, from origin: Origin, at now: Instant) {
        change(peer, at: now) { entry in
            let wasChosen = entry.origin?.isChosen ?? false
            entry.origin = Origin(network: origin.network, isChosen: origin.isChosen || wasChosen)
        }
    }

    /// There is none any more. The leases end, but for the user's.
    mutating func disconnected(_ peer: PeerID, at now: Instant) {
        change(peer, at: now) { entry in
            entry.origin = nil
            entry.isRevoked = false
            entry.claims.removeAll { $0.reason != .user }
        }
    }

    /// Keeps `peer` connected for `reason`, which is worth `worth`, until the lease is released, or the time `end`. It
    /// connects nobody. A lease for a reason that the peer is held for already takes the place of the one before.
    @discardableResult
    mutating func hold(
        _ peer: PeerID, for reason: LeaseReason, worth: Int, until end: Instant = .never, at now: Instant
    ) -> Lease {
        lastNumber += 1
        let claim = Claim(number: lastNumber, reason: reason, worth: worth, until: end)
        change(peer, at: now) { entry in
            entry.claims.removeAll { $0.reason == reason }
            entry.claims.append(claim)
        }
        return Lease(peer: peer, number: claim.number)
    }

    /// Ends a lease. Does nothing when it is over already.
    mutating func release(_ lease: Lease, at now: Instant) {
        guard entries[lease.peer]?.claims.contains(where: { $0.number == lease.number }) ?? false else { return }
        change(lease.peer, at: now) { $0.claims.removeAll { $0.number == lease.number } }
    }

    /// Ends what holds `peer` for `reason`, if anything does.
    mutating func release(_ peer: PeerID, for reason: LeaseReason, at now: Instant) {
        guard isHeld(peer, for: reason) else { return }
        change(peer, at: now) { $0.claims.removeAll { $0.reason == reason } }
    }

    /// Ends all leases of `peer`, which is let go at once.
    mutating func revoke(_ peer: PeerID, at now: Instant) {
        change(peer, at: now) { entry in
            entry.claims = []
            entry.isRevoked = entry.isConnected
        }
    }

    private mutating func change(_ peer: PeerID, at now: Instant, _ body: (inout Entry) -> Void) {
        var entry = entries[peer] ?? Entry()
        count(entry, -1)
        let wasHeld = !entry.claims.isEmpty
        body(&entry)
        count(entry, 1)
        if !entry.claims.isEmpty || !entry.isConnected {
            entry.unheldUntil = .never
        } else if wasHeld || entry.unheldUntil == .never {
            entry.unheldUntil = now + limits.linger
        }
        entries[peer] = entry.claims.isEmpty && !entry.isConnected ? nil : entry
        changed.insert(peer)
    }

    private mutating func count(_ entry: Entry, _ step: Int) {
        guard let origin = entry.origin, entry.isShared else { return }
        for claim in entry.claims where claim.reason.kind == .shared {
            Self.add(step, to: &holders, claim.reason)
            if origin.isChosen { Self.add(step, to: &chosenHolders, claim.reason) }
        }
        if let network = origin.network { Self.add(step, to: &networks, network) }
        sharedCount += step
    }

    private static func add<Key>(_ step: Int, to counts: inout [Key: Int], _ key: Key) {
        let number = counts[key, default: 0] + step
        counts[key] = number > 0 ? number : nil
    }

    // MARK: What is to be done

    /// A peer to be let go now, if any. It counts as connected until `disconnected` is called, and is told once.
    mutating func nextClosing(at now: Instant) -> Closing? {
        if now >= nextLook { lookAtAll(at: now) }
        while let peer = nextChanged() {
            guard let entry = entries[peer] else { continue }
            if entry.isConnected, entry.isRevoked {
                entries[peer]?.isRevoked = false
                return Closing(peer: peer, cause: .revoked)
            }
            if closesUnheld, entry.isConnected, entry.claims.isEmpty, entry.unheldUntil <= now {
                // Should it stay connected all the same, it is told again.
                entries[peer]?.unheldUntil = now + limits.linger
                nextLook = min(nextLook, now + limits.linger)
                return Closing(peer: peer, cause: .unheld)
            }
            nextLook = min(nextLook, lookTime(of: entry))
        }
        return surplus(at: now)
    }

    /// The next peer about which something has changed, in an order that is the same each time.
    private mutating func nextChanged() -> PeerID? {
        if looking.isEmpty, !changed.isEmpty {
            looking = changed.sorted(by: >)
            changed = []
        }
        return looking.popLast()
    }

    /// A peer of which a lease has ended by itself, so that it is worth less than before; each is told once.
    mutating func nextEnded() -> PeerID? { ended.popFirst() }

    /// When something about `entry` ends by itself.
    private func lookTime(of entry: Entry) -> Instant {
        let end = entry.claims.map(\.until).min() ?? .never
        return closesUnheld ? min(end, entry.unheldUntil) : end
    }

    /// Ends the leases whose time has come.
    private mutating func lookAtAll(at now: Instant) {
        nextLook = .never
        for (peer, entry) in entries where lookTime(of: entry) <= now {
            guard entry.claims.contains(where: { $0.until <= now }) else {
                changed.insert(peer)
                continue
            }
            change(peer, at: now) { $0.claims.removeAll { $0.until <= now } }
            ended.insert(peer)
        }
        for entry in entries.values { nextLook = min(nextLook, lookTime(of: entry)) }
    }

    private mutating func surplus(at now: Instant) -> Closing? {
        if sharedCount > marks.high { isClosing = true }
        if sharedCount <= marks.low { isClosing = false }
        guard isClosing, now >= nextSurplus else { return nil }
        nextSurplus = now + limits.closing * Int(800 + random.next() % 401) / 1000
        var spare = entries.filter { isSpare($0.value) }
        // Not by worth, which a peer can raise by using this node.
        let crowd = networks.max { ($0.value, $0.key) < ($1.value, $1.key) }
        if let crowd, crowd.value > marks.crowd {
            let ofCrowd = spare.filter { $0.value.origin?.network == crowd.key }
            if !ofCrowd.isEmpty { spare = ofCrowd }
        }
        guard let least = spare.values.map(\.worth).min() else { return nil }
        let peer = spare.filter { $0.value.worth == least }.keys.sorted().randomElement(using: &random)
        return peer.map { Closing(peer: $0, cause: .surplus) }
    }

    private func isSpare(_ entry: Entry) -> Bool {
        guard let origin = entry.origin, entry.isShared, !entry.isFirm else { return false }
        return entry.claims.lazy.filter { $0.reason.kind == .shared }.allSatisfy { claim in
            let isOneOfMany = !origin.isChosen || chosenHolders[claim.reason, default: 0] > marks.share / 2
            return isOneOfMany && holders[claim.reason, default: 0] > marks.share
        }
    }

    /// When there is something to do again.
    var deadline: Instant {
        if !changed.isEmpty || !looking.isEmpty { return .start }
        return isClosing || sharedCount > marks.high ? min(nextLook, nextSurplus) : nextLook
    }
}
