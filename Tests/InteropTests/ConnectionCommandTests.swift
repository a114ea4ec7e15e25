import Foundation
import Martlet
import Testing

/// `martlet listen`, `ping` and `perf`, as processes of their own that talk over real sockets and are read by programs.
@Suite("martlet listen, ping and perf", .serialized)
struct ConnectionCommandTests {
    static let roads = [("/ip4/127.0.0.1/tcp/0", "tcp"), ("/ip4/127.0.0.1/udp/0/quic-v1", "quic-v1")]

    private static func martlet(_ arguments: String...) throws -> OtherProgram {
        try OtherProgram(try OtherProgram.product("martlet"), arguments)
    }

    /// A `martlet listen` at `road`, and the address that it tells, which ends with its peer id.
    private static func listener(_ road: String) async throws -> (OtherProgram, address: String, peer: String) {
        let process = try martlet("listen", "--json", road)
        let line = try await process.line()
        #expect(line["event"] as? String == "listening")
        let address = try #require(line["address"] as? String)
        let peer = try #require(line["peer"] as? String)
        #expect(address.hasSuffix("/p2p/\(peer)"))
        return (process, address, peer)
    }

    private static func lines(_ text: String) throws -> [[String: Any]] {
        try text.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    @Test("ping prints an answer for each ping and a summary; the listener tells who came and went", arguments: roads)
    func ping(_ road: String, _ transport: String) async throws {
        let (listener, address, peer) = try await Self.listener(road)
        let ping = try Self.martlet("ping", "--json", "--count", "5", "--interval", "10ms", address)
        let (text, status) = try await ping.rest()
        #expect(status == 0)
        let lines = try Self.lines(text)
        #expect(lines.map { $0["event"] as? String } == Array(repeating: "answer", count: 5) + ["summary"])
        for (index, line) in lines.dropLast().enumerated() {
            #expect(line["sequence"] as? Int == index + 1)
            #expect(line["peer"] as? String == peer)
            #expect(line["milliseconds"] as? Double ?? 0 > 0)
        }
        let summary = try #require(lines.last)
        #expect(summary["answered"] as? Int == 5 && summary["lost"] as? Int == 0)
        #expect(summary["transport"] as? String == transport)
        #expect(summary["connect_milliseconds"] as? Double ?? 0 > 0)
        let spread = ["minimum", "mean", "maximum"].map { summary["\($0)_milliseconds"] as? Double ?? -1 }
        #expect(spread[0] > 0 && spread == spread.sorted())
        let came = try await listener.line()
        #expect(came["event"] as? String == "connected" && came["transport"] as? String == transport)
        let went = try await listener.line()
        #expect(went["event"] as? String == "disconnected" && went["peer"] as? String == came["peer"] as? String)
    }

    @Test("perf moves as many bytes as it is told to, each way", arguments: roads)
    func perf(_ road: String, _ transport: String) async throws {
        let (listener, address, peer) = try await Self.listener(road)
        let perf = try Self.martlet("perf", "--json", "--upload", "3000000", "--download", "5000000", address)
        let (text, status) = try await perf.rest()
        #expect(status == 0)
        let result = try #require(try Self.lines(text).first)
        #expect(result["peer"] as? String == peer && result["transport"] as? String == transport)
        #expect(result["upload_bytes"] as? Int == 3_000_000 && result["download_bytes"] as? Int == 5_000_000)
        #expect(result["upload_seconds"] as? Double ?? 0 > 0 && result["download_seconds"] as? Double ?? 0 > 0)
        withExtendedLifetime(listener) {}
    }

    @Test("another peer than the one that the address names is not taken for it", arguments: roads)
    func wrongPeer(_ road: String, _ transport: String) async throws {
        let (listener, address, peer) = try await Self.listener(road)
        var random = SystemRandomNumberGenerator()
        let stranger = PeerID(PrivateKey.ed25519(using: &random).publicKey)
        let other = address.replacingOccurrences(of: peer, with: stranger.description)
        let (text, status) = try await Self.martlet("ping", "--json", other).rest()
        #expect(text.isEmpty)
        #expect(status == 3)
        withExtendedLifetime(listener) {}
    }
}
