import Foundation
import MartletIdentity
import MartletRuntime
import MartletWire
import Testing

@testable import MartletStore

@Suite("Who is remembered for what")
struct MembershipTests {
    @Test("those on a topic are found in a book that is larger than a page, however low their scores are, page by page")
    func pages() async throws {
        try await withStore { store in
            for number in 0..<11_000 { store.record(.seen(peer(number))) }
            let members = (0..<90).map { peer($0 * 100) }
            for (number, member) in members.enumerated() {
                store.record([
                    .proved(member, topics: [[7]]), .judged(member, reason: "slow", points: -number / 10 - 1),
                ])
            }
            try await store.flush()
            var found: [PeerSummary] = []
            var query = PeerQuery(topic: [7], limit: 40)
            while true {
                let page = try await store.peers(matching: query)
                found += page
                guard page.count == 40, let last = page.last else { break }
                query.after = PeerCursor(after: last, in: query.order)
            }
            #expect(found.count == 90 && Set(found.map(\.id)) == Set(members))
            #expect(found.map(\.score) == found.map(\.score).sorted(by: >))
            #expect(found.allSatisfy { $0.isProven && $0.topics == [[7]] })
        }
    }

    @Test("pages in any order have everyone once")
    func everyone() async throws {
        try await withStore { store in
            for number in 0..<100 { store.record(.seen(peer(number))) }
            for number in 0..<30 { store.record(.connected(peer(number), nil)) }
            try await store.flush()
            for order in [PeerQuery.Order.score, .lastSeen, .lastConnected] {
                var query = PeerQuery(order: order, limit: 7)
                var found: [PeerID] = []
                while let last = try await store.peers(matching: query).last {
                    found += try await store.peers(matching: query).map(\.id)
                    query.after = PeerCursor(after: last, in: order)
                }
                #expect(found.count == 100 && Set(found).count == 100)
            }
        }
    }

    @Test("a newer record takes a peer off the topics that it names no more, but not off those that were proven")
    func leaving() async throws {
        try await withStore { store in
            store.record([
                metadata(1, sequence: 1, members: [[1], [2]]), .proved(peer(1), topics: [[2], [3]]),
            ])
            try await store.flush()
            let before = try #require(try await store.peer(peer(1)))
            #expect(before.summary.topics == [[1], [2], [3]] && before.metadata[0].members == [[1], [2]])
            store.record(metadata(1, sequence: 2, members: [[4]]))
            // What anyone can replay changes nothing.
            store.record(metadata(1, sequence: 1, members: [[1]]))
            try await store.flush()
            let after = try #require(try await store.peer(peer(1)))
            #expect(after.summary.topics == [[2], [3], [4]] && after.metadata[0].members == [[4]])
        }
    }

    @Test("ten thousand strangers of one network leave a few entries, and push out nobody of another or on a topic")
    func strangers() async throws {
        var limits = StoreLimits()
        limits.strangersOfNetwork = 5
        limits.peers = 1000
        try await withStore(limits: limits) { store in
            for number in 0..<50 {
                let network = "50.1.\(number).0/24"
                store.record([.met(peer(number), network: network), .connected(peer(number), nil)])
            }
            for number in 50..<60 {
                store.record([.met(peer(number), network: "6.6.6.0/24"), .proved(peer(number), topics: [[1]])])
            }
            store.record([.met(peer(60), network: "6.6.6.0/24"), .kept(peer(60), true)])
            for number in 1000..<11_000 {
                store.record([.met(peer(number), network: "6.6.6.0/24"), .connected(peer(number), nil)])
            }
            try await store.flush()
            #expect(try await store.counts().peers == 61 + 5)
            for number in 0..<61 { #expect(try await store.peer(peer(number)) != nil, "\(number)") }
            #expect(try await store.peer(peer(10_999))?.summary.network == "6.6.6.0/24")
        }
    }

    @Test("a thousand members of one network push out nobody of another, and only a few of them are dialled first")
    func members() async throws {
        var limits = StoreLimits()
        limits.membersOfNetwork = 40
        try await withStore(limits: limits) { store in
            for number in 0..<50 {
                let network = "50.1.\(number).0/24"
                store.record([
                    .met(peer(number), network: network), .connected(peer(number), nil),
                    .proved(peer(number), topics: [[1]]),
                ])
            }
            try await store.flush()
            for number in 1000..<2000 {
                store.record([
                    .met(peer(number), network: "6.6.6.0/24"), .connected(peer(number), nil),
                    .proved(peer(number), topics: [[1]]),
                ])
                // One of whom a record alone says that it is on the topic.
                store.record([metadata(number + 5000, sequence: 1, members: [[1]])])
                store.record([.met(peer(number + 5000), network: "6.6.6.0/24")])
            }
            try await store.flush()
            let there = try await store.peers(matching: PeerQuery(limit: 10_000)).filter { $0.network == "6.6.6.0/24" }
            #expect(there.count == 40 && there.filter(\.isProven).count >= 39)
            var query = PeerQuery(isProven: true, wasConnected: true, order: .lastConnected, ofNetwork: 16, limit: 66)
            let chosen = try await store.peers(matching: query)
            #expect(chosen.filter { $0.network == "6.6.6.0/24" }.count == 16)
            #expect(Set(chosen.map(\.id)).isSuperset(of: (0..<50).map { peer($0) }))
            query.limit = 10
            #expect(try await store.peers(matching: query).count == 10)
        }
    }

    @Test("peers that only records call members go before those that proved it")
    func hearsay() async throws {
        var limits = StoreLimits()
        limits.peers = 200
        try await withStore(limits: limits) { store in
            for number in 0..<50 {
                store.record([.connected(peer(number), nil), .proved(peer(number), topics: [[1]])])
            }
            for number in 1000..<2000 { store.record(metadata(number, sequence: 1, members: [[1]])) }
            try await store.flush()
            #expect(try await store.counts().peers <= 200)
            #expect(try await store.peers(matching: PeerQuery(isProven: true)).count == 50)
        }
    }

    @Test("strangers that came push out none of those on a topic that never connected")
    func eviction() async throws {
        var limits = StoreLimits()
        limits.peers = 200
        try await withStore(limits: limits) { store in
            for number in 0..<100 { store.record(metadata(number, sequence: 1, members: [[1]])) }
            for number in 1000..<3000 {
                let network = "70.\(number / 250).\(number % 250).0/24"
                store.record([.met(peer(number), network: network), .connected(peer(number), address(number))])
            }
            try await store.flush()
            #expect(try await store.counts().peers <= 200)
            #expect(try await store.peers(matching: PeerQuery(topic: [1])).count == 100)
        }
    }

    @Test("no more peers are kept by an operator's word than there may be")
    func kept() async throws {
        var limits = StoreLimits()
        limits.kept = 10
        try await withStore(limits: limits) { store in
            for number in 0..<50 { store.record(.kept(peer(number), true)) }
            try await store.flush()
            let kept = try await store.peers().filter(\.isKept)
            #expect(kept.count == 10 && kept.contains { $0.id == peer(49) })
            store.record(.kept(peer(49), false))
            try await store.flush()
            #expect(try await store.peers().filter(\.isKept).count == 9)
        }
    }

    @Test("the program that identify told stands in for the version that a record leaves empty")
    func agent() async throws {
        try await withStore { store in
            store.record([.identified(peer(1), agent: "nobody/1")])
            store.record([.seen(peer(2)), .identified(peer(2), agent: "kubo/0.2")])
            store.record(.metadata(PeerMetadata(peer: peer(2), sequence: 1, record: [1])))
            try await store.flush()
            #expect(try await store.peer(peer(1)) == nil)
            #expect(try await store.peer(peer(2))?.summary.version == "kubo/0.2")
            store.record(metadata(2, sequence: 2))
            try await store.flush()
            #expect(try await store.peers().first?.version == "1.0")
        }
    }
}
