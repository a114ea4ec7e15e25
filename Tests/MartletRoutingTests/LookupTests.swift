import MartletRouting
import MartletRuntime
import TestSupport
import Testing

@Suite("Lookup")
struct LookupTests {
    private typealias Search = Lookup<Key16, Place>
    private let start = Instant.start + .seconds(10)

    private func limits(_ change: (inout LookupLimits) -> Void = { _ in }) -> LookupLimits {
        var limits = LookupLimits()
        limits.closest = 4
        limits.parallel = 3
        change(&limits)
        return limits
    }

    /// A network in which every node knows the ones around its key, and answers after a while.
    private struct Net {
        var keys: [Key16]
        var dead: Set<Int> = []
        var latency: (Int) -> Duration = { _ in .milliseconds(50) }

        init(_ count: Int, seed: UInt64) {
            var generator = SeededGenerator(seed: seed)
            keys = Array(Set((0..<count).map { _ in Key16(UInt16.random(in: 0...UInt16.max, using: &generator)) }))
                .sorted()
        }

        func closest(to target: Key16, _ count: Int) -> [Int] {
            Array(keys.indices.sorted { keys[$0].isCloser(to: target, than: keys[$1]) }.prefix(count))
        }

        /// Those that node `index` names: neighbours of its own, and some of everywhere.
        func known(by index: Int, near target: Key16) -> [Int] {
            let neighbours = closest(to: keys[index], 12) + stride(from: index % 7, to: keys.count, by: 11)
            return Array(neighbours.sorted { keys[$0].isCloser(to: target, than: keys[$1]) }.prefix(8))
        }
    }

    /// Runs a lookup over `net` to its end, and says how long it took.
    private func run(_ lookup: inout Search, _ net: Net, from first: [Int]) -> Duration {
        for index in first { lookup.add(net.keys[index], at: Place(index), isPreferred: true) }
        var now = start
        var answers: [(Instant, Int)] = []
        while !lookup.isFinished {
            while let next = lookup.nextQuery(at: now) {
                #expect(!answers.contains { $0.1 == next.contact.number })
                if !net.dead.contains(next.contact.number) {
                    answers.append((now + net.latency(next.contact.number), next.contact.number))
                }
            }
            answers.sort { $0.0 < $1.0 }
            let deadline = lookup.deadline ?? .never
            if let (time, index) = answers.first, time <= deadline {
                now = time
                answers.removeFirst()
                for known in net.known(by: index, near: lookup.target) {
                    lookup.add(net.keys[known], at: Place(known), isPreferred: true)
                }
                lookup.answered(Place(index), as: net.keys[index], isPreferred: true, at: now)
            } else {
                guard deadline != .never else { break }
                now = deadline
                lookup.expire(at: now)
            }
        }
        return now - start
    }

    @Test("the lookup finds the closest nodes of a network, and asks few others")
    func finds() {
        var asked = 0
        for seed in UInt64(1)...20 {
            let net = Net(400, seed: seed)
            let target = Key16(UInt16(truncatingIfNeeded: seed &* 9973))
            var lookup = Search(target: target, limits: limits(), at: start)
            _ = run(&lookup, net, from: [0, 100, 200])
            #expect(lookup.closest.map(\.contact.number) == net.closest(to: target, 4), "seed \(seed)")
            asked += lookup.askedCount
        }
        #expect(asked < 20 * 25)
    }

    @Test("dead nodes cost time, but not the result; a slow answer does not hold up the others")
    func dead() {
        var net = Net(400, seed: 3)
        let target = Key16(12345)
        let closest = net.closest(to: target, 8)
        net.dead = [closest[0], closest[2], 7, 8, 9]
        var lookup = Search(target: target, limits: limits(), at: start)
        let took = run(&lookup, net, from: [0, 100, 200])
        #expect(lookup.closest.map(\.contact.number) == Array(closest.filter { !net.dead.contains($0) }.prefix(4)))
        #expect(took < .seconds(4))
    }

    @Test("no more than the stated number are asked at once, until they are slow")
    func parallel() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        for number in 1...8 { lookup.add(Key16(UInt16(number)), at: Place(number), isPreferred: true) }
        let asked = (0..<9).compactMap { _ in lookup.nextQuery(at: start)?.contact.number }
        #expect(asked == [1, 2, 3])
        lookup.expire(at: start + .milliseconds(999))
        #expect(done { lookup.nextQuery(at: start) } == nil)
        lookup.expire(at: start + .seconds(1))
        // Only the fourth belongs to the window; the fifth comes when one has failed.
        #expect(done { lookup.nextQuery(at: start + .seconds(1)) }?.contact.number == 4)
        #expect(done { lookup.nextQuery(at: start + .seconds(1)) } == nil)
        lookup.failed(Place(2))
        #expect(done { lookup.nextQuery(at: start + .seconds(1)) }?.contact.number == 5)
        #expect(!lookup.isFinished)
        for number in [1, 3, 4, 5] {
            #expect(done { lookup.answered(Place(number), as: Key16(UInt16(number)), isPreferred: true, at: start) })
        }
        #expect(lookup.isFinished && lookup.deadline == nil)
    }

    @Test("where answers come fast, a late one is noticed soon")
    func adaptive() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        for number in 1...8 { lookup.add(Key16(UInt16(number + 10)), at: Place(number), isPreferred: true) }
        for _ in 0..<3 { _ = lookup.nextQuery(at: start) }
        for number in [1, 2] {
            lookup.add(Key16(UInt16(number)), at: Place(number + 20), isPreferred: true)
            lookup.answered(
                Place(number), as: Key16(UInt16(number + 10)), isPreferred: true, at: start + .milliseconds(30))
        }
        #expect(lookup.latency.expected < .milliseconds(300))
        #expect(lookup.deadline == start + lookup.latency.expected)
    }

    @Test("no node is asked twice, under whatever key and from whatever mouth")
    func once() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        #expect(done { lookup.add(Key16(8), at: Place(1), isPreferred: true) })
        #expect(!done { lookup.add(Key16(8), at: Place(1), isPreferred: true) })
        #expect(done { lookup.add(Key16(9), at: Place(1), isPreferred: true) })
        #expect(done { lookup.nextQuery(at: start) } != nil)
        #expect(!done { lookup.add(Key16(7), at: Place(1), isPreferred: true) })
        lookup.failed(Place(1))
        #expect(!done { lookup.add(Key16(7), at: Place(1), isPreferred: true) })
        #expect(done { lookup.nextQuery(at: start) } == nil && lookup.isFinished)
    }

    @Test("a key that is named first with a false address, or an address with a false key, does not hide the true one")
    func contradictions() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        lookup.add(Key16(1), at: Place(66), isPreferred: true)
        lookup.add(Key16(1), at: Place(1), isPreferred: true)
        lookup.add(Key16(0xF000), at: Place(2), isPreferred: true)
        lookup.add(Key16(2), at: Place(2), isPreferred: true)
        for number in 3...6 { lookup.add(Key16(UInt16(number)), at: Place(number), isPreferred: true) }
        var asked: [Int] = []
        while !lookup.isFinished {
            guard let next = lookup.nextQuery(at: start) else { break }
            asked.append(next.contact.number)
            guard next.contact.number != 66 else {
                lookup.failed(next.contact)
                continue
            }
            lookup.answered(next.contact, as: Key16(UInt16(next.contact.number)), isPreferred: true, at: start)
        }
        #expect(asked == [66, 1, 2, 3, 4])
        #expect(lookup.closest.map(\.contact.number) == [1, 2, 3, 4])
        // Claims about one key are bounded too.
        var crowded = Search(target: Key16(0), limits: limits(), at: start)
        let new = (1...50).count { number in crowded.add(Key16(1), at: Place(number), isPreferred: true) }
        #expect(new == crowded.limits.claims)
    }

    @Test("a node that invents others costs a lookup two queries, whatever it names")
    func liars() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        for number in 0..<4 { lookup.add(Key16(0xF000 + UInt16(number)), at: Place(number), isPreferred: true) }
        var asked: [Int] = []
        while !lookup.isFinished {
            guard let next = lookup.nextQuery(at: start) else { break }
            let number = next.contact.number
            asked.append(number)
            switch number {
            case 0:
                for invented in 100..<116 {
                    lookup.add(
                        Key16(UInt16(invented - 99)), at: Place(invented), isPreferred: true, toldBy: next.contact)
                }
            case 1..<100:
                for known in 10..<18 {
                    lookup.add(
                        Key16(0x100 + UInt16(known)), at: Place(known), isPreferred: true, toldBy: next.contact)
                }
            default:
                lookup.failed(next.contact)
                continue
            }
            lookup.answered(next.contact, as: next.key ?? Key16(0), isPreferred: true, at: start)
        }
        #expect(asked.count { $0 >= 100 } == 2)
        #expect(lookup.closest.map(\.contact.number) == [10, 11, 12, 13])
    }

    @Test("a node that names the closest keys first, each at many false addresses, does not keep out the true ones")
    func falseAddresses() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        let liar = Place(100)
        let honest = Place(101)
        lookup.add(Key16(0xF000), at: liar, isPreferred: true)
        lookup.add(Key16(0xF001), at: honest, isPreferred: true)
        for number in 1...4 {
            let new = (0..<4).count { copy in
                lookup.add(Key16(UInt16(number)), at: Place(200 + 4 * number + copy), isPreferred: true, toldBy: liar)
            }
            #expect(new == 1)
        }
        for number in 1...4 {
            #expect(
                done { lookup.add(Key16(UInt16(number)), at: Place(number), isPreferred: true, toldBy: honest) })
        }
        while let next = lookup.nextQuery(at: start) {
            guard next.contact.number < 200 else {
                lookup.failed(next.contact)
                continue
            }
            lookup.answered(next.contact, as: next.key ?? Key16(0), isPreferred: true, at: start)
        }
        #expect(lookup.isFinished)
        #expect(lookup.closest.map(\.contact.number) == [1, 2, 3, 4])
    }

    @Test("nodes without preferred keys are asked only where there are not enough others")
    func preference() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        for number in 1...20 { lookup.add(Key16(UInt16(number)), at: Place(number), isPreferred: false) }
        for number in 100...102 { lookup.add(Key16(UInt16(number)), at: Place(number), isPreferred: true) }
        var order: [Int] = []
        while let next = lookup.nextQuery(at: start) {
            order.append(next.contact.number)
            lookup.answered(next.contact, as: next.key ?? Key16(0), isPreferred: next.isPreferred, at: start)
        }
        #expect(order == [100, 101, 102, 1])
        #expect(lookup.isFinished)
    }

    @Test("of one network only so many are asked, and the closest where they are known in time")
    func networks() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        for number in (1...50).reversed() {
            lookup.add(Key16(UInt16(number)), at: Place(number, network: 1), isPreferred: true)
        }
        let asked = (0..<9).compactMap { _ in lookup.nextQuery(at: start)?.contact.number }
        #expect(asked == [1, 2])
    }

    /// What becomes of a lookup in which each of `liars` names silent addresses in some networks, and one node, which is
    /// asked last, the true closest, one in each of four networks. Returns those that were asked, in order.
    private func ask(_ lookup: inout Search, liars: [[Place]], silent: Set<Int>) -> [Place] {
        for number in liars.indices { lookup.add(Key16(0xF000 + UInt16(number)), at: Place(number), isPreferred: true) }
        let honest = Place(99)
        lookup.add(Key16(0xFF00), at: honest, isPreferred: true)
        var asked: [Place] = []
        while let next = lookup.nextQuery(at: start) {
            asked.append(next.contact)
            guard !silent.contains(next.contact.number) else {
                lookup.failed(next.contact)
                continue
            }
            for named in liars.indices.contains(next.contact.number) ? liars[next.contact.number] : [] {
                lookup.add(Key16(UInt16(named.number)), at: named, isPreferred: true, toldBy: next.contact)
            }
            if next.contact == honest {
                for network in 1...4 {
                    let key = 0x1000 + UInt16(network)
                    let place = Place(Int(key), network: network)
                    lookup.add(Key16(key), at: place, isPreferred: true, toldBy: honest)
                }
            }
            lookup.answered(next.contact, as: next.key ?? Key16(0), isPreferred: true, at: start)
        }
        #expect(lookup.isFinished)
        return asked
    }

    @Test("nodes that name silent addresses in the networks of the closest do not keep those from being asked")
    func silentAddresses() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        // Pairs of liars use up what a network is asked on anybody's word. One that has told the truth before, and so is
        // trusted more than the honest node, names the true one itself behind a silent one.
        let places = (0..<9).map { Place(200 + $0, network: 1 + $0 / 5) }
        let liars = [
            [places[0], places[1]], [places[2], places[3]],
            [Place(150, network: 9), places[4], Place(0x1001, network: 1)], [places[5], places[6]],
            [places[7], places[8]],
        ]
        let asked = ask(&lookup, liars: liars, silent: Set(200..<209))
        #expect(asked.count { $0.number >= 200 && $0.number < 209 } == 9)
        #expect(lookup.closest.map(\.contact.number) == [150, 0x1001, 0x1002, 0x1003])
    }

    @Test("however many nodes name silent addresses in one network, it is asked no more often than the limits say")
    func silentNetwork() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        let liars = (0..<40).map { number in (0..<2).map { Place(200 + 2 * number + $0, network: 1) } }
        let asked = ask(&lookup, liars: liars, silent: Set(200..<280))
        let limits = lookup.limits
        #expect(asked.count { $0.network == 1 } == limits.queriesPerNetwork + limits.furtherQueriesPerNetwork)
    }

    @Test("nodes that answer, but name silent ones, do not end a lookup by being the closest")
    func answeringLiars() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        let liars = (0..<8).map { number in (0..<2).map { Place(200 + 2 * number + $0) } }
        _ = ask(&lookup, liars: liars, silent: Set(200..<216))
        #expect(lookup.closest.map(\.contact.number) == [0x1001, 0x1002, 0x1003, 0x1004])
        // Those who name the same share the blame, whoever named it first, and it costs two queries in all.
        var colluding = Search(target: Key16(0), limits: limits(), at: start)
        let same = (0..<8).map { _ in [Place(200), Place(201)] }
        let asked = ask(&colluding, liars: same, silent: [200, 201])
        #expect(asked.count { $0.number == 200 || $0.number == 201 } == 2)
        #expect(colluding.closest.map(\.contact.number) == [0x1001, 0x1002, 0x1003, 0x1004])
    }

    @Test("a node that names one which answers under another key is still believed")
    func renamed() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        let honest = Place(1)
        let other = Place(2)
        lookup.add(Key16(0xF000), at: honest, isPreferred: true)
        lookup.add(Key16(0xF001), at: other, isPreferred: true)
        _ = lookup.nextQuery(at: start)
        for number in 10..<16 {
            lookup.add(Key16(UInt16(number)), at: Place(number), isPreferred: true, toldBy: honest)
        }
        lookup.answered(honest, as: Key16(0xF000), isPreferred: true, at: start)
        var asked: [Int] = []
        while let next = lookup.nextQuery(at: start) {
            asked.append(next.contact.number)
            // Two of them show everybody another key.
            let number = UInt16(next.contact.number)
            let key = number == 10 || number == 11 ? Key16(0xFF00 + number) : next.key
            lookup.answered(next.contact, as: key ?? Key16(0), isPreferred: true, at: start)
        }
        #expect(asked.prefix(6) == [10, 11, 12, 13, 14, 15])
        #expect(lookup.closest.map(\.contact.number) == [12, 13, 14, 15])
        // One that names living addresses under false keys is left for last after four.
        var deceived = Search(target: Key16(0), limits: limits(), at: start)
        deceived.add(Key16(0xF000), at: honest, isPreferred: true)
        for number in 2...5 { deceived.add(Key16(0xF000 + UInt16(number)), at: Place(number), isPreferred: true) }
        _ = deceived.nextQuery(at: start)
        for number in 10..<26 {
            deceived.add(Key16(UInt16(number)), at: Place(number), isPreferred: true, toldBy: honest)
        }
        deceived.answered(honest, as: Key16(0xF000), isPreferred: true, at: start)
        var tried = 0
        while let next = deceived.nextQuery(at: start) {
            let number = next.contact.number
            tried += number >= 10 ? 1 : 0
            deceived.answered(
                next.contact, as: number >= 10 ? Key16(0xFF00 + UInt16(number)) : next.key ?? Key16(0),
                isPreferred: true, at: start)
        }
        #expect(tried == 4)
    }

    @Test("a node that answers under another key than was said stands where that key belongs")
    func otherKey() {
        var lookup = Search(target: Key16(0), limits: limits(), at: start)
        lookup.add(Key16(1), at: Place(1), isPreferred: true)
        lookup.add(Key16(50), at: Place(2), isPreferred: true)
        lookup.add(nil, at: Place(3), isPreferred: true)
        let asked = (0..<9).compactMap { _ in lookup.nextQuery(at: start)?.contact.number }
        #expect(asked == [3, 1, 2])
        lookup.answered(Place(1), as: Key16(99), isPreferred: true, at: start)
        lookup.answered(Place(2), as: Key16(50), isPreferred: true, at: start)
        // It claims a key under which another has answered.
        #expect(!done { lookup.answered(Place(3), as: Key16(50), isPreferred: true, at: start) })
        #expect(lookup.closest.map(\.contact.number) == [2, 1])
    }

    @Test("answers that name closer nodes without end do not keep a lookup from ending")
    func poisoned() {
        for seed in UInt64(1)...10 {
            var generator = SeededGenerator(seed: seed)
            var lookup = Search(target: Key16(0), limits: limits { $0.queries = 40 }, at: start)
            for number in 0..<8 { lookup.add(Key16(0xF000 + UInt16(number)), at: Place(number), isPreferred: true) }
            var now = start
            var invented = 1000
            while !lookup.isFinished {
                while let next = lookup.nextQuery(at: now) {
                    guard next.contact.number < 1000 || Bool.random(using: &generator) else { continue }
                    for _ in 0..<16 {
                        invented += 1
                        lookup.add(
                            Key16(UInt16.random(in: 0...0x0FFF, using: &generator)), at: Place(invented),
                            isPreferred: true)
                    }
                    lookup.answered(next.contact, as: next.key ?? Key16(1), isPreferred: true, at: now)
                }
                guard let deadline = lookup.deadline else { break }
                now = deadline
                lookup.expire(at: now)
            }
            #expect(lookup.askedCount <= 40 && now - start <= .seconds(60), "seed \(seed)")
        }
    }
}
