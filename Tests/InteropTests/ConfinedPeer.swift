import Foundation
import Martlet
import Testing

/// Another implementation in a network of its own, which has a loopback interface and no way out: some of these call
/// the world when they can. It is driven by lines, and ends, with its folder, when this is released.
final class ConfinedPeer: Sendable {
    /// What carries and secures a connection.
    enum Road: String, CaseIterable, CustomTestStringConvertible {
        case noise = "TCP, Noise and Yamux"
        case tls = "TCP, TLS and Yamux"
        case quic = "QUIC"

        var testDescription: String { rawValue }
        /// Where Martlet listens for it.
        var address: String { self == .quic ? "/ip4/127.0.0.1/udp/0/quic-v1" : "/ip4/127.0.0.1/tcp/0" }
        /// What an address of it contains.
        var mark: String { self == .quic ? "/quic-v1" : "/tcp/" }
        /// A swarm with this road alone, so that the other end has no choice.
        var transports: TransportConfiguration {
            var configuration = TransportConfiguration()
            configuration.usesQUIC = self == .quic
            configuration.usesTCP = self != .quic
            configuration.security = [self == .tls ? .tls : .noise]
            return configuration
        }
    }

    private let program: OtherProgram
    private let folder: URL

    /// Starts a script of Tests/InteropTests/Peers.
    init(_ script: String) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        program = try OtherProgram(
            OtherProgram.python,
            [
                OtherProgram.root.appendingPathComponent("Tests/InteropTests/Peers/\(script)").path,
                OtherProgram.root.appendingPathComponent(".venv/peers").path, folder.path,
            ])
    }

    deinit {
        try? FileManager.default.removeItem(at: folder)
    }

    /// Its first line, which it says once it is in its network and ready.
    func greeting() async throws -> OtherProgram.Line { try await program.line() }

    /// Its first line, and the address in it that leads to it by `road`.
    func listening(_ road: Road) async throws -> Multiaddr {
        try Self.address(in: try await greeting(), road)
    }

    /// The address in `line` that leads to it by `road`.
    static func address(in line: OtherProgram.Line, _ road: Road) throws -> Multiaddr {
        let addresses = try #require(line["addresses"] as? [String])
        return try Multiaddr(parsing: try #require(addresses.first { $0.contains(road.mark) }))
    }

    /// What it could not do, and what it says of that.
    struct Failure: Error {
        let command: String
        let reason: String
    }

    /// Has it do what `command` says, and returns its answer.
    func ask(_ command: String) async throws -> OtherProgram.Line {
        program.tell(command)
        let answer = try await program.line()
        if answer["event"] as? String == "failed" {
            throw Failure(command: command, reason: answer["error"] as? String ?? "")
        }
        return answer
    }

    /// Has it connect to `address`, which ends with a peer id.
    func ask(_ command: String, _ address: Multiaddr) async throws -> OtherProgram.Line {
        let parts = address.description.components(separatedBy: "/p2p/")
        return try await ask("\(command) \(parts[1]) \(parts[0])")
    }

    /// Runs `body` with a swarm that is in the network of this peer and has `road` alone. It answers `echo`.
    func withSwarm<Result: Sendable>(
        _ road: Road, protocolVersion: String? = nil, echo: String = "/echo",
        _ body: sending nonisolated(nonsending) @escaping (Swarm) async throws -> Result
    ) async throws -> Result {
        let environment = try await inNetwork {
            try SystemEnvironment(
                log: Logger(subsystem: "test", sink: CollectingLogSink(), levels: LogLevels(.warning)))
        }
        let outcome: Swift.Result<Result, any Error>
        do {
            outcome = .success(
                try await environment.loop.run {
                    var random = environment.random
                    let identity = PrivateKey.ed25519(using: &random)
                    var configuration = SwarmConfiguration()
                    if let protocolVersion { configuration.protocolVersion = protocolVersion }
                    let swarm = Swarm(
                        environment: environment, identity: identity,
                        transports: road.transports.make(environment: environment, identity: identity),
                        configuration: configuration)
                    defer { swarm.shutDown() }
                    let loop = swarm.loop
                    swarm.handle(echo) { stream, _ in
                        loop.spawn {
                            while let piece = try? await stream.read() { try? await stream.write(piece) }
                            stream.closeWrite()
                        }
                    }
                    return try await body(swarm)
                })
        } catch {
            outcome = .failure(error)
        }
        await environment.shutdown()
        return try outcome.get()
    }

    /// Runs `body` on a thread in the network of this peer. The threads that it starts stay there.
    private func inNetwork<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        let path = "/proc/\(program.processIdentifier)/ns/net"
        return try await withCheckedThrowingContinuation { waiter in
            Thread.detachNewThread {
                waiter.resume(
                    with: Swift.Result {
                        typealias Enter = @convention(c) (Int32, Int32) -> Int32
                        let enter = unsafeBitCast(dlsym(nil, "setns"), to: Enter.self)
                        let network = open(path, O_RDONLY)
                        defer { close(network) }
                        // CLONE_NEWNET of sched.h.
                        try #require(enter(network, 0x4000_0000) == 0, "entering a network takes root's rights")
                        return try body()
                    })
            }
        }
    }
}

extension Swarm {
    /// What `peer` has said of itself, once it has.
    nonisolated(nonsending) func identified(_ peer: PeerID) async throws -> PeerInfo {
        let signal = Signal(on: loop)
        let watch = watch { event in
            if case .identified(peer, _) = event { signal.signal() }
        }
        if info(of: peer) == nil {
            try await loop.withDeadline(loop.now + .seconds(20)) { try await signal.wait() }
        }
        withExtendedLifetime(watch) {}
        return try #require(info(of: peer))
    }

    /// Whether `size` bytes come back from `peer` unharmed over a stream of `name`.
    nonisolated(nonsending) func echoes(_ peer: PeerID, _ name: String, size: Int = 1_000_000) async throws -> Bool {
        let stream = try await openStream(to: peer, name)
        let sent = Bytes((0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ $0 >> 16) })
        var received = Writer(capacity: size)
        stream.setReadDeadline(after: .seconds(30))
        // In pieces that fit into any window, so that nobody waits for the other one to read.
        let piece = 50_000
        for start in stride(from: 0, to: size, by: piece) {
            try await stream.write(sent.slice(start..<start + piece))
            received.bytes(try await stream.read(exactly: piece))
        }
        stream.closeWrite()
        return received.finish() == sent
    }
}
