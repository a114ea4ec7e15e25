import Foundation
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@testable import MartletStore

@Suite("Peer store")
struct PeerStoreTests {
    @Test("what was recorded is read back, also after the store was closed and opened again")
    func remembered() async throws {
        let folder = try Folder()
        let service = PeerService(name: "files", port: 8080, description: "my files")
        let change = metadata(
            1, sequence: 5, name: "ant", capabilities: ["relay", "quoted \" and \\"], topics: [Bytes([1, 0xab])],
            services: [service])
        let before = try await withEnvironment(folder) { environment in
            let before = environment.wallTime
            let store = try await PeerStore.open(environment)
            store.record([.addresses(peer(1), [address(1)], .signed), change, .kept(peer(2), true)])
            store.record(.evidence(Evidence(about: peer(1), kind: "observed", value: "1.2.3.4", witness: "me")))
            try await store.close()
            #expect(await failure { _ = try await store.counts() } == .closed)
            #expect(await failure { try await store.flush() } == .closed)
            try await store.close()
            return before
        }
        try await withEnvironment(folder) { environment in
            let store = try await PeerStore.open(environment)
            let details = try #require(try await store.peer(peer(1)))
            #expect(details.summary.name == "ant")
            #expect(details.summary.type == "public")
            #expect(details.summary.nat == "none")
            #expect(details.summary.sequence == 5)
            #expect(details.summary.score == 50)
            #expect(details.summary.lastSeen.seconds >= before.seconds)
            #expect(details.summary.lastSeen <= environment.wallTime)
            #expect(details.addresses.map(\.address) == [address(1)])
            #expect(details.addresses[0].source == .signed)
            guard case .metadata(let expected) = change else { return }
            #expect(details.metadata == [expected])
            #expect(details.evidence.map(\.evidence.value) == ["1.2.3.4"])
            #expect(try await store.peer(peer(2))?.summary.isKept == true)
            #expect(try await store.peer(peer(3)) == nil)
            #expect(try await store.addressesToDial(peer(3)) == [])
            try await store.close()
        }
        let attributes = try FileManager.default.attributesOfItem(atPath: folder.path + "/peers.sqlite")
        #expect((attributes[.posixPermissions] as? Int) == 0o600)
        #expect(folder.names == ["peers.sqlite"])
    }

    @Test("addresses to dial come best first: reached last, never tried, failed, failed more often")
    func addressOrder() async throws {
        try await withStore { store in
            let all = (0..<5).map { address(1, port: 4000 + $0) }
            store.record(.addresses(peer(1), all, .dht))
            for _ in 0..<3 { store.record(.failed(peer(1), all[0], "timed out")) }
            store.record([.connected(peer(1), all[1]), .failed(peer(1), all[1], "refused")])
            store.record([.failed(peer(1), all[2], "refused"), .connected(peer(1), all[2])])
            store.record(.failed(peer(1), all[3], "refused"))
            try await store.flush()
            #expect(try await store.addressesToDial(peer(1)) == [all[2], all[4], all[1], all[3], all[0]])
            let worst = try #require(try await store.peer(peer(1))?.addresses.last)
            #expect(worst.failures == 3 && worst.failuresInRow == 3 && worst.successes == 0)
            #expect(worst.lastError == "timed out" && worst.lastFailure != nil && worst.lastSuccess == nil)
            let best = try #require(try await store.peer(peer(1))?.addresses.first)
            #expect(best.failures == 1 && best.failuresInRow == 0 && best.successes == 1)
            #expect(try await store.peer(peer(1))?.summary.lastConnected != nil)
        }
    }

    @Test("failing to reach somebody unknown, or at an address unknown, leaves nothing behind")
    func failedStrangers() async throws {
        try await withStore { store in
            store.record([.seen(peer(1)), .failed(peer(1), address(1), "x"), .failed(peer(2), address(2), "x")])
            store.record(.evidence(Evidence(about: peer(2), kind: "a", value: "b", witness: "c")))
            try await store.flush()
            #expect(try await store.counts() == StoreCounts(peers: 1))
            #expect(store.statistics.refused == 3)
            #expect(store.statistics.written == 1)
        }
    }

    @Test("metadata that is not newer than what is known is refused, and of what is newer the last four are kept")
    func sequences() async throws {
        try await withStore { store in
            for sequence in [3, 2, 3, 9, 7, 10, 11, 12] as [UInt64] {
                store.record(metadata(1, sequence: sequence, name: "name \(sequence)", topics: [[1]]))
            }
            store.record(metadata(1, sequence: .max))
            try await store.flush()
            let details = try #require(try await store.peer(peer(1)))
            #expect(details.metadata.map(\.sequence) == [12, 11, 10, 9])
            #expect(details.summary.name == "name 12")
            #expect(try await store.counts().topics == 1)
            #expect(store.statistics.refused == 4)
        }
    }

    @Test("peers are found by topic, capability, type, service, score and time, in the order asked for")
    func queries() async throws {
        try await withStore { store in
            store.record([
                metadata(1, sequence: 1, name: "one", capabilities: ["relay"], members: [[1], [2]]),
                metadata(2, sequence: 1, capabilities: ["relay", "store"], services: [PeerService(name: "web")]),
                metadata(3, sequence: 1), .proved(peer(3), topics: [[2]]),
                .judged(peer(3), reason: "helpful", points: 10), .judged(peer(2), reason: "rude", points: -10),
                .seen(peer(4)), .connected(peer(4), nil),
            ])
            try await store.flush()
            func numbers(_ query: PeerQuery) async throws -> [PeerID] {
                try await store.peers(matching: query).map(\.id)
            }
            let (one, four) = (min(peer(1), peer(4)), max(peer(1), peer(4)))
            #expect(try await numbers(PeerQuery()) == [peer(3), one, four, peer(2)])
            #expect(try await numbers(PeerQuery(topic: [2])) == [peer(3), peer(1)])
            #expect(try await numbers(PeerQuery(topic: [1])) == [peer(1)])
            #expect(try await numbers(PeerQuery(topic: [3])) == [])
            #expect(try await numbers(PeerQuery(topic: [2], isProven: true)) == [peer(3)])
            #expect(try await numbers(PeerQuery(topic: [2], isProven: false)) == [peer(1)])
            #expect(try await numbers(PeerQuery(isProven: true)) == [peer(3)])
            #expect(try await numbers(PeerQuery(among: [peer(2), peer(3), peer(9)])) == [peer(3), peer(2)])
            #expect(try await numbers(PeerQuery(excluding: [peer(3), one])) == [four, peer(2)])
            #expect(try await numbers(PeerQuery(capability: "relay")) == [peer(1), peer(2)])
            #expect(try await numbers(PeerQuery(capability: "store")) == [peer(2)])
            #expect(try await numbers(PeerQuery(topic: [2], capability: "relay")) == [peer(1)])
            #expect(try await numbers(PeerQuery(type: "public")).count == 3)
            #expect(try await numbers(PeerQuery(type: "private")) == [])
            #expect(try await numbers(PeerQuery(service: "web")) == [peer(2)])
            #expect(try await numbers(PeerQuery(wasConnected: true)) == [peer(4)])
            #expect(try await numbers(PeerQuery(wasConnected: false)).count == 3)
            #expect(try await numbers(PeerQuery(score: 50)).count == 3)
            #expect(try await numbers(PeerQuery(limit: 1)) == [peer(3)])
            #expect(try await numbers(PeerQuery(order: .lastConnected, limit: 1)) == [peer(4)])
            let later = WallTime(nanoseconds: .max)
            #expect(try await numbers(PeerQuery(seenSince: later)) == [])
        }
    }

    @Test("quality is summed up by the hour, and told as means and shares")
    func quality() async throws {
        let host = try inWorld(within: .seconds(7200)) { environment in
            let store = try await PeerStore.open(environment)
            let sample = QualitySample(
                roundTrip: .milliseconds(20), jitter: .milliseconds(2), packets: 100, lost: 1, bytesIn: 10,
                bytesOut: 20, connected: .seconds(900))
            var other = sample
            other.roundTrip = .milliseconds(40)
            store.record([.quality(peer(1), sample), .quality(peer(1), other)])
            store.record(.quality(peer(1), QualitySample(packets: 1)))
            try await environment.loop.sleep(for: .seconds(3600))
            store.record(.quality(peer(1), sample))
            try await store.flush()
            let details = try #require(try await store.peer(peer(1)))
            try #require(details.quality.count == 2)
            let first = details.quality[1]
            #expect(first.length == .seconds(3600) && first.samples == 2)
            #expect(first.roundTrip == .milliseconds(30) && first.jitter == .milliseconds(2))
            #expect(first.leastRoundTrip == .milliseconds(20) && first.longestRoundTrip == .milliseconds(40))
            #expect(first.packets == 201 && first.lost == 2 && first.bytesIn == 20 && first.bytesOut == 40)
            #expect(first.uptime == 0.5)
            #expect(details.reasons.map(\.reason) == ["jitter", "loss", "round trip", "uptime"])
            #expect(abs(details.summary.score - (50 + details.reasons.reduce(0) { $0 + $1.points })) < 0.001)
            try await store.close()
        }
        #expect(host.disk.files["peers.sqlite"] != nil)
    }

    @Test("a score has its reasons; a judgement takes the place of one for the same reason")
    func scores() async throws {
        try await withStore { store in
            store.record([
                .connected(peer(1), address(1)), .judged(peer(1), reason: "replay", points: -5),
                .judged(peer(1), reason: "replay", points: -30), .judged(peer(1), reason: "useful", points: 7000),
            ])
            try await store.flush()
            let details = try #require(try await store.peer(peer(1)))
            #expect(
                details.reasons == [
                    ScoreReason(reason: "dials", points: 5), ScoreReason(reason: "judged: replay", points: -30),
                    ScoreReason(reason: "judged: useful", points: 100),
                ])
            #expect(details.summary.score == 100)
        }
    }

    @Test("a peer that is forgotten leaves nothing behind")
    func forgotten() async throws {
        try await withStore { store in
            store.record([
                .addresses(peer(1), [address(1)], .dht), .connected(peer(1), address(1)),
                metadata(1, sequence: 1, topics: [[1]], services: [PeerService(name: "a")]),
                .evidence(Evidence(about: peer(1), kind: "a", value: "b", witness: "c")),
                .quality(peer(1), QualitySample(packets: 1)), .judged(peer(1), reason: "a", points: 1),
            ])
            try await store.flush()
            #expect(
                try await store.counts()
                    == StoreCounts(
                        peers: 1, addresses: 1, metadata: 1, topics: 1, services: 1, evidence: 1, quality: 1,
                        reasons: 2))
            store.record([.forgotten(peer(1)), .forgotten(peer(2))])
            try await store.flush()
            #expect(try await store.counts() == StoreCounts())
            // Within one batch, too.
            store.record([.seen(peer(1)), .forgotten(peer(1)), .addresses(peer(1), [address(1)], .dht)])
            try await store.flush()
            #expect(try await store.counts() == StoreCounts(peers: 1, addresses: 1))
        }
    }

    @Test("changes are written without being flushed, soon, and at once where many wait")
    func batching() async throws {
        var limits = StoreLimits()
        limits.writeInterval = .seconds(3600)
        limits.batch = 100
        try await withStore(limits: limits) { store in
            for number in 0..<99 { store.record(.seen(peer(number))) }
            #expect(store.statistics.waiting == 99)
            #expect(try await store.counts().peers == 0)
            store.record(.seen(peer(99)))
            while store.statistics.waiting > 0 { _ = try await store.counts() }
            #expect(try await store.counts().peers == 100)
            #expect(store.statistics.batches == 1)
        }
        let host = try inWorld { environment in
            let store = try await PeerStore.open(environment)
            store.record(.seen(peer(1)))
            try await environment.loop.sleep(for: .milliseconds(200))
            #expect(try await store.counts().peers == 0)
            try await environment.loop.sleep(for: .milliseconds(100))
            #expect(try await store.counts().peers == 1)
            try await store.close()
        }
        #expect(host.disk.used > 0)
    }
}
