import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import Martlet

/// A source of what machines draw, from `seed`.
private func source(_ seed: UInt64) -> RandomSource {
    var generator = SeededGenerator(seed: seed)
    return RandomSource { buffer in
        for index in buffer.indices { buffer[index] = UInt8.random(in: 0...255, using: &generator) }
    }
}

private func peer(_ number: Int) -> PeerID {
    var generator = SeededGenerator(seed: UInt64(number) + 1)
    return PeerID(PrivateKey.ed25519(using: &generator).publicKey)
}

private func place(_ number: Int) -> SocketAddress {
    SocketAddress(IPAddress(v4: UInt32(0x3200_0000 + number)), port: 4001)
}

extension TopicDiscovery {
    /// This node knows by itself that `peer` may be on `topics`, at `places`.
    fileprivate mutating func heard(of peer: PeerID, at places: [SocketAddress], topics: Set<TopicKey>, now: Instant) {
        heard(of: peer, at: places.map { .quicV1($0) }, topics: topics, from: nil, now: now)
    }

    fileprivate mutating func connected(_ peer: PeerID) {
        connected(peer, now: .start)
    }
}

private let chess = TopicKey("chess")
private let music = TopicKey("music")

@Suite("Discovery by topic")
struct DiscoveryTests {
    private static func machine(
        _ topics: [TopicKey] = [chess], target: Int = 8, seed: UInt64 = 1,
        _ change: (inout DiscoveryLimits) -> Void = { _ in }
    ) -> TopicDiscovery {
        var limits = DiscoveryLimits()
        limits.target = target
        change(&limits)
        return TopicDiscovery(topics, limits: limits, random: source(seed))
    }

    private let now = Instant.start + .seconds(100)

    @Test("it dials so many at once, until it has its share, and no more; and again when some are lost")
    func target() {
        var machine = Self.machine(target: 12) { $0.dials = 5 }
        let peers = (0..<40).map(peer)
        for peer in peers { machine.heard(of: peer, at: [], topics: [chess], now: now) }
        var dialled: Set<PeerID> = []
        while machine.neighbourCount < 12 {
            var round: [TopicDiscovery.Candidate] = []
            while let next = machine.nextDial(at: now) { round.append(next) }
            #expect(!round.isEmpty && round.count <= 5)
            guard !round.isEmpty else { return }
            for case .peer(let peer) in round {
                let isNew = dialled.insert(peer).inserted
                #expect(isNew)
                machine.connected(peer)
                machine.proved(peer, topics: [chess], isChosen: true, at: now)
                machine.dialled(.peer(peer), reached: peer, at: now)
            }
        }
        #expect(machine.neighbourCount == 12)
        let outcome1 = machine.nextDial(at: now)
        #expect(outcome1 == nil)
        #expect(machine.deadline == .never)
        for peer in dialled.sorted().prefix(3) { machine.disconnected(peer, byPeer: true, at: now) }
        var again = 0
        while case .peer(let peer)? = machine.nextDial(at: now) {
            #expect(!dialled.contains(peer), "who closed the connection is left alone for a while")
            again += 1
        }
        #expect(again == 3)
    }

    @Test("who cannot be reached is tried again, later each time, and forgotten in the end")
    func retries() {
        var machine = Self.machine { $0.attempts = 4 }
        machine.found(place(1), on: chess, at: now)
        var time = now
        var pauses: [Duration] = []
        while machine.held.candidates > 0 {
            guard let candidate = machine.nextDial(at: time) else {
                let next = machine.deadline
                #expect(next > time)
                pauses.append(next - time)
                time = next
                continue
            }
            machine.dialled(candidate, reached: nil, at: time)
        }
        #expect(pauses.count == 3)
        #expect(zip(pauses, pauses.dropFirst()).allSatisfy { $0 * 5 / 4 < $1 }, "\(pauses)")
    }

    @Test("a flood of addresses stays within its bounds, and holds up nobody who is known by name")
    func flood() {
        var machine = Self.machine()
        for number in 0..<100_000 { machine.found(place(number), on: chess, at: now) }
        let honest = peer(1)
        machine.heard(of: honest, at: [place(500_000)], topics: [chess], now: now)
        #expect(machine.held.candidates <= machine.limits.addresses + 1)
        #expect(machine.held.candidates > 100)
        let first = [machine.nextDial(at: now), machine.nextDial(at: now)]
        #expect(first.contains(.peer(honest)))
        for number in 0..<2000 {
            machine.heard(of: honest, at: [place(number)], topics: [chess], now: now)
        }
        #expect(machine.held.owners == 0, "hearsay proves nothing")
        for number in 0..<20_000 { machine.connected(honest, at: place(number), now: now) }
        #expect(machine.held.owners <= machine.limits.owners)
        #expect(machine.held.candidates <= machine.limits.addresses + 1)
    }

    @Test("who is of no use is not dialled for an hour, by his id or by an address of his; so many are remembered")
    func useless() {
        var machine = Self.machine()
        let stranger = peer(1)
        machine.found(place(1), on: chess, at: now)
        let outcome2 = machine.nextDial(at: now)
        #expect(outcome2 == .address(place(1)))
        machine.dialled(.address(place(1)), reached: stranger, at: now)
        machine.isUseless(.peer(stranger), at: now)
        machine.found(place(1), on: chess, at: now)
        machine.heard(of: stranger, at: [place(2)], topics: [chess], now: now + .seconds(60))
        let outcome3 = machine.nextDial(at: now + .seconds(60))
        #expect(outcome3 == nil)
        let later = now + .seconds(3601)
        machine.found(place(1), on: chess, at: later)
        let outcome4 = machine.nextDial(at: later)
        #expect(outcome4 == .peer(stranger))
        for number in 0..<20_000 { machine.isUseless(.address(place(number)), at: now) }
        #expect(machine.held.useless <= machine.limits.useless)
    }

    @Test("its own addresses are nobody to dial")
    func own() {
        var machine = Self.machine()
        machine.found(place(1), on: chess, at: now)
        machine.owns([place(1)])
        machine.found(place(1), on: chess, at: now)
        machine.heard(of: peer(1), at: [place(1)], topics: [], now: now)
        #expect(machine.held.owners == 0)
        let outcome5 = machine.nextDial(at: now)
        #expect(outcome5 == .peer(peer(1)))
        let outcome6 = machine.nextDial(at: now)
        #expect(outcome6 == nil)
    }

    @Test("each of two topics has its share, and a neighbour on both counts for both")
    func shares() {
        var machine = Self.machine([chess, music], target: 8)
        #expect(machine.share == 4)
        for number in 0..<4 {
            machine.proved(peer(number), topics: [chess], isChosen: true, at: now)
            machine.connected(peer(number))
        }
        machine.heard(of: peer(10), at: [], topics: [chess], now: now)
        let outcome7 = machine.nextDial(at: now)
        #expect(outcome7 == nil)
        machine.heard(of: peer(11), at: [], topics: [music], now: now)
        let outcome8 = machine.nextDial(at: now)
        #expect(outcome8 == .peer(peer(11)))
        machine.lost(peer(0), at: now)
        let outcome9 = machine.nextDial(at: now)
        #expect(outcome9 == .peer(peer(10)))
    }

    @Test("it searches fast at first and then ever more seldom, and soon again when everyone is gone")
    func searches() {
        var machine = Self.machine()
        let outcome11 = machine.searches(at: now)
        #expect(outcome11.isEmpty)
        machine.beginSearching(at: now)
        machine.proved(peer(1), topics: [chess], isChosen: true, at: now)
        var times: [Instant] = []
        var time = now
        while time < now + .seconds(7200) {
            if !machine.searches(at: time).isEmpty { times.append(time) }
            time += .milliseconds(250)
        }
        #expect(times.prefix { $0 < now + .seconds(5) }.count >= 3)
        let pauses = zip(times, times.dropFirst()).map { $1 - $0 }
        #expect((pauses.last ?? .zero) > .seconds(400) && pauses.allSatisfy { $0 < .seconds(800) })
        machine.lost(peer(1), at: time)
        #expect(machine.deadline < time + .seconds(2))
    }

    @Test("strangers that come and go put no search off, and members that do so cause few")
    func searchesAmongStrangers() {
        var machine = Self.machine()
        machine.beginSearching(at: now)
        var searches = 0
        var time = now
        // A stranger on no topic, twice a second.
        while time < now + .seconds(600) {
            machine.connected(peer(1))
            machine.disconnected(peer(1), byPeer: true, at: time)
            if !machine.searches(at: time).isEmpty { searches += 1 }
            time += .milliseconds(500)
        }
        #expect(searches >= 10 && searches <= 30, "\(searches) searches")
        // A member that proves its topic and goes, as often.
        searches = 0
        let turn = time
        while time < turn + .seconds(600) {
            machine.connected(peer(2))
            machine.proved(peer(2), topics: [chess], isChosen: false, at: time)
            machine.disconnected(peer(2), byPeer: true, at: time)
            if !machine.searches(at: time).isEmpty { searches += 1 }
            time += .milliseconds(500)
        }
        #expect(searches >= 10 && searches <= 100, "\(searches) searches")
    }

    @Test("identities of one network that prove a topic and go leave room for others, and are forgotten in the end")
    func provedAndGone() {
        var machine = Self.machine { $0.candidates = 400 }
        for number in 0..<600 {
            machine.connected(peer(number))
            machine.proved(
                peer(number), topics: [chess], isChosen: false, from: IPAddress(60, 1, 1, UInt8(number % 200 + 1)),
                at: now)
            machine.disconnected(peer(number), byPeer: true, at: now)
        }
        #expect(machine.held.candidates == 400)
        let honest = Set((1000..<1040).map(peer))
        let teller = TopicDiscovery.Source(teller: Teller(peer(2000), at: IPAddress(61, 1, 1, 1)), scope: .world)
        for peer in honest.sorted() { machine.heard(of: peer, at: [], topics: [chess], from: teller, now: now) }
        #expect(machine.held.candidates == 400)
        var dialled: Set<PeerID> = []
        var time = now
        while time < now + .seconds(24 * 3600), machine.held.candidates > 0 {
            while case .peer(let peer)? = machine.nextDial(at: time) {
                dialled.insert(peer)
                machine.dialled(.peer(peer), reached: nil, at: time)
            }
            time = max(time + .seconds(1), min(machine.deadline, time + .seconds(600)))
        }
        #expect(dialled.isSuperset(of: honest))
        #expect(machine.held.candidates == 0)
    }

    @Test("whoever comes by itself, in whatever number, keeps nobody from dialling half of a topic's share")
    func strangersComeIn() {
        var machine = Self.machine(target: 16, seed: 5)
        for number in 0..<64 {
            machine.connected(peer(number))
            machine.proved(peer(number), topics: [chess], isChosen: false, at: now)
        }
        for number in 64..<96 { machine.heard(of: peer(number), at: [], topics: [chess], from: nil, now: now) }
        var chosen: Set<PeerID> = []
        while case .peer(let peer)? = machine.nextDial(at: now) {
            machine.connected(peer)
            machine.dialled(.peer(peer), reached: peer, at: now)
            machine.proved(peer, topics: [chess], isChosen: true, at: now)
            chosen.insert(peer)
        }
        #expect(chosen.count == machine.share / 2 && machine.chosenCount == chosen.count)
        // One that has come by itself counts once this node has dialled it as well.
        machine.lost(chosen.min() ?? peer(64), at: now)
        machine.chose(peer(0))
        let next = machine.nextDial(at: now)
        #expect(next == nil && machine.chosenCount == machine.share / 2)
    }

    @Test("two hundred with a target of eight come to rest, everyone with eight at least and nobody far beyond")
    func rest() {
        let count = 200
        let peers = (0..<count).map(peer)
        let numbers = Dictionary(uniqueKeysWithValues: zip(peers, 0..<count))
        var machines = (0..<count).map { Self.machine(target: 8, seed: UInt64($0) + 7) }
        let limits = machines[0].limits
        let marks = LeaseTable.Marks(high: limits.highMark, low: limits.lowMark, share: machines[0].share)
        var tables = (0..<count).map {
            LeaseTable(LeaseLimits(), marks: marks, closesUnheld: true, random: source(UInt64($0) + 1007))
        }
        for number in 0..<count {
            for other in 0..<count where other != number {
                machines[number].heard(of: peers[other], at: [], topics: [chess], now: now)
            }
        }
        var links: Set<[Int]> = []
        func join(_ one: Int, _ other: Int, _ time: Instant) {
            guard links.insert([min(one, other), max(one, other)]).inserted else { return }
            for (mine, theirs) in [(one, other), (other, one)] {
                let origin = LeaseTable.Origin(network: nil, isChosen: mine == one)
                machines[mine].connected(peers[theirs])
                machines[mine].proved(peers[theirs], topics: [chess], isChosen: mine == one, at: time)
                tables[mine].connected(peers[theirs], from: origin, at: time)
                tables[mine].hold(peers[theirs], for: .topic(chess), worth: 10, at: time)
            }
        }
        var lastChange = now
        var time = now
        while time < now + .seconds(1800) {
            for number in 0..<count {
                while case .peer(let peer)? = machines[number].nextDial(at: time) {
                    guard let other = numbers[peer] else { continue }
                    join(number, other, time)
                    machines[number].dialled(.peer(peer), reached: peer, at: time)
                    lastChange = time
                }
                while let peer = tables[number].nextClosing(at: time)?.peer, let other = numbers[peer] {
                    links.remove([min(number, other), max(number, other)])
                    machines[number].disconnected(peer, byPeer: false, at: time)
                    machines[other].disconnected(peers[number], byPeer: true, at: time)
                    tables[number].disconnected(peer, at: time)
                    tables[other].disconnected(peers[number], at: time)
                    lastChange = time
                }
            }
            time += .seconds(1)
        }
        let degrees = machines.map(\.neighbourCount)
        #expect(degrees.allSatisfy { $0 >= 8 && $0 <= 16 }, "\(degrees.sorted())")
        #expect(lastChange < now + .seconds(300), "it settled after \(lastChange - now)")
    }
}
