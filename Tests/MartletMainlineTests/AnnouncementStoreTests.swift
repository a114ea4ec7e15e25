import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import MartletMainline

@Suite("Stored announcements")
struct PeerStoreTests {
    private struct Announcement: Hashable {
        var infohash: NodeID
        var peer: SocketAddress
    }

    @Test("an IPv6 host counts once, however many addresses of its /64 it announces from")
    func hostsOfV6() throws {
        var generator = SeededGenerator(seed: 4)
        let hash = SipHash(using: &generator)
        var limits = MainlineLimits()
        limits.announcementsPerSource = 5
        limits.itemsPerSource = 3
        var peers = PeerStore(limits: limits, hash: hash)
        var items = ItemStore(limits: limits, hash: hash)
        func address(_ network: UInt128, _ number: UInt128) -> IPAddress {
            IPAddress(v6: 0x2a00 << 112 | network << 64 | number)
        }
        let own = NodeID(using: &generator)
        var stored = 0
        for number in UInt128(1)...50 {
            let infohash = NodeID(using: &generator)
            let outcome = peers.add(SocketAddress(address(1, number), port: 1), to: infohash, at: .start)
            #expect(outcome == (number <= 5 ? .stored : .sourceIsFull))
            let item = try MainlineItem(immutable: Bytes(utf8: "i\(number)e"))
            do throws(KRPCError) {
                try items.put(item, replacing: nil, from: address(1, number), near: own, at: .start)
                stored += 1
            } catch {
                #expect(error == .server)
            }
        }
        #expect(stored == 3)
        // What has ended counts no more.
        peers.expire(at: .start + .seconds(3600))
        let again = SocketAddress(address(1, 60), port: 1)
        #expect(peers.add(again, to: own, at: .start + .seconds(3600)) == .stored)
        #expect(peers.add(SocketAddress(address(2, 1), port: 1), to: own, at: .start + .seconds(3600)) == .stored)
    }

    @Test("a store holds what a dictionary would, whatever comes and goes", arguments: [UInt64(1), 2, 3])
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var limits = MainlineLimits()
        limits.announcementsPerTopic = 12
        limits.announcements = 400
        var store = PeerStore(limits: limits, hash: SipHash(using: &generator))
        // Until when each lasts, in minutes.
        var model: [Announcement: UInt64] = [:]
        var minutes: UInt64 = 100
        func draw(_ count: UInt64) -> UInt64 { generator.next(upperBound: count) }
        for step in 0..<6000 {
            let infohash = NodeID(high: draw(40), middle: 0, low: UInt32(draw(3)))
            let number = draw(20)
            let ip =
                number < 12 ? IPAddress(9, 1, 1, UInt8(number)) : IPAddress(v6: 0x2600 << 112 | UInt128(number) << 64)
            let peer = SocketAddress(ip, port: UInt16(1 + draw(2)))
            let now = Instant.start + .seconds(60 * Int64(minutes))
            let key = Announcement(infohash: infohash, peer: peer)
            let ofTopic = model.keys.count { $0.infohash == infohash }
            let expected: PeerStore.Outcome =
                model[key] != nil ? .stored : model.count >= 400 ? .full : ofTopic >= 12 ? .topicIsFull : .stored
            #expect(store.add(peer, to: infohash, at: now) == expected, "step \(step)")
            if expected == .stored { model[key] = minutes + 30 }
            if draw(10) == 0 { minutes += draw(4) }
            if draw(20) == 0 {
                store.expire(at: .start + .seconds(60 * Int64(minutes)))
                model = model.filter { $0.value > minutes }
            }
            #expect(store.count == model.count)
            guard step % 50 == 0 else { continue }
            #expect(store.topicCount == Set(model.keys.map(\.infohash)).count)
            let asked = NodeID(high: draw(40), middle: 0, low: UInt32(draw(3)))
            for family in [IPAddress.Family.v4, .v6] {
                var found: [SocketAddress] = []
                store.peers(
                    of: asked, family, maximum: 100, at: .start + .seconds(60 * Int64(minutes)), into: &found)
                let right = model.filter {
                    $0.key.infohash == asked && $0.key.peer.ip.family == family && $0.value > minutes
                }
                #expect(Set(found) == Set(right.keys.map(\.peer)) && found.count == right.count)
            }
        }
        store.expire(at: .start + .seconds(60 * Int64(minutes + 40)))
        #expect(store.count == 0 && store.topicCount == 0)
    }

    @Test("where there are more peers than an answer holds, each is told of in turn")
    func turns() {
        var generator = SeededGenerator(seed: 1)
        var store = PeerStore(limits: MainlineLimits(), hash: SipHash(using: &generator))
        let infohash = NodeID(high: 1, middle: 2, low: 3)
        let now = Instant.start + .seconds(1000)
        for number in 0..<25 {
            let peer = SocketAddress(IPAddress(9, 1, UInt8(number), 1), port: 1)
            #expect(done { store.add(peer, to: infohash, at: now) } == .stored)
        }
        var told: [SocketAddress: Int] = [:]
        for _ in 0..<5 {
            var found: [SocketAddress] = []
            store.peers(of: infohash, .v4, maximum: 10, at: now, into: &found)
            #expect(Set(found).count == 10)
            for peer in found { told[peer, default: 0] += 1 }
        }
        #expect(told.count == 25 && told.values.allSatisfy { $0 == 2 })
    }
}
