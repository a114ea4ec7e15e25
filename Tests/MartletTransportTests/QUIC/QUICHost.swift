import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletTLS
@testable import MartletTransport
import MartletWire
import TestSupport

// Without this module GnuTLS draws other bytes in each run.
import CSeededRandom

/// What GnuTLS and libcrypto draw once for the process, drawn before any world is seeded.
private let processIsReady: Void = {
    var generator = SeededGenerator(seed: 0)
    let key = PrivateKey.ed25519(using: &generator)
    let credentials = TLSCredentials(hostKey: key, certificateKey: .ed25519, at: 0, using: &generator)
    let client = TLSSession(.client, credentials: credentials, protocols: ["a"], at: 0)
    let server = TLSSession(.server, credentials: credentials, protocols: ["a"], at: 0)
    try? client.start()
    for _ in 0..<4 {
        while let bytes = client.nextTransmit() { try? server.receive(bytes.span) }
        while let bytes = server.nextTransmit() { try? client.receive(bytes.span) }
    }
}()

/// Keeps what hosts sent.
final class Recorder: WorldWatcher {
    let name = "recorder"
    private(set) var sent: [(packet: Packet, host: String)] = []
    func sent(_ packet: Packet, by host: Host) { sent.append((packet, host.name)) }
    func count(from host: String) -> Int { sent.count { $0.host == host } }
}

/// A host of a simulated world that speaks QUIC, and answers every stream with what it says.
final class QUICHost {
    static let port: UInt16 = 4001

    let host: Host
    let key: PrivateKey
    var limits = QUICLimits()
    /// What it shows in place of its own credentials.
    var forged: TLSCredentials?
    /// What its connections draw from.
    var memory: ResourceScope?
    var admit: (Multiaddr, Bool) -> Inbound.Answer = { .admitted(Admission(of: $0, isProven: $1)) }
    private(set) var transport: QUICTransport!
    private(set) var environment: SimulatedEnvironment!
    private(set) var accepted: [Connection] = []
    private(set) var failures: [TransportError] = []
    private(set) var ends: [ConnectionError] = []

    init(_ world: World, _ name: String, _ address: IPAddress, in network: Network? = nil) {
        processIsReady
        var generator = SeededGenerator(seed: world.draw())
        key = .ed25519(using: &generator)
        host = world.host(name, address, in: network)
    }

    var peer: PeerID { PeerID(key.publicKey) }
    var address: Multiaddr { Multiaddr.quic(SocketAddress(host.address, port: Self.port)) }
    var endpoint: QUICEndpoint { transport.endpoints[0] }

    /// Starts the transport, listening, and then runs `body`. To be called once, or again after a restart.
    func start(
        listens: Bool = true, _ body: nonisolated(nonsending) @escaping (QUICHost) async throws -> Void = { _ in }
    ) {
        host.start { [self] environment in
            try open(on: environment, listens: listens)
            try await body(self)
            try await environment.loop.sleep(until: .never)
        }
    }

    private func open(on environment: SimulatedEnvironment, listens: Bool) throws {
        self.environment = environment
        if let forged {
            transport = QUICTransport(environment: environment, hostKey: key, credentials: forged, limits: limits)
        } else {
            transport = QUICTransport(
                environment: environment, hostKey: key, certificateKey: .ed25519, limits: limits)
        }
        transport.memory = memory
        guard listens else { return }
        let inbound = Inbound(
            admit: admit, failed: { [weak self] in self?.failures.append($1) },
            connected: { [weak self] connection, _ in self?.echo(on: connection) })
        _ = try transport.listen(on: Multiaddr.quic(SocketAddress(.anyV4, port: Self.port)), inbound)
    }

    private func echo(on connection: Connection) {
        accepted.append(connection)
        connection.onClosed = { [weak self] in self?.ends.append($0) }
        connection.onStream = { stream in
            connection.loop.spawn {
                do {
                    while let bytes = try await stream.read() { try await stream.write(bytes) }
                    stream.closeWrite()
                } catch {
                    stream.reset(code: 7)
                }
            }
        }
    }

    func dial(
        _ other: QUICHost, expecting peer: PeerID? = nil, within limit: Duration = .seconds(20)
    ) async throws -> QUICConnection {
        let connection = try await transport.dial(
            other.address, expecting: peer ?? other.peer, deadline: environment.loop.now + limit)
        guard let connection = connection as? QUICConnection else { throw TransportError.cancelled }
        return connection
    }
}

extension QUICHost {
    /// Why `other` cannot be dialled, or `nil` where it can.
    func refusal(of other: QUICHost, expecting peer: PeerID? = nil) async -> TransportError? {
        do {
            _ = try await dial(other, expecting: peer)
            return nil
        } catch {
            return error as? TransportError
        }
    }
}

/// A first packet of QUIC with `token`, as a dialer could have sent it, and nothing in it that can be decrypted.
func firstPacket(number: UInt16, token: [UInt8]) -> Bytes {
    let id: [UInt8] = [0x90, 1, 2, 3, 4, 5, UInt8(number >> 8), UInt8(number & 0xFF)]
    var packet: [UInt8] = [0xC3, 0, 0, 0, 1, 8] + id + [0, 0x40 | UInt8(token.count >> 8), UInt8(token.count & 0xFF)]
    packet += token
    let rest = 1200 - packet.count - 2
    packet += [0x40 | UInt8(rest >> 8), UInt8(rest & 0xFF)]
    return Bytes(packet + Array(repeating: 7, count: rest))
}

extension Connection {
    /// Why `message` is not answered, or `nil` where it is.
    func silence(about message: Bytes) async -> StreamError? {
        do {
            _ = try await ask(message)
            return nil
        } catch {
            return error as? StreamError
        }
    }

    /// Sends `message` on a new stream and returns the whole answer.
    func ask(_ message: Bytes) async throws -> [UInt8] {
        let stream = try openStream()
        loop.spawn {
            try? await stream.write(message)
            stream.closeWrite()
        }
        var answer: [UInt8] = []
        while let bytes = try await stream.read() { answer += Array(bytes) }
        return answer
    }
}
