import MartletRuntime
import MartletSimulator
import MartletWire

/// Runs a world of 50 busy hosts for each seed that it is given, and prints the digests: a program of its own, so
/// that a test can compare what different processes make of the same seed.
@main
struct BusyWorld {
    static func main() {
        for argument in CommandLine.arguments.dropFirst() {
            guard let seed = UInt64(argument) else { preconditionFailure("\(argument) is no seed") }
            do {
                print(try busyWorld(seed: seed).digest)
            } catch {
                print(error)
            }
        }
    }
}

/// Fifty hosts, half of them behind NATs, that talk over UDP and TCP, sleep, compute, write files and start tasks,
/// on bad lines, while some are killed, paused and cut off.
func busyWorld(seed: UInt64) throws -> World {
    let world = World(seed: seed)
    let homes = (0..<5).map { home in
        let behavior = NATBehavior(
            mapping: NATBehavior.Mapping.allCases[home % 3], filtering: .addressAndPortDependent,
            allocation: NATBehavior.PortAllocation.allCases[home % 3])
        return world.network("home\(home)", behind: .nat(behavior), IPAddress(198, 51, 100, UInt8(home + 1)))
    }
    var hosts: [Host] = []
    for number in 0..<25 {
        hosts.append(world.host("public\(number)", IPAddress(192, 0, 2, UInt8(number + 1))))
    }
    for number in 25..<50 {
        hosts.append(world.host("home\(number)", IPAddress(10, 0, 0, UInt8(number)), in: homes[number % 5]))
    }
    let servers = hosts.prefix(25).map(\.address)
    for host in hosts {
        host.line = LinkConditions(
            latency: .milliseconds(5 + Int64(world.draw() % 50)), jitter: .milliseconds(10), loss: 0.05)
        host.line.duplication = 0.01
        host.line.reordering = 0.05
        host.start { try await serve($0) }
        host.start { try await gossip($0, servers) }
        host.start { try await transfer($0, servers) }
    }
    for step in 1...10 {
        let victim = hosts[Int(world.draw() % 50)]
        let time = Instant.start + .seconds(step)
        switch step % 4 {
        case 0: world.at(time) { victim.restart() }
        case 1:
            world.at(time) { victim.pause() }
            world.at(time + .milliseconds(700)) { victim.resume() }
        case 2:
            world.at(time) {
                let partition = world.separate(Array(hosts[..<10]), from: Array(hosts[10...]), oneWay: step == 2)
                world.at(time + .milliseconds(800)) { world.heal(partition) }
            }
        default: world.at(time) { victim.line.loss = 0.3 }
        }
    }
    try world.run(for: .seconds(15))
    return world
}

private func serve(_ environment: SimulatedEnvironment) async throws {
    let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 700), options: UDPOptions())
    socket.onDatagram = { _ = socket.send($0.bytes, to: $0.source) }
    let listener = try environment.listenTCP(SocketAddress(.anyV4, port: 700), options: TCPOptions())
    listener.onConnection = { stream in
        environment.loop.spawn {
            let conversation = StreamConversation(stream)
            while let bytes = try? await conversation.receive(upTo: 5000) { try? await conversation.send(bytes) }
            stream.close()
        }
    }
    try await environment.loop.sleep(until: .never)
}

private func gossip(_ environment: SimulatedEnvironment, _ servers: [IPAddress]) async throws {
    let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 0), options: UDPOptions())
    var random = environment.random
    var heard: Set<SocketAddress> = []
    socket.onDatagram = { heard.insert($0.source) }
    while true {
        let bytes = Bytes((0..<Int.random(in: 20...1200, using: &random)).map { UInt8(truncatingIfNeeded: $0) })
        // A set's order differs from process to process, and must not be seen.
        let target = heard.sorted().last ?? SocketAddress(servers.randomElement(using: &random)!, port: 700)
        _ = socket.send(bytes.span, to: target)
        if Bool.random(using: &random) { heard.removeAll() }
        try await environment.loop.sleep(for: .milliseconds(Int64.random(in: 1...200, using: &random)))
    }
}

private func transfer(_ environment: SimulatedEnvironment, _ servers: [IPAddress]) async throws {
    var random = environment.random
    while true {
        let server = SocketAddress(servers.randomElement(using: &random)!, port: 700)
        let size = Int.random(in: 1...30_000, using: &random)
        let sum = try await environment.background { (0..<size).reduce(0, &+) }
        do {
            let stream = try await environment.connectTCP(
                server, from: nil, options: TCPOptions(), deadline: environment.loop.now + .seconds(5))
            let conversation = StreamConversation(stream)
            try await conversation.send(Bytes((0..<size).map { UInt8(truncatingIfNeeded: $0 &+ sum) }))
            stream.finish()
            var back = 0
            while let bytes = try await conversation.receive() { back += bytes.count }
            guard back == size else { throw NetworkError(.reset, "echo", server) }
            try await environment.files.append(Bytes([1, 2, 3]), to: "log")
        } catch is NetworkError {
            // Hosts die and lines break here: the next one, then.
        } catch let error as FileError {
            guard error == .cancelled else { throw error }
        }
        // Tasks of Swift's own pool run on the world's loop as well.
        let parts = await withTaskGroup(of: Int.self) { group in
            for part in 0..<3 { group.addTask { part } }
            return await group.reduce(0, +)
        }
        let detached = await Task.detached { parts }.value
        try await environment.loop.sleep(for: .milliseconds(Int64(10 * detached)))
    }
}
