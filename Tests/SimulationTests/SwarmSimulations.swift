import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Faults from a seed")
struct SwarmTests {
    /// A client that puts numbers into a server's log over TCP, each again and again until the server has said that it
    /// is on its disk.
    private static func client(
        _ environment: SimulatedEnvironment, _ server: SocketAddress, _ stored: @escaping (UInt8) -> Void
    ) async throws {
        let loop = environment.loop
        for number in 0..<UInt8.max {
            var isStored = false
            while !isStored {
                guard environment.loop.isCurrent, !Task.isCancelled else { throw CancellationError() }
                do throws(NetworkError) {
                    let stream = try await environment.connectTCP(
                        server, from: nil, options: TCPOptions(), deadline: loop.now + .seconds(5))
                    defer { stream.close() }
                    let conversation = StreamConversation(stream)
                    try await conversation.send(Bytes([number]))
                    stream.finish()
                    isStored = try await conversation.receive() != nil
                } catch {
                    isStored = false
                }
                if !isStored { try await loop.sleep(for: .milliseconds(500)) }
            }
            stored(number)
            try await loop.sleep(for: .milliseconds(300))
        }
    }

    private static func server(_ environment: SimulatedEnvironment) async throws {
        let listener = try environment.listenTCP(SocketAddress(.anyV4, port: 7), options: TCPOptions())
        listener.onConnection = { stream in
            environment.loop.spawn {
                defer { stream.close() }
                let conversation = StreamConversation(stream)
                guard let number = try? await conversation.receive(), number.count == 1 else { return }
                do {
                    try await environment.files.append(number, to: "log")
                    try await conversation.send(number)
                } catch {
                    stream.reset()
                }
            }
        }
        try await environment.loop.sleep(until: .never)
    }

    @Test("what was said to be stored is stored, whatever faults there were; and once they are over, all is stored")
    func log() throws {
        for seed in Tier.seeds {
            let world = World(seed: seed)
            let home = world.network("home", behind: .nat(.portRestrictedCone), IPAddress(198, 51, 100, 1))
            let server = world.host("server", IPAddress(192, 0, 2, 1))
            server.start(Self.server)
            var promised: [Set<UInt8>] = [[], [], []]
            for number in 0..<3 {
                let client = world.host("client\(number)", IPAddress(10, 0, 0, UInt8(number + 2)), in: home)
                client.line.latency = .milliseconds(20)
                client.start { environment in
                    let address = SocketAddress(server.address, port: 7)
                    try await Self.client(environment, address) { promised[number].insert($0) }
                }
            }
            world.addCheckers()
            let faults = world.drawFaults(for: .seconds(60))
            world.apply(faults)
            do {
                // Safety, while there are faults.
                for _ in 0..<60 {
                    try world.run(for: .seconds(1))
                    let stored = Set(server.disk.files["log"] ?? Bytes())
                    for promise in promised { #expect(promise.isSubset(of: stored), "seed \(seed)\n\(faults)") }
                }
                // Liveness, once they are over.
                try world.run(within: .seconds(300)) { promised.allSatisfy { $0.count == Int(UInt8.max) } }
            } catch {
                Issue.record("\(error)\n\(faults)")
            }
        }
    }
}
