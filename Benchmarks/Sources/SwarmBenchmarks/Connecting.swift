import Martlet

/// How many connections a second can be made and used.
let connectingMeasurements = ["tcp", "quic"].map { transport in
    Measurement(
        name: "connect-\(transport)",
        meaning: "connections over \(transport), from the dial to the first ping answered, both sides on one thread"
    ) { settings in
        try await measureConnecting(over: transport, settings)
    }
}

/// How many dial at the same time, each with an identity and a transport of its own.
private let dialers = 16

private func measureConnecting(over transport: String, _ settings: Settings) async throws {
    let node = try await Node("both")
    let address = try await node.listen(transport)
    var many: [Double] = []
    var one: [Double] = []
    for round in 1...settings.rounds {
        many.append(try await connections(by: dialers, to: node, at: address, settings))
        one.append(try await connections(by: 1, to: node, at: address, settings))
        print("round \(round): \(Int(many[round - 1])) a second, one after the other \(Int(one[round - 1]))")
    }
    try await node.stop()
    print("\(transport), medians of \(settings.rounds) rounds of \(settings.seconds) s, both sides on one thread:")
    print("  \(dialers) dialling at the same time  \(Int(many.median)) connections a second")
    print("  one after the other       \(Int(one.median)) connections a second, \(Int(1e6 / one.median)) µs each")
}

/// Connections a second that `count` swarms on the loop of `node` make to it, each with a ping answered and a goodbye.
private func connections(
    by count: Int, to node: Node, at address: Multiaddr, _ settings: Settings
) async throws -> Double {
    try await node.run { server in
        let loop = server.loop
        let clients = (0..<count).map { _ in makeSwarm(server.environment) }
        let isOver = Signal(on: loop)
        let start = loop.now
        let end = start + .seconds(settings.seconds)
        var made = 0
        var running = count
        var failure: (any Error)?
        for client in clients {
            loop.spawn {
                do {
                    while loop.now < end {
                        _ = try await client.connect(to: server.localPeer, at: [address])
                        _ = try await client.pinger(to: server.localPeer).ping()
                        client.disconnect(server.localPeer)
                        made += 1
                    }
                } catch {
                    failure = error
                }
                running -= 1
                if running == 0 { isOver.signal() }
            }
        }
        try await isOver.wait()
        let took = (loop.now - start) / .seconds(1)
        for client in clients { client.shutDown() }
        if let failure { throw failure }
        return Double(made) / took
    }
}
