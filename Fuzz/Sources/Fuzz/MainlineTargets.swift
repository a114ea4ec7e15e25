import Martlet
import MartletMainline
import MartletRuntime

/// The DHT: whole datagrams to a node that has stored things, knows others and waits for answers.
let mainlineTargets: [FuzzTarget] = [
    FuzzTarget("MainlineNode") { input in
        var play = Play()
        play.prepare()
        // The input is datagrams behind their lengths, each behind a byte that says who sends it.
        var reader = Reader(input.span)
        while !reader.isAtEnd {
            let sender = try reader.byte()
            let size = min(Int(try reader.integer(UInt16.self)), reader.remaining)
            play.take(try reader.span(size), from: sender)
        }
    },

    FuzzTarget("MainlineDatagram") { input in
        var play = Play()
        play.prepare()
        play.take(input.span, from: 0)
    },

    FuzzTarget("MainlineSaved") { input in
        var play = Play()
        try play.node.restore(input, at: play.now)
        expect(play.node.saved(at: play.now).count <= 100 + 2 * 200 * 38, "what is saved is bounded")
    },
]

/// A node with some state, and a clock: it knows others, waits for answers, and stores an announcement and an item.
private struct Play: ~Copyable {
    var node: MainlineNode
    var now = Instant.start + .seconds(1000)
    var random = Numbers()
    /// The transaction ids of its last queries, and the token that it gave last: an input can name what it cannot know.
    var transactions: [Bytes] = []
    var token = Bytes()

    init() {
        var configuration = MainlineConfiguration()
        configuration.usesV6 = true
        configuration.limits.sourceCounters = 64
        configuration.limits.announcements = 16
        configuration.limits.items = 8
        configuration.limits.unprovenBytesPerSource = 0
        configuration.limits.unprovenBytesPerNetwork = 0
        node = MainlineNode(configuration, at: now, using: &random)
    }

    /// Lets it look for things, so that answers find somebody waiting, and keep things, so that queries find them.
    mutating func prepare() {
        node.bootstrap(with: (0..<4).map { Self.sender($0) }, .v4, at: now, using: &random)
        drain()
        for sender in UInt8(0)..<4 {
            take(Bytes(utf8: "d1:rd2:id20:abcdefghij012345678\(sender)e1:t4:TTT\(sender)1:y1:re").span, from: sender)
        }
        let asker = "d1:ad2:id20:abcdefghij0123456789"
        take(Bytes(utf8: "\(asker)9:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t1:a1:y1:qe").span, from: 0)
        let announced = "12:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti1e5:token8:KKKKKKKK"
        take(Bytes(utf8: "\(asker)\(announced)e1:q13:announce_peer1:t1:a1:y1:qe").span, from: 0)
        take(Bytes(utf8: "\(asker)5:token8:KKKKKKKK1:v5:valuee1:q3:put1:t1:a1:y1:qe").span, from: 0)
        let hasState = node.announcementCount == 1 && node.itemCount == 1 && node.joinState(.v4) == .joined
        expect(hasState, "the node has state")
        _ = node.findPeers(of: Topic("fuzz").infohash, .v4, announcing: .implied, at: now, using: &random)
        _ = node.findItem(Topic("item").infohash, .v4, at: now, using: &random)
        _ = node.sampleInfohashes(towards: Topic("sample").infohash, .v4, at: now, using: &random)
        drain()
    }

    static func sender(_ number: UInt8) -> SocketAddress {
        number & 0x80 == 0
            ? SocketAddress(IPAddress(20, 1, 1, number & 7), port: 6881)
            : SocketAddress(IPAddress(v6: 0x2600 << 112 | UInt128(number & 7)), port: 6881)
    }

    mutating func take(_ datagram: RawSpan, from number: UInt8) {
        let filled = filled(datagram)
        node.handle(filled.span, from: Self.sender(number), at: now, using: &random)
        drain()
        now += .milliseconds(Int64(number) * 40)
        if node.deadline <= now { node.handleDeadline(at: now, using: &random) }
        drain()
    }

    /// The datagram with `TTT` and a digit in place of a transaction id, and `KKKKKKKK` in place of the token, filled in.
    private func filled(_ datagram: RawSpan) -> Bytes {
        var bytes = datagram.withUnsafeBytes { Array($0) }
        var index = 0
        while index + 4 <= bytes.count {
            if bytes[index] == UInt8(ascii: "T"), bytes[index + 1] == bytes[index], bytes[index + 2] == bytes[index],
                !transactions.isEmpty
            {
                let id = transactions[Int(bytes[index + 3] & 15) % transactions.count]
                bytes.replaceSubrange(index..<index + 4, with: id)
                index += 4
            } else if index + 8 <= bytes.count, token.count == 8,
                bytes[index..<index + 8].allSatisfy({ $0 == UInt8(ascii: "K") })
            {
                bytes.replaceSubrange(index..<index + 8, with: token)
                index += 8
            } else {
                index += 1
            }
        }
        return Bytes(bytes)
    }

    private mutating func drain() {
        while let transmit = node.nextTransmit() {
            expect(transmit.bytes.count <= 1200, "a datagram has at most 1200 bytes")
            guard let message = try? Bencode(transmit.bytes) else {
                expect(false, "what is sent is bencode in its only form")
                continue
            }
            if message["q"] != nil, case .string(let id)? = message["t"] {
                transactions.append(id)
                if transactions.count > 16 { transactions.removeFirst() }
            }
            if case .string(let given)? = message["r"]?["token"] { token = given }
        }
        while node.nextEvent() != nil {}
        expect(node.announcementCount <= 16 && node.itemCount <= 8, "what is stored is bounded")
    }
}

/// Numbers that are the same each time, so that the first transaction ids are known and the corpus can answer them.
private struct Numbers: RandomNumberGenerator {
    var state: UInt64 = 0

    mutating func next() -> UInt64 {
        state &+= 0x0101_0101_0101_0101
        return state
    }
}
