import MartletRuntime
import MartletSimulator
import MartletWire
import TestSupport
import Testing

@testable import MartletMesh

/// Peers that were not written for this mesh, or against it.
@Suite("Mesh and strangers")
struct StrangerTests {
    private static let aliceAddress = SocketAddress(IPAddress(192, 168, 0, 1), port: 8001)

    /// A mesh of alice and bob, a stranger who does as `act` says, and a word from bob to alice at the end: nothing
    /// that the stranger does may be noticed between them.
    @discardableResult
    private func withStranger(
        seed: UInt64 = 1, at address: IPAddress = IPAddress(192, 168, 7, 7), for duration: Duration = .seconds(30),
        _ configure: (inout MeshConfiguration) -> Void = { _ in },
        _ act: nonisolated(nonsending) @escaping (SimulatedEnvironment) async throws -> Void
    ) throws -> (crowd: Crowd, sent: () -> Int) {
        let crowd = Crowd(seed: seed)
        let alice = crowd.join("alice", configure)
        let bob = crowd.join(
            "bob", port: 8002, bootstrap: [alice.address],
            then: { node, environment in
                try await environment.loop.sleep(for: duration)
                try await node.broadcast("still here")
            })
        let stranger = crowd.world.host("stranger", address)
        // Little enough that who does not read is found out.
        stranger.tcpReceiveBuffer = 64 << 10
        var isDone = false
        stranger.start { environment in
            try await environment.loop.sleep(for: .seconds(1))
            try await act(environment)
            isDone = true
        }
        try crowd.world.run(for: duration + .seconds(2))
        #expect(isDone)
        #expect(bob.connected.contains("alice"))
        #expect(alice.heard.last == "bob: still here")
        #expect(alice.count { if case .removedStale(let peer) = $0 { peer.name == "bob" } else { false } } == 0)
        return (crowd, { crowd.world.statistics.sent })
    }

    @Test("someone with netcat joins, is told of peers, answers pings and chats")
    func netcat() throws {
        let (crowd, _) = try withStranger { environment in
            let client = try await LineClient(dialling: Self.aliceAddress, environment)
            try await client.send("carol:Carol\r")
            #expect(try await client.line() == "peer-8001:alice")
            try await client.send("REQUEST_PEERS")
            #expect(try await client.line() == "PEERS:192.168.0.2:8002")
            try await client.send("PING")
            #expect(try await client.line() == "PONG")
            try await client.send("hello from netcat\r")
            #expect(try await client.line() == "PING")
            try await client.send("PONG")
        }
        #expect(crowd.members[0].heard.first == "Carol: hello from netcat")
    }

    @Test("one id from one host is taken once, and from another host as well")
    func sameID() throws {
        try withStranger { environment in
            let first = try await LineClient(dialling: Self.aliceAddress, environment)
            try await first.send("carol:Carol")
            #expect(try await first.line() == "peer-8001:alice")
            let second = try await LineClient(dialling: Self.aliceAddress, environment)
            try await second.send("carol:Impostor")
            #expect(try await second.line() == "DUPLICATE")
            #expect(try await second.line() == nil)
            // The id of a peer on another host, and of alice herself, is nothing special here.
            for id in ["peer-8002", "peer-8001"] {
                let third = try await LineClient(dialling: Self.aliceAddress, environment)
                try await third.send("\(id):x")
                #expect(try await third.line() == "peer-8001:alice")
            }
        }
    }

    @Test("a full node says so and closes")
    func full() throws {
        let (crowd, _) = try withStranger(configuring: { $0.maximumPeers = 1 })
        #expect(crowd.members[0].connected == ["bob"])
    }

    private func withStranger(
        configuring configure: (inout MeshConfiguration) -> Void
    ) throws -> (crowd: Crowd, sent: () -> Int) {
        try withStranger(configure) { environment in
            let client = try await LineClient(dialling: Self.aliceAddress, environment)
            try await client.send("carol:Carol")
            #expect(try await client.line() == "MAX_PEERS")
            #expect(try await client.line() == nil)
        }
    }

    static let noise = [UInt8](unsafeUninitializedCapacity: 100_000) { buffer, count in
        var generator = SeededGenerator(seed: 7)
        for index in 0..<100_000 { buffer[index] = UInt8.random(in: 0...255, using: &generator) }
        count = 100_000
    }

    static let bad: [(name: String, bytes: [UInt8])] = [
        ("a line without end", [UInt8](repeating: 0x61, count: 200_000)),
        ("a long line after the greeting", Array("carol:Carol\n".utf8) + [UInt8](repeating: 0x61, count: 70_000)),
        ("a hundred thousand addresses in a line", Array(("carol:Carol\nPEERS:" + list(100_000) + "\n").utf8)),
        ("noise", noise), ("zeros", [UInt8](repeating: 0, count: 2000)),
        ("another protocol", Array("GET / HTTP/1.1\r\nHost: alice\r\n\r\n".utf8)),
        ("an empty line", [0x0A]), ("a word of the protocol", Array("PING\n".utf8)),
        ("a long name", Array(("carol:" + String(repeating: "c", count: 5000) + "\n").utf8)),
    ]

    static func list(_ count: Int) -> String {
        (0..<count).map { "10.\($0 >> 16 & 255).\($0 >> 8 & 255).\($0 & 255):80" }.joined(separator: ",")
    }

    @Test("what is no protocol ends that connection alone", arguments: bad.indices)
    func badInput(index: Int) throws {
        try withStranger { environment in
            let client = try await LineClient(dialling: Self.aliceAddress, environment)
            do {
                try await client.send(bytes: Self.bad[index].bytes)
                while try await client.line() != nil {}
            } catch let error as NetworkError {
                #expect(error.reason == .reset)
            }
        }
    }

    @Test("who says nothing is sent away after ten seconds, and many who say nothing leave room for others")
    func silence() throws {
        try withStranger { environment in
            let begin = environment.loop.now
            var silent: [LineClient] = []
            for _ in 0..<200 { silent.append(try await LineClient(dialling: Self.aliceAddress, environment)) }
            await #expect(throws: (any Error).self) {
                if try await silent[199].line() == nil { throw NetworkError(.closed, "receive") }
            }
            _ = try? await silent[0].line()
            let took = environment.loop.now - begin
            #expect(took > .seconds(9) && took < .seconds(12))
        }
    }

    @Test("what is dangerous in names and messages arrives as it is, and can be escaped")
    func escapes() throws {
        let (crowd, _) = try withStranger { environment in
            let client = try await LineClient(dialling: Self.aliceAddress, environment)
            try await client.send("carol:\u{1B}[31mCarol: the \u{202E}first")
            #expect(try await client.line() == "peer-8001:alice")
            try await client.send("\u{1B}]0;title\u{7}")
            try await client.send(bytes: [0xFF, 0xFE, 0x0A])
        }
        let heard = crowd.members[0].heard.map { TerminalText.escaped($0) }
        #expect(heard[0] == "\\u{1B}[31mCarol: the \\u{202E}first: \\u{1B}]0;title\\u{7}")
        #expect(heard[1].hasSuffix(": \u{FFFD}\u{FFFD}"))
    }

    @Test("a stranger who tells a hundred thousand addresses, again and again, has few of them dialled, and slowly")
    func manyAddresses() throws {
        let parts = Sanitizer.amount(200, reduced: 30)
        var dials = 0
        let watcher = DialCounter { dials += 1 }
        let crowd = Crowd(seed: 3)
        crowd.world.add(watcher)
        let alice = crowd.join("alice")
        let bob = crowd.join("bob", port: 8002, bootstrap: [alice.address])
        let stranger = crowd.world.host("stranger", IPAddress(203, 0, 113, 7))
        stranger.start { environment in
            try await environment.loop.sleep(for: .seconds(1))
            let client = try await LineClient(dialling: Self.aliceAddress, environment)
            try await client.send("carol:Carol")
            for round in 0..<30 {
                for part in 0..<parts {
                    let list = (0..<50).map { "10.\(round).\(part).\($0):80" }.joined(separator: ",")
                    // Loopback addresses are read as the stranger's own, and alice's network is none of its business.
                    try await client.send(
                        "PEERS:localhost:\(part + 1),192.168.0.2:\(part + 1),192.168.0.1:8001," + list)
                }
                try await environment.loop.sleep(for: .seconds(1))
            }
        }
        try crowd.world.run(for: .seconds(60))
        print("a stranger told \(30 * parts * 50) addresses: \(dials) dials in 60 s")
        #expect(dials < 90)
        #expect(alice.connected.contains("bob"))
        #expect(bob.connected == ["alice"])
        #expect(alice.node != nil)
    }

    /// Counts the connections that alice begins to anyone but bob.
    private final class DialCounter: WorldWatcher {
        let name = "dials"
        let count: () -> Void
        init(_ count: @escaping () -> Void) { self.count = count }

        func sent(_ packet: Packet, by host: Host) {
            guard host.name == "h0", case .tcp(let header) = packet.transport, header.flags == .syn,
                packet.destination.ip != IPAddress(192, 168, 0, 2) || packet.destination.port != 8002
            else { return }
            count()
        }
    }

    @Test("a peer that does not read is disconnected before it costs much")
    func slowReader() throws {
        let (crowd, _) = try withStranger({ $0.maximumQueued = 100_000 }) { environment in
            let client = try await LineClient(dialling: Self.aliceAddress, environment)
            try await client.send("carol:Carol")
            for _ in 0..<100_000 where client.stream.failure == nil { try? await client.send("PING") }
        }
        #expect(crowd.members[0].connected == ["bob"])
    }

    /// A peer that dials and listens at once and knows no rule for it: it takes whom it is not yet connected to.
    enum Naivety: CaseIterable {
        /// It takes everyone.
        case takesAll
        /// It answers `DUPLICATE` as soon as it has dialled somebody itself.
        case countsOwnDials
    }

    @Test(
        "with a peer that dials at the same time and knows no rule, one connection always survives",
        arguments: Naivety.allCases, 0..<8)
    func naive(naivety: Naivety, seed: UInt64) throws {
        let crowd = Crowd(seed: seed)
        // A port on either side of the naive peer's, so that either is the smaller.
        let port: UInt16 = seed % 2 == 0 ? 8001 : 9001
        let naiveAddress = SocketAddress(IPAddress(192, 168, 9, 9), port: 8500)
        let alice = crowd.join("alice", port: port, at: .seconds(1), bootstrap: [MeshAddress(naiveAddress)])
        let offset = Duration.microseconds(Int64(crowd.world.draw() % 4000))
        let host = crowd.world.host("naive", naiveAddress.ip)
        var open = 0
        host.start { environment in
            var isDialling = false
            nonisolated(nonsending) func talk(_ client: LineClient) async {
                open += 1
                while let line = try? await client.line() { if line == "PING" { try? await client.send("PONG") } }
                open -= 1
                client.stream.close()
            }
            let listener = try environment.listenTCP(naiveAddress, options: TCPOptions())
            listener.onConnection = { stream in
                environment.loop.spawn {
                    let client = LineClient(stream)
                    guard (try? await client.line()) != nil else { return }
                    if naivety == .countsOwnDials, isDialling || open > 0 {
                        try? await client.send("DUPLICATE")
                        return stream.close()
                    }
                    try? await client.send("peer-8500:naive")
                    await talk(client)
                }
            }
            try await environment.loop.sleep(for: .milliseconds(998) + offset)
            isDialling = true
            let target = SocketAddress(IPAddress(192, 168, 0, 1), port: port)
            if let client = try? await LineClient(dialling: target, environment) {
                try? await client.send("peer-8500:naive")
                if let answer = try? await client.line(), answer.hasPrefix("peer-") { await talk(client) }
                client.stream.close()
            }
            isDialling = false
            try await environment.loop.sleep(until: .never)
        }
        try crowd.world.run(for: .seconds(10))
        #expect(alice.connected == ["naive"])
        #expect(open >= 1)
        try crowd.world.run(for: .seconds(20))
        #expect(alice.connected == ["naive"])
    }
}
