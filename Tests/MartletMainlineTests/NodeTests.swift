import MartletCrypto
import MartletRouting
import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import MartletMainline

/// A node that is driven by hand.
final class Hand {
    var node: MainlineNode
    var generator: SeededGenerator
    var now = Instant.start + .seconds(1000)
    let id: NodeID

    init(seed: UInt64 = 1, _ change: (inout MainlineConfiguration) -> Void = { _ in }) {
        var configuration = MainlineConfiguration()
        configuration.limits.sourceCounters = 1024
        change(&configuration)
        generator = SeededGenerator(seed: seed)
        node = MainlineNode(configuration, at: now, using: &generator)
        id = NodeID(using: &generator)
    }

    func transmit() -> Transmit? { node.nextTransmit() }
    var ownID: NodeID? { node.id(.v4) }
    var known: [SocketAddress] { node.nodes(.v4).map(\.contact) }
    var waiting: Int { node.sides[0]?.table.waitingCount ?? 0 }
    var joinState: JoinState { node.joinState(.v4) }
    func dropped(_ reason: MainlineDrop) -> UInt64 { node.metrics.dropped[reason].value }
    func pass(_ duration: Duration) {
        now += duration
        node.handleDeadline(at: now, using: &generator)
    }
    func take(_ bytes: Bytes, from source: SocketAddress = asker) {
        node.handle(bytes.span, from: source, at: now, using: &generator)
    }

    static let asker = SocketAddress(IPAddress(8, 8, 8, 8), port: 6881)

    /// What the node answers to `text`.
    func ask(_ bytes: Bytes, from source: SocketAddress = asker) throws -> Bencode? {
        node.handle(bytes.span, from: source, at: now, using: &generator)
        var answer: Bencode?
        while let transmit = node.nextTransmit() {
            let message = try Bencode(transmit.bytes)
            // The node has questions of its own.
            if message["q"] != nil { continue }
            #expect(transmit.destination == source && transmit.bytes.count <= 1200)
            answer = message
        }
        return answer
    }

    func ask(
        _ method: String, _ arguments: [(String, Bencode)] = [], from source: SocketAddress = asker,
        readOnly: Bool = false
    ) throws -> Bencode? {
        let all = [("id", Bencode.string(id.bytes))] + arguments
        var entries = [
            entry("a", .dictionary(all.map { Bencode.Entry(Bytes(utf8: $0.0), $0.1) })),
            entry("q", .string(Bytes(utf8: method))), entry("t", .string(Bytes(utf8: "tx"))),
            entry("y", .string(Bytes(utf8: "q"))),
        ]
        if readOnly { entries.append(entry("ro", .integer(1))) }
        return try ask(Bencode.dictionary(entries).encoded(), from: source)
    }

    /// The number of the error that the node answers with.
    func error(
        _ method: String, _ arguments: [(String, Bencode)] = [], from source: SocketAddress = asker
    ) throws -> Int64? {
        guard case .list(let parts)? = try ask(method, arguments, from: source)?["e"],
            case .integer(let code)? = parts.first
        else { return nil }
        return code
    }

    func token(for target: NodeID, _ method: String = "get_peers", from source: SocketAddress = asker) throws -> Bencode
    {
        let name = method == "get" ? "target" : "info_hash"
        return try #require(try ask(method, [(name, .string(target.bytes))], from: source)?["r"]?["token"])
    }
}

@Suite("A node by hand")
struct NodeTests {
    private let target = NodeID(high: 1, middle: 2, low: 3)

    @Test("ping is answered with id, transaction and the asker's address")
    func ping() throws {
        let hand = Hand()
        let answer = try #require(try hand.ask("ping"))
        #expect(answer["r"]?["id"] == .string(hand.ownID?.bytes ?? Bytes()))
        #expect(
            answer["t"] == .string(Bytes(utf8: "tx")) && answer["y"] == .string(Bytes(utf8: "r")) && answer["v"] != nil)
        #expect(answer["ip"] == .string([8, 8, 8, 8, 0x1A, 0xE1]))
    }

    @Test("an announcement is stored with a valid token, and told to those who ask")
    func announce() throws {
        let hand = Hand()
        let hash = ("info_hash", Bencode.string(target.bytes))
        let token = try hand.token(for: target)
        #expect(try hand.error("announce_peer", [hash, ("port", .integer(4001))]) == 203)
        #expect(
            try hand.error(
                "announce_peer", [hash, ("port", .integer(4001)), ("token", .string(Bytes(utf8: "badtoken")))]) == 203)
        #expect(try hand.error("announce_peer", [hash, ("port", .integer(0)), ("token", token)]) == 203)
        #expect(try hand.error("announce_peer", [hash, ("port", .integer(65536)), ("token", token)]) == 203)
        #expect(try hand.ask("announce_peer", [hash, ("port", .integer(4001)), ("token", token)])?["r"] != nil)
        let values = try hand.ask("get_peers", [hash])?["r"]?["values"]
        #expect(values == .list([.string([8, 8, 8, 8, 0x0F, 0xA1])]))
        // The port that the datagram came from, whatever else is said.
        _ = try hand.ask(
            "announce_peer", [hash, ("implied_port", .integer(1)), ("port", .integer(1)), ("token", token)])
        #expect(hand.node.announcementCount == 2)
        hand.now += .seconds(30 * 60 + 61)
        hand.node.handleDeadline(at: hand.now, using: &hand.generator)
        #expect(hand.node.announcementCount == 0)
        #expect(try hand.ask("get_peers", [hash])?["r"]?["values"] == nil)
    }

    @Test("a token is good for its address alone, and for five to ten minutes")
    func tokens() throws {
        let hand = Hand()
        let token = try hand.token(for: target)
        let arguments: [(String, Bencode)] = [
            ("info_hash", .string(target.bytes)), ("port", .integer(1)), ("token", token),
        ]
        #expect(
            try hand.error("announce_peer", arguments, from: SocketAddress(IPAddress(8, 8, 8, 9), port: 6881)) == 203)
        #expect(try hand.error("announce_peer", arguments, from: SocketAddress(IPAddress(8, 8, 8, 8), port: 1)) == nil)
        for minutes in 1...4 {
            hand.now += .seconds(75)
            hand.node.handleDeadline(at: hand.now, using: &hand.generator)
            #expect(try hand.error("announce_peer", arguments) == nil, "\(minutes)")
        }
        for _ in 0..<10 {
            hand.now += .seconds(60)
            hand.node.handleDeadline(at: hand.now, using: &hand.generator)
        }
        #expect(try hand.error("announce_peer", arguments) == 203)
        #expect(hand.dropped(.badToken) == 2)
    }

    @Test("every error has the number that its BEP gives it")
    func errors() throws {
        let hand = Hand()
        var generator = SeededGenerator(seed: 8)
        let key = PrivateKey.ed25519(using: &generator)
        let token = try hand.token(for: target, "get")
        func arguments(
            _ text: String, _ sequence: Int64, salt: String = "", cas: Int64? = nil
        ) throws -> [(String, Bencode)] {
            let item = try MainlineItem(
                mutable: Bytes(utf8: text), sequence: sequence, salt: Bytes(utf8: salt), signedBy: key)
            let author = try #require(item.author)
            return [
                ("token", token), ("v", try Bencode(item.value)), ("k", .string(author.key)),
                ("sig", .string(author.signature)), ("seq", .integer(sequence)),
            ] + (salt.isEmpty ? [] : [("salt", .string(author.salt))]) + (cas.map { [("cas", .integer($0))] } ?? [])
        }
        #expect(try hand.error("find_node") == 203)
        #expect(try hand.error("vote") == 204)
        let large = Bencode.string(Bytes(utf8: String(repeating: "x", count: 997)))
        #expect(try hand.error("put", [("token", token), ("v", large)]) == 205)
        #expect(try hand.error("put", [("v", .integer(1))]) == 203)
        #expect(try hand.error("put", try arguments("1:a", 5)) == nil)
        var forged = try arguments("1:b", 6)
        forged[1].1 = .string(Bytes(utf8: "c"))
        #expect(try hand.error("put", forged) == 206)
        let salt = Bencode.string(Bytes(utf8: String(repeating: "s", count: 65)))
        #expect(try hand.error("put", try arguments("1:b", 6) + [("salt", salt)]) == 207)
        #expect(try hand.error("put", try arguments("1:b", 6, cas: 4)) == 301)
        #expect(try hand.error("put", try arguments("1:b", 4)) == 302)
        #expect(hand.node.itemCount == 1)
        let place = MainlineItem.target(key: key.publicKey.data.span)
        let answer = try hand.ask("get", [("target", .string(place.bytes))])?["r"]
        #expect(answer?["seq"] == .integer(5) && answer?["v"] == .string(Bytes(utf8: "a")) && answer?["k"] != nil)
        let known = try hand.ask("get", [("target", .string(place.bytes)), ("seq", .integer(5))])?["r"]
        #expect(known?["seq"] == .integer(5) && known?["v"] == nil && known?["sig"] == nil)
    }

    @Test("a sample tells of infohashes, and stays the same for its interval")
    func sample() throws {
        let hand = Hand()
        for number in 0..<50 {
            let infohash = NodeID(high: UInt64(number), middle: 0, low: 0)
            let token = try hand.token(for: infohash)
            hand.now += .milliseconds(100)
            _ = try hand.ask(
                "announce_peer", [("info_hash", .string(infohash.bytes)), ("port", .integer(1)), ("token", token)])
        }
        let first = try hand.ask("sample_infohashes", [("target", .string(target.bytes))])?["r"]
        guard case .string(let samples)? = first?["samples"] else { throw WireError(.missing, at: 0) }
        #expect(samples.count == 400 && first?["num"] == .integer(50) && first?["interval"] == .integer(600))
        #expect(
            try hand.ask("sample_infohashes", [("target", .string(target.bytes))])?["r"]?["samples"]
                == first?["samples"])
    }

    @Test("in public, nothing from addresses that nobody can have; in private, everything")
    func addresses() throws {
        let local = SocketAddress(IPAddress(192, 168, 1, 2), port: 5)
        let open = Hand()
        #expect(try open.ask("ping", from: local) == nil)
        #expect(try open.ask("ping", from: SocketAddress(IPAddress(8, 8, 8, 8), port: 0)) == nil)
        #expect(open.dropped(.address) == 2)
        let own = Hand { $0.isPrivate = true }
        #expect(try own.ask("ping", from: local) != nil)
    }

    @Test("a read-only node answers nobody; an asker that is one does not become known")
    func readOnly() throws {
        let mute = Hand { $0.isReadOnly = true }
        #expect(try mute.ask("ping") == nil)
        #expect(mute.dropped(.readOnly) == 1)
        let hand = Hand()
        _ = try hand.ask("ping", readOnly: true)
        #expect(hand.waiting == 0)
        _ = try hand.ask("ping")
        #expect(hand.waiting == 1 && hand.known.isEmpty)
    }

    @Test("a source that has proven nothing gets few bytes, its network few more; one that has gets what it asks for")
    func amplification() throws {
        let hand = Hand { $0.limits.answersPerSource = 0 }
        let hash = ("info_hash", Bencode.string(target.bytes))
        func bytes(_ hand: Hand, _ count: Int, _ source: (Int) -> SocketAddress) -> Int {
            var sent = 0
            let query = Bytes(
                utf8: "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe")
            for number in 0..<count {
                hand.node.handle(query.span, from: source(number), at: hand.now, using: &hand.generator)
                while let transmit = hand.transmit() { sent += transmit.bytes.count }
            }
            return sent
        }
        let one = bytes(hand, 5000) { _ in Hand.asker }
        #expect(one > 12_000 && one <= 2 * 8192)
        let network = bytes(hand, 5000) { SocketAddress(IPAddress(9, 9, 9, UInt8($0 % 250)), port: 1) }
        #expect(network > 100_000 && network <= 2 * 65536)
        #expect(hand.dropped(.sourceBytes) > 0 && hand.dropped(.networkBytes) > 0)
        hand.now += .seconds(10)
        let token = try hand.token(for: target)
        _ = try hand.ask("announce_peer", [hash, ("port", .integer(1)), ("token", token)])
        #expect(bytes(hand, 5000) { _ in Hand.asker } > 400_000)
    }

    @Test("a source that asks too often is answered so often and no more")
    func answerRate() throws {
        let hand = Hand {
            $0.limits.unprovenBytesPerSource = 0
            $0.limits.unprovenBytesPerNetwork = 0
        }
        var answers = 0
        for _ in 0..<1000 where try hand.ask("ping") != nil { answers += 1 }
        #expect(answers == 100)
        hand.now += .seconds(1)
        for _ in 0..<1000 where try hand.ask("ping") != nil { answers += 1 }
        #expect(answers == 150)
        #expect(hand.dropped(.sourceRate) == 1850)
    }

    @Test("announcements are bounded in all, for each topic and for each source")
    func announcementBounds() throws {
        let hand = Hand {
            $0.limits.announcements = 30
            $0.limits.announcementsPerTopic = 10
            $0.limits.announcementsPerSource = 5
        }
        func announce(_ hand: Hand, _ topic: UInt64, _ source: UInt8) throws -> Bool {
            let address = SocketAddress(IPAddress(9, source, 1, 1), port: 1)
            let infohash = NodeID(high: topic, middle: 0, low: 0)
            let token = try hand.token(for: infohash, from: address)
            let code = try hand.error(
                "announce_peer", [("info_hash", .string(infohash.bytes)), ("port", .integer(1)), ("token", token)],
                from: address)
            #expect(code == nil || code == 202)
            return code == nil
        }
        var ofSource = 0
        for topic in UInt64(0)..<10 where try announce(hand, topic, 1) { ofSource += 1 }
        #expect(ofSource == 5)
        var ofTopic = 0
        for source in UInt8(10)..<40 where try announce(hand, 99, source) { ofTopic += 1 }
        #expect(ofTopic == 10)
        for source in UInt8(50)..<100 { _ = try announce(hand, 200 + UInt64(source), source) }
        #expect(hand.node.announcementCount == 30)
        #expect(hand.dropped(.full) > 0)
    }

    @Test("nothing that is thrown at a node is a trap, and what it answers stays within its bounds")
    func garbage() {
        for seed in UInt64(1)...20 {
            let hand = Hand(seed: seed)
            let whole = Array(
                ("d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti1e5:token8:abcdefgh"
                    + "1:vl1:aee1:q3:put1:t2:aa1:y1:qe").utf8)
            for _ in 0..<300 {
                var bytes = whole
                for _ in 0..<Int.random(in: 0...3, using: &hand.generator) {
                    bytes[Int.random(in: 0..<bytes.count, using: &hand.generator)] = UInt8.random(
                        in: 0...255, using: &hand.generator)
                }
                bytes.removeLast(Int.random(in: 0...10, using: &hand.generator))
                hand.now += .milliseconds(20)
                hand.node.handle(Bytes(bytes).span, from: Hand.asker, at: hand.now, using: &hand.generator)
                while let transmit = hand.transmit() { #expect(transmit.bytes.count <= 1200) }
            }
        }
    }

    @Test("an answer from another address than was asked, or with another id, counts for nothing")
    func spoofed() throws {
        let hand = Hand()
        let friend = SocketAddress(IPAddress(20, 1, 1, 1), port: 6881)
        hand.node.bootstrap(with: [friend], .v4, at: hand.now, using: &hand.generator)
        let query = try #require(hand.transmit())
        let transaction = try #require(try Bencode(query.bytes)["t"])
        func answer(_ transaction: Bencode) -> Bytes {
            Bencode.dictionary([
                entry("r", .dictionary([entry("id", .string(hand.id.bytes))])),
                entry("t", transaction), entry("y", .string(Bytes(utf8: "r"))),
            ]).encoded()
        }
        let right = answer(transaction)
        #expect(try hand.ask(right, from: SocketAddress(IPAddress(20, 1, 1, 2), port: 6881)) == nil)
        #expect(try hand.ask(answer(.string(Bytes(utf8: "zzzz"))), from: friend) == nil)
        #expect(hand.known.isEmpty && hand.dropped(.unexpectedAnswer) == 2)
        _ = try hand.ask(right, from: friend)
        #expect(hand.known == [friend] && hand.joinState == .joined)
        // A second time it answers nothing any more.
        _ = try hand.ask(right, from: friend)
        #expect(hand.dropped(.unexpectedAnswer) == 3)
    }

    @Test("one host with many ports does not keep others from becoming known")
    func manyPorts() throws {
        let hand = Hand()
        let hostile = IPAddress(66, 1, 1, 1)
        let transactions = Bencode.integer(201)
        for round in 0..<60 {
            // It asks from many ports, and answers each query with an error.
            for port in UInt16(1)...20 {
                let id = ("id", Bencode.string(NodeID(using: &hand.generator).bytes))
                _ = try hand.ask("ping", [id], from: SocketAddress(hostile, port: port))
            }
            if round >= 30 { _ = try hand.ask("ping", from: SocketAddress(IPAddress(8, 1, UInt8(round), 1), port: 1)) }
            hand.pass(.seconds(2))
            while let query = hand.transmit() {
                guard let transaction = try Bencode(query.bytes)["t"] else { continue }
                var entries = [entry("t", transaction)]
                if query.destination.ip == hostile {
                    entries.insert(entry("e", .list([transactions, .string(Bytes(utf8: "no"))])), at: 0)
                    entries.append(entry("y", .string(Bytes(utf8: "e"))))
                } else {
                    let id = NodeID(using: &hand.generator)
                    entries.insert(entry("r", .dictionary([entry("id", .string(id.bytes))])), at: 0)
                    entries.append(entry("y", .string(Bytes(utf8: "r"))))
                }
                hand.take(Bencode.dictionary(entries).encoded(), from: query.destination)
            }
        }
        #expect(hand.known.count >= 20)
        #expect(!hand.known.contains { $0.ip == hostile })
    }

    @Test("when nobody is reached, that is a state, and tried again ever more seldom")
    func unreachable() throws {
        let hand = Hand()
        let began = hand.now
        hand.node.join(.v4, at: hand.now, using: &hand.generator)
        hand.node.bootstrap(
            with: [SocketAddress(IPAddress(20, 1, 1, 1), port: 6881)], .v4, at: hand.now, using: &hand.generator)
        var attempts: [Duration] = []
        while hand.now - began < .seconds(3600) {
            while hand.transmit() != nil { attempts.append(hand.now - began) }
            #expect(hand.node.deadline >= hand.now)
            hand.now = hand.node.deadline
            hand.node.handleDeadline(at: hand.now, using: &hand.generator)
        }
        #expect(attempts.count > 10 && attempts.count < 25)
        #expect(
            attempts[1] < .seconds(20) && attempts[attempts.count - 1] - attempts[attempts.count - 2] > .seconds(295))
    }

    @Test("what a node saves, another restores, and joins by it without bootstrap nodes")
    func saved() throws {
        let hand = Hand()
        let friend = SocketAddress(IPAddress(20, 1, 1, 1), port: 6881)
        hand.node.sides[0]?.table.answered(hand.id, at: friend, isPreferred: true, roundTrip: nil, now: hand.now)
        let saved = hand.node.saved(at: hand.now)
        let other = Hand(seed: 2)
        try other.node.restore(saved, at: other.now)
        #expect(other.ownID == hand.ownID)
        other.node.join(.v4, at: other.now, using: &other.generator)
        #expect(other.transmit()?.destination == friend)
        for count in 0..<saved.count {
            let third = Hand(seed: 3)
            #expect(throws: WireError.self) { try third.node.restore(saved.slice(0..<count), at: third.now) }
        }
    }

    @Test("our address is what nodes of several networks say, and our id follows from it")
    func votes() {
        var votes = AddressVotes()
        let ours = SocketAddress(IPAddress(4, 4, 4, 4), port: 7)
        let lie = SocketAddress(IPAddress(6, 6, 6, 6), port: 7)
        // One network has one vote, however many speak for it.
        for host in UInt8(1)...50 { #expect(done { votes.add(lie, from: IPAddress(9, 9, 9, host)) } == false) }
        #expect(votes.winner == nil)
        for network in UInt8(1)...3 {
            #expect(done { votes.add(ours, from: IPAddress(10 + network, 1, 1, 1)) } == false)
        }
        #expect(done { votes.add(ours, from: IPAddress(50, 1, 1, 1)) })
        #expect(votes.winner == ours)
        let hand = Hand()
        let before = hand.ownID
        hand.node.learn(ours, at: hand.now, using: &hand.generator)
        #expect(hand.ownID != before && hand.ownID?.isBound(to: ours.ip) == true)
    }
}

private func entry(_ key: String, _ value: Bencode) -> Bencode.Entry { Bencode.Entry(Bytes(utf8: key), value) }

/// What `body` gives. The macros of the tests cannot call what changes a value.
func done<Result>(_ body: () -> Result) -> Result { body() }
