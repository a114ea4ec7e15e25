import Glibc
import Martlet

/// How much memory connections hold on which nothing happens. The other sides of all of them are in another process.
let idlingMeasurements =
    ["tcp", "quic"].flatMap { transport in
        ["inbound", "outbound"].map { direction in
            Measurement(
                name: "idle-\(transport)-\(direction)",
                meaning: "memory of 1,000 idle \(direction) connections over \(transport), a process a side"
            ) { _ in
                try await measureIdling(over: transport, direction)
            }
        }
    } + [
        Measurement(name: "idle-others", meaning: "the other process of those before") { _ in try await beOthers() }
    ]

/// How many peers are connected.
private let peers = 1000

private func measureIdling(over transport: String, _ direction: String) async throws {
    raiseFileLimit()
    let node = try await Node("node", identifies: true)
    let address = try await node.listen(transport)
    let peer = try await node.run { $0.localPeer }
    // What the first connection makes for all is not counted as one's.
    let base = try resident()
    let others = try ChildProcess([
        try ownPath(), "idle-others", transport, direction == "inbound" ? "\(address)/p2p/\(peer)" : "-",
    ])
    if direction == "outbound" {
        // It answers nobody before it has made them all.
        let addresses = try (0..<peers).map { _ in try Multiaddr(parsing: others.line() ?? "") }
        for address in addresses { _ = try await node.run { try await $0.connect(to: address) } }
    }
    // All are there, and have said what they are.
    let clock = ContinuousClock()
    let limit = clock.now + .seconds(60)
    while try await node.run({ swarm in
        swarm.connectedPeers.count { swarm.info(of: $0) != nil }
    }) < peers {
        guard clock.now < limit else { throw Failure(description: "not all came") }
        try await clock.sleep(for: .milliseconds(50))
    }
    try await clock.sleep(for: .seconds(2))
    let now = try resident()
    print(
        "\(transport), \(peers) \(direction) connections: \((now - base) / peers) KiB for each "
            + "(\(base) KiB before, \(now) KiB in all)")
    others.end()
    try await node.stop()
}

/// Is the other side of all connections: dials the address that the arguments name, or tells where it listens.
private func beOthers() async throws {
    raiseFileLimit()
    let arguments = CommandLine.arguments
    guard arguments.count > 3 else { throw Failure(description: "idle-others is started by the measurement") }
    let node = try await Node("others")
    let place = try Multiaddr(parsing: loopback(arguments[2]))
    let target = arguments[3] == "-" ? nil : try Multiaddr(parsing: arguments[3])
    try await node.run { swarm in
        let others = (0..<peers).map { _ in makeSwarm(swarm.environment) }
        for other in others {
            if let target {
                _ = try await other.connect(to: target)
            } else {
                let address = "\(try other.listen(on: place))/p2p/\(other.localPeer)\n"
                _ = address.withCString { write(1, $0, strlen($0)) }
            }
        }
        try await swarm.loop.sleep(until: .never)
        withExtendedLifetime(others) {}
    }
}

private func raiseFileLimit() {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// Where this program stands.
private func ownPath() throws -> String {
    var path = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/self/exe", &path, path.count)
    guard count > 0 else { throw Failure(description: "this program does not know where it stands") }
    return String(decoding: path.prefix(count), as: UTF8.self)
}

/// The memory that the process has now, in KiB.
private func resident() throws -> Int {
    guard let file = fopen("/proc/self/status", "r") else { throw Failure(description: "no /proc") }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, Int32(line.count), file) != nil {
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if text.hasPrefix("VmRSS:"), let kilobytes = Int(text.filter(\.isNumber)) { return kilobytes }
    }
    throw Failure(description: "no VmRSS in /proc/self/status")
}
