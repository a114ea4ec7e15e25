import Glibc
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
    var many: [Rates] = []
    var one: [Rates] = []
    for _ in 1...settings.rounds {
        many.append(try await connections(by: dialers, to: node, at: address, settings))
        one.append(try await connections(by: 1, to: node, at: address, settings))
    }
    try await node.stop()
    print("\(transport), medians of \(settings.rounds) rounds of \(settings.seconds) s, both sides on one thread:")
    print("  \(dialers) dialling at the same time: \(text(many))")
    print("  one after the other: \(text(one))")
}

private func text(_ rates: [Rates]) -> String {
    "\(Int(rates.map(\.perSecond).median)) connections a second, "
        + "\(Int(rates.map(\.perProcessorSecond).median)) a second of the processor"
}

/// How many connections were made in a second of the clock, and in one in which the process had a processor: the same on
/// a machine that has nothing else to do.
private struct Rates {
    var perSecond: Double
    var perProcessorSecond: Double
}

/// The time for which the process had a processor, in seconds.
func processorTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Connections a second that `count` swarms on the loop of `node` make to it, each with a ping answered and a goodbye.
private func connections(
    by count: Int, to node: Node, at address: Multiaddr, _ settings: Settings
) async throws -> Rates {
    try await node.run { server in
        let loop = server.loop
        let clients = (0..<count).map { _ in makeSwarm(server.environment) }
        let isOver = Signal(on: loop)
        let start = loop.now
        let startOfWork = processorTime()
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
        let worked = processorTime() - startOfWork
        for client in clients { client.shutDown() }
        if let failure { throw failure }
        return Rates(perSecond: Double(made) / took, perProcessorSecond: Double(made) / worked)
    }
}
