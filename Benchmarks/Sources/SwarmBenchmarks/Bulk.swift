import Martlet
import Synchronization

/// How fast streams are, beside iperf3.
let bulkMeasurements = ["tcp", "quic"].map { transport in
    Measurement(
        name: "bulk-\(transport)", meaning: "one stream, and a hundred at once, over \(transport), beside iperf3"
    ) { settings in
        try await measureBulk(over: transport, settings)
    }
}

private let manyStreams = 100

private func measureBulk(over transport: String, _ settings: Settings) async throws {
    var reference: [Double] = []
    var one: [Double] = []
    var many: [Double] = []
    for round in 1...settings.rounds {
        reference.append(try await measureIperf3(seconds: settings.seconds))
        one.append(try await measureStreams(1, over: transport, settings))
        many.append(try await measureStreams(manyStreams, over: transport, settings))
        print(
            "round \(round): iperf3 \(gigabits(reference[round - 1])), one stream \(gigabits(one[round - 1])), "
                + "\(manyStreams) streams \(gigabits(many[round - 1]))")
    }
    print("\(transport), medians of \(settings.rounds) rounds of \(settings.seconds) s:")
    print("  iperf3, one TCP stream  \(gigabits(reference.median))")
    print("  one stream              \(gigabits(one.median))  \(ratio(one.median, reference.median)) of iperf3")
    print(
        "  \(manyStreams) streams at once     \(gigabits(many.median))  \(ratio(many.median, one.median)) of one stream"
    )
}

private func gigabits(_ bitsPerSecond: Double) -> String {
    "\((bitsPerSecond / 1e7).rounded() / 100) Gbit/s"
}

private func ratio(_ a: Double, _ b: Double) -> String { "\((a / b * 100).rounded() / 100)" }

/// What the readers have seen, and whether that is enough.
private final class Sink: Sendable {
    let received = Atomic<UInt64>(0)
    let isOver = Atomic(false)

    /// Reads `stream` to its end, on the global pool.
    func drain(_ stream: Stream) {
        Task {
            do throws(StreamError) {
                while let bytes = try await stream.read() {
                    received.add(UInt64(bytes.count), ordering: .relaxed)
                }
                stream.closeWrite()
            } catch {
                // The writers see it, too.
            }
        }
    }
}

/// The bits a second that `count` streams of one connection carry together.
private func measureStreams(_ count: Int, over transport: String, _ settings: Settings) async throws -> Double {
    let server = try await Node("server")
    let client = try await Node("client")
    let sink = Sink()
    let address = try await server.listen(transport)
    let peer = try await server.run { swarm in
        swarm.handle("/sink") { stream, _ in sink.drain(stream) }
        return swarm.localPeer
    }
    let streams = try await client.run { swarm in
        _ = try await swarm.connect(to: peer, at: [address])
        var streams: [Stream] = []
        for _ in 0..<count { streams.append(try await swarm.openStream(to: peer, "/sink")) }
        return streams
    }
    let clock = ContinuousClock()
    let rate = try await withThrowingTaskGroup(of: Double?.self) { group in
        for stream in streams {
            group.addTask {
                let piece = Bytes(count: 128 << 10) { $0.initializeMemory(as: UInt8.self, repeating: 0x6D) }
                while !sink.isOver.load(ordering: .relaxed) { try await stream.write(piece) }
                stream.closeWrite()
                guard try await stream.read() == nil else { throw Failure(description: "the sink answered") }
                return nil
            }
        }
        group.addTask {
            try await clock.sleep(for: .milliseconds(500))
            let before = sink.received.load(ordering: .relaxed)
            let start = clock.now
            try await clock.sleep(for: .seconds(settings.seconds))
            let received = sink.received.load(ordering: .relaxed) - before
            let took = (clock.now - start) / .seconds(1)
            guard received > 0 else { throw Failure(description: "\(count) streams stand still") }
            sink.isOver.store(true, ordering: .relaxed)
            return Double(received * 8) / took
        }
        var rate = 0.0
        for try await result in group { rate = result ?? rate }
        return rate
    }
    try await client.stop()
    try await server.stop()
    return rate
}
