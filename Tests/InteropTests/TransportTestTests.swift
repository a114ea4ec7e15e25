import Foundation
import Testing

/// The program for libp2p's unified-testing, against itself, with a real Redis server between.
@Suite("The program for unified-testing")
struct TransportTestTests {
    @Test(
        "its dialer finds its listener by Redis and prints the latencies as the contract wants them",
        arguments: [("tcp", "noise"), ("tcp", "tls"), ("quic-v1", "")])
    func againstItself(transport: String, security: String) async throws {
        let port = String(try OtherProgram.freePort())
        let redis = try OtherProgram(
            URL(fileURLWithPath: "/usr/bin/redis-server"),
            ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"])
        let variables = [
            "REDIS_ADDR": "127.0.0.1:\(port)", "TEST_KEY": "a5b50d5e", "TRANSPORT": transport,
            "SECURE_CHANNEL": security, "MUXER": "yamux", "LISTENER_IP": "0.0.0.0", "DEBUG": "false",
            "TEST_TIMEOUT_SECS": "30",
        ]
        let program = try OtherProgram.product("TransportTest")
        let listener = try OtherProgram(program, [], environment: variables.merging(["IS_DIALER": "false"]) { $1 })
        let dialer = try OtherProgram(program, [], environment: variables.merging(["IS_DIALER": "true"]) { $1 })
        let (text, status) = try await dialer.rest()
        #expect(status == 0)
        let form = /latency:\n  handshake_plus_one_rtt: [0-9]+\.[0-9]{3}\n  ping_rtt: [0-9]+\.[0-9]{3}\n  unit: ms\n/
        #expect(text.wholeMatch(of: form) != nil, "\(text)")
        withExtendedLifetime((redis, listener)) {}
    }

    @Test("it says what it does not know and ends with an error")
    func unsupported() async throws {
        let dialer = try OtherProgram(
            try OtherProgram.product("TransportTest"), [],
            environment: ["IS_DIALER": "true", "REDIS_ADDR": "127.0.0.1:1", "TEST_KEY": "x", "TRANSPORT": "pigeon"])
        #expect(try await dialer.rest() == ("", 1))
    }
}
