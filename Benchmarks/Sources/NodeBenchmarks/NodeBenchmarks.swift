import Foundation
import Glibc
import Martlet

/// What whole nodes do on this machine: how long one takes to listen, how many records two exchange, and what one costs
/// that knows a thousand others and is connected to two hundred, while nothing happens.
///
///     swift build -c release --package-path Benchmarks
///     Benchmarks/.build/release/NodeBenchmarks [start | exchanges | idle]
@main
struct NodeBenchmarks {
    static func main() async throws { try await measure(Array(CommandLine.arguments.dropFirst())) }
}

/// Apart from `main`, whose closures would belong to the main actor.
private func measure(_ words: [String]) async throws {
    if words.first == "others", words.count == 3 { return try await beOthers(words[1], known: words[2]) }
    if words.isEmpty || words[0] == "start" { try await measureStart() }
    if words.isEmpty || words[0] == "exchanges" { try await measureExchanges() }
    if words.isEmpty || words[0] == "idle" { try await measureIdling() }
}

private let topic = "benchmark"

/// A node that is on the topic, listens on loopback alone and takes part in no DHT.
private func loopbackConfiguration() -> NodeConfiguration {
    var configuration = NodeConfiguration(topics: [topic])
    configuration.dht = nil
    configuration.listen = [
        Multiaddr(.ip(.loopbackV4), .udp(0), .quicV1), Multiaddr(.ip(.loopbackV4), .tcp(0)),
    ]
    return configuration
}

/// A folder of its own, for as long as `body` runs.
private func withFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID())").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await body(folder)
}

// MARK: Start

private func measureStart() async throws {
    let clock = ContinuousClock()
    var times: [Double] = []
    for _ in 0..<15 {
        try await withFolder { folder in
            var configuration = NodeConfiguration(topics: [topic])
            configuration.dataDirectory = folder
            configuration.dht = MainlineConfiguration(privateWith: [])
            let began = clock.now
            let node = try Node(configuration)
            try await node.start()
            times.append((clock.now - began) / .milliseconds(1))
            await node.stop()
        }
    }
    times.sort()
    print(
        "from nothing to listening, with a new key and database: median \(rounded(times[times.count / 2])) ms, "
            + "longest \(rounded(times[times.count - 1])) ms")
}

// MARK: Exchanges

/// How many records are told at the same time.
private let window = 16
private let exchanges = 10_000

private func measureExchanges() async throws {
    try await withFolder { folder in
        var configuration = loopbackConfiguration()
        configuration.dataDirectory = folder
        // The rule of 50 a second is for strangers; here it is out of the way.
        configuration.metadata.requests = Rate(burst: 1_000_000, perSecond: 1_000_000)
        let node = try Node(configuration)
        try await node.start()
        let address = try await address(of: node)
        let environment = try SystemEnvironment(name: "teller", log: silence)
        let seconds = try await environment.loop.run {
            try await Teller(environment, to: node.id, at: address).tell(exchanges, window: window)
        }
        await environment.shutdown()
        let known = try await node.peers(.all).count
        await node.stop()
        print(
            "records signed, told, checked, kept and answered, \(window) at a time: "
                + "\(Int(Double(exchanges) / seconds)) a second, of which \(known) peer was known in the end")
    }
}

/// Tells a node of records as a neighbour does. It belongs to the loop of its environment.
private final class Teller {
    private let swarm: Swarm
    private let peer: PeerID
    private let address: Multiaddr

    init(_ environment: SystemEnvironment, to peer: PeerID, at address: Multiaddr) {
        var random = environment.random
        let identity = PrivateKey.ed25519(using: &random)
        swarm = Swarm(
            environment: environment, identity: identity,
            transports: TransportConfiguration().make(environment: environment, identity: identity))
        self.peer = peer
        self.address = address
    }

    /// Tells the node of `count` new records of this one, or of as many peers of `keys`; says how long it took.
    nonisolated(nonsending) func tell(_ count: Int, window: Int, of keys: [PrivateKey] = []) async throws -> Double {
        swarm.add(addresses: [address], of: peer)
        let stream = try await swarm.openStream(to: peer, MetadataService.name)
        let key = TopicKey(topic)
        let proof = key.proof(of: .opener, opener: swarm.localPeer, answerer: peer, binding: stream.binding)
        try await stream.writeMessage(MetadataMessage(id: 1, .hello([proof])).encoded)
        let clock = ContinuousClock()
        let began = clock.now
        var (told, taken) = (0, 0)
        while taken < count {
            while told < count, told - taken < window {
                let identity = keys.isEmpty ? swarm.identity : keys[told]
                let record = Self.record(of: identity, key, swarm.environment.wallTime, number: told)
                let push = MetadataMessage(id: UInt64(told + 2), .push(record.envelope.bytes))
                try await stream.writeMessage(push.encoded)
                told += 1
            }
            guard let bytes = try await stream.readMessage(upTo: MetadataMessage.maximumSize) else { throw Lost() }
            let message = try MetadataMessage(bytes)
            switch message.body {
            case .taken: taken += 1
            case .push: try await stream.writeMessage(MetadataMessage(id: message.id, .taken(0)).encoded)
            case .summary: try await stream.writeMessage(MetadataMessage(id: message.id, .records([])).encoded)
            case .refused: throw Lost()
            case .digest: try await stream.writeMessage(MetadataMessage(id: message.id, .same(true)).encoded)
            case .hello, .welcome, .records, .same: break
            }
        }
        let seconds = (clock.now - began) / .seconds(1)
        swarm.shutDown()
        return seconds
    }

    private static func record(
        of identity: PrivateKey, _ key: TopicKey, _ time: WallTime, number: Int
    ) -> SignedMetadata {
        let peer = PeerID(identity.publicKey)
        let sequence = UInt64(time.nanoseconds / 1_000_000) + UInt64(number)
        var record = NodeMetadata(peer: peer, sequence: sequence, time: time)
        record.name = "number \(number)"
        record.version = "martlet/0.1.0"
        record.topicMarks = [key.mark(of: peer)]
        return SignedMetadata(record, signedWith: identity)
    }
}

private struct Lost: Error {}

// MARK: Idling

private let connected = 200
private let known = 1000
private let idleSeconds = 30

private func measureIdling() async throws {
    try await withFolder { folder in
        var configuration = loopbackConfiguration()
        configuration.dataDirectory = folder
        configuration.targetConnections = connected
        configuration.maximumConnections = 2 * connected + 64
        configuration.metadata.requests = Rate(burst: 1_000_000, perSecond: 1_000_000)
        // All of them come from one address.
        configuration.limits.connectionsPerAddress = 1000
        configuration.limits.connectionsPerNetwork = 1000
        configuration.limits.pendingPerAddress = 256
        configuration.limits.addressRate = Rate(burst: 1000, perSecond: 1000)
        configuration.limits.networkRate = Rate(burst: 1000, perSecond: 1000)
        let node = try Node(configuration)
        try await node.start()
        let others = Process()
        others.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        others.arguments = ["others", "\(try await address(of: node))/p2p/\(node.id)", "\(known - connected)"]
        try others.run()
        defer { others.terminate() }
        let clock = ContinuousClock()
        let limit = clock.now + .seconds(120)
        while true {
            let status = await node.status
            if status.connections.total >= connected, status.known >= known { break }
            guard clock.now < limit else { throw Lost() }
            try await clock.sleep(for: .milliseconds(100))
        }
        try await clock.sleep(for: .seconds(5))
        let before = processorSeconds()
        try await clock.sleep(for: .seconds(idleSeconds))
        let used = (processorSeconds() - before) / Double(idleSeconds)
        let status = await node.status
        print(
            "\(status.known) known and \(status.connections.total) connected: \(resident() / 1024) MiB resident, "
                + "\(rounded(used * 100)) % of a core while nothing happens")
        await node.stop()
    }
}

/// Is all others: nodes that are connected, and one that tells of those that are not.
private func beOthers(_ address: String, known: String) async throws {
    let environment = try SystemEnvironment(name: "others", log: silence)
    let target = try Multiaddr(parsing: address)
    guard let peer = target.peerID, let count = Int(known) else { throw Lost() }
    var configuration = loopbackConfiguration()
    configuration.keepsFiles = false
    configuration.targetConnections = 1
    configuration.bootstrap = [.multiaddr(target)]
    var nodes: [Node] = []
    for _ in 0..<connected {
        let node = Node(configuration, environment: environment)
        try await node.start()
        nodes.append(node)
    }
    var random = SystemRandomNumberGenerator()
    let keys = (0..<count).map { _ in PrivateKey.ed25519(using: &random) }
    _ = try await environment.loop.run {
        try await Teller(environment, to: peer, at: target.withoutPeerID ?? target).tell(
            count, window: window, of: keys)
    }
    try await Task.sleep(for: .seconds(3600))
    withExtendedLifetime(nodes) {}
}

// MARK: What is measured

private let silence = Logger(
    subsystem: "benchmark", sink: TextLogSink { WallTime(nanoseconds: 0) }, levels: LogLevels(.critical))

/// Where `node` listens by QUIC.
private func address(of node: Node) async throws -> Multiaddr {
    guard let address = await node.status.listening.first(where: { $0.transport == .quicV1 }) else { throw Lost() }
    return address.withoutPeerID ?? address
}

private func processorSeconds() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The memory that the process has now, in KiB.
private func resident() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
    return Int(line.filter(\.isNumber)) ?? 0
}

private func rounded(_ value: Double) -> String { String(format: "%.1f", value) }
