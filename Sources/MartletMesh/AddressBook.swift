import MartletRuntime
import MartletWire

/// A machine that remembers addresses and says which is to be dialled, and when.
///
/// What has been told is dialled at once, within the credit of the host that told it: a dial takes some and a peer
/// that answers gives it back, so that true addresses cost nothing and false ones are tried a few at first and then
/// one a second.
struct AddressBook {
    /// How many addresses a host may tell that nobody has answered at.
    static let mostToldByHost = 128
    /// How many dials a host's word is good for before any of them is answered.
    static let fullCredit = 16
    /// What a dial costs into a network that the teller itself is not in.
    static let costOfForeign = 8
    /// How long it takes to earn a unit of credit.
    static let creditInterval = Duration.seconds(1)
    /// The wait after the first failure, doubled by each further one.
    static let firstWait = Duration.seconds(1)
    /// The longest wait, for an address that a person has given and for any other.
    static let longestWaits = (given: Duration.seconds(15), other: Duration.seconds(60))
    /// The same for a peer that says it is full.
    static let waitsForFull = (first: Duration.seconds(15), longest: Duration.seconds(300))
    /// After so many failures in a row an address is forgotten: one that was never answered at, and one that was.
    static let failuresToForget = (unproven: 4, proven: 30)
    /// A dial that has hung for so long does not hold a place any more, and a fresh word of its address begins it anew.
    static let hangs = Duration.seconds(1)

    /// Where an address comes from.
    enum Origin: Hashable {
        /// A person has given it.
        case given(isBootstrap: Bool)
        /// A peer that has connected listens there, by its own word.
        case met
        /// A peer at this host has told it, and is or is not in the same kind of network.
        case told(by: IPAddress, isForeign: Bool)
    }

    /// What is going on with an address.
    enum Stage: Hashable {
        case waiting(until: Instant)
        case dialling(Int)
        case connected(Int)
        /// It turned out to be this node's own.
        case own
    }

    struct Entry {
        var origin: Origin
        var stage: Stage
        /// Whether a peer has ever been connected there.
        var isProven = false
        var failures = 0
        var lastTry = Instant.start
        /// Drawn by lot, so that not everyone dials in the same order.
        var rank: UInt64

        var isGiven: Bool { if case .given = origin { true } else { false } }
        var isBootstrap: Bool { origin == .given(isBootstrap: true) }
    }

    private struct Teller {
        var credit = AddressBook.fullCredit
        var since: Instant
        var told = 0
    }

    private var entries: [MeshAddress: Entry] = [:]
    private var tellers: [IPAddress: Teller] = [:]
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    subscript(address: MeshAddress) -> Entry? { entries[address] }

    /// How many addresses it knows, this node's own left out.
    var count: Int { entries.count { $0.value.stage != .own } }

    /// The addresses that a person has given as beginnings.
    var bootstraps: [MeshAddress] { entries.filter { $0.value.isBootstrap }.keys.sorted() }

    // MARK: What is learnt

    /// Takes `address` in, to be dialled at once. Says whether it is new; where there is no room for it, it is not.
    mutating func add(_ address: MeshAddress, _ origin: Origin, rank: UInt64, at now: Instant) -> Bool {
        if entries[address] != nil {
            if case .given = origin { give(address, origin, at: now) }
            return false
        }
        if case .told(let host, _) = origin {
            var teller = tellers[host] ?? Teller(since: now)
            guard teller.told < Self.mostToldByHost else { return false }
            teller.told += 1
            tellers[host] = teller
        }
        if entries.count >= capacity, !makeRoom() {
            if case .told(let host, _) = origin { tellers[host]?.told -= 1 }
            guard case .given = origin else { return false }
        }
        entries[address] = Entry(origin: origin, stage: .waiting(until: now), rank: rank)
        return true
    }

    /// A person gives an address that is known: it is dialled now, however often that has failed.
    private mutating func give(_ address: MeshAddress, _ origin: Origin, at now: Instant) {
        guard var entry = entries[address] else { return }
        release(entry)
        entry.failures = 0
        if !entry.isBootstrap { entry.origin = origin }
        if case .waiting = entry.stage { entry.stage = .waiting(until: now) }
        entries[address] = entry
    }

    /// A peer speaks of `address`. Where one was connected there before, it is there again, and is dialled at once.
    /// Returns a dial that hangs and had better begin anew.
    mutating func mention(_ address: MeshAddress, at now: Instant) -> Int? {
        guard let entry = entries[address], entry.isProven, now - entry.lastTry >= Self.hangs else { return nil }
        switch entry.stage {
        case .waiting(let until) where until > now: entries[address]?.stage = .waiting(until: now)
        case .dialling(let number): return number
        default: break
        }
        return nil
    }

    /// Makes room by forgetting what has failed most, of what nobody is connected at.
    private mutating func makeRoom() -> Bool {
        let worst = entries.filter { entry in
            guard case .waiting = entry.value.stage else { return false }
            return !entry.value.isGiven && entry.value.failures > 0
        }.max { ($0.value.failures, $0.value.rank) < ($1.value.failures, $1.value.rank) }
        guard let worst else { return false }
        forget(worst.key)
        return true
    }

    private mutating func forget(_ address: MeshAddress) {
        guard let entry = entries.removeValue(forKey: address) else { return }
        release(entry)
    }

    /// An address is no longer one of the unproven ones of who told it.
    private mutating func release(_ entry: Entry) {
        guard case .told(let host, _) = entry.origin, !entry.isProven, var teller = tellers[host] else { return }
        teller.told -= 1
        tellers[host] = teller.told == 0 && teller.credit == Self.fullCredit ? nil : teller
    }

    // MARK: Dialling

    /// The address whose turn it is, if any.
    func due(at now: Instant) -> MeshAddress? {
        var best: (address: MeshAddress, until: Instant, rank: UInt64)?
        for (address, entry) in entries {
            guard case .waiting(let until) = entry.stage, readiness(of: entry, after: until) <= now else { continue }
            if let best, (best.until, best.rank, best.address) <= (until, entry.rank, address) { continue }
            best = (address, until, entry.rank)
        }
        return best?.address
    }

    /// When the next address has its turn.
    var nextDue: Instant {
        var next = Instant.never
        for entry in entries.values {
            if case .waiting(let until) = entry.stage { next = min(next, readiness(of: entry, after: until)) }
        }
        return next
    }

    /// When an address that waits until `until` can be paid for.
    private func readiness(of entry: Entry, after until: Instant) -> Instant {
        guard !entry.isProven, case .told(let host, let isForeign) = entry.origin, let teller = tellers[host] else {
            return until
        }
        let missing = cost(isForeign) - teller.credit
        guard missing > 0 else { return until }
        return max(until, teller.since + Self.creditInterval * missing)
    }

    private func cost(_ isForeign: Bool) -> Int { isForeign ? Self.costOfForeign : 1 }

    /// A dial to `address` begins.
    mutating func began(_ address: MeshAddress, _ number: Int, at now: Instant) {
        guard let entry = entries[address] else { return }
        entries[address]?.stage = .dialling(number)
        entries[address]?.lastTry = now
        guard !entry.isProven, case .told(let host, let isForeign) = entry.origin, var teller = tellers[host] else {
            return
        }
        let earned = Int((now - teller.since) / Self.creditInterval)
        if teller.credit + earned >= Self.fullCredit {
            teller.credit = Self.fullCredit
            teller.since = now
        } else {
            teller.credit += earned
            teller.since += Self.creditInterval * earned
        }
        teller.credit -= cost(isForeign)
        tellers[host] = teller
    }

    /// A peer of this mesh has answered at `address`, whatever it said.
    mutating func answered(_ address: MeshAddress) {
        guard let entry = entries[address], !entry.isProven, case .told(let host, let isForeign) = entry.origin,
            var teller = tellers[host]
        else { return }
        teller.credit = min(Self.fullCredit, teller.credit + cost(isForeign))
        tellers[host] = teller
    }

    /// The peer at `address` is connected, by `number`.
    mutating func connected(_ address: MeshAddress, _ number: Int) {
        guard let entry = entries[address] else { return }
        release(entry)
        entries[address]?.isProven = true
        entries[address]?.failures = 0
        entries[address]?.stage = .connected(number)
    }

    /// The connection `number` to `address` has ended; it is dialled again after `wait`.
    mutating func disconnected(_ address: MeshAddress, _ number: Int, wait: Duration, at now: Instant) {
        guard entries[address]?.stage == .connected(number) else { return }
        entries[address]?.stage = .waiting(until: now + wait)
    }

    /// The dial `number` to `address` has come to nothing. Says for how many times in a row.
    mutating func failed(
        _ address: MeshAddress, _ number: Int, isFull: Bool = false, spread: Double, at now: Instant
    ) -> Int {
        guard var entry = entries[address], entry.stage == .dialling(number) else { return 0 }
        entry.failures += 1
        let limit = entry.isProven ? Self.failuresToForget.proven : Self.failuresToForget.unproven
        if !entry.isBootstrap, !isFull, entry.failures >= limit {
            forget(address)
            return entry.failures
        }
        let first = isFull ? Self.waitsForFull.first : Self.firstWait
        let longest =
            isFull
            ? Self.waitsForFull.longest : entry.isGiven ? Self.longestWaits.given : Self.longestWaits.other
        let wait = min(first * (1 << min(entry.failures - 1, 10)), longest)
        entry.stage = .waiting(until: now + wait * (0.5 + spread))
        entries[address] = entry
        return entry.failures
    }

    /// The dial `number` to `address` is given up for now, without its fault.
    mutating func postponed(_ address: MeshAddress, _ number: Int, by wait: Duration, at now: Instant) {
        guard entries[address]?.stage == .dialling(number) else { return }
        entries[address]?.stage = .waiting(until: now + wait)
    }

    /// `address` is this node's own, and is not dialled again.
    mutating func isOwn(_ address: MeshAddress) {
        guard let entry = entries[address] else { return }
        release(entry)
        entries[address]?.isProven = true
        entries[address]?.stage = .own
    }
}
