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

/// A node with some state, and a clock.
private struct Play: ~Copyable {
    var node: MainlineNode
    var now = Instant.start + .seconds(1000)
    var random = Numbers()

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

    /// Lets it look for things, so that answers find somebody waiting.
    mutating func prepare() {
        node.bootstrap(with: (0..<4).map { Self.sender($0) }, .v4, at: now, using: &random)
        _ = node.findPeers(of: Topic("fuzz").infohash, .v4, announcing: .implied, at: now, using: &random)
        _ = node.findItem(Topic("item").infohash, .v4, at: now, using: &random)
        drain()
    }

    static func sender(_ number: UInt8) -> SocketAddress {
        number & 0x80 == 0
            ? SocketAddress(IPAddress(20, 1, 1, number & 7), port: 6881)
            : SocketAddress(IPAddress(v6: 0x2600 << 112 | UInt128(number & 7)), port: 6881)
    }

    mutating func take(_ datagram: RawSpan, from number: UInt8) {
        node.handle(datagram, from: Self.sender(number), at: now, using: &random)
        drain()
        now += .milliseconds(Int64(number) * 40)
        if node.deadline <= now { node.handleDeadline(at: now, using: &random) }
        drain()
    }

    private mutating func drain() {
        while let transmit = node.nextTransmit() {
            expect(transmit.bytes.count <= 1200, "a datagram has at most 1200 bytes")
            expect((try? Bencode(transmit.bytes)) != nil, "what is sent is bencode in its only form")
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
