import Foundation
import Martlet
import MartletRuntime
import Synchronization

/// Fifty nodes of a mesh in one process, over loopback: messages delivered a second, how long they take, and memory.
///
///     swift run -c release --package-path Benchmarks MeshBenchmarks
@main
struct MeshBenchmarks {
    private static let nodes = 50
    private static let broadcasts = 10_000
    /// How many broadcasts are under way at once while throughput is measured.
    private static let window = 64
    /// How long lies between two broadcasts while latency is measured.
    private static let pause = Duration.milliseconds(2)

    /// What the readers of all nodes have seen.
    private final class Tally: Sendable {
        let delivered = Atomic(0)
        let missed = Atomic(0)
        let latencies = Mutex<[UInt64]>([])
        let measures = Atomic(false)

        func take(_ event: MeshEvent) {
            switch event {
            case .message(_, let text):
                delivered.add(1, ordering: .relaxed)
                guard measures.load(ordering: .relaxed), let sent = UInt64(text) else { return }
                let took = MeshBenchmarks.now() - sent
                latencies.withLock { $0.append(took) }
            case .missed(let count): missed.add(count, ordering: .relaxed)
            default: break
            }
        }
    }

    static func main() async throws {
        let log = Logger(subsystem: "mesh", sink: TextLogSink { WallTime(nanoseconds: 0) }, levels: LogLevels(.error))
        let environment = try SystemEnvironment(name: "mesh", log: log)
        let before = resident()
        var configuration = MeshConfiguration()
        configuration.maximumPeers = 60
        let tally = Tally()
        var members: [MeshNode] = []
        var readers: [Task<Void, Never>] = []
        let start = now()
        for _ in 0..<nodes {
            let first = await members.first?.port
            let bootstrap = first.flatMap { MeshAddress("localhost:\($0)") }.map { [$0] } ?? []
            let node = MeshNode(
                port: 0, bootstrap: bootstrap, configuration: configuration, environment: environment)
            try await node.start()
            members.append(node)
            readers.append(Task { for await event in node.events { tally.take(event) } })
        }
        for node in members { while await node.peers.count < nodes - 1 { try await Task.sleep(for: .milliseconds(1)) } }
        print("full mesh of \(nodes): \(shown(now() - start)) after the first start")
        let idle = resident()
        print("memory: \((idle - before) / 1024) MiB for \(nodes) nodes and \(nodes * (nodes - 1)) connection ends")
        try await throughput(members, tally)
        try await latency(members, tally)
        print(
            "memory at the end: \((resident() - before) / 1024) MiB; events missed: \(tally.missed.load(ordering: .relaxed))"
        )
        for node in members { await node.stop() }
        for reader in readers { await reader.value }
        await environment.shutdown()
    }

    private static func throughput(_ members: [MeshNode], _ tally: Tally) async throws {
        let text = String(repeating: "m", count: 64)
        let start = now()
        for number in 0..<broadcasts {
            try await members[number % nodes].broadcast(text)
            while tally.delivered.load(ordering: .relaxed) < (number - window) * (nodes - 1) { await Task.yield() }
        }
        while tally.delivered.load(ordering: .relaxed) < broadcasts * (nodes - 1) { await Task.yield() }
        let took = now() - start
        let delivered = broadcasts * (nodes - 1)
        let rate = Int(Double(delivered) * 1e9 / Double(took))
        print("\(broadcasts) broadcasts of 64 bytes: \(delivered) delivered in \(shown(took)), \(rate) a second")
    }

    private static func latency(_ members: [MeshNode], _ tally: Tally) async throws {
        tally.measures.store(true, ordering: .relaxed)
        let expected = tally.delivered.load(ordering: .relaxed) + 1000 * (nodes - 1)
        for number in 0..<1000 {
            try await members[number % nodes].broadcast("\(now())")
            try await Task.sleep(for: pause)
        }
        while tally.delivered.load(ordering: .relaxed) < expected { try await Task.sleep(for: .milliseconds(1)) }
        let sorted = tally.latencies.withLock { $0.sorted() }
        print(
            "1000 broadcasts, one each \(pause): median \(shown(sorted[sorted.count / 2])), "
                + "p99 \(shown(sorted[sorted.count * 99 / 100])), longest \(shown(sorted[sorted.count - 1]))")
    }

    private static let origin = ContinuousClock.now

    fileprivate static func now() -> UInt64 { UInt64((ContinuousClock.now - origin) / .nanoseconds(1)) }

    private static func shown(_ nanoseconds: UInt64) -> String { "\(Double(nanoseconds / 1000) / 1000) ms" }

    /// The memory that the process has now, in KiB.
    private static func resident() -> Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
        return Int(line.filter(\.isNumber)) ?? 0
    }
}
