import Foundation
import Martlet
import Testing

/// py-libp2p at the other end of real sockets.
@Suite("py-libp2p", .serialized)
struct LibP2PTests {
    enum Road: String, CaseIterable, CustomTestStringConvertible {
        case noise = "TCP, Noise and Yamux"
        case tls = "TCP, TLS and Yamux"
        case quic = "QUIC"

        var testDescription: String { rawValue }
        var address: String { self == .quic ? "/ip4/127.0.0.1/udp/0/quic-v1" : "/ip4/127.0.0.1/tcp/0" }
        /// What it is told to speak.
        var options: [String] { self == .tls ? ["--tls"] : [] }
    }

    static let megabytes = 10_000_000
    private static let script = OtherProgram.root.appendingPathComponent("Tests/InteropTests/Peers/libp2p_peer.py").path

    private static func peer(_ road: Road, _ arguments: [String]) throws -> OtherProgram {
        try OtherProgram(OtherProgram.python, [script] + road.options + arguments)
    }

    /// Runs `body` with a swarm on a loop of its own.
    private static func withSwarm<Result: Sendable>(
        _ body: sending nonisolated(nonsending) @escaping (Swarm) async throws -> Result
    ) async throws -> Result {
        let environment = try SystemEnvironment(
            log: Logger(subsystem: "test", sink: CollectingLogSink(), levels: LogLevels(.warning)))
        let outcome: Swift.Result<Result, any Error>
        do {
            outcome = .success(
                try await environment.loop.run {
                    var random = environment.random
                    let identity = PrivateKey.ed25519(using: &random)
                    let swarm = Swarm(
                        environment: environment, identity: identity,
                        transports: TransportConfiguration().make(environment: environment, identity: identity))
                    defer { swarm.shutDown() }
                    return try await body(swarm)
                })
        } catch {
            outcome = .failure(error)
        }
        await environment.shutdown()
        return try outcome.get()
    }

    /// A listening peer, and where it listens.
    private static func listener(_ road: Road) async throws -> (OtherProgram, Multiaddr) {
        let process = try peer(road, ["listen", road.address])
        let line = try await process.line()
        let addresses = try #require(line["addresses"] as? [String])
        return (process, try Multiaddr(parsing: try #require(addresses.first)))
    }

    /// What `peer` has said of itself, once it has.
    private static nonisolated(nonsending) func info(of peer: PeerID, in swarm: Swarm) async throws -> PeerInfo {
        let signal = Signal(on: swarm.loop)
        let watch = swarm.watch { event in
            if case .identified(peer, _) = event { signal.signal() }
        }
        if swarm.info(of: peer) == nil {
            try await swarm.loop.withDeadline(swarm.loop.now + .seconds(20)) { try await signal.wait() }
        }
        withExtendedLifetime(watch) {}
        return try #require(swarm.info(of: peer))
    }

    // MARK: Dialling it

    @Test("it is dialled, says what it is, and answers pings", arguments: Road.allCases)
    func dialled(_ road: Road) async throws {
        let (process, address) = try await Self.listener(road)
        let (protocols, observed, answered) = try await Self.withSwarm { swarm in
            let info = try await swarm.connect(to: address)
            let about = try await Self.info(of: info.peer, in: swarm)
            let pinger = try await swarm.pinger(to: info.peer)
            for _ in 0..<5 { _ = try await pinger.ping() }
            return (about.protocols, about.observedAddress, pinger.statistics.answered)
        }
        #expect(protocols.contains("/ipfs/ping/1.0.0") && protocols.contains("/echo"))
        #expect(observed?.ipAddress == .loopbackV4)
        #expect(answered == 5)
        withExtendedLifetime(process) {}
    }

    @Test("10 MB come back from it unharmed", arguments: Road.allCases)
    func echoes(_ road: Road) async throws {
        let (process, address) = try await Self.listener(road)
        let isUnharmed = try await Self.withSwarm { swarm in
            let info = try await swarm.connect(to: address)
            let stream = try await swarm.openStream(to: info.peer, "/echo")
            let sent = Bytes((0..<Self.megabytes).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ $0 >> 16) })
            var received = Writer(capacity: Self.megabytes)
            stream.setReadDeadline(after: .seconds(30))
            // In pieces: over QUIC it stalls when much more comes than it has read. And it may lose what it has not sent
            // when it hears of the end, so the end comes last.
            let piece = 250_000
            for start in stride(from: 0, to: Self.megabytes, by: piece) {
                try await stream.write(sent.slice(start..<start + piece))
                received.bytes(try await stream.read(exactly: piece))
            }
            stream.closeWrite()
            return received.finish() == sent
        }
        #expect(isUnharmed)
        withExtendedLifetime(process) {}
    }

    @Test("it sees a half-close and a reset, and its own reset is seen", arguments: Road.allCases)
    func ends(_ road: Road) async throws {
        let (process, address) = try await Self.listener(road)
        let (answer, reset) = try await Self.withSwarm { swarm in
            let info = try await swarm.connect(to: address)
            let half = try await swarm.openStream(to: info.peer, "/half")
            try await half.write(Bytes(utf8: "hello"))
            half.closeWrite()
            half.setReadDeadline(after: .seconds(20))
            let answer = try await half.read(exactly: 5).utf8
            let wantsReset = try await swarm.openStream(to: info.peer, "/reset")
            wantsReset.setReadDeadline(after: .seconds(20))
            var reset: StreamError?
            do throws(StreamError) {
                try await wantsReset.write(Bytes(utf8: "x"))
                while try await wantsReset.read() != nil {}
            } catch {
                reset = error
            }
            let watched = try await swarm.openStream(to: info.peer, "/watch")
            try await watched.write(Bytes(utf8: "hello"))
            // The reset may overtake what was written; a ping behind both does not.
            _ = try await swarm.pinger(to: info.peer).ping()
            watched.reset()
            _ = try await swarm.pinger(to: info.peer).ping()
            return (answer, reset)
        }
        #expect(answer == "5 end")
        guard case .reset = reset else {
            Issue.record("no reset: \(String(describing: reset))")
            return
        }
        let watched = try await process.line()
        #expect(watched["event"] as? String == "watched")
        #expect(watched["writable"] as? Bool == false, "a reset ends both directions: \(watched)")
    }

    @Test("it is not taken for another", arguments: Road.allCases)
    func wrongPeer(_ road: Road) async throws {
        let (process, address) = try await Self.listener(road)
        let error = try await Self.withSwarm { swarm in
            let other = try #require(address.withoutPeerID)
            var random = swarm.environment.random
            let stranger = PeerID(PrivateKey.ed25519(using: &random).publicKey)
            do throws(ConnectError) {
                _ = try await swarm.connect(to: stranger, at: [other])
                return nil as ConnectError?
            } catch {
                return error
            }
        }
        guard case .failed(let attempts) = error, case .wrongPeer = attempts.first?.error else {
            Issue.record("another error: \(String(describing: error))")
            return
        }
        withExtendedLifetime(process) {}
    }

    // MARK: Being dialled by it

    /// Runs a dialer that does `tasks` at a swarm, and gives what it says and what came to `/watch`.
    private static func dialled(
        over road: Road, _ tasks: [String]
    ) async throws -> (events: [String: OtherProgram.Line], watched: StreamError?) {
        try await withSwarm { swarm in
            let loop = swarm.loop
            swarm.handle("/echo") { stream, _ in
                loop.spawn {
                    while let piece = try? await stream.read() { try? await stream.write(piece) }
                    stream.closeWrite()
                }
            }
            swarm.handle("/half") { stream, _ in
                loop.spawn {
                    var count = 0
                    while let piece = try? await stream.read() { count += piece.count }
                    try? await stream.write(Bytes(utf8: "\(count) end"))
                    stream.closeWrite()
                }
            }
            swarm.handle("/reset") { stream, _ in
                loop.spawn {
                    _ = try? await stream.read(exactly: 1)
                    stream.reset()
                }
            }
            var watched: StreamError?
            swarm.handle("/watch") { stream, _ in
                loop.spawn {
                    do throws(StreamError) {
                        _ = try await stream.read(exactly: 5)
                        try await stream.write(Bytes(utf8: "."))
                        while try await stream.read() != nil {}
                    } catch {
                        watched = error
                    }
                }
            }
            let address = try swarm.listen(on: try Multiaddr(parsing: road.address)).appending(.p2p(swarm.localPeer))
            let dialer = try peer(road, ["dial", address.description] + tasks)
            return (try await dialer.events(), watched)
        }
    }

    @Test("it dials, and finds what it expects of a peer", arguments: Road.allCases)
    func dials(_ road: Road) async throws {
        let (events, watched) = try await Self.dialled(
            over: road, ["identify", "ping", "echo", "half", "reset", "watch-reset"])
        #expect(events["done"] != nil, "it went on to its end: \(events)")
        let identify = try #require(events["identify"])
        #expect(identify["agent"] as? String == "martlet")
        #expect((identify["protocols"] as? [String])?.contains("/ipfs/id/1.0.0") == true)
        #expect((identify["observed"] as? String)?.hasPrefix("/ip4/127.0.0.1/") == true)
        #expect((identify["signed"] as? Int) ?? 0 > 0)
        #expect(events["ping"]?["answered"] as? Int == 5)
        #expect(events["echo"]?["unharmed"] as? Bool == true)
        #expect(events["half"]?["answer"] as? String == "5 end")
        #expect(events["reset"]?["writable"] as? Bool == false)
        guard case .reset = watched else {
            Issue.record("no reset was seen: \(String(describing: watched))")
            return
        }
    }

    @Test("it refuses this node where it wants another", arguments: Road.allCases)
    func refuses(_ road: Road) async throws {
        let events = try await Self.dialled(over: road, ["wrong-peer"]).events
        #expect(events["wrong-peer"]?["refused"] as? Bool == true)
    }
}
