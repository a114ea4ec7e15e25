import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletTLS
import MartletTransport
import MartletWire
import Testing

// Without this module GnuTLS draws other bytes in each run.
import CSeededRandom

/// Two hosts that speak QUIC with each other, over one line.
private final class Pair {
    let world: World
    let alice: Host
    let bob: Host
    /// What Bob has read, and what he was connected by.
    private(set) var received = 0
    private(set) var accepted: [Connection] = []
    private(set) var transports: [QUICTransport] = []
    private let bobAddress: Multiaddr

    init(seed: UInt64, line: LinkConditions) throws {
        world = World(seed: seed)
        alice = world.host("alice", IPAddress(192, 0, 2, 1))
        bob = world.host("bob", IPAddress(192, 0, 2, 2))
        bobAddress = try Multiaddr(parsing: "/ip4/192.0.2.2/udp/4001/quic-v1")
        alice.line = line
        bob.line.latency = .zero
    }

    /// Starts Bob, who reads all that comes, and Alice, who does `body` with a way to dial him.
    func start(
        _ body: nonisolated(nonsending) @escaping (QUICTransport, SimulatedEnvironment) async throws -> Void
    ) {
        bob.start { [self] environment in
            let transport = makeTransport(environment)
            _ = try transport.listen(
                on: try Multiaddr(parsing: "/ip4/0.0.0.0/udp/4001/quic-v1"), Inbound { [self] in accept($0) })
            try await environment.loop.sleep(until: .never)
        }
        alice.start { [self] environment in
            try await body(makeTransport(environment), environment)
            try await environment.loop.sleep(until: .never)
        }
    }

    private func makeTransport(_ environment: SimulatedEnvironment) -> QUICTransport {
        var random = environment.random
        let transport = QUICTransport(
            environment: environment, hostKey: .ed25519(using: &random), certificateKey: .ed25519)
        transports.append(transport)
        return transport
    }

    private func accept(_ connection: Connection) {
        accepted.append(connection)
        connection.onStream = { [self] stream in
            connection.loop.spawn { [self] in
                while let bytes = try? await stream.read() { received += bytes.count }
            }
        }
    }

    func dial(_ transport: QUICTransport, _ environment: SimulatedEnvironment) async throws -> Connection {
        try await transport.dial(bobAddress, expecting: nil, deadline: environment.loop.now + .seconds(10))
    }

    /// The bits a second that one stream carries, counted for `duration` after `beginning`.
    func measureStream(after beginning: Duration, for duration: Duration) throws -> Double {
        start { [self] transport, environment in
            let stream = try await dial(transport, environment).openStream()
            let piece = Bytes(count: 128 << 10) { $0.initializeMemory(as: UInt8.self, repeating: 0x6D) }
            while true { try await stream.write(piece) }
        }
        try world.run(for: beginning)
        let before = received
        try world.run(for: duration)
        return Double((received - before) * 8) / (duration / .seconds(1))
    }
}

@Suite("QUIC on long and lossy ways")
struct QUICSimulations {
    @Test("one stream fills a way of 1 Gbit/s and 20 ms")
    func filled() throws {
        var line = LinkConditions(latency: .milliseconds(10), rate: 1_000_000_000)
        // As much as is on the way: 20 ms of it.
        line.queueBound = 2_500_000
        let pair = try Pair(seed: 61, line: line)
        // Where the queue was full first, what comes behind the gap is read at once later: not counted here.
        let duration = Duration.milliseconds(Tier.size(500, 5000))
        let rate = try pair.measureStream(after: .milliseconds(800), for: duration)
        let share = rate / 1e9
        print("QUIC, 1 Gbit/s and 20 ms: \(Int(rate / 1e6)) Mbit/s in one stream, \(percent(share)) of the way")
        #expect(share >= 0.85)
    }

    /// The packets in flight that congestion control keeps up where each packet is lost with probability `loss`.
    ///
    /// Reno's: W = √(3 / 2p) (RFC 8312 §5.1, after Mathis et al. 1997). CUBIC's: W = ⁴√(C·(3 + β) / (4·(1 − β))) ·
    /// ⁴√(RTT / p)³ with C = 0.4 and β = 0.7 (RFC 9438 §5.1), and never less than Reno's, whose friend it is (§4.3).
    private func responseWindow(loss p: Double, roundTrip: Double) -> (reno: Double, cubic: Double) {
        let reno = (3 / (2 * p)).squareRoot()
        let (c, beta) = (0.4, 0.7)
        func fourthRoot(_ value: Double) -> Double { value.squareRoot().squareRoot() }
        let ratio = roundTrip / p
        let cubic = fourthRoot(c * (3 + beta) / (4 * (1 - beta))) * fourthRoot(ratio * ratio * ratio)
        return (reno, max(cubic, reno))
    }

    @Test("where each hundredth packet is lost, a stream gets what congestion control makes of that")
    func lossy() throws {
        // A longer way as well, where CUBIC's own growth counts.
        for (milliseconds, seed) in [(20, UInt64(62)), (100, 63)] {
            let half = Duration.milliseconds(milliseconds / 2)
            let pair = try Pair(seed: seed, line: LinkConditions(latency: half, loss: 0.01, rate: 1_000_000_000))
            let duration = Duration.seconds(Tier.size(20, 300) * milliseconds / 20)
            let rate = try pair.measureStream(after: .seconds(2), for: duration)
            let window = responseWindow(loss: 0.01, roundTrip: Double(milliseconds) / 1000)
            // What a packet carries of a stream: 1452 bytes without header, tag and the frame's beginning.
            let expected = window.cubic * 1420 * 8 / (Double(milliseconds) / 1000)
            print(
                "QUIC, 1 % loss and \(milliseconds) ms: \(tenths(rate / 1e6)) Mbit/s; the response function says "
                    + "\(tenths(expected / 1e6)) (window \(tenths(window.cubic)) packets, Reno's "
                    + "\(tenths(window.reno))): \(percent(rate / expected))")
            #expect(rate / expected >= 0.7)
        }
    }

    @Test("streams opened and broken off without end leave nothing behind, and no more are open than is allowed")
    func streams() throws {
        let pair = try Pair(seed: 64, line: LinkConditions(latency: .milliseconds(1)))
        let count = Tier.size(3_000, 100_000)
        var mostOpen = 0
        var opened = 0
        pair.start { transport, environment in
            let connection = try await pair.dial(transport, environment)
            while opened < count {
                let stream = try await connection.openStream(by: environment.loop.now + .seconds(10))
                opened += 1
                try await stream.write([1])
                stream.reset(code: 1)
                mostOpen = max(mostOpen, pair.accepted.first?.statistics.openStreams ?? 0)
            }
        }
        try pair.world.run(within: .seconds(1000)) { opened == count }
        try pair.world.run(for: .seconds(2))
        #expect(mostOpen <= QUICLimits().streams)
        #expect(pair.accepted[0].statistics.openStreams == 0)
        #expect(pair.accepted[0].statistics.streamsAccepted <= count)
    }

    @Test("what an idle connection costs")
    func idle() throws {
        let pair = try Pair(seed: 65, line: LinkConditions(latency: .milliseconds(1)))
        let count = Tier.size(100, 1000)
        let first = 50
        var dialled = 0
        var kept: [Connection] = []
        pair.start { transport, environment in
            while dialled < count + first {
                kept.append(try await pair.dial(transport, environment))
                dialled += 1
            }
        }
        // The first bring what is there once.
        try pair.world.run(within: .seconds(100)) { dialled >= first }
        let before = residentBytes()
        try pair.world.run(within: .seconds(1000)) { dialled == count + first }
        // Two keep-alives later.
        try pair.world.run(for: .seconds(40))
        let each = (residentBytes() - before) / (2 * count)
        print("QUIC: \(each) bytes of memory for each idle connection and side")
        #expect(pair.accepted.count == kept.count)
        #expect(kept.allSatisfy { $0.closeReason == nil })
        #expect(each <= 45 << 10)
    }

    private func tenths(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

    private func percent(_ share: Double) -> String { "\(tenths(share * 100)) %" }
}
