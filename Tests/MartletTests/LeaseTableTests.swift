import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import Martlet

private func source(_ seed: UInt64) -> RandomSource {
    var generator = SeededGenerator(seed: seed)
    return RandomSource { buffer in
        for index in buffer.indices { buffer[index] = UInt8.random(in: 0...255, using: &generator) }
    }
}

private let peers: [PeerID] = (0..<100).map { number in
    var generator = SeededGenerator(seed: UInt64(number) + 1)
    return PeerID(PrivateKey.ed25519(using: &generator).publicKey)
}

@Suite("Leases on connections")
struct LeaseTableTests {
    private let now = Instant.start + .seconds(100)
    /// Where nothing is known of.
    private let place = LeaseTable.Origin(network: nil, isChosen: false)
    private let chess = LeaseReason.topic(TopicKey("chess"))
    private let music = LeaseReason.topic(TopicKey("music"))

    private func table(high: Int = 20, low: Int = 15, share: Int = 4, closesUnheld: Bool = true) -> LeaseTable {
        LeaseTable(
            LeaseLimits(), marks: LeaseTable.Marks(high: high, low: low, share: share), closesUnheld: closesUnheld,
            random: source(28))
    }

    /// All that `table` lets go until `end`, with the time of each; who is let go is disconnected.
    private func play(_ table: inout LeaseTable, from start: Instant, to end: Instant) -> [LeaseTable.Closing] {
        var closed: [LeaseTable.Closing] = []
        var time = start
        while time <= end {
            while let closing = table.nextClosing(at: time) {
                closed.append(closing)
                table.disconnected(closing.peer, at: time)
            }
            let next = table.deadline
            guard next != .never else { break }
            time = max(time + .milliseconds(1), next)
        }
        return closed
    }

    @Test("a peer that nothing holds is let go once it has lingered, and one that something holds stays")
    func unheld() {
        var table = table()
        table.connected(peers[0], from: place, at: now)
        table.connected(peers[1], from: place, at: now)
        table.hold(peers[1], for: chess, worth: 10, at: now)
        var closing = table.nextClosing(at: now + .seconds(4))
        #expect(closing == nil && table.deadline == now + table.limits.linger)
        closing = table.nextClosing(at: now + .seconds(5))
        #expect(closing == LeaseTable.Closing(peer: peers[0], cause: .unheld))
        table.disconnected(peers[0], at: now + .seconds(5))
        closing = table.nextClosing(at: now + .seconds(86_400))
        #expect(closing == nil && table.deadline == .never)
        table.release(peers[1], for: chess, at: now + .seconds(86_400))
        let closed = play(&table, from: now + .seconds(86_400), to: now + .seconds(90_000))
        #expect(closed == [LeaseTable.Closing(peer: peers[1], cause: .unheld)])
        #expect(table.held == (0, 0))
    }

    @Test("a lease ends at its time, and one that takes its place in time does not")
    func ends() {
        var table = table()
        table.connected(peers[0], from: place, at: now)
        table.hold(peers[0], for: .arrival, worth: 1, until: now + .seconds(60), at: now)
        table.connected(peers[1], from: place, at: now)
        table.hold(peers[1], for: .use, worth: 5, until: now + .seconds(60), at: now)
        let first = play(&table, from: now, to: now + .seconds(50))
        #expect(first.isEmpty)
        table.hold(peers[1], for: .use, worth: 5, until: now + .seconds(200), at: now + .seconds(50))
        let second = play(&table, from: now + .seconds(50), to: now + .seconds(190))
        #expect(second.map(\.peer) == [peers[0]])
        let third = play(&table, from: now + .seconds(190), to: now + .seconds(300))
        #expect(third.map(\.peer) == [peers[1]])
    }

    @Test(
        "a connection in use, or that the user wants, is never let go, however many there are and however long it takes"
    )
    func inUse() {
        var table = table()
        for (number, peer) in peers.enumerated() {
            table.connected(peer, from: place, at: now)
            if number < 10 { table.hold(peer, for: .stream, worth: 50, at: now) }
            if (10..<20).contains(number) { table.hold(peer, for: .user, worth: 100, at: now) }
            table.hold(peer, for: chess, worth: 10, at: now)
        }
        let closed = play(&table, from: now, to: now + .seconds(3600))
        #expect(closed.allSatisfy { $0.cause == .surplus })
        #expect(closed.count == 80, "those in use are above the low mark by themselves")
        #expect(Set(closed.map(\.peer)) == Set(peers[20...]))
    }

    @Test("beyond the high mark those go first that are worth least, one by one, down to the low mark and no further")
    func surplus() {
        var table = table()
        for (number, peer) in peers.prefix(30).enumerated() {
            table.connected(peer, from: place, at: now)
            table.hold(peer, for: chess, worth: 10, at: now)
            if number >= 12 { table.hold(peer, for: .use, worth: 5, until: .never, at: now) }
        }
        let closed = play(&table, from: now, to: now + .seconds(3600))
        #expect(closed.count == 15)
        #expect(Set(closed.prefix(12).map(\.peer)) == Set(peers.prefix(12)))
        #expect(closed.prefix(12).map(\.peer) != peers.prefix(12).sorted(), "of those worth as much, one at random")
        for peer in peers[40..<44] {
            table.connected(peer, from: place, at: now + .seconds(3600))
            table.hold(peer, for: chess, worth: 10, at: now + .seconds(3600))
        }
        let later = play(&table, from: now + .seconds(3600), to: now + .seconds(7200))
        #expect(later.isEmpty, "below the high mark nobody goes")
    }

    @Test("nobody goes that a topic has no more of than its share")
    func shares() {
        var table = table()
        for peer in peers.prefix(4) {
            table.connected(peer, from: place, at: now)
            table.hold(peer, for: music, worth: 1, at: now)
        }
        for peer in peers[4..<40] {
            table.connected(peer, from: place, at: now)
            table.hold(peer, for: chess, worth: 10, at: now)
        }
        let closed = play(&table, from: now, to: now + .seconds(3600))
        #expect(closed.count == 25 && Set(closed.map(\.peer)).isDisjoint(with: peers.prefix(4)))
    }

    @Test("a crowd of strangers pushes out nobody on a topic, and is gone once it has shown no use")
    func crowd() {
        var table = table()
        for peer in peers.prefix(15) {
            table.connected(peer, from: place, at: now)
            table.hold(peer, for: chess, worth: 10, at: now)
        }
        for peer in peers[15...] {
            table.connected(peer, from: place, at: now)
            table.hold(peer, for: .arrival, worth: 1, until: now + table.limits.arrival, at: now)
        }
        let closed = play(&table, from: now, to: now + .seconds(3600))
        #expect(Set(closed.map(\.peer)) == Set(peers[15...]) && closed.allSatisfy { $0.cause == .unheld })
    }

    @Test("many of one network push out nobody of another, however much they use this node")
    func crowdOfNetwork() {
        var table = table()
        for (number, peer) in peers.enumerated() {
            let network = number < 12 ? IPAddress(9, UInt8(number), 1, 0) : IPAddress(6, 6, 6, 0)
            table.connected(peer, from: LeaseTable.Origin(network: network, isChosen: false), at: now)
            table.hold(peer, for: chess, worth: 10, at: now)
            if number >= 12 { table.hold(peer, for: .use, worth: 5, at: now) }
        }
        let closed = play(&table, from: now, to: now + .seconds(3600))
        #expect(closed.count == 85 && Set(closed.map(\.peer)).isDisjoint(with: peers.prefix(12)))
    }

    @Test("whoever comes from everywhere pushes out none of those that this side chose, up to half of a topic's share")
    func chosen() {
        var table = table(share: 8)
        for (number, peer) in peers.enumerated() {
            let network = IPAddress(9, UInt8(number), 1, 0)
            table.connected(peer, from: LeaseTable.Origin(network: network, isChosen: number < 4), at: now)
            table.hold(peer, for: chess, worth: 10, at: now)
            if number >= 4 { table.hold(peer, for: .use, worth: 5, at: now) }
        }
        let closed = play(&table, from: now, to: now + .seconds(3600))
        #expect(closed.count == 85 && Set(closed.map(\.peer)).isDisjoint(with: peers.prefix(4)))
        // One more connection, which this side has not dialled, takes nothing away.
        table.connected(peers[0], from: place, at: now + .seconds(3600))
        for peer in peers[20..<60] {
            table.connected(peer, from: place, at: now + .seconds(3600))
            table.hold(peer, for: chess, worth: 20, at: now + .seconds(3600))
        }
        let later = play(&table, from: now + .seconds(3600), to: now + .seconds(7200))
        #expect(later.count >= 25 && !later.map(\.peer).contains(peers[0]))
    }

    @Test("a lease that ends by itself is told, so that nothing goes by what it was worth")
    func endTold() {
        var table = table()
        table.hold(peers[0], for: .use, worth: 5, until: now + .seconds(60), at: now)
        _ = play(&table, from: now, to: now + .seconds(50))
        var ended = table.nextEnded()
        #expect(ended == nil)
        _ = play(&table, from: now + .seconds(50), to: now + .seconds(100))
        ended = table.nextEnded()
        #expect(ended == peers[0] && table.worth(of: peers[0]) == 0)
        ended = table.nextEnded()
        #expect(ended == nil)
    }

    @Test("who is revoked is let go at once, whatever held it, and the user's lease alone outlives a connection")
    func revoked() {
        var table = table()
        for peer in peers.prefix(2) {
            table.connected(peer, from: place, at: now)
            table.hold(peer, for: .user, worth: 100, at: now)
            table.hold(peer, for: chess, worth: 10, at: now)
        }
        table.revoke(peers[0], at: now)
        let closing = table.nextClosing(at: now)
        #expect(closing == LeaseTable.Closing(peer: peers[0], cause: .revoked))
        let again = table.nextClosing(at: now)
        #expect(again == nil)
        for peer in peers.prefix(2) { table.disconnected(peer, at: now) }
        #expect(!table.isHeld(peers[0], for: .user) && table.isHeld(peers[1], for: .user))
        #expect(!table.isHeld(peers[1], for: chess) && table.held == (1, 1))
        table.revoke(peers[1], at: now)
        let none = table.nextClosing(at: now)
        #expect(none == nil && table.held == (0, 0))
    }

    @Test("a lease is released once, and a later one for the same reason is not its")
    func release() {
        var table = table()
        table.connected(peers[0], from: place, at: now)
        let first = table.hold(peers[0], for: .stream, worth: 50, at: now)
        let second = table.hold(peers[0], for: .stream, worth: 50, at: now)
        table.release(first, at: now)
        #expect(table.isHeld(peers[0], for: .stream) && table.worth(of: peers[0]) == 50)
        table.release(second, at: now)
        table.release(second, at: now)
        #expect(!table.isHeld(peers[0], for: .stream) && !table.isOfUse(peers[0]))
    }

    @Test("a node that is there for whoever comes lets nobody go for being of no use")
    func open() {
        var table = table(closesUnheld: false)
        for peer in peers { table.connected(peer, from: place, at: now) }
        let closed = play(&table, from: now, to: now + .seconds(86_400))
        #expect(closed.isEmpty && table.deadline == .never)
    }

    @Test("who comes and goes by the thousand leaves nothing behind")
    func bounded() {
        var table = table()
        for turn in 0..<10_000 {
            let peer = peers[turn % 100]
            let time = now + .milliseconds(turn)
            table.connected(peer, from: place, at: time)
            table.hold(peer, for: .arrival, worth: 1, until: time + .seconds(60), at: time)
            table.hold(peer, for: .use, worth: 5, until: time + .seconds(600), at: time)
            table.disconnected(peer, at: time)
            // As one does that is dialled in vain.
            table.hold(peer, for: .use, worth: 5, until: time + .seconds(1), at: time)
            _ = table.nextClosing(at: time)
        }
        #expect(table.held.peers <= 100)
        _ = play(&table, from: now + .seconds(10), to: now + .seconds(20))
        #expect(table.held == (0, 0))
    }
}
