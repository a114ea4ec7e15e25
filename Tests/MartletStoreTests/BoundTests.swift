import Foundation
import MartletIdentity
import MartletRuntime
import MartletWire
import Testing

@testable import MartletStore

@Suite("Bounds of the peer store")
struct BoundTests {
    @Test("what a stranger says of itself is cut, or refused where it cannot be cut")
    func cut() async throws {
        try await withStore { store in
            let long = String(repeating: "ä", count: 10_000)
            let services = (0..<1000).map { PeerService(name: "s\($0)", port: 1, description: long) }
            store.record(metadata(2, sequence: 1, record: (16 << 10) + 1))
            store.record(
                metadata(
                    1, sequence: 1, record: 16 << 10, name: long, capabilities: (0..<1000).map { "c\($0)\(long)" },
                    topics: (0..<1000).map { Bytes([UInt8($0 % 256), UInt8($0 / 256)]) } + [Bytes(Array(0..<65))],
                    services: services))
            store.record(.evidence(Evidence(kind: long, value: long, witness: long)))
            store.record(.judged(peer(1), reason: long, points: .min))
            store.record([.addresses(peer(1), [address(1)], .dht), .failed(peer(1), address(1), long)])
            try await store.flush()
            #expect(try await store.peer(peer(2)) == nil)
            let details = try #require(try await store.peer(peer(1)))
            let metadata = try #require(details.metadata.first)
            #expect(metadata.record.count == 16 << 10)
            #expect(metadata.name == String(repeating: "ä", count: 64))
            #expect(metadata.capabilities.count == 64 && metadata.capabilities.allSatisfy { $0.utf8.count <= 128 })
            #expect(metadata.topics.count == 64)
            #expect(metadata.services.count == 64)
            #expect(metadata.services.allSatisfy { $0.description.utf8.count == 512 })
            let evidence = try #require(try await store.evidence(about: nil).first).evidence
            #expect([evidence.kind, evidence.value, evidence.witness].map(\.utf8.count) == [128, 512, 128])
            #expect(details.reasons.allSatisfy { $0.reason.utf8.count < 150 && $0.points >= -100 })
            #expect(details.addresses[0].lastError?.utf8.count == 128)
            #expect(details.summary.score == 0)
        }
    }

    @Test("the file stays within its bytes: the least valuable peers go, and new ones find room")
    func bytes() async throws {
        let folder = try Folder()
        var limits = StoreLimits()
        limits.fileSize = 1 << 20
        try await withEnvironment(folder) { [limits] environment in
            let store = try await PeerStore.open(environment, limits: limits) { Issue.record("\($0)") }
            store.record(.connected(peer(0), address(0)))
            for number in 1...3000 {
                store.record(metadata(number, sequence: 1, record: 1200))
                if number % 300 == 0 { try await store.flush() }
            }
            try await store.flush()
            let counts = try await store.counts()
            #expect((200...900).contains(counts.peers), "\(counts.peers)")
            #expect(store.statistics.pruned.peers > 2000 && store.statistics.lost == 0)
            for number in [0, 3000] { #expect(try await store.peer(peer(number)) != nil) }
            try await store.close()
        }
        let size = try FileManager.default.attributesOfItem(atPath: folder.path + "/peers.sqlite")[.size] as? Int
        #expect(try #require(size) < 2 << 20)
    }

    @Test("a file that is larger than it may be by now is made room in before anything is written")
    func lowered() async throws {
        let folder = try Folder()
        try await withEnvironment(folder) { environment in
            let store = try await PeerStore.open(environment)
            for number in 0..<1000 { store.record(metadata(number, sequence: 1, record: 2000)) }
            try await store.close()
            var limits = StoreLimits()
            limits.fileSize = 1 << 20
            limits.waitingBytes = 1 << 10
            let small = try await PeerStore.open(environment, limits: limits) { Issue.record("\($0)") }
            small.record(metadata(5000, sequence: 1))
            try await small.flush()
            #expect(try await small.counts().peers < 600)
            #expect(try await small.peer(peer(5000)) != nil)
            try await small.close()
        }
    }

    @Test("what SQLite refuses is given up alone, and everything beside it is written")
    func poison() async throws {
        let folder = try Folder()
        try await withEnvironment(folder) { environment in
            try await (try await PeerStore.open(environment)).close()
            try ByHand(folder.path + "/peers.sqlite").run(
                """
                CREATE TRIGGER picky BEFORE INSERT ON metadata WHEN new.name = 'poison'
                BEGIN SELECT RAISE(ABORT, 'no'); END
                """)
            let events = Events()
            let store = try await PeerStore.open(environment) { events.add($0) }
            for number in 0..<1000 {
                store.record(metadata(number, sequence: 1, name: number == 333 ? "poison" : "good"))
            }
            try await store.flush()
            #expect(try await store.counts().metadata == 999)
            #expect(store.statistics.lost == 1 && events.all.count == 1)
            try await store.close()
        }
    }

    @Test("text that steers a terminal or turns a line around is made harmless")
    func harmlessText() {
        let limits = StoreLimits()
        #expect(limits.text("plain text ~") == "plain text ~")
        #expect(limits.text("\u{1B}[2Ja\0b\n") == "\u{FFFD}[2Ja\u{FFFD}b\u{FFFD}")
        #expect(limits.text("\u{202E}evil\u{2028}\u{E000}") == "\u{FFFD}evil\u{FFFD}\u{FFFD}")
        #expect(limits.text("żółć 名前 🐦") == "żółć 名前 🐦")
        #expect(limits.text("🐦🐦", most: 7) == "🐦")
        #expect(limits.text("abc", most: 2) == "ab")
        #expect(limits.text("", most: 0) == "")
    }

    @Test("a peer has at most so many addresses, and those that failed most go first")
    func addresses() async throws {
        var limits = StoreLimits()
        limits.addresses = 4
        try await withStore(limits: limits) { store in
            let all = (0..<10).map { address(1, port: 4000 + $0) }
            store.record(.addresses(peer(1), Array(all[0..<4]), .dht))
            store.record([.connected(peer(1), all[0]), .failed(peer(1), all[2], "a"), .failed(peer(1), all[2], "a")])
            store.record(.failed(peer(1), all[1], "a"))
            store.record(.addresses(peer(1), [all[4]], .dht))
            try await store.flush()
            #expect(Set(try await store.addressesToDial(peer(1))) == [all[0], all[1], all[3], all[4]])
            store.record(.addresses(peer(1), all, .dht))
            try await store.flush()
            let left = try await store.addressesToDial(peer(1))
            #expect(left.count == 4 && left.first == all[0])
            let path = String(repeating: "/ip4/192.0.2.1", count: 103)
            store.record([.addresses(peer(2), [address(path), address(2)], .dht), .failed(peer(2), address(path), "")])
            try await store.flush()
            #expect(try await store.addressesToDial(peer(2)) == [address(2)])
        }
    }

    @Test("evidence of one witness, and about one peer, is bounded, and the newest stays")
    func evidence() async throws {
        var limits = StoreLimits()
        limits.evidence = 20
        try await withStore(limits: limits) { store in
            for number in 0..<30 {
                store.record(.evidence(Evidence(kind: "observed", value: "\(number)", witness: "loud")))
            }
            store.record(.evidence(Evidence(kind: "observed", value: "29", witness: "loud")))
            try await store.flush()
            let loud = try await store.evidence(about: nil)
            #expect(loud.count == 8 && loud.contains { $0.evidence.value == "29" && $0.times == 2 })
            for number in 0..<50 {
                store.record(.evidence(Evidence(kind: "observed", value: "x", witness: "w\(number)")))
            }
            try await store.flush()
            let all = try await store.evidence(about: nil)
            #expect(all.count == 20 && all.contains { $0.evidence.witness == "w49" })
        }
    }

    @Test("there are at most so many judgements, whatever reasons are thought of")
    func judgements() async throws {
        try await withStore { store in
            for number in 0..<100 { store.record(.judged(peer(1), reason: "r\(number)", points: 1)) }
            try await store.flush()
            #expect(try await store.counts().reasons == StoreLimits().judgements)
            #expect(try await store.peer(peer(1))?.summary.score == 50 + Double(StoreLimits().judgements))
        }
    }

    @Test("a crowd of strangers pushes out other strangers, and nobody who was connected or is kept")
    func crowd() async throws {
        var limits = StoreLimits()
        limits.peers = 100
        try await withStore(limits: limits) { store in
            for number in 0..<40 { store.record(.connected(peer(number), address(number))) }
            store.record(.kept(peer(40), true))
            for number in 1000..<6000 { store.record(.addresses(peer(number), [address(number)], .dht)) }
            try await store.flush()
            #expect(try await store.counts().peers <= 100)
            for number in 0...40 { #expect(try await store.peer(peer(number)) != nil) }
            #expect(store.statistics.pruned.peers >= 4941)
            // And when all were connected, those with the worst scores go.
            for number in 6000..<6200 { store.record(.connected(peer(number), address(number))) }
            store.record(.judged(peer(6200), reason: "rude", points: -50))
            store.record(.connected(peer(6200), nil))
            store.record(.seen(peer(6201)))
            try await store.flush()
            #expect(try await store.counts().peers <= 100)
            #expect(try await store.peer(peer(6200)) == nil)
            #expect(try await store.peer(peer(40)) != nil)
        }
    }

    @Test("measurements beyond reason add up to no overflow")
    func samples() async throws {
        try await withStore { store in
            for _ in 0..<2000 {
                store.record(
                    .quality(
                        peer(1),
                        QualitySample(
                            roundTrip: .seconds(Int64.max), jitter: .seconds(-5), packets: .max, lost: .max,
                            bytesIn: .max, bytesOut: .min, connected: .seconds(Int64.max))))
            }
            try await store.flush()
            let quality = try #require(try await store.peer(peer(1))?.quality.first)
            #expect(quality.roundTrip == .seconds(3600) && quality.jitter == .zero && quality.uptime == 1)
            #expect(quality.bytesIn == 2000 << 40 && quality.bytesOut == 0 && quality.lost == quality.packets)
        }
    }

    @Test("changes that wait are bounded by number and by bytes, and the oldest make room")
    func queue() {
        var limits = StoreLimits()
        limits.waiting = 3
        limits.waitingBytes = 100
        var queue = ChangeQueue()
        func work(_ time: Int64) -> Work { Work(kind: .prune, time: time) }
        for time in 0..<5 as Range<Int64> {
            #expect(queue.append(work(time), size: 10, limits: limits) == (time < 3 ? 0 : 1))
        }
        #expect(queue.start == 2 && queue.end == 5)
        #expect(queue.batch(from: 0, most: 2).map(\.time) == [2, 3])
        #expect(queue.batch(from: 4, most: 2).map(\.time) == [4])
        #expect(queue.batch(from: 9, most: 2).isEmpty)
        #expect(queue.append(work(5), size: 95, limits: limits) == 3)
        #expect(queue.batch(from: 0, most: 9).map(\.time) == [5])
        #expect(queue.append(work(6), size: 1000, limits: limits) == 1)
        queue.remove(below: 7)
        #expect(queue.count == 0 && queue.start == 7 && queue.end == 7)
        queue.remove(below: 3)
        #expect(queue.start == 7)
    }

    @Test("a score begins at 50 and stays within 0 and 100")
    func score() {
        #expect(PeerScore.reasons(PeerScore.Facts()).isEmpty)
        #expect(PeerScore.score([Double]()) == 50)
        #expect(PeerScore.score([1000]) == 100 && PeerScore.score([-1000]) == 0)
        let good = PeerScore.Facts(successes: 98, roundTrip: 5000, jitter: 0, loss: 0, uptime: 1)
        #expect(PeerScore.reasons(good).map(\.reason) == ["dials", "round trip", "uptime"])
        #expect(PeerScore.reasons(good).map(\.points) == [14.7, 19.8, 20])
        let bad = PeerScore.Facts(failures: 98, roundTrip: 2_000_000, jitter: 9_000_000, loss: 0.5, uptime: 0)
        #expect(PeerScore.reasons(bad).map(\.points) == [-14.7, -10, -20])
    }
}
