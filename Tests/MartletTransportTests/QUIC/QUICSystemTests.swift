import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletTLS
import MartletTransport
import MartletWire
import TestSupport
import Testing

private final class NoLog: LogSink {
    func write(_ record: LogRecord) {}
}

@Suite("QUIC on this machine")
struct QUICSystemTests {
    /// A fresh environment, which is shut down afterwards.
    private func withEnvironment<Result: Sendable>(
        _ body: nonisolated(nonsending) @Sendable @escaping (SystemEnvironment) async throws -> Result
    ) async throws -> Result {
        let environment = try SystemEnvironment(
            name: "quic", log: Logger(subsystem: "quic", sink: NoLog(), levels: LogLevels(.error)), watchdogLimit: nil)
        do {
            let result = try await environment.loop.run { try await body(environment) }
            await environment.shutdown()
            return result
        } catch {
            await environment.shutdown()
            throw error
        }
    }

    @Test(
        "what is sent comes back over loopback, by IPv4 and IPv6 and with both kinds of certificate",
        arguments: ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip6/::1/udp/0/quic-v1"],
        [TLSCredentials.CertificateKey.ecdsaP256, .ed25519])
    func echo(address: String, certificateKey: TLSCredentials.CertificateKey) async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            var random = environment.random
            let key = PrivateKey.ed25519(using: &random)
            let server = QUICTransport(
                environment: environment, hostKey: key, certificateKey: certificateKey)
            defer { server.close() }
            let listener = try server.listen(
                on: try Multiaddr(parsing: address),
                Inbound { connection in
                    connection.onStream = { stream in
                        loop.spawn {
                            while let bytes = try? await stream.read() { try? await stream.write(bytes) }
                            stream.closeWrite()
                        }
                    }
                })
            let client = QUICTransport(environment: environment, hostKey: .ed25519(using: &random))
            defer { client.close() }
            let connection = try await client.dial(
                listener.address, expecting: PeerID(key.publicKey), deadline: loop.now + .seconds(20))
            let message = pattern(Sanitizer.amount(2 << 20, reduced: 256 << 10))
            let answer = try await connection.ask(Bytes(message))
            #expect(answer == message)
        }
    }
}
