internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletSwarm
internal import MartletWire

/// Whether this node can be reached from the internet, concluded from who said what and when: a machine.
///
/// Only a connection from somebody to whom this node had never sent anything proves that it can. What others say of its
/// address shows at most that it stands behind a NAT. A word counts once for each network of its speaker, an IPv4 /24 or
/// IPv6 /48; what is said from, or of, addresses that are not global proves nothing.
struct Reachability {
    /// Everything in it that others can make grow, and what is asked of what they say.
    struct Limits {
        /// How many addresses are remembered that others named.
        var addresses = 32
        /// How many networks' words for each.
        var words = 16
        /// How many came in by themselves.
        var arrivals = 16
        /// How many must say the same, from as many networks.
        var agreeing = 2
        /// How long a word counts.
        var lifetime = Duration.seconds(24 * 3600)
        /// How often the addresses change that this node tells others; each change goes to all neighbours.
        var changes = Rate(burst: 8, perSecond: 1 / 60)
    }

    /// Who said or did something, and when.
    private struct Word {
        var witness: String
        var network: IPBlock
        /// Which of this host's addresses it came to, where that is known.
        var local: IPAddress?
        var at: Instant
        var wall: WallTime
    }

    private struct Named {
        var address: SocketAddress
        /// Whether the port is one on which this node listens, so that others may dial the address.
        var isDialable: Bool
        /// Whether somebody who has counted words says it.
        var isAgreed = false
        var words: [Word]
    }

    let limits: Limits
    private(set) var type = NodeMetadata.NodeType.unknown
    private var interfaces: [IPAddress] = []
    /// Whether it was ever said which those are.
    private var isSettled = false
    private var named: [Named] = []
    private var arrivals: [Word] = []
    private var told: [SocketAddress] = []
    private var changes = RateMeter()

    init(limits: Limits = Limits()) {
        self.limits = limits
    }

    // MARK: What is said

    /// This host has these addresses. What came to one that it no longer has was of another network and is forgotten.
    /// Returns whether none of those that can be routed is left, or some have come after a time without: then this host is in
    /// another network altogether. One address more or less is no such change: others on a link can bring it about by
    /// advertisements.
    @discardableResult
    mutating func has(_ addresses: [IPAddress], at now: Instant) -> Bool {
        let before = Set(interfaces.filter(Self.isRouted))
        let left = before.intersection(addresses)
        interfaces = addresses
        let isBack = isSettled && addresses.contains(where: Self.isRouted)
        isSettled = true
        let hasMoved = left.isEmpty && (!before.isEmpty || isBack)
        // What came to no address that is known, as what the DHT agrees on, goes with the last one of its family.
        let families = [IPAddress.Family.v4, .v6].filter { family in
            before.contains { $0.family == family } && !left.contains { $0.family == family }
        }
        let isGone = { (word: Word) in
            word.local.map { !addresses.contains($0) } ?? families.contains(word.network.network.family)
        }
        arrivals.removeAll(where: isGone)
        for index in named.indices { named[index].words.removeAll(where: isGone) }
        named.removeAll { $0.words.isEmpty }
        conclude(at: now)
        return hasMoved
    }

    /// Whether `address` says something of the network that a host is in. One that is local to a link stays when the link
    /// leads elsewhere.
    private static func isRouted(_ address: IPAddress) -> Bool {
        !address.isLoopback && !address.isLinkLocal
    }

    /// `witness`, who is at `place`, sees this node at `address`, over a connection to this host's address `local`.
    /// Whether that counts.
    mutating func observed(
        _ address: SocketAddress, isDialable: Bool, by witness: String, at place: IPAddress,
        to local: IPAddress? = nil, now: Instant, wall: WallTime
    ) -> Bool {
        guard address.ip.isGlobal, place.isGlobal, address.port != 0 else { return false }
        let word = Word(
            witness: witness, network: .neighbourhood(of: place), local: Self.known(local), at: now, wall: wall)
        if let index = named.firstIndex(where: { $0.address == address }) {
            named[index].isDialable = named[index].isDialable || isDialable
            named[index].words.removeAll { $0.network == word.network }
            named[index].words.append(word)
            if named[index].words.count > limits.words { named[index].words.removeFirst() }
        } else {
            if named.count >= limits.addresses { dropWeakest() }
            named.append(Named(address: address, isDialable: isDialable, words: [word]))
        }
        conclude(at: now)
        return true
    }

    /// Several who were asked agree that this node is at `address`; `witness` says who, all together.
    mutating func agreed(_ address: SocketAddress, by witness: String, now: Instant, wall: WallTime) -> Bool {
        guard observed(address, isDialable: true, by: witness, at: address.ip, now: now, wall: wall) else {
            return false
        }
        for index in named.indices where named[index].address == address { named[index].isAgreed = true }
        conclude(at: now)
        return true
    }

    /// `local`, unless it stands for all of this host's addresses.
    private static func known(_ local: IPAddress?) -> IPAddress? {
        local.flatMap { $0.isUnspecified ? nil : $0.unmapped }
    }

    /// `peer` came in from `place` to this host's address `local`. `isStranger` says that this node had sent nothing
    /// there before. Whether that counts.
    mutating func arrived(
        _ peer: String, from place: IPAddress, to local: IPAddress? = nil, isStranger: Bool, now: Instant,
        wall: WallTime
    ) -> Bool {
        guard isStranger, place.isGlobal else { return false }
        let word = Word(
            witness: peer, network: .neighbourhood(of: place), local: Self.known(local), at: now, wall: wall)
        arrivals.removeAll { $0.network == word.network }
        arrivals.append(word)
        if arrivals.count > limits.arrivals { arrivals.removeFirst() }
        conclude(at: now)
        return true
    }

    /// Lets go of what is too old.
    mutating func expire(at now: Instant) {
        for index in named.indices { named[index].words.removeAll { $0.at + limits.lifetime < now } }
        named.removeAll { $0.words.isEmpty }
        arrivals.removeAll { $0.at + limits.lifetime < now }
        conclude(at: now)
    }

    /// Drops the address that the fewest name, the longest ago.
    private mutating func dropWeakest() {
        let weakest = named.indices.min { left, right in
            let (one, other) = (named[left], named[right])
            if one.words.count != other.words.count { return one.words.count < other.words.count }
            return (one.words.last?.at ?? .start) < (other.words.last?.at ?? .start)
        }
        if let weakest { named.remove(at: weakest) }
    }

    // MARK: What follows

    private mutating func conclude(at now: Instant) {
        if !arrivals.isEmpty {
            type = .public
        } else if !interfaces.contains(where: \.isGlobal), !agreed.isEmpty {
            type = .private
        } else {
            type = .unknown
        }
    }

    private var agreed: [Named] {
        named.filter { $0.isAgreed || $0.words.count >= limits.agreeing }.sorted { left, right in
            left.words.count != right.words.count
                ? left.words.count > right.words.count : left.address < right.address
        }
    }

    /// Where others see this node and may dial it, as far as enough of them agree, best known first; at most four.
    var addresses: [SocketAddress] {
        Array(agreed.filter(\.isDialable).map(\.address).prefix(4))
    }

    /// The addresses that this node may tell others at `now`, without those that are somebody else's, whoever sees this node
    /// there. Whoever sees it elsewhere all the time makes it tell no more often than `limits` say.
    mutating func addressesToTell(
        at now: Instant, without isOthers: (SocketAddress) -> Bool
    ) -> [SocketAddress] {
        let current = addresses.filter { !isOthers($0) }
        if Set(current) != Set(told), changes.take(limits.changes, at: now) { told = current }
        return told
    }

    /// How many things it remembers.
    var held: Int { named.reduce(arrivals.count) { $0 + $1.words.count } }

    /// Why the type is what it is, in sentences.
    var reasons: [String] {
        var reasons = arrivals.suffix(4).reversed().map {
            "\($0.witness) came in from \($0.network.network) by itself, at \($0.wall); nothing had been sent there"
        }
        let global = interfaces.filter(\.isGlobal)
        reasons.append(
            global.isEmpty
                ? "no interface has a global address"
                : "an interface has a global address: \(global.sorted().map(\.description).joined(separator: ", "))")
        for one in agreed.prefix(4) {
            let who = one.words.suffix(3).reversed().map { "\($0.witness) (\($0.wall))" }.joined(separator: ", ")
            reasons.append("seen at \(one.address) from \(one.words.count) networks, by \(who)")
        }
        if arrivals.isEmpty { reasons.append("nobody has come in by itself to whom nothing had been sent") }
        return reasons
    }
}
