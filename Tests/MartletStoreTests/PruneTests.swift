import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@testable import MartletStore

@Suite("Pruning the peer store")
struct PruneTests {
    private static let day = Duration.seconds(86_400)

    private func afterDays(_ days: Int, _ environment: any Environment) async throws {
        try await environment.loop.sleep(for: Self.day * days)
    }

    @Test(
        "peers go when they were not heard of for long: strangers after a week, others after a month, kept ones never")
    func peers() throws {
        _ = try inWorld(within: Self.day * 100) { environment in
            let store = try await PeerStore.open(environment)
            store.record([.seen(peer(1)), .connected(peer(2), nil), .kept(peer(3), true), .seen(peer(4))])
            store.record(.evidence(Evidence(about: peer(1), kind: "a", value: "b", witness: "c")))
            var left: [[Int]] = []
            for _ in 0..<5 {
                try await self.afterDays(8, environment)
                store.record(.seen(peer(4)))
                try await store.prune()
                let ids = try await store.peers().map(\.id)
                left.append((1...4).filter { ids.contains(peer($0)) })
            }
            #expect(left == [[2, 3, 4], [2, 3, 4], [2, 3, 4], [3, 4], [3, 4]])
            #expect(store.statistics.pruned.peers == 2)
            #expect(try await store.counts().evidence == 0)
            try await store.close()
        }
    }

    @Test("a node that was off for months, or whose clock jumps ahead, still has its peers")
    func jump() throws {
        _ = try inWorld(within: Self.day * 300) { environment in
            let store = try await PeerStore.open(environment)
            for number in 0..<10 { store.record(.connected(peer(number), address(number))) }
            try await self.afterDays(200, environment)
            try await store.prune()
            #expect(try await store.counts().peers == 10)
            #expect(try await store.counts().addresses == 10)
            try await store.close()
        }
    }

    @Test("a clock that was ahead leaves no peer that never gets old")
    func ahead() throws {
        var setBack: (() -> Void)?
        _ = try inWorld(within: Self.day * 300) { host in
            host.wallClockOffset = Self.day * 3650
            setBack = { host.wallClockOffset = .zero }
        } _: { environment in
            let store = try await PeerStore.open(environment)
            store.record(.seen(peer(1)))
            try await store.flush()
            setBack?()
            store.record(.seen(peer(2)))
            try await store.prune()
            let last = try #require(try await store.peer(peer(1))).summary.lastSeen
            #expect(last <= environment.wallTime)
            try await self.afterDays(8, environment)
            store.record(.seen(peer(2)))
            try await store.prune()
            #expect(try await store.peers().map(\.id) == [peer(2)])
            try await store.close()
        }
    }

    @Test("addresses go when nobody names them, sooner where they only fail, and never where an operator named them")
    func addresses() throws {
        _ = try inWorld(within: Self.day * 100) { environment in
            let store = try await PeerStore.open(environment)
            let all = (0..<5).map { address(1, port: 4000 + $0) }
            store.record([.addresses(peer(1), Array(all[1...]), .dht), .addresses(peer(1), [all[0]], .configured)])
            for _ in 0..<10 { store.record(.failed(peer(1), all[2], "refused")) }
            try await self.afterDays(4, environment)
            store.record([.connected(peer(1), all[3])])
            try await store.prune()
            #expect(Set(try await store.addressesToDial(peer(1))) == [all[0], all[1], all[3], all[4]])
            try await self.afterDays(11, environment)
            store.record(.addresses(peer(1), [all[4]], .dht))
            try await store.prune()
            #expect(Set(try await store.addressesToDial(peer(1))) == [all[0], all[3], all[4]])
            #expect(store.statistics.pruned.addresses == 2)
            try await store.close()
        }
    }

    @Test("evidence and judgements go after a week, and a score with them")
    func opinions() throws {
        _ = try inWorld(within: Self.day * 100) { environment in
            let store = try await PeerStore.open(environment)
            store.record(.kept(peer(1), true))
            store.record([.judged(peer(1), reason: "rude", points: -20), .judged(peer(1), reason: "kind", points: 5)])
            store.record(.evidence(Evidence(kind: "observed", value: "1.2.3.4", witness: "a")))
            store.record(.evidence(Evidence(kind: "observed", value: "1.2.3.4", witness: "b")))
            try await self.afterDays(6, environment)
            store.record(.evidence(Evidence(kind: "observed", value: "1.2.3.4", witness: "b")))
            store.record(.judged(peer(1), reason: "kind", points: 5))
            try await store.prune()
            #expect(try await store.counts().evidence == 2)
            #expect(try await store.peer(peer(1))?.summary.score == 35)
            try await self.afterDays(2, environment)
            store.record(.seen(peer(1)))
            try await store.prune()
            #expect(try await store.evidence(about: nil).map(\.evidence.witness) == ["b"])
            #expect(try await store.peer(peer(1))?.summary.score == 55)
            #expect(try await store.peer(peer(1))?.reasons == [ScoreReason(reason: "judged: kind", points: 5)])
            try await store.close()
        }
    }

    @Test("hours of quality become days after a week, without losing a packet, and days go after three months")
    func quality() throws {
        _ = try inWorld(within: Self.day * 400) { environment in
            let store = try await PeerStore.open(environment)
            func packets() async throws -> Int {
                try #require(try await store.peer(peer(1))).quality.reduce(0) { $0 + $1.packets }
            }
            for hour in 0..<24 * 20 {
                store.record(
                    .quality(
                        peer(1),
                        QualitySample(roundTrip: .milliseconds(hour % 24 + 1), packets: 10, connected: .seconds(1800))))
                if hour % 24 == 5 { try await store.prune() }
                try await environment.loop.sleep(for: .seconds(3600))
            }
            try await store.prune()
            #expect(try await packets() == 10 * 24 * 20)
            let periods = try #require(try await store.peer(peer(1))).quality
            #expect(periods.count < 24 * 7 + 20)
            let day = try #require(periods.last)
            #expect(day.length == Self.day && day.samples == 24 && day.uptime == 0.5)
            #expect(day.leastRoundTrip == .milliseconds(1) && day.longestRoundTrip == .milliseconds(24))
            #expect(day.roundTrip == .microseconds(12_500))
            for _ in 0..<200 {
                try await self.afterDays(1, environment)
                store.record(.seen(peer(1)))
                try await store.prune()
            }
            #expect(try await store.counts().quality == 0)
            try await store.close()
        }
    }
}
