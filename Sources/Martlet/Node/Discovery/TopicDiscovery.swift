internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletSwarm
internal import MartletWire

/// Whom to dial of all those who may be on this node's topics, and when to search: a machine.
///
/// Tell it what is found and what became of it; after each change, take `nextDial` until there is none,
/// and the `searches` that are due, and come again at `deadline`.
///
/// A node keeps a target number of neighbours, drawn at random from all candidates, so that each of many nodes has about
/// as many and the whole hangs together. A node above the target dials nobody; one far above it, since others dial as
/// well, lets some go again, which is for the leases to decide. At least half of a topic's share are neighbours that this
/// node chose: others come by themselves, and may all be one stranger's.
struct TopicDiscovery {
    /// Somebody who may be on a topic: known by its id, or only by an address that somebody named.
    enum Candidate: Hashable, Sendable {
        case peer(PeerID)
        case address(SocketAddress)
    }

    private struct Entry {
        var topics: Set<TopicKey>
        var failures = 0
        var notBefore: Instant
        var isDialled = false
        /// Whether it proved to be on a topic at some time, so that it is not forgotten for a few failures.
        var isProven = false
        /// The network in which it takes one of the places of those.
        var site: IPAddress?
        /// Where it was dialled last on hearsay.
        var dialledAt: [SocketAddress] = []
        /// Where it is said to be.
        var told: [Multiaddr] = []
        /// The peer on whose word it is a candidate; `nil` if this node knows by itself.
        var teller: Teller?
    }

    private struct Owner {
        var peer: PeerID
        var since: Instant
    }

    /// On whose word something is heard.
    struct Source {
        var teller: Teller
        /// The scope in which the teller is heard.
        var scope: AddressScope
    }

    private struct Neighbour {
        var topics: Set<TopicKey>
        /// Whether this node dialled it.
        var isChosen: Bool
        var since: Instant
    }

    private struct SearchPlan {
        var next: Instant
        var pause: Duration
        /// How often the loss of a neighbour has brought a search forward.
        var early = RateMeter()
    }

    let limits: DiscoveryLimits
    let topics: [TopicKey]
    /// Whether it looks for neighbours by itself.
    let isSeeking: Bool
    private var random: RandomSource
    private var peers = CandidatePool<PeerID>()
    private var addresses = CandidatePool<SocketAddress>()
    private var entries: [Candidate: Entry] = [:]
    /// Who has proven to be at an address, by a connection.
    private var owners: BoundedTable<SocketAddress, Owner>
    private var ledger: HearsayLedger
    /// The candidates that are known by others' word alone.
    private var shelves = TellerShelves<PeerID>()
    /// How many bare addresses there are of each network.
    private var networks: [IPAddress: Int] = [:]
    /// At most this many are of one.
    private var largestCrowd = 0
    /// How many candidates that proved to be on a topic there are of each network.
    private var provenPlaces: [IPAddress: Int] = [:]
    private var useless: BoundedTable<Candidate, Instant>
    private var neighbours: [PeerID: Neighbour] = [:]
    private var counts: [TopicKey: Int] = [:]
    /// How many neighbours each topic has that this node dialled.
    private var chosen: [TopicKey: Int] = [:]
    private var connected: Set<PeerID> = []
    private var own: Set<SocketAddress> = []
    private var dialling = 0
    private var addressTurn = false
    /// Until then there is nobody to dial, unless something changes.
    private var idleUntil = Instant.start
    private var plans: [TopicKey: SearchPlan] = [:]

    /// The search of a node that is on `topics`.
    init(_ topics: [TopicKey], limits: DiscoveryLimits, isSeeking: Bool = true, random: RandomSource) {
        self.topics = topics
        self.limits = limits
        self.isSeeking = isSeeking
        self.random = random
        owners = BoundedTable(limits.owners)
        useless = BoundedTable(limits.useless)
        ledger = HearsayLedger(limits)
    }

    // MARK: What it is

    /// How many neighbours there are.
    var neighbourCount: Int { neighbours.count }

    /// How many neighbours there are that this node dialled.
    var chosenCount: Int { neighbours.values.count { $0.isChosen } }

    /// How many neighbours there are on `topic`.
    func count(on topic: TopicKey) -> Int { counts[topic] ?? 0 }

    /// How many candidates are remembered, and what else it holds: for tests that watch what grows.
    var held: (candidates: Int, owners: Int, useless: Int, hearsay: Int) {
        (entries.count, owners.count, useless.count, ledger.count)
    }

    /// How many neighbours each topic is to have.
    var share: Int {
        topics.isEmpty ? 0 : max(min(4, limits.target), limits.target / topics.count)
    }

    /// How many neighbours are to be dialled for `topic`.
    private func lacking(_ topic: TopicKey) -> Int {
        let any = min(share - count(on: topic), limits.highMark - neighbours.count)
        return max(any, share / 2 - (chosen[topic] ?? 0))
    }

    private func isShort(_ topic: TopicKey) -> Bool { lacking(topic) > 0 }

    // MARK: Who may be there

    /// These addresses are this node's own, and nobody to dial.
    mutating func owns(_ addresses: Set<SocketAddress>) {
        own = addresses
        for address in addresses.sorted() { forget(.address(address)) }
    }

    /// Somebody is said to be on `topic` at `address`, by tellers that are heard in `scope`.
    mutating func found(
        _ address: SocketAddress, on topic: TopicKey, scope: AddressScope = .world, at now: Instant
    ) {
        guard !own.contains(address), address.port != 0, scope.mayName(address.ip) else { return }
        if let owner = owners[address], connected.contains(owner.peer) || now - owner.since < limits.ownedFor {
            return note(.peer(owner.peer), [topic], at: now)
        }
        note(.address(address), [topic], at: now)
    }

    /// `peer` is said to be on `topics` and at `addresses`, by its own record that `source` passed on, or by this node's own
    /// memory if that is `nil`. When no topic is named, it may be on any. Returns the addresses of which `source` may speak.
    ///
    /// Whose an address is, only a connection proves: what is heard here takes nothing away from other candidates.
    @discardableResult
    mutating func heard(
        of peer: PeerID, at addresses: [Multiaddr], topics: Set<TopicKey>, from source: Source?, now: Instant
    ) -> [Multiaddr] {
        note(.peer(peer), topics, from: source?.teller, at: now)
        return located(peer, at: addresses, from: source)
    }

    /// `peer` is said to be at `addresses`, which is remembered if it is a candidate. Returns the addresses of which `source`
    /// may speak.
    mutating func located(_ peer: PeerID, at addresses: [Multiaddr], from source: Source?) -> [Multiaddr] {
        let scope = source?.scope ?? .host
        let allowed = addresses.filter { scope.mayName($0) }
        guard let entry = entries[.peer(peer)] else { return allowed }
        var seen: Set<Multiaddr> = []
        let told = (allowed + entry.told).filter { seen.insert($0).inserted && !isOwn($0) }
        entries[.peer(peer)]?.told = Array(told.prefix(limits.addressesPerCandidate))
        return allowed
    }

    private func isOwn(_ address: Multiaddr) -> Bool { address.socketAddress.map { own.contains($0) } ?? false }

    private mutating func note(
        _ candidate: Candidate, _ topics: Set<TopicKey>, from teller: Teller? = nil, at now: Instant
    ) {
        if let until = useless[candidate] {
            guard until <= now else { return }
            useless[candidate] = nil
        }
        if entries[candidate] != nil {
            let isNew = !(entries[candidate]?.topics.isSuperset(of: topics) ?? true)
            entries[candidate]?.topics.formUnion(topics)
            if isNew { idleUntil = .start }
            return
        }
        guard makeRoom(for: candidate, from: teller) else { return }
        entries[candidate] = Entry(topics: topics, notBefore: now, teller: teller)
        switch candidate {
        case .peer(let peer):
            peers.insert(peer)
            if let teller { shelves.insert(peer, from: teller) }
        case .address(let address):
            addresses.insert(address)
            let crowd = (networks[address.ip.site] ?? 0) + 1
            networks[address.ip.site] = crowd
            largestCrowd = max(largestCrowd, crowd)
        }
        idleUntil = .start
    }

    /// Whether there is room for `candidate`, after one that failed, or one of whoever told most, has made way.
    private mutating func makeRoom(for candidate: Candidate, from teller: Teller?) -> Bool {
        switch candidate {
        case .address(let address) where networks[address.ip.site] ?? 0 >= limits.addressesPerNetwork:
            return false
        case .address(let address) where addresses.count >= limits.addresses:
            if let other = addresses.draw(using: &random), dismiss(.address(other)) { return true }
            return dismissFromCrowd(for: address)
        case .peer where peers.count >= limits.candidates:
            if let other = peers.draw(using: &random), dismiss(.peer(other)) { return true }
            let victim = teller.map { shelves.victim(for: $0) } ?? shelves.heaviest
            guard let victim, !(entries[.peer(victim)]?.isDialled ?? false) else { return false }
            forget(.peer(victim))
            return true
        default: return true
        }
    }

    /// Forgets `candidate` if it failed, often if it proved to be on a topic before.
    private mutating func dismiss(_ candidate: Candidate) -> Bool {
        guard let entry = entries[candidate], !entry.isDialled else { return false }
        guard entry.failures >= (entry.isProven ? limits.attempts : 1) else { return false }
        forget(candidate)
        return true
    }

    /// Forgets an address of the network that has most, if `address` is of one that has fewer.
    private mutating func dismissFromCrowd(for address: SocketAddress) -> Bool {
        let least = (networks[address.ip.site] ?? 0) + 1
        guard largestCrowd > least else { return false }
        guard let crowd = networks.max(by: { ($0.value, $0.key) < ($1.value, $1.key) }) else { return false }
        largestCrowd = crowd.value
        guard crowd.value > least else { return false }
        var random = random
        let other = addresses.first(using: &random) {
            $0.ip.site == crowd.key && !(entries[.address($0)]?.isDialled ?? false)
        }
        guard let other else { return false }
        forget(.address(other))
        return true
    }

    private mutating func forget(_ candidate: Candidate) {
        guard let entry = entries.removeValue(forKey: candidate) else { return }
        if entry.isDialled { dialling -= 1 }
        if let site = entry.site {
            let left = (provenPlaces[site] ?? 1) - 1
            provenPlaces[site] = left == 0 ? nil : left
        }
        switch candidate {
        case .peer(let peer):
            peers.remove(peer)
            shelves.remove(peer)
        case .address(let address):
            addresses.remove(address)
            let left = (networks[address.ip.site] ?? 1) - 1
            networks[address.ip.site] = left == 0 ? nil : left
        }
    }

    // MARK: What became of them

    /// There is a connection to `peer`, which was reached at `address` or sends from there; `nil` if nothing can be dialled
    /// at the other end.
    mutating func connected(_ peer: PeerID, at address: SocketAddress? = nil, now: Instant) {
        connected.insert(peer)
        guard let address else { return }
        owners[address] = Owner(peer: peer, since: now)
        // One that is being dialled is settled when the dial has ended.
        if !(entries[.address(address)]?.isDialled ?? false) { forget(.address(address)) }
    }

    /// This host has come to another network.
    mutating func networkChanged() {
        ledger.forgetAddresses()
        idleUntil = .start
    }

    /// There is none any more. `byPeer` says whether the peer wanted it so.
    mutating func disconnected(_ peer: PeerID, byPeer: Bool, at now: Instant) {
        connected.remove(peer)
        lost(peer, at: now)
        let pause = byPeer ? limits.rest : limits.retry
        let next = now + jittered(pause)
        entries[.peer(peer)]?.notBefore = next
        idleUntil = .start
    }

    /// Another peer than the one that was dialled is at `address`, as it has proven: whoever names that address for others is
    /// mistaken.
    mutating func found(_ peer: PeerID, at address: SocketAddress, now: Instant) {
        owners[address] = Owner(peer: peer, since: now)
        if !(entries[.address(address)]?.isDialled ?? false) { forget(.address(address)) }
    }

    /// Whether another peer has proven to be at `address` not long before `now`.
    func isOthers(_ address: SocketAddress, at now: Instant) -> Bool {
        owners[address].map { connected.contains($0.peer) || now - $0.since < limits.ownedFor } ?? false
    }

    /// `peer`, which is connected from `place`, has proven to be on `topics`. `isChosen` says whether this node dialled it.
    ///
    /// To prove and to go costs little, so the candidates of one network that did so have few places, and make room for
    /// others before those of networks with fewer.
    mutating func proved(
        _ peer: PeerID, topics: Set<TopicKey>, isChosen: Bool, from place: IPAddress? = nil, at now: Instant
    ) {
        _ = removeNeighbour(peer)
        neighbours[peer] = Neighbour(topics: topics, isChosen: false, since: now)
        for topic in topics { counts[topic, default: 0] += 1 }
        if isChosen { chose(peer) }
        useless[.peer(peer)] = nil
        let own = Teller(peer, at: place)
        note(.peer(peer), topics, from: own, at: now)
        settle(peer, at: now)
        guard var entry = entries[.peer(peer)] else { return }
        entry.failures = 0
        if !entry.isProven {
            let site = place?.site
            let taken = site.map { provenPlaces[$0] ?? 0 } ?? 0
            entry.isProven = taken < limits.provenOfNetwork
            if entry.isProven, let site {
                entry.site = site
                provenPlaces[site] = taken + 1
            }
        }
        entries[.peer(peer)] = entry
        shelves.insert(peer, from: own)
    }

    /// This node has dialled `peer`, which may be a neighbour already.
    mutating func chose(_ peer: PeerID) {
        guard let neighbour = neighbours[peer], !neighbour.isChosen else { return }
        neighbours[peer]?.isChosen = true
        for topic in neighbour.topics { chosen[topic, default: 0] += 1 }
    }

    /// What `peer` proved no longer holds. If it was the last neighbour on a topic, the next search for others comes early.
    mutating func lost(_ peer: PeerID, at now: Instant) {
        guard let lost = removeNeighbour(peer) else { return }
        idleUntil = .start
        for topic in topics where lost.topics.contains(topic) && count(on: topic) == 0 { searchEarly(topic, at: now) }
    }

    /// Returns what `peer` was, if it was a neighbour.
    private mutating func removeNeighbour(_ peer: PeerID) -> Neighbour? {
        guard let neighbour = neighbours.removeValue(forKey: peer) else { return nil }
        for topic in neighbour.topics {
            counts[topic, default: 1] -= 1
            if neighbour.isChosen { chosen[topic, default: 1] -= 1 }
        }
        return neighbour
    }

    /// `candidate` was dialled by `nextDial`, and `peer` answered; `nil` where nobody did.
    mutating func dialled(_ candidate: Candidate, reached peer: PeerID?, at now: Instant) {
        guard var entry = entries[candidate], entry.isDialled else { return }
        entry.isDialled = false
        dialling -= 1
        idleUntil = .start
        let places = entry.dialledAt
        entry.dialledAt = []
        if let peer {
            if candidate == .peer(peer) {
                for place in places { ledger.wasThere(place, at: now) }
            }
            entry.failures = 0
            entries[candidate] = entry
            settle(peer, at: now)
            if case .address(let address) = candidate {
                owners[address] = Owner(peer: peer, since: now)
                forget(candidate)
                note(.peer(peer), entry.topics, at: now)
            }
            return
        }
        if entry.failures == 0, let teller = entry.teller { ledger.misled(by: teller, at: now) }
        entry.failures += 1
        let pause = min(limits.longestRetry, limits.retry * (1 << min(entry.failures - 1, 16)))
        entry.notBefore = now + jittered(pause)
        entries[candidate] = entry
        if entry.failures >= (entry.isProven ? limits.provenAttempts : limits.attempts) { forget(candidate) }
    }

    /// Nothing of what is known of `candidate`, which was to be dialled, may be dialled yet.
    mutating func postponed(_ candidate: Candidate, at now: Instant) {
        guard let entry = entries[candidate], entry.isDialled else { return }
        dialling -= 1
        let pause = jittered(Self.heldBack)
        entries[candidate]?.isDialled = false
        entries[candidate]?.notBefore = now + pause
        idleUntil = .start
    }

    /// `peer` is where it was said to be: it is a candidate in its own right now, and whoever spoke of it was right.
    private mutating func settle(_ peer: PeerID, at now: Instant) {
        guard let teller = entries[.peer(peer)]?.teller else { return }
        if teller.peer != peer { ledger.wasRight(teller, at: now) }
        entries[.peer(peer)]?.teller = nil
        shelves.remove(peer)
    }

    /// `candidate` is of no use: it shares no topic, or does not speak the protocol, or is this node itself.
    mutating func isUseless(_ candidate: Candidate, at now: Instant) {
        useless[candidate] = now + limits.uselessFor
        forget(candidate)
        if case .peer(let peer) = candidate { lost(peer, at: now) }
        idleUntil = .start
    }

    /// Whether `candidate` turned out to be of no use not long ago.
    func isKnownUseless(_ candidate: Candidate, at now: Instant) -> Bool {
        useless[candidate].map { $0 > now } ?? false
    }

    // MARK: What is to be done

    /// How long a candidate waits that may not be dialled yet.
    private static let heldBack = Duration.seconds(15)

    /// Where `peer`, which is to be dialled, may be dialled now: at the `trusted` addresses, where it was reached before or
    /// a user said that it is; and at those that are `claimed` by itself or told by others, as far as the bounds on hearsay
    /// admit them. Those are counted.
    ///
    /// Whether somebody may speak of an address at all was decided by scope when it was heard.
    mutating func addressesToDial(
        _ peer: PeerID, trusted: [Multiaddr], claimed: [Multiaddr], at now: Instant
    ) -> [Multiaddr] {
        var all = trusted
        var seen = Set(trusted)
        var places: [SocketAddress: [Multiaddr]] = [:]
        var order: [SocketAddress] = []
        for address in claimed + told(of: peer) where seen.insert(address).inserted && !isOwn(address) {
            guard let place = address.socketAddress, owners[place]?.peer != peer else {
                all.append(address)
                continue
            }
            // A host is asked once, by whichever transports.
            if places[place] == nil { order.append(place) }
            places[place, default: []].append(address)
        }
        let least = order.enumerated().sorted { left, right in
            let (one, other) = (ledger.dials(of: left.element, at: now), ledger.dials(of: right.element, at: now))
            return one != other ? one < other : left.offset < right.offset
        }
        var dialled: [SocketAddress] = []
        for (_, place) in least where dialled.count < limits.hearsayAddressesAtOnce {
            guard ledger.admits(place, at: now) else { continue }
            ledger.dials(place, at: now)
            dialled.append(place)
            all += places[place] ?? []
        }
        entries[.peer(peer)]?.dialledAt = dialled
        return all
    }

    /// Where `peer` is said to be.
    func told(of peer: PeerID) -> [Multiaddr] { entries[.peer(peer)]?.told ?? [] }

    /// Who is to be dialled now, if anyone. `dialled` must be called for each.
    mutating func nextDial(at now: Instant) -> Candidate? {
        guard mayDial, now >= idleUntil else { return nil }
        addressTurn.toggle()
        // Those who are known by name come first, by turns with mere addresses, so that a flood of these holds nobody up.
        let kinds = addressTurn ? [true, false] : [false, true]
        for isAddress in kinds {
            guard let candidate = isAddress ? pickAddress(at: now) : pickPeer(at: now) else { continue }
            entries[candidate]?.isDialled = true
            dialling += 1
            if case .address(let address) = candidate { ledger.dials(address, at: now) }
            return candidate
        }
        let waiting = entries.values.lazy.filter { !$0.isDialled && $0.notBefore > now }.map(\.notBefore).min()
        // What only the ledger holds back is looked at again after a while.
        let isHeldBack = entries.contains { isWanted($1, at: now) && !isAdmitted($0, $1, at: now) }
        idleUntil = min(waiting ?? .never, isHeldBack ? now + Self.heldBack : .never)
        return nil
    }

    /// Whether there is a place for one more. The shortest topic is not dialled for more often than it has places.
    private var mayDial: Bool {
        guard isSeeking, dialling < limits.dials else { return false }
        return topics.contains { dialling < lacking($0) }
    }

    private mutating func pickPeer(at now: Instant) -> Candidate? {
        // A copy draws from the same source.
        var random = random
        return peers.first(using: &random) { peer in
            guard !connected.contains(peer), let entry = entries[.peer(peer)] else { return false }
            return isWanted(entry, at: now) && isAdmitted(.peer(peer), entry, at: now)
        }.map { .peer($0) }
    }

    private mutating func pickAddress(at now: Instant) -> Candidate? {
        var random = random
        return addresses.first(using: &random) { address in
            guard let entry = entries[.address(address)] else { return false }
            return isWanted(entry, at: now) && isAdmitted(.address(address), entry, at: now)
        }.map { .address($0) }
    }

    /// Whether what others were wrong about before leaves room for one dial more.
    private func isAdmitted(_ candidate: Candidate, _ entry: Entry, at now: Instant) -> Bool {
        switch candidate {
        case .peer: entry.teller.map { ledger.believes($0, at: now) } ?? true
        case .address(let address): ledger.admits(address, at: now)
        }
    }

    private func isWanted(_ entry: Entry, at now: Instant) -> Bool {
        guard !entry.isDialled, entry.notBefore <= now else { return false }
        return entry.topics.isEmpty || entry.topics.contains(where: isShort)
    }

    // MARK: Searching

    /// Searches begin now, as the DHT can be asked from now on.
    mutating func beginSearching(at now: Instant) {
        for topic in topics { plans[topic] = SearchPlan(next: now, pause: limits.search) }
    }

    /// Brings the next search for `topic` forward, and never puts it off: one that comes and goes all the time, at a rate
    /// of its own choice, neither delays a search nor causes many.
    private mutating func searchEarly(_ topic: TopicKey, at now: Instant) {
        guard var plan = plans[topic], plan.early.take(limits.earlySearches, at: now) else { return }
        plan.next = min(plan.next, now + jittered(limits.search))
        plan.pause = limits.search * 2
        plans[topic] = plan
    }

    /// The topics that are to be searched for now, and announced by the same way.
    mutating func searches(at now: Instant) -> [TopicKey] {
        var due: [TopicKey] = []
        for topic in topics {
            guard var plan = plans[topic], plan.next <= now else { continue }
            due.append(topic)
            let longest = count(on: topic) == 0 ? limits.longestSearchAlone : limits.longestSearch
            plan.next = now + jittered(min(longest, plan.pause))
            plan.pause = min(limits.longestSearch, plan.pause * 2)
            plans[topic] = plan
        }
        return due
    }

    /// When there is something to do again.
    var deadline: Instant {
        var next = plans.values.map(\.next).min() ?? .never
        if mayDial { next = min(next, idleUntil) }
        return next
    }

    /// Not all at the same instant.
    private mutating func jittered(_ duration: Duration) -> Duration {
        duration * Int(800 + random.next() % 401) / 1000
    }
}
