import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletTransport
import MartletWire
import TestSupport
import Testing

@Suite("Memory and streams of a node")
struct ResourceTests {
    @Test("what a stream draws is drawn from its peer and from the node, in steps, and all of it comes back")
    func draws() {
        let node = ResourceScope(limit: 1 << 20)
        let peer = node.addPeer()
        #expect(peer.limit == 256 << 10)
        var account: ResourceAccount? = ResourceAccount(of: peer, .inbound)
        account?.draw(1)
        #expect(account?.used == 1)
        #expect(peer.used == 8 << 10 && node.used == 8 << 10)
        account?.draw(100_000)
        #expect(node.used == 13 * 8 << 10 && node.used(.inbound) == node.used && node.used(.outbound) == 0)
        // A little back and forth costs nothing above.
        for _ in 0..<100 {
            account?.draw(-1000)
            account?.draw(1000)
        }
        #expect(node.used == 13 * 8 << 10)
        account?.draw(-90_000)
        #expect(node.used == 2 * 8 << 10)
        account = nil
        #expect(peer.used == 0 && node.used == 0)
        #expect(node.peak == 13 * 8 << 10)
    }

    @Test("whatever is drawn and given back in whatever order, the scopes above hold as much, up to two steps")
    func property() {
        var random = SeededGenerator(seed: 12)
        let node = ResourceScope(limit: 1 << 30)
        let peers = (0..<3).map { _ in node.addPeer() }
        let accounts = peers.flatMap { [ResourceAccount(of: $0, .inbound), ResourceAccount(of: $0, .outbound)] }
        for _ in 0..<5000 {
            let account = accounts[Int.random(in: 0..<6, using: &random)]
            account.draw(Int.random(in: -account.used...40_000, using: &random))
        }
        for (index, peer) in peers.enumerated() {
            let exact = accounts[2 * index].used + accounts[2 * index + 1].used
            #expect((exact...exact + 4 * 8 << 10).contains(peer.used))
        }
        #expect(node.used == peers.reduce(0) { $0 + $1.used })
    }

    @Test("one who holds too much is tight, and so is one beyond its fair share when the node is short; others are not")
    func tightness() {
        let node = ResourceScope(limit: 1 << 20)
        let peers = (0..<8).map { _ in node.addPeer() }
        #expect(node.fairShare == 128 << 10)
        peers[0].draw(256 << 10)
        #expect(peers[0].isTight && !peers[1].isTight && !node.isShort)
        for peer in peers[1...3] { peer.draw(256 << 10, .outbound) }
        #expect(node.isShort && node.isExhausted)
        #expect(peers[3].isTight)
        peers[4].draw(100 << 10)
        #expect(!peers[4].isTight && peers[4].isShort, "within its fair share")
        peers[4].draw(100 << 10)
        #expect(peers[4].isTight)
    }

    @Test("whoever plans that others pay, and is gone before they have, keeps nobody else from planning it")
    func plans() {
        let node = ResourceScope(limit: 1 << 20)
        let (first, second) = (node.addPeer(), node.addPeer())
        #expect(first.planRelief() && !second.planRelief())
        first.reliefIsOver()
        #expect(second.planRelief() && !first.planRelief())
    }

    @Test("those who come never take what this side needs, nor the other way round")
    func sides() {
        let node = ResourceScope(limit: 1 << 20)
        node.draw(600 << 10, .inbound)
        #expect(!node.isShort)
        node.draw(150 << 10, .inbound)
        guard case .side(.inbound, let excess) = node.shortfall else {
            Issue.record("\(String(describing: node.shortfall))")
            return
        }
        // Down to seven eighths of three quarters.
        #expect(750 << 10 - excess == 672 << 10)
    }

    @Test("there are no more streams of one side than may be, of one peer and in all")
    func streams() {
        var limits = ResourceLimits(memory: 1 << 20)
        limits.inboundStreams = 8
        limits.outboundStreams = 4
        let node = ResourceScope(limits)
        let peers = (0..<5).map { _ in node.addPeer() }
        let accounts = peers.map { ResourceAccount(of: $0, .inbound) }
        accounts[0].begin()
        #expect(peers[0].admitsStream(.inbound))
        accounts[0].begin()
        #expect(!peers[0].admitsStream(.inbound) && peers[1].admitsStream(.inbound), "two of eight for one peer")
        for account in accounts[1...3] { for _ in 0..<2 { account.begin() } }
        #expect(!peers[4].admitsStream(.inbound), "eight in all")
        #expect(peers[0].admitsStream(.outbound))
        accounts[3].end()
        #expect(peers[4].admitsStream(.inbound) && !peers[0].admitsStream(.inbound))
    }

    @Test("while nobody has to pay, the pause until the next look doubles up to a tenth of a second")
    func pauses() {
        var pause = ReliefPause()
        let pauses = (0..<9).map { _ in pause.take() }
        #expect(pauses == [1, 2, 4, 8, 16, 32, 64, 100, 100].map { Duration.milliseconds($0) })
    }

    @Test(
        "those who hold most come down to one level, and nobody below what is fair",
        arguments: [
            ([100, 50, 10], 30, 20, 70), ([100, 50, 10], 50, 20, 50), ([100, 50, 10], 70, 20, 40),
            ([100, 50, 10], 1000, 20, 20), ([100, 100, 100], 30, 0, 90), ([100, 100, 100], 31, 0, 89),
            ([10, 10], 5, 20, 20), ([], 5, 20, 20), ([10, 50, 100], 30, 20, 70),
        ])
    func levels(_ uses: [Int], _ excess: Int, _ floor: Int, _ expected: Int) {
        let level = ResourceTree.level(of: uses, excess: excess, floor: floor)
        #expect(level == expected)
        let won = uses.reduce(0) { $0 + max($1 - level, 0) }
        #expect(level == floor || won >= excess)
    }
}
