import MartletRouting
import MartletRuntime
import TestSupport
import Testing

/// A small space, in which everything can be counted.
struct Key16: RoutingKey {
    static let bitCount = 16
    var number: UInt16
    init(_ number: UInt16) { self.number = number }
    func commonPrefixLength(with other: Key16) -> Int { (number ^ other.number).leadingZeroBitCount }
    func isCloser(to target: Key16, than other: Key16) -> Bool {
        number ^ target.number < other.number ^ target.number
    }
    func drawn(sharing length: Int, using generator: inout some RandomNumberGenerator) -> Key16 {
        guard length < 16 else { return self }
        let bit = UInt16(1) << UInt16(15 - length)
        return Key16(
            number & ~(bit << 1 &- 1) | ~number & bit | UInt16.random(in: 0...UInt16.max, using: &generator) & (bit - 1)
        )
    }
    static func < (left: Key16, right: Key16) -> Bool { left.number < right.number }
}

struct Place: RoutingContact {
    var number: Int
    var network: Int?
    var host: Int?
    init(_ number: Int, network: Int? = nil, host: Int? = nil) {
        self.number = number
        self.network = network
        self.host = host
    }
}

/// What `body` gives. The macros of the tests cannot call what changes a value.
func done<Result>(_ body: () -> Result) -> Result { body() }

typealias Table = RoutingTable<Key16, Place>

@Suite("Routing table")
struct RoutingTableTests {
    private let start = Instant.start + .seconds(1000)
    private var limits: RoutingLimits {
        var limits = RoutingLimits()
        limits.bucketSizes = [4]
        limits.replacements = 3
        return limits
    }

    private func table(_ limits: RoutingLimits? = nil) -> Table {
        Table(own: Key16(0), limits: limits ?? self.limits, at: start)
    }

    @discardableResult
    private func answer(
        _ table: inout Table, _ key: UInt16, network: Int? = nil, place: Int? = nil, isPreferred: Bool = true,
        after: Duration = .zero
    ) -> Table.Outcome {
        table.answered(
            Key16(key), at: Place(place ?? Int(key), network: network), isPreferred: isPreferred,
            roundTrip: .milliseconds(10), now: start + after)
    }

    @Test("the closest nodes are those that sorting all of them gives")
    func closest() {
        var generator = SeededGenerator(seed: 7)
        for round in 0..<20 {
            var table = table(RoutingLimits())
            for _ in 0..<300 { answer(&table, UInt16.random(in: 1...UInt16.max, using: &generator)) }
            for _ in 0..<50 {
                let target = Key16(UInt16.random(in: 0...UInt16.max, using: &generator))
                var found: [Table.Node] = []
                table.closest(to: target, count: 8, into: &found)
                let sorted = table.nodes.map(\.key).sorted { $0.isCloser(to: target, than: $1) }
                #expect(found.map(\.key) == Array(sorted.prefix(8)), "round \(round)")
            }
        }
    }

    @Test("buckets split around our own key, and each holds no more than it may")
    func splitting() {
        var table = table()
        for key in UInt16(1)...2000 { answer(&table, key &* 33) }
        #expect(table.bucketCount > 8)
        for length in 0..<16 {
            let count = table.nodes.count { $0.key.commonPrefixLength(with: Key16(0)) == length }
            #expect(count <= 4)
        }
        #expect(table.count == table.nodes.count)
    }

    @Test("a node that only asks never enters, but is to be checked")
    func strangers() {
        var table = table()
        table.heard(Key16(9), at: Place(9), isPreferred: true, now: start)
        #expect(table.count == 0 && table.waitingCount == 1)
        #expect(done { table.nextCheck(at: start) }?.key == Key16(9))
        #expect(done { table.nextCheck(at: start) } == nil)
        table.failed(Place(9), now: start)
        #expect(table.waitingCount == 0)
        answer(&table, 9)
        #expect(table.count == 1 && table.waitingCount == 0)
    }

    @Test("a flood of strangers keeps nobody out who waits already")
    func flood() {
        var table = table()
        for key in UInt16(1)...100 { table.heard(Key16(key), at: Place(Int(key)), isPreferred: true, now: start) }
        #expect(table.waitingCount == 4)
        let checked = (0..<4).compactMap { _ in table.nextCheck(at: start)?.key.number }
        #expect(checked == [1, 2, 3, 4])
    }

    @Test("one host with many ports has one place among those that wait, and one network two")
    func crowdedWaiting() {
        var table = table()
        for key in UInt16(1)...50 {
            table.heard(Key16(key), at: Place(Int(key), network: 1, host: 1), isPreferred: true, now: start)
        }
        #expect(table.waitingCount == 1)
        for key in UInt16(51)...99 {
            let place = Place(Int(key), network: 1, host: Int(key))
            table.heard(Key16(key), at: place, isPreferred: true, now: start)
        }
        #expect(table.waitingCount == 2)
        table.heard(Key16(100), at: Place(100, network: 2, host: 2), isPreferred: true, now: start)
        #expect(table.waitingCount == 3)
    }

    @Test("one that was tried waits no longer, whether it was silent, refused, or answered under whatever key")
    func triedWaiting() {
        var table = table()
        for key in UInt16(0x8000)..<0x8004 { answer(&table, key) }
        func wait() { table.heard(Key16(5), at: Place(5), isPreferred: true, now: start) }
        wait()
        table.failed(Place(5), now: start)
        #expect(table.waitingCount == 0)
        wait()
        table.refused(Place(5))
        #expect(table.waitingCount == 0)
        wait()
        #expect(done { answer(&table, 0x8000, place: 5) } == .keyIsTaken)
        #expect(table.waitingCount == 0)
        wait()
        #expect(done { answer(&table, 0, place: 5) } == .isOwn)
        #expect(table.waitingCount == 0)
    }

    @Test("those that answered and wait for long make room for others")
    func staleWaiting() {
        var table = table()
        for key in UInt16(0x8000)..<0x8004 { answer(&table, key) }
        answer(&table, 1)
        for key in UInt16(0x8004)..<0x8007 { #expect(done { answer(&table, key) } == .waits) }
        let later = start + .seconds(3600)
        table.heard(Key16(0x9000), at: Place(0x9000), isPreferred: true, now: later)
        #expect(table.waitingCount == 1)
        #expect(done { table.nextCheck(at: later) }?.key == Key16(0x9000))
    }

    @Test("a good node keeps its place; the next one waits, and inherits it when the node fails")
    func inheritance() {
        var table = table()
        for key in UInt16(0x8000)..<0x8004 { answer(&table, key) }
        answer(&table, 1)
        #expect(done { answer(&table, 0x8004) } == .waits)
        table.failed(Place(0x8001), now: start)
        #expect(table.key(of: Place(0x8004)) == nil)
        table.failed(Place(0x8001), now: start)
        #expect(table.key(of: Place(0x8001)) == nil)
        #expect(table.key(of: Place(0x8004)) == Key16(0x8004))
        #expect(table.count == 5)
    }

    @Test("a bad node gives way to one that answers; without one it is kept until it has failed too often")
    func badNodes() {
        var table = table()
        for key in UInt16(0x8000)..<0x8004 { answer(&table, key) }
        answer(&table, 1)
        for _ in 0..<2 { table.failed(Place(0x8000), now: start) }
        #expect(table.nodes.contains { $0.key == Key16(0x8000) })
        var found: [Table.Node] = []
        table.closest(to: Key16(0x8000), count: 8, into: &found)
        #expect(!found.contains { $0.key == Key16(0x8000) })
        #expect(done { answer(&table, 0x8009) } == .kept)
        #expect(!table.nodes.contains { $0.key == Key16(0x8000) })
        for _ in 0..<8 { table.failed(Place(0x8001), now: start) }
        #expect(!table.nodes.contains { $0.key == Key16(0x8001) })
    }

    @Test("a bucket holds at most two of a network, and any number where nothing is counted")
    func networks() {
        var table = table()
        #expect(done { answer(&table, 0x8000, network: 1) } == .kept)
        #expect(done { answer(&table, 0x8001, network: 1) } == .kept)
        #expect(done { answer(&table, 0x8002, network: 1) } == .networkIsFull)
        #expect(done { answer(&table, 0x8003, network: 2) } == .kept)
        for key in UInt16(0x100)..<0x104 { #expect(done { answer(&table, key) } == .kept) }
        #expect(table.count == 7)
    }

    @Test("a key has one address and an address one key")
    func identity() {
        var table = table()
        answer(&table, 0x8000, place: 1)
        #expect(done { answer(&table, 0x8000, place: 2) } == .keyIsTaken)
        #expect(table.key(of: Place(2)) == nil)
        // The node at the same address has taken another key.
        #expect(done { answer(&table, 0x9000, place: 1) } == .kept)
        #expect(table.nodes.map(\.key) == [Key16(0x9000)])
        // Where the node that had the key is bad, the key may move.
        for _ in 0..<2 { table.failed(Place(1), now: start) }
        #expect(done { answer(&table, 0x9000, place: 3) } == .kept)
        #expect(table.key(of: Place(1)) == nil && table.key(of: Place(3)) == Key16(0x9000))
        #expect(done { answer(&table, 0, place: 9) } == .isOwn)
    }

    @Test("nodes with preferred keys displace others, and stand before them in answers")
    func preference() {
        var table = table()
        for key in UInt16(0x8000)..<0x8004 { answer(&table, key, isPreferred: key == 0x8003) }
        answer(&table, 1)
        #expect(done { answer(&table, 0x8009, isPreferred: false) } == .waits)
        #expect(done { answer(&table, 0x8008) } == .kept)
        var found: [Table.Node] = []
        table.closest(to: Key16(0x8001), count: 4, into: &found)
        #expect(found.map(\.isPreferred) == [true, true, true, false])
    }

    @Test("a node is good for a quarter of an hour, then questionable and checked, then ever more seldom")
    func checks() {
        var table = table()
        answer(&table, 5)
        #expect(table.quality(of: table.nodes[0], at: start + .seconds(899)) == .good)
        #expect(table.quality(of: table.nodes[0], at: start + .seconds(900)) == .questionable)
        #expect(done { table.nextCheck(at: start + .seconds(899)) } == nil)
        #expect(table.checkDeadline == start + .seconds(900))
        #expect(done { table.nextCheck(at: start + .seconds(900)) }?.key == Key16(5))
        #expect(done { table.nextCheck(at: start + .seconds(900)) } == nil)
        table.failed(Place(5), now: start + .seconds(904))
        #expect(done { table.nextCheck(at: start + .seconds(910)) } == nil)
        #expect(done { table.nextCheck(at: start + .seconds(920)) } != nil)
        table.heard(Key16(5), at: Place(5), isPreferred: true, now: start + .seconds(921))
        #expect(done { table.nextCheck(at: start + .seconds(1000)) } == nil)
    }

    @Test("a bucket in which nothing changes is refreshed with a key of its own")
    func refresh() {
        var table = table()
        var generator = SeededGenerator(seed: 1)
        for key in UInt16(1)...200 { answer(&table, key &* 331) }
        #expect(done { table.nextRefresh(at: start + .seconds(899), using: &generator) } == nil)
        let due = start + .seconds(900)
        #expect(table.refreshDeadline == due)
        for length in 0..<table.bucketCount {
            let key = table.nextRefresh(at: due, using: &generator)
            #expect(key?.commonPrefixLength(with: Key16(0)) == length)
        }
        #expect(done { table.nextRefresh(at: due, using: &generator) } == nil)
    }

    @Test("nothing that strangers do breaks what a table promises")
    func invariants() {
        for seed in UInt64(1)...30 {
            var generator = SeededGenerator(seed: seed)
            var table = table()
            for step in 0..<400 {
                let now = start + .seconds(step)
                let key = Key16(
                    UInt16.random(in: 0...UInt16.max, using: &generator) >> UInt16.random(in: 0...12, using: &generator)
                )
                let place = Place(
                    Int.random(in: 0..<60, using: &generator), network: Int.random(in: 0..<8, using: &generator))
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: table.heard(key, at: place, isPreferred: Bool.random(using: &generator), now: now)
                case 1: table.failed(place, now: now)
                case 2: _ = table.nextCheck(at: now)
                default:
                    table.answered(
                        key, at: place, isPreferred: Bool.random(using: &generator), roundTrip: nil, now: now)
                }
                let nodes = table.nodes
                #expect(Set(nodes.map(\.key)).count == nodes.count && Set(nodes.map(\.contact)).count == nodes.count)
                #expect(nodes.count == table.count && !nodes.contains { $0.key == Key16(0) }, "seed \(seed)")
                #expect(nodes.allSatisfy { table.key(of: $0.contact) == $0.key })
                #expect(table.waitingCount <= 4 * table.bucketCount)
            }
        }
    }
}
