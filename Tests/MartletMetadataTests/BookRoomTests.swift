import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletWire
import Testing

@Suite("The room in the book of records")
struct BookRoomTests {
    private static let now = BookTests.now

    private static func book(_ change: (inout MetadataBook.Limits) -> Void = { _ in }) -> MetadataBook {
        var limits = MetadataBook.Limits()
        limits.peers = 100
        limits.dialled = 50
        limits.departed = 20
        change(&limits)
        return MetadataBook(of: peer(0), topics: [BookTests.topic], limits: limits)
    }

    private static func teller(_ number: UInt8, _ network: UInt8) -> Teller {
        Teller(peer(number), at: IPAddress(60, network, 1, 1))
    }

    @Test("a neighbour that makes up records closes the book to nobody else")
    func flood() throws {
        var book = Self.book()
        let (attacker, honest) = (Self.teller(1, 1), Self.teller(2, 2))
        var refused = 0
        for number in 0..<300 {
            do { try book.take(madeUp(number, at: Self.now), from: attacker, at: moment(Self.now)) } catch {
                refused += 1
            }
        }
        #expect(book.count == 100 && refused == 200)
        for number in 300..<340 {
            try book.take(madeUp(number, at: Self.now), from: honest, at: moment(Self.now))
        }
        #expect(book.count == 100)
        // A neighbour's own record has room in any case.
        let neighbour = Self.teller(3, 3)
        book.met(neighbour)
        try book.take(record(3, at: Self.now), from: neighbour, at: moment(Self.now))
        // What others told stays while the attacker goes on, under other names in its network too.
        for number in 400..<500 {
            for name in UInt8(10)..<14 {
                try? book.take(madeUp(number, at: Self.now), from: Self.teller(name, 1), at: moment(Self.now))
            }
        }
        #expect((300..<340).allSatisfy { book.record(of: madeUp($0, at: Self.now).peer) != nil })
        #expect(book.record(of: peer(3)) != nil && book.count == 100)
    }

    @Test("large records fill the book no further than its bytes, and push out no small ones of others")
    func bytes() throws {
        var book = Self.book {
            $0.peers = 200
            $0.bytes = 200 << 10
        }
        let (attacker, honest) = (Self.teller(1, 1), Self.teller(2, 2))
        for number in 0..<60 {
            try? book.take(
                madeUp(number, at: Self.now, size: 7000), from: attacker, at: moment(Self.now))
        }
        #expect(book.count > 20 && book.count < 30)
        for number in 300..<390 {
            try book.take(madeUp(number, at: Self.now), from: honest, at: moment(Self.now))
        }
        // Those that were small make no room by growing.
        for number in 60..<120 { try? book.take(madeUp(number, at: Self.now), from: attacker, at: moment(Self.now)) }
        for number in 60..<120 {
            try? book.take(madeUp(number, 2, at: Self.now, size: 7000), from: attacker, at: moment(Self.now))
        }
        let records = (0..<400).compactMap { book.record(of: madeUp($0, at: Self.now).peer) }
        #expect(records.count == book.count)
        #expect(records.reduce(0) { $0 + $1.envelope.bytes.count } <= 200 << 10)
        #expect((300..<390).allSatisfy { book.record(of: madeUp($0, at: Self.now).peer) != nil })
    }

    @Test("records of peers that were dialled stay when others tell more, up to their share")
    func dialled() throws {
        var book = Self.book()
        for number in UInt8(10)..<80 {
            let teller = Self.teller(number, number)
            book.met(teller)
            try book.take(record(number, at: Self.now), from: teller, at: moment(Self.now))
            book.parted(from: peer(number), dialled: true)
        }
        for number in 0..<300 {
            try? book.take(madeUp(number, at: Self.now), from: Self.teller(1, 1), at: moment(Self.now))
        }
        let kept = (UInt8(10)..<80).filter { book.record(of: peer($0)) != nil }.count
        #expect(kept >= 50 && book.count == 100)
    }

    @Test("a peer that has left is remembered as long as its old records are of use, and none comes back")
    func departed() throws {
        var book = Self.book()
        let teller = Self.teller(1, 1)
        let old = record(5, 1, at: Self.now)
        try book.take(old, from: teller, at: moment(Self.now))
        #expect(throws: MetadataRefusal.noCommonTopic) {
            try book.take(record(5, 2, topic: "others", at: Self.now), from: teller, at: moment(Self.now))
        }
        #expect(book.count == 0 && book.departedCount == 1 && book.peers(on: [BookTests.topic]).isEmpty)
        #expect(throws: MetadataRefusal.notNewer) { try book.take(old, from: teller, at: moment(Self.now)) }
        // Nobody is asked for it either.
        let summary = book.summary(from: 0, on: [BookTests.topic], except: peer(9))
        #expect(summary.entries.map(\.sequence) == [2])
        let missing = book.missing(
            in: MetadataSummary(first: 0, last: .max, entries: []), on: [BookTests.topic], except: peer(9))
        #expect(missing.isEmpty)
        let boot = moment(Self.now).boot
        book.expire(at: boot + .seconds(7200))
        #expect(book.departedCount == 1)
        book.expire(at: boot + .seconds(7801))
        #expect(book.departedCount == 0)
        try book.take(record(5, 3, at: Self.now), from: teller, at: moment(Self.now))
        #expect(book.count == 1)
    }

    @Test("so many are remembered that have left, and no more")
    func departedBound() throws {
        var book = Self.book()
        for number in 0..<60 {
            let teller = Self.teller(1, 1)
            try book.take(madeUp(number, at: Self.now), from: teller, at: moment(Self.now))
            try? book.take(madeUp(number, 2, at: Self.now, topic: ""), from: teller, at: moment(Self.now))
        }
        #expect(book.count == 0 && book.departedCount == 20)
    }

    @Test("what a record claims is read without its signature, and no more is needed to refuse most")
    func claims() throws {
        var book = Self.book()
        let teller = Self.teller(1, 1)
        let newer = record(5, 7, at: Self.now)
        try book.take(newer, from: teller, at: moment(Self.now))
        var forged = Array(record(5, 7, at: Self.now).envelope.bytes)
        forged[forged.count - 1] ^= 1
        let claim = try MetadataClaim(peekingInto: Bytes(forged))
        #expect(claim.peer == peer(5) && claim.sequence == 7)
        #expect(throws: MetadataRefusal.notNewer) { try book.check(claim, from: teller, at: moment(Self.now)) }
        for count in 0..<forged.count {
            let part = Bytes(forged).slice(0..<count)
            let cut = try? MetadataClaim(peekingInto: part)
            #expect(cut == nil || cut?.sequence == 7)
        }
    }

    @Test("ages go on while the machine sleeps, and do not change when its clock is set")
    func ages() throws {
        var book = Self.book()
        var moment = moment(Self.now)
        try book.take(record(5, at: Self.now), from: Self.teller(1, 1), at: moment)
        // The clock is set back by a day, and forward again.
        moment.wall = WallTime(nanoseconds: Self.now.nanoseconds - 86_400_000_000_000)
        book.expire(at: moment.boot)
        #expect(book.count == 1)
        moment.boot += .seconds(7201)
        book.expire(at: moment.boot)
        #expect(book.count == 0)
    }

    @Test("what was declined is known to a summary, which stays within its size")
    func declined() throws {
        var book = Self.book()
        for number in 0..<10 { try book.take(madeUp(number, at: Self.now), at: Self.now) }
        let places = (0..<10).map { MetadataSummary.place(of: madeUp($0, at: Self.now).peer) }
        let summary = book.summary(
            from: 0, on: [BookTests.topic], except: peer(9), declined: [places[3]: 9, 77: 5])
        #expect(summary.entries.count == 11)
        #expect(summary.entries.map(\.place) == summary.entries.map(\.place).sorted())
        #expect(summary.entries.contains { $0.place == places[3] && $0.sequence == 9 })
        let many = Dictionary(uniqueKeysWithValues: (0..<1000).map { (UInt64($0) << 50, UInt64(1)) })
        let full = book.summary(from: 0, on: [BookTests.topic], except: peer(9), declined: many)
        #expect(full.entries.count == MetadataSummary.maximumEntries && full.last < .max)
        #expect(full.entries.allSatisfy { full.covers($0.place) })
    }
}
