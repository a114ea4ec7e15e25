import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import MartletMainline

extension Hand {
    /// Lets `duration` pass. `answer` gives what comes back to each query, beside the node's id; `nil` for nothing.
    func run(
        for duration: Duration, _ answer: (_ query: Bencode, _ node: SocketAddress) throws -> [(String, Bencode)]?
    ) throws {
        let end = now + duration
        while now < end {
            while let transmit = transmit() {
                let query = try Bencode(transmit.bytes)
                guard query["q"] != nil, let transaction = query["t"],
                    let values = try answer(query, transmit.destination)
                else { continue }
                let id = Bencode.string(NodeID(hashing: Bytes(utf8: "\(transmit.destination)").span).bytes)
                let all = ([("id", id)] + values).sorted { $0.0 < $1.0 }
                let entries = [
                    ("r", Bencode.dictionary(all.map { Bencode.Entry(Bytes(utf8: $0.0), $0.1) })), ("t", transaction),
                    ("y", .string(Bytes(utf8: "r"))),
                ]
                let bytes = Bencode.dictionary(entries.map { Bencode.Entry(Bytes(utf8: $0.0), $0.1) }).encoded()
                take(bytes, from: transmit.destination)
            }
            pass(max(.milliseconds(1), min(node.deadline, end) - now))
        }
    }
}

@Suite("Nodes of one family that nodes of the other name")
struct OtherFamilyTests {
    private let hand = Hand {
        $0.usesV6 = true
        $0.bindsIDs = false
    }

    private static func v6(_ number: Int) -> SocketAddress {
        SocketAddress(IPAddress(v6: 0x2a00_0000 << 96 | UInt128(number) << 80 | 1), port: 6881)
    }

    private static func v4(_ number: Int) -> SocketAddress {
        SocketAddress(IPAddress(30, UInt8(number), 1, 1), port: 6881)
    }

    private func compact(_ addresses: [SocketAddress]) -> Bencode {
        var nodes = Writer()
        for address in addresses {
            nodes.nodeID(NodeID(hashing: Bytes(utf8: "\(address)").span))
            nodes.compact(address)
        }
        return .string(nodes.finish())
    }

    private var hearsay: [(node: CompactNode, teller: SocketAddress)] { hand.node.sides[1]?.hearsay.nodes ?? [] }

    @Test("they push out no node that was known before, are not saved, and are bounded in all and for each network")
    func kept() throws {
        let limits = hand.node.configuration.limits
        let known = (0..<limits.savedNodes).map { Self.v6(5000 + $0) }
        hand.node.sides[1]?.saved = known.map { address in
            CompactNode(id: NodeID(hashing: Bytes(utf8: "\(address)").span), address: address)
        }
        let before = hand.node.saved(at: hand.now)
        hand.node.join(.v6, at: hand.now, using: &hand.generator)
        try hand.run(for: .seconds(90)) { _, _ in nil }
        guard case .unreachable = hand.node.joinState(.v6) else { throw WireError(.missing, at: 0) }
        let friends = (0..<20).map { Self.v4($0) }
        hand.node.bootstrap(with: friends, .v4, at: hand.now, using: &hand.generator)
        var most = 0
        try hand.run(for: .seconds(120)) { _, node in
            most = max(most, hearsay.count)
            guard node.ip.isV4 else { return nil }
            let first = 100 * (friends.firstIndex(of: node) ?? 0)
            // Of each host there are two.
            let named = (0..<16).map { Self.v6(first + $0 / 2) }.enumerated().map {
                SocketAddress($1.ip, port: UInt16(1 + $0))
            }
            #expect(Dictionary(grouping: hearsay, by: \.teller).values.allSatisfy { $0.count <= 2 })
            return [("nodes6", compact(named))]
        }
        #expect(most == limits.hearsay)
        #expect(Set(hearsay.map(\.node.address.ip)).count == hearsay.count)
        #expect(hand.node.sides[1]?.saved.map(\.address) == known)
        let (saved, own) = (try Bencode(hand.node.saved(at: hand.now)), try Bencode(before))
        #expect(saved["nodes6"] == own["nodes6"])
    }

    @Test("however many are named, the node does not try to join much more often")
    func attempts() throws {
        hand.node.sides[1]?.bootstrap = [Self.v6(1)]
        hand.node.join(.v6, at: hand.now, using: &hand.generator)
        try hand.run(for: .seconds(1800)) { _, _ in nil }
        hand.node.bootstrap(with: (0..<20).map { Self.v4($0) }, .v4, at: hand.now, using: &hand.generator)
        while hand.node.nextEvent() != nil {}
        var number = 10
        for _ in 0..<180 {
            _ = hand.node.findNodes(around: NodeID(using: &hand.generator), .v4, at: hand.now, using: &hand.generator)
            try hand.run(for: .seconds(10)) { _, node in
                number += 1
                return node.ip.isV4 ? [("nodes6", compact([Self.v6(number)]))] : nil
            }
        }
        var attempts = 0
        while let event = hand.node.nextEvent() {
            if case .join(.v6, .joining) = event { attempts += 1 }
        }
        // The pause is five minutes, and half of it when somebody is named.
        #expect(attempts >= 5 && attempts <= 13)
    }

    @Test("one that answers is a way in, within seconds")
    func wayIn() throws {
        let friend = Self.v6(7)
        hand.node.sides[1]?.bootstrap = [Self.v6(1)]
        hand.node.join(.v6, at: hand.now, using: &hand.generator)
        try hand.run(for: .seconds(1800)) { _, _ in nil }
        hand.node.bootstrap(with: [Self.v4(1)], .v4, at: hand.now, using: &hand.generator)
        try hand.run(for: .seconds(15)) { _, node in
            node.ip.isV4 ? [("nodes6", compact([friend]))] : node == friend ? [] : nil
        }
        #expect(hand.node.joinState(.v6) == .joined)
        #expect(hearsay.isEmpty)
    }

    @Test("what is announced again when a silence is over begins one after the other")
    func spread() throws {
        let hand = Hand { $0.bindsIDs = false }
        let count = 40
        hand.node.bootstrap(with: [Self.v4(1)], .v4, at: hand.now, using: &hand.generator)
        try hand.run(for: .seconds(5)) { _, _ in [] }
        for number in 0..<count {
            _ = hand.node.announce(NodeID(high: UInt64(number), middle: 7, low: 0), .implied, .v4, at: hand.now)
        }
        try hand.run(for: .seconds(30)) { _, _ in [] }
        try hand.run(for: .seconds(600)) { _, _ in nil }
        guard case .unreachable = hand.joinState else { throw WireError(.missing, at: 0) }
        var begun: [Bencode: Instant] = [:]
        try hand.run(for: .seconds(50)) { query, _ in
            if let infohash = query["a"]?["info_hash"], begun[infohash] == nil { begun[infohash] = hand.now }
            return []
        }
        #expect(hand.joinState == .joined && begun.count == count)
        let first = begun.values.min() ?? .start
        let bySecond = Dictionary(grouping: begun.values) { ($0 - first).nanoseconds / 1_000_000_000 }
        #expect(bySecond.values.allSatisfy { $0.count <= 8 })
        #expect(bySecond.keys.max().map { $0 <= 15 } == true)
    }
}
