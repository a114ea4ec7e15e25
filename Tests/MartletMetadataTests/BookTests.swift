import MartletCrypto
import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletWire
import TestSupport
import Testing

@Suite("The book of records")
struct BookTests {
    static let now = WallTime(nanoseconds: 1_767_225_600_000_000_000)
    static let topic = TopicKey("cooks")

    static func record(
        _ number: UInt8, _ sequence: UInt64 = 1, topics: [TopicKey] = [topic], after seconds: Int64 = 0
    ) -> SignedMetadata {
        var record = NodeMetadata(
            peer: peer(number), sequence: sequence,
            time: WallTime(nanoseconds: now.nanoseconds + seconds * 1_000_000_000))
        record.topicMarks = topics.map { $0.mark(of: peer(number)) }
        return SignedMetadata(record, signedWith: key(number))
    }

    static func book(_ limits: MetadataBook.Limits = .init(), holding peers: ClosedRange<UInt8>? = nil) -> MetadataBook
    {
        var book = MetadataBook(of: peer(0), topics: [topic, TopicKey("gardeners")], limits: limits)
        if let peers {
            for number in peers { try? book.take(record(number), at: now) }
        }
        return book
    }

    @Test("a newer record takes the place of an older one, and no older or equal one of a newer")
    func newer() throws {
        var book = Self.book()
        try book.take(Self.record(1, 5), at: Self.now)
        #expect(throws: MetadataRefusal.notNewer) { try book.take(Self.record(1, 5), at: Self.now) }
        #expect(throws: MetadataRefusal.notNewer) { try book.take(Self.record(1, 4), at: Self.now) }
        try book.take(Self.record(1, 6), at: Self.now)
        #expect(book.record(of: peer(1))?.metadata.sequence == 6)
        #expect(book.count == 1)
    }

    @Test("records from the future, from long ago, of this node itself and on other topics are refused")
    func refusals() {
        var book = Self.book()
        #expect(throws: MetadataRefusal.fromTheFuture) { try book.take(Self.record(1, after: 601), at: Self.now) }
        #expect(throws: MetadataRefusal.expired) { try book.take(Self.record(1, after: -7201), at: Self.now) }
        #expect(throws: MetadataRefusal.own) { try book.take(Self.record(0), at: Self.now) }
        #expect(throws: MetadataRefusal.noCommonTopic) {
            try book.take(Self.record(1, topics: [TopicKey("others")]), at: Self.now)
        }
        #expect(book.count == 0)
    }

    @Test("a peer that leaves the topics is forgotten")
    func leaves() throws {
        var book = Self.book(holding: 1...3)
        #expect(throws: MetadataRefusal.noCommonTopic) { try book.take(Self.record(2, 9, topics: []), at: Self.now) }
        #expect(book.record(of: peer(2)) == nil)
        #expect(book.peers(on: [Self.topic]).count == 2)
    }

    @Test("a full book takes nobody new until someone expires")
    func full() throws {
        var limits = MetadataBook.Limits()
        limits.peers = 3
        var book = Self.book(limits, holding: 1...3)
        #expect(throws: MetadataRefusal.full) { try book.take(Self.record(4), at: Self.now) }
        try book.take(Self.record(3, 2), at: Self.now)
        let later = WallTime(nanoseconds: Self.now.nanoseconds + 7300 * 1_000_000_000)
        try book.take(Self.record(4, after: 7300), at: later)
        #expect(book.count == 1)
    }

    @Test("what is missing in a summary is exactly what its maker does not have")
    func missing() throws {
        let all = Self.book(holding: 1...60)
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<50 {
            var some = Self.book()
            for number in UInt8(1)...60 where Bool.random(using: &generator) {
                try some.take(Self.record(number, Bool.random(using: &generator) ? 1 : 2), at: Self.now)
            }
            let first = UInt64.random(in: 0...UInt64.max, using: &generator)
            let summary = some.summary(from: first, on: [Self.topic], except: peer(60))
            #expect(summary.entries.count == (some.record(of: peer(60)) == nil ? some.count : some.count - 1))
            let missing = Set(all.missing(in: summary, on: [Self.topic], except: peer(60)).map(\.peer))
            let expected = Set((UInt8(1)...59).map { peer($0) }.filter { some.record(of: $0) == nil })
            #expect(missing == expected)
        }
    }

    @Test("two books that hold the same come to the same digest, and one record more or newer shows")
    func digests() throws {
        // Each holds a record of the other, and none of itself.
        let topics = [Self.topic]
        var one = MetadataBook(of: peer(1), topics: topics)
        var two = MetadataBook(of: peer(2), topics: topics)
        for number in UInt8(1)...60 {
            if number != 1 { try one.take(Self.record(number), at: Self.now) }
            if number != 2 { try two.take(Self.record(number), at: Self.now) }
        }
        func isSame(from first: UInt64) -> Bool {
            let digest = MetadataDigest(one.summary(from: first, on: [Self.topic], except: peer(2)))
            return MetadataDigest(
                two.summary(from: digest.first, to: digest.last, on: [Self.topic], except: peer(1))) == digest
        }
        for first in [0, 1 << 62, 1 << 63, .max] as [UInt64] { #expect(isSame(from: first)) }
        try two.take(Self.record(30, 2), at: Self.now)
        #expect(!isSame(from: 0))
        try one.take(Self.record(30, 2), at: Self.now)
        #expect(isSame(from: 0))
        try two.take(Self.record(61), at: Self.now)
        #expect(!isSame(from: 0))
    }

    @Test("digests of stretches that are full agree too, wherever the two stand")
    func fullStretches() throws {
        let now = Self.now
        var books = [1, 2].map { MetadataBook(of: peer($0), topics: [Self.topic]) }
        for number in 1...600 {
            var seed = [UInt8](repeating: 9, count: 32)
            (seed[0], seed[1]) = (UInt8(number & 0xFF), UInt8(number >> 8))
            let bytes = Bytes(seed)
            let own = try PrivateKey(ed25519Seed: bytes.span)
            let peer = PeerID(own.publicKey)
            var record = NodeMetadata(peer: peer, sequence: 1, time: now)
            record.topicMarks = [Self.topic.mark(of: peer)]
            let signed = SignedMetadata(record, signedWith: own)
            for index in 0..<2 { try books[index].take(signed, at: now) }
        }
        try books[0].take(Self.record(2), at: now)
        try books[1].take(Self.record(1), at: now)
        // Of a stretch with more than a summary holds nobody says that it is the same, whatever the asker makes of it.
        let whole = books[1].summary(from: 0, to: .max, on: [Self.topic], except: peer(1))
        #expect(whole.entries.count == MetadataSummary.maximumEntries && whole.last < .max)
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<50 {
            let first = UInt64.random(in: 0...UInt64.max, using: &generator)
            let summary = books[0].summary(from: first, on: [Self.topic], except: peer(2))
            #expect(summary.entries.count == MetadataSummary.maximumEntries)
            let known = books[1].summary(from: first, to: summary.last, on: [Self.topic], except: peer(1))
            #expect(MetadataDigest(known) == MetadataDigest(summary))
        }
    }

    @Test("a summary goes around the circle, and one that is full ends where it is full")
    func stretches() throws {
        let book = Self.book(holding: 1...60)
        let places = (UInt8(1)...60).map { MetadataSummary.place(of: peer($0)) }.sorted()
        let summary = book.summary(from: places[30], on: [Self.topic], except: peer(90))
        #expect(summary.entries.map(\.place) == Array(places[30...] + places[..<30]))
        #expect(summary.covers(0) && summary.covers(.max) && summary.covers(places[30]))
        let stretch = MetadataSummary(first: .max - 1, last: 5, entries: [])
        #expect(stretch.covers(.max) && stretch.covers(0) && stretch.covers(5) && !stretch.covers(6))
    }

    @Test("nothing of another topic is passed on")
    func otherTopics() throws {
        var book = Self.book(holding: 1...3)
        try book.take(Self.record(4, topics: [TopicKey("gardeners")]), at: Self.now)
        let nothing = MetadataSummary(first: 0, last: .max, entries: [])
        #expect(book.missing(in: nothing, on: [TopicKey("gardeners")], except: peer(9)).map(\.peer) == [peer(4)])
        #expect(book.missing(in: nothing, on: [Self.topic], except: peer(9)).count == 3)
        #expect(book.summary(from: 0, on: [TopicKey("gardeners")], except: peer(9)).entries.count == 1)
    }

    @Test("an answer stays within its size")
    func answerSize() {
        var limits = MetadataBook.Limits()
        limits.answerSize = 1000
        let book = Self.book(limits, holding: 1...60)
        let nothing = MetadataSummary(first: 0, last: .max, entries: [])
        let records = book.missing(in: nothing, on: [Self.topic], except: peer(90))
        #expect(!records.isEmpty)
        #expect(records.reduce(0) { $0 + $1.envelope.bytes.count } <= 1000)
    }
}
