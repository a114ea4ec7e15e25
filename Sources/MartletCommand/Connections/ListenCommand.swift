import Foundation
import Martlet

/// `martlet listen`.
struct ListenCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "listen", abstract: "accept connections, and answer identify, ping and perf",
            discussion: "Makes a new identity, prints where it listens and then who comes and goes, until it is ended. "
                + "Anyone who connects may measure, and so make it send at full speed.",
            examples: ["martlet listen", "martlet listen /ip4/127.0.0.1/tcp/4001"])
    }

    @Argument(help: "where to listen; a port of 0 is any") var addresses: [Multiaddr] = [
        Multiaddr(.ip(.anyV4), .udp(0), .quicV1), Multiaddr(.ip(.anyV4), .tcp(0)),
    ]
    @OptionGroup var options: ConnectionOptions

    private struct Line: Encodable {
        var event: String
        var peer: String?
        var address: String?
        var transport: String?
        var reason: String?
    }

    func run() async throws {
        var configuration = SwarmConfiguration()
        configuration.servesPerf = true
        let (addresses, results) = (addresses, options.results)
        try await options.withSwarm(configuration) { swarm in
            // The newest are kept if whoever reads the output is slow.
            let (events, seen) = AsyncStream.makeStream(of: SwarmEvent.self, bufferingPolicy: .bufferingNewest(1024))
            let watch = swarm.watch { seen.yield($0) }
            for address in addresses {
                do throws(TransportError) {
                    try swarm.listen(on: address)
                } catch {
                    MartletCommand.complain("cannot listen on \(address): \(error.explanation)")
                    throw ExitCode.failure
                }
            }
            for await event in events { try Self.show(event, of: swarm.localPeer, results) }
            withExtendedLifetime(watch) {}
        }
    }

    private static func show(_ event: SwarmEvent, of local: PeerID, _ results: ResultPrinter) throws(OutputError) {
        switch event {
        case .listening(let address):
            let whole = (try? address.appending(.p2p(local))) ?? address
            try results.show(
                Line(event: "listening", peer: local.description, address: whole.description), "listening at \(whole)")
        case .connected(let info):
            let (peer, address, transport) = (info.peer, info.remoteAddress, info.nature.transport)
            try results.show(
                Line(
                    event: "connected", peer: peer.description, address: address.description, transport: transport),
                "connected: \(peer) from \(address)")
        case .disconnected(let peer, let reason):
            try results.show(
                Line(event: "disconnected", peer: peer.description, reason: "\(reason)"), "disconnected: \(peer)")
        default: break
        }
    }
}
