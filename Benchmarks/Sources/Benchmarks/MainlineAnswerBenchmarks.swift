import BenchmarkHarness
import Martlet
import MartletMainline
import MartletRouting
import MartletRuntime

/// `MartletMainline`: what a datagram of the DHT costs a node that knows 1,000 others.
var mainlineBenchmarks: [Benchmark] {
    [answers("find_node", "target"), answers("get_peers", "info_hash"), closest]
}

/// A node of which nothing is refused, whose table holds 1,000 nodes.
private final class Subject {
    var node: MainlineNode
    var random = Numbers(state: 7)
    let now = Instant.start + .seconds(1000)
    let queries: [(Bytes, SocketAddress)]

    init(_ method: String, _ name: String) {
        var configuration = MainlineConfiguration()
        configuration.limits.answersPerSource = 0
        configuration.limits.unprovenBytesPerSource = 0
        configuration.limits.unprovenBytesPerNetwork = 0
        configuration.limits.routing.bucketSizes = [256]
        configuration.limits.queriesPerSecond = 1_000_000
        configuration.limits.checksPerSecond = 1
        configuration.bindsIDs = false
        var random = Numbers(state: 7)
        node = MainlineNode(configuration, at: now, using: &random)
        queries = (0..<512).map { number in
            let id = NodeID(using: &random)
            let target = NodeID(using: &random)
            let arguments = Bencode.dictionary([
                Bencode.Entry(Bytes(utf8: "id"), .string(id.bytes)),
                Bencode.Entry(Bytes(utf8: name), .string(target.bytes)),
            ])
            let query = Bencode.dictionary([
                Bencode.Entry(Bytes(utf8: "a"), arguments),
                Bencode.Entry(Bytes(utf8: "q"), .string(Bytes(utf8: method))),
                Bencode.Entry(Bytes(utf8: "t"), .string(Bytes(utf8: "aa"))),
                Bencode.Entry(Bytes(utf8: "y"), .string(Bytes(utf8: "q"))),
            ])
            return (query.encoded(), SocketAddress(IPAddress(v4: 0x1400_0000 + UInt32(number) << 8), port: 6881))
        }
        fill()
    }

    /// Fills the table by answering the node's own questions with nodes that do not exist.
    private func fill() {
        var next = 0
        func address() -> SocketAddress {
            next += 1
            return SocketAddress(IPAddress(v4: 0x3000_0000 + UInt32(next) << 8), port: 6881)
        }
        var known = 0
        while known < 1000, next < 60_000 {
            node.bootstrap(with: [address()], .v4, at: now, using: &random)
            _ = node.findNodes(around: NodeID(using: &random), .v4, at: now, using: &random)
            while let transmit = node.nextTransmit() {
                guard let query = try? Bencode(transmit.bytes), let transaction = query["t"] else { continue }
                var nodes = Writer()
                for _ in 0..<8 {
                    nodes.bytes(NodeID(using: &random).bytes)
                    let address = address()
                    nodes.address(address.ip)
                    nodes.integer(address.port)
                }
                let values = Bencode.dictionary([
                    Bencode.Entry(Bytes(utf8: "id"), .string(NodeID(using: &random).bytes)),
                    Bencode.Entry(Bytes(utf8: "nodes"), .string(nodes.finish())),
                ])
                let answer = Bencode.dictionary([
                    Bencode.Entry(Bytes(utf8: "r"), values), Bencode.Entry(Bytes(utf8: "t"), transaction),
                    Bencode.Entry(Bytes(utf8: "y"), .string(Bytes(utf8: "r"))),
                ])
                node.handle(answer.encoded().span, from: transmit.destination, at: now, using: &random)
            }
            while node.nextEvent() != nil {}
            known = node.nodes(.v4).count
        }
        precondition(known >= 1000, "the table holds \(known) nodes")
    }

    func ask(_ count: Int) {
        for number in 0..<count {
            let (query, source) = queries[number & 511]
            node.handle(query.span, from: source, at: now, using: &random)
            while let transmit = node.nextTransmit() { consume(transmit.bytes.span) }
        }
    }
}

private struct Numbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state ^ state >> 33) &* 0xFF51_AFD7_ED55_8CCD
    }
}

/// A query that comes in, is taken apart and answered, and the answer taken out.
private func answers(_ method: String, _ name: String) -> Benchmark {
    Benchmark("dht-\(method)-answered", operations: 512) {
        let subject = Subject(method, name)
        return { iterations in
            for _ in 0..<iterations { subject.ask(512) }
        }
    }
}

/// The eight closest of a table of some 1,000 nodes, alone.
private var closest: Benchmark {
    Benchmark("dht-closest-of-1000", operations: 512) {
        var random = Numbers(state: 3)
        var limits = RoutingLimits()
        limits.bucketSizes = [256]
        let now = Instant.start
        var table = RoutingTable<NodeID, SocketAddress>(own: NodeID(using: &random), limits: limits, at: now)
        for number in 0..<20_000 where table.count < 1000 {
            let address = SocketAddress(IPAddress(v4: 0x3000_0000 + UInt32(number) << 8), port: 1)
            table.answered(NodeID(using: &random), at: address, isPreferred: true, roundTrip: nil, now: now)
        }
        let targets = (0..<512).map { _ in NodeID(using: &random) }
        var found: [RoutingTable<NodeID, SocketAddress>.Node] = []
        return { iterations in
            for _ in 0..<iterations {
                for target in targets {
                    table.closest(to: target, count: 8, into: &found)
                    consume(found.count)
                }
            }
        }
    }
}
