import MartletCrypto
import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import MartletMainline

/// Twelve nodes around an item, of which some have it; answered for by hand.
private struct Neighbours {
    let item: MainlineItem
    /// Whether there is only the last of them.
    var isOne = false
    /// The closest first.
    var ids: [NodeID] = []
    /// Which version each has, if any.
    var versions: [MainlineItem?]

    init(of item: MainlineItem, holding versions: [MainlineItem?]) {
        self.item = item
        var generator = SeededGenerator(seed: 3)
        ids = (0..<12).map { item.target.drawn(sharing: 40 - $0, using: &generator) }
        self.versions = versions + [MainlineItem?](repeating: nil, count: 12 - versions.count)
    }

    static func address(_ number: Int) -> SocketAddress {
        SocketAddress(IPAddress(30, UInt8(number), 1, 1), port: 6881)
    }

    /// What the node at `address` says to `query`: of others only the eight closest, and only to who looks for the item.
    func answer(_ query: Bencode, at address: SocketAddress) throws -> Bytes {
        let number = try #require((0..<12).first { Self.address($0) == address })
        var values = [("id", Bencode.string(ids[number].bytes))]
        if query["q"] == .string(Bytes(utf8: "get")) || query["q"] == .string(Bytes(utf8: "get_peers")) {
            var nodes = Writer()
            for other in isOne ? 0..<0 : 0..<8 {
                nodes.nodeID(ids[other])
                nodes.compact(Self.address(other))
            }
            values += [("nodes", .string(nodes.finish())), ("token", .string(Bytes(utf8: "token")))]
            if let held = versions[number] {
                values.append(("v", try Bencode(held.value)))
                if let author = held.author {
                    values += [
                        ("k", .string(author.key)), ("seq", .integer(author.sequence)),
                        ("sig", .string(author.signature)),
                    ]
                }
            }
        }
        let entries = [("r", Bencode.dictionary(values.map(entry))), ("t", query["t"] ?? .integer(0))]
        return Bencode.dictionary((entries + [("y", .string(Bytes(utf8: "r")))]).map(entry)).encoded()
    }

    private func entry(_ pair: (String, Bencode)) -> Bencode.Entry { Bencode.Entry(Bytes(utf8: pair.0), pair.1) }

    /// What a node that keeps the item puts, in `duration`.
    func puts(within duration: Duration) throws -> [Bencode] {
        try asked("put", within: duration) { hand in _ = hand.node.keep(item, .v4, at: hand.now) }
    }

    /// The arguments of the queries called `method` that a node sends in `duration` which does `what` once it has joined.
    func asked(_ method: String, within duration: Duration, _ what: (Hand) -> Void) throws -> [Bencode] {
        let hand = Hand { $0.bindsIDs = false }
        hand.node.bootstrap(
            with: (isOne ? 11..<12 : 8..<12).map { Self.address($0) }, .v4, at: hand.now, using: &hand.generator)
        let end = hand.now + duration
        var asked: [Bencode] = []
        var isKept = false
        while hand.now < end {
            while let transmit = hand.transmit() {
                let query = try Bencode(transmit.bytes)
                if query["q"] == .string(Bytes(utf8: method)) { asked.append(query["a"] ?? query) }
                hand.now += .milliseconds(1)
                hand.take(try answer(query, at: transmit.destination), from: transmit.destination)
            }
            if !isKept, hand.joinState == .joined {
                isKept = true
                what(hand)
            }
            hand.pass(max(.milliseconds(1), min(hand.node.deadline, end) - hand.now))
        }
        return asked
    }
}

@Suite("Announcing the port that the DHT's own datagrams come from")
struct ImpliedPortTests {
    @Test("a node that knows nothing of implied ports is told the real one", arguments: [nil, 4242] as [UInt16?])
    func port(local: UInt16?) throws {
        let item = try MainlineItem(immutable: Bytes(utf8: "6:letter"))
        let neighbours = Neighbours(of: item, holding: [])
        let announcements = try neighbours.asked("announce_peer", within: .seconds(60)) { hand in
            if let local { hand.node.setLocalPort(local, .v4) }
            _ = hand.node.findPeers(
                of: item.target, .v4, announcing: .implied, at: hand.now, using: &hand.generator)
        }
        #expect(!announcements.isEmpty)
        for arguments in announcements {
            #expect(arguments["implied_port"] == .integer(1))
            #expect(arguments["port"] == .integer(Int64(local ?? 1)))
        }
    }
}

@Suite("Keeping items alive")
struct RepublishingTests {
    private let letter: MainlineItem
    private let first: MainlineItem
    private let second: MainlineItem

    init() throws {
        var generator = SeededGenerator(seed: 1)
        let key = PrivateKey.ed25519(using: &generator)
        letter = try MainlineItem(immutable: Bytes(utf8: "6:letter"))
        first = try MainlineItem(mutable: Bytes(utf8: "3:one"), sequence: 1, signedBy: key)
        second = try MainlineItem(mutable: Bytes(utf8: "3:two"), sequence: 2, signedBy: key)
    }

    @Test("an item is put to the eight closest at once, and again within the hour that it has left of two")
    func again() throws {
        #expect(try Neighbours(of: letter, holding: []).puts(within: .seconds(60)).count == 8)
        #expect(try Neighbours(of: first, holding: []).puts(within: .seconds(100 * 60)).count == 16)
    }

    @Test("where few nodes are there to take it, it is put again soon, and ever more seldom")
    func few() throws {
        var one = Neighbours(of: letter, holding: [])
        one.isOne = true
        // After 0, 1, 3, 7 and 15 minutes.
        #expect(try one.puts(within: .seconds(16 * 60)).count == 5)
    }

    @Test("where all of the closest have an item, and others too, nothing is put")
    func enough() throws {
        for item in [letter, first] {
            let enough = Neighbours(of: item, holding: [MainlineItem](repeating: item, count: 9))
            #expect(try enough.puts(within: .seconds(60)).isEmpty)
            var withHole = enough
            withHole.versions = [nil] + [MainlineItem?](repeating: item, count: 9) + [nil, nil]
            #expect(try withHole.puts(within: .seconds(60)).count == 8)
            let few = Neighbours(of: item, holding: [MainlineItem](repeating: item, count: 8))
            #expect(try few.puts(within: .seconds(60)).count == 8)
        }
    }

    @Test("copies of an older version do not count, and a newer one is kept in place of ours")
    func versions() throws {
        let older = Neighbours(of: second, holding: [MainlineItem](repeating: first, count: 9))
        #expect(try older.puts(within: .seconds(60)).map { $0["seq"] } == [Bencode?](repeating: .integer(2), count: 8))
        let newer = Neighbours(of: first, holding: [MainlineItem?](repeating: nil, count: 5) + [second])
        let expected = [Bencode?](repeating: try Bencode(second.value), count: 8)
        #expect(try newer.puts(within: .seconds(60)).map { $0["v"] } == expected)
    }
}
