import Martlet

/// Tells the DHT that this host takes part in a topic, and prints who else does.
@main
struct Topics {
    static func main() async throws { try await takePart() }

    /// Apart from `main`, whose closures would belong to the main actor and not to the node's loop.
    static func takePart() async throws {
        let sink = TextLogSink { WallTime(nanoseconds: 0) }
        let environment = try SystemEnvironment(log: Logger(subsystem: "topics", sink: sink, levels: LogLevels(.error)))
        let isShared = CommandLine.arguments.contains("--shared")
        try await environment.loop.run {
            if isShared { try await onOnePort(environment) } else { try await alone(environment) }
        }
        await environment.shutdown()
    }

    /// The DHT on a UDP port of its own.
    nonisolated(nonsending) static func alone(_ environment: SystemEnvironment) async throws {
        let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 6881), options: UDPOptions())
        let dht = MainlineDHT(MainlineConfiguration(), environment: environment, ports: [OwnDatagramPort(socket)])
        await dht.start()
        let announcement = dht.announce(Topic("chess"), .number(4001))
        let search = dht.peers(of: Topic("chess"))
        while let peer = try await search.next() { print(peer) }
        announcement.stop()
        await dht.stop()
    }

    /// The DHT on the port on which QUIC listens, which is announced as others see it.
    nonisolated(nonsending) static func onOnePort(_ environment: SystemEnvironment) async throws {
        var random = environment.random
        let quic = QUICTransport(environment: environment, hostKey: .ed25519(using: &random))
        let inbound = Inbound(connected: { print($0.remoteAddress) })
        let listener = try quic.listen(on: try Multiaddr(parsing: "/ip4/0.0.0.0/udp/4001/quic-v1"), inbound)
        let configuration = MainlineConfiguration()
        let dht = MainlineDHT(configuration, environment: environment, ports: quic.ports.map { SharedDatagramPort($0) })
        await dht.start()
        let announcement = dht.announce(Topic("chess"), .implied)
        let search = dht.peers(of: Topic("chess"))
        while let peer = try await search.next() { print(peer) }
        announcement.stop()
        await dht.stop()
        listener.close()
    }
}
