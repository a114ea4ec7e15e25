import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletTLS
import MartletTransport
import MartletWire

/// A TCP transport with an identity of its own.
struct Node {
    let environment: any Environment
    let identity: PrivateKey
    let upgrader: Upgrader
    let transport: TCPTransport

    init(
        _ environment: any Environment, security: [SecurityProtocol] = [.noise, .tls],
        limits: UpgradeLimits = UpgradeLimits()
    ) {
        self.environment = environment
        var random = environment.random
        identity = .ed25519(using: &random)
        // Ed25519, since ECDSA's signatures vary in length, and a world's trace with them.
        upgrader = Upgrader(
            environment: environment, identity: identity, security: security, certificateKey: .ed25519, limits: limits)
        transport = TCPTransport(environment: environment, upgrader: upgrader)
    }

    var peerID: PeerID { PeerID(identity.publicKey) }

    func listen(
        port: UInt16, on ip: IPAddress = .anyV4, _ connected: @escaping (Connection) -> Void
    ) throws -> TransportListener {
        try transport.listen(on: .tcp(SocketAddress(ip, port: port)), Inbound(connected: connected))
    }

    nonisolated(nonsending) func dial(
        _ ip: IPAddress, port: UInt16, expecting peer: PeerID? = nil
    ) async throws -> Connection {
        try await transport.dial(
            .tcp(SocketAddress(ip, port: port)), expecting: peer, deadline: environment.loop.now + .seconds(30))
    }
}

/// Writes back what it reads until the end.
nonisolated(nonsending) func echo(_ stream: Stream) async throws {
    while let bytes = try await stream.read() { try await stream.write(bytes) }
    stream.closeWrite()
}

/// Bytes in which a piece that is missing, doubled or moved shows.
func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ $0 >> 16) }
}
