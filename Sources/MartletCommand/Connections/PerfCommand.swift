import Foundation
import Martlet

/// `martlet perf`.
struct PerfCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "perf", abstract: "connect to a peer and measure how fast bytes go there and back",
            discussion: "The other side must offer /perf/1.0.0, as martlet listen does.",
            examples: [
                "martlet perf /ip4/127.0.0.1/udp/4001/quic-v1", "martlet perf --upload 0 /ip4/127.0.0.1/tcp/4001",
            ],
            exitCodes: [
                (ExitCode(rawValue: 1), "the peer does not offer it, or broke it off"),
                (ExitCode(rawValue: 3), "the peer could not be reached"),
            ])
    }

    @Argument(help: "where the peer is; with /p2p/ID at the end only that peer will do") var address: Multiaddr
    @Option(help: "how many bytes are sent", valueName: "BYTES") var upload: UInt64 = 256 << 20
    @Option(help: "how many bytes are asked for", valueName: "BYTES") var download: UInt64 = 256 << 20
    @OptionGroup var options: ConnectionOptions

    private struct Result: Encodable {
        var peer: String
        var transport: String
        var uploadBytes: UInt64
        var uploadSeconds: Double
        var downloadBytes: UInt64
        var downloadSeconds: Double
    }

    func run() async throws {
        let (address, upload, download) = (address, upload, download)
        let (info, result) = try await options.withSwarm { swarm in
            let info = try await swarm.reach(address)
            do throws(SwarmError) {
                return (info, try await swarm.perf(to: info.peer, upload: upload, download: download))
            } catch {
                MartletCommand.complain("cannot measure the way to \(info.peer): \(error.explanation)")
                throw ExitCode.failure
            }
        }
        let line = Result(
            peer: info.peer.description, transport: info.nature.transport, uploadBytes: result.sent,
            uploadSeconds: result.sending.inSeconds, downloadBytes: result.received,
            downloadSeconds: result.receiving.inSeconds)
        try options.results.show(
            line,
            "\(info.nature.transport): sent \(Self.rate(result.sent, result.sending)), "
                + "received \(Self.rate(result.received, result.receiving))")
    }

    private static func rate(_ bytes: UInt64, _ time: Duration) -> String {
        guard bytes > 0 else { return "nothing" }
        let gigabits = Double(bytes) * 8 / 1e9 / max(time.inSeconds, 1e-9)
        return "\(bytes) bytes in \(time.inSeconds.text(3)) s (\(gigabits.text(2)) Gbit/s)"
    }
}
