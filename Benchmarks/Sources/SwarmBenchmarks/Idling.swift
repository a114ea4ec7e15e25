import Foundation
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
    let base = resident()
    let others = try Others(transport, direction == "inbound" ? "\(address)/p2p/\(peer)" : "-")
    if direction == "outbound" {
        // It answers nobody before it has made them all.
        let addresses = try (0..<peers).map { _ in try Multiaddr(parsing: try others.line()) }
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
    let now = resident()
    print(
        "\(transport), \(peers) \(direction) connections: \((now - base) / peers) KiB for each "
            + "(\(base) KiB before, \(now) KiB in all)")
    others.end()
    try await node.stop()
}

/// The process that is the other side.
private final class Others {
    private let process = Process()
    private let output: FileHandle

    init(_ transport: String, _ address: String) throws {
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = ["idle-others", transport, address]
        let pipe = Pipe()
        process.standardOutput = pipe
        output = pipe.fileHandleForReading
        try process.run()
    }

    func line() throws -> String {
        var line = Data()
        while let byte = try output.read(upToCount: 1), !byte.isEmpty, byte[0] != UInt8(ascii: "\n") { line += byte }
        return String(decoding: line, as: UTF8.self)
    }

    func end() {
        process.terminate()
        process.waitUntilExit()
    }
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
                FileHandle.standardOutput.write(Data(address.utf8))
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

/// The memory that the process has now, in KiB.
private func resident() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
    return Int(line.filter(\.isNumber)) ?? 0
}
