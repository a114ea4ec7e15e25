import Martlet
import Synchronization

/// How fast small questions are answered, each on a stream of its own.
let requestMeasurements = ["tcp", "quic"].map { transport in
    Measurement(
        name: "requests-\(transport)",
        meaning: "open a stream, 64 bytes there and 64 back, close, over \(transport): 64 at a time, and one at a time"
    ) { settings in
        try await measureRequests(over: transport, settings)
    }
}

private let requestSize = 64
private let requestsAtOnce = 64

private func measureRequests(over transport: String, _ settings: Settings) async throws {
    let server = try await Node("server")
    let client = try await Node("client")
    let address = try await server.listen(transport)
    let peer = try await server.run { swarm in
        swarm.handle("/answer", limit: 4096) { stream, _ in Task { await answer(stream) } }
        return swarm.localPeer
    }
    try await client.run { swarm in _ = try await swarm.connect(to: peer, at: [address]) }
    var rates: [Double] = []
    var processorRates: [Double] = []
    var latencies: [[Duration]] = []
    // The first round warms up.
    for round in 0...settings.rounds {
        let startOfWork = processorTime()
        let many = try await askTogether(requestsAtOnce, client, peer, settings)
        let worked = processorTime() - startOfWork
        let one = try await askTogether(1, client, peer, settings)
        guard round > 0 else { continue }
        rates.append(Double(many.count) / settings.seconds)
        processorRates.append(Double(many.count) / worked)
        latencies.append(one.sorted())
    }
    print("\(transport), medians of \(settings.rounds) rounds of \(settings.seconds) s:")
    print(
        "  \(requestsAtOnce) at a time  \(Int(rates.median)) requests a second, "
            + "\(Int(processorRates.median)) a second of the processor")
    let medians = latencies.map { $0[$0.count / 2] }
    let late = latencies.map { $0[$0.count * 99 / 100] }
    print("  one at a time  median \(microseconds(medians.median)), p99 \(microseconds(late.median))")
    try await client.stop()
    try await server.stop()
}

private func microseconds(_ duration: Duration) -> String { "\((duration / .nanoseconds(100)).rounded() / 10) µs" }

/// The other side, on the global pool.
private func answer(_ stream: Stream) async {
    do throws(StreamError) {
        let request = try await stream.read(exactly: requestSize)
        try await stream.write(request)
        stream.closeWrite()
        // Its end, so that both sides are done with the stream.
        _ = try await stream.read()
    } catch {
        stream.reset()
    }
}

/// Has `count` tasks on the global pool ask for as long as the settings say, and says how long each request took.
private func askTogether(
    _ count: Int, _ client: Node, _ peer: PeerID, _ settings: Settings
) async throws -> [Duration] {
    try await withThrowingTaskGroup(of: [Duration].self) { group in
        for _ in 0..<count {
            group.addTask {
                let clock = ContinuousClock()
                let end = clock.now + .seconds(settings.seconds)
                let request = Bytes([UInt8](repeating: 0x6D, count: requestSize))
                var took: [Duration] = []
                var start = clock.now
                while start < end {
                    let stream = try await client.run { try await $0.openStream(to: peer, "/answer") }
                    try await stream.write(request)
                    stream.closeWrite()
                    guard try await stream.read(exactly: requestSize) == request, try await stream.read() == nil else {
                        throw Failure(description: "a wrong answer")
                    }
                    let now = clock.now
                    took.append(now - start)
                    start = now
                }
                return took
            }
        }
        var all: [Duration] = []
        for try await took in group { all += took }
        return all
    }
}
