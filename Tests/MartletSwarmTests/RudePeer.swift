import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTransport
import MartletWire
import Testing

/// A peer that has a key and a transport, and no manners.
struct RudePeer {
    let environment: any Environment
    let transport: TCPTransport

    init(_ environment: any Environment, _ number: UInt8, _ limits: UpgradeLimits = UpgradeLimits()) {
        self.environment = environment
        transport = TCPTransport(
            environment: environment,
            upgrader: Upgrader(environment: environment, identity: key(number), limits: limits))
    }

    nonisolated(nonsending) func dial() async throws -> Connection {
        try await transport.dial(tcp(1), expecting: nil, deadline: environment.loop.now + .seconds(30))
    }
}

/// Runs `attack` on the first of two hosts against a server that echoes, and an honest peer on the second that pings
/// once a second all the while and must notice nothing. The server's memory must stay within its budget, which is small,
/// and the `slack` of what its connections read in one turn.
/// Gives the server, whose connections end with the world: `afterwards` sees them.
func attacked(
    for duration: Duration = .seconds(60), slack: Int = 1 << 20,
    _ configure: @escaping (inout SwarmConfiguration) -> Void = { _ in },
    serve: @escaping (Swarm) -> Void = { $0.serveEcho() }, by attack: @escaping Host.Program,
    afterwards: (Swarm) -> Void = { _ in }
) throws -> Member {
    var server: Member?
    let (world, hosts) = SwarmTests.world(
        clients: 2,
        {
            $0.limits.memory = 16 << 20
            configure(&$0)
        }
    ) {
        server = $0
        serve($0.swarm)
    }
    hosts[0].start { environment in
        // Whatever the attacker's own code runs into is no failure of the world.
        try? await attack(environment)
        try await environment.loop.sleep(until: .never)
    }
    var pings = 0
    hosts[1].start { environment in
        try await environment.loop.sleep(for: .milliseconds(500))
        let member = Member(environment, key(3))
        try await member.swarm.connect(to: peer(1), at: [tcp(1)])
        let pinger = try await member.swarm.pinger(to: peer(1))
        while true {
            let took = try await pinger.ping(timeout: .seconds(5))
            #expect(took < .seconds(1), "the honest peer is kept waiting")
            pings += 1
            try await environment.loop.sleep(for: .seconds(1))
        }
    }
    try world.run(for: duration)
    // One second from the answer to the next.
    #expect(pings >= Int(duration.components.seconds) * 97 / 100 - 3, "the honest peer was served all the while")
    let member = try #require(server)
    #expect(member.swarm.memory.peak <= member.swarm.memory.limit + slack)
    afterwards(member.swarm)
    return member
}

/// A TCP connection to the server, on which nothing has been said.
nonisolated(nonsending) func rawTCP(_ environment: SimulatedEnvironment) async throws -> ByteStream {
    try await environment.connectTCP(
        SocketAddress(IPAddress(192, 0, 2, 1), port: 4001), from: nil, options: TCPOptions(),
        deadline: environment.loop.now + .seconds(30))
}
