import MartletMesh
import MartletRuntime
import MartletWire
import Testing

/// Nodes on this machine, each with an environment of its own.
@Suite("A node as a program has it", .timeLimit(.minutes(2)))
struct MeshNodeTests {
    /// The next of the node's events that `matches`.
    private func event(of node: MeshNode, _ matches: (MeshEvent) -> Bool) async throws -> MeshEvent {
        while let event = await node.events.next() {
            if matches(event) { return event }
        }
        throw MeshFailure.stopped
    }

    @Test("what can be set is by itself as documented, and counts as it is when the node starts")
    func settings() async throws {
        let node = try MeshNode(port: 0)
        #expect(node.name == nil)
        #expect(node.discoveryInterval == .seconds(30))
        #expect(node.maintenanceInterval == .seconds(15))
        #expect(node.connectionTimeout == .seconds(10))
        #expect(node.peerTimeout == .seconds(60))
        #expect(node.maximumPeers == 20)
        node.name = "alice"
        node.maximumPeers = 3
        try await node.start()
        let port = try #require(await node.port)
        #expect(await node.events.next() == .started(id: "peer-\(port)", name: "alice", port: port))
        let other = try MeshNode(port: 0, bootstrap: ["localhost:\(port)"])
        try await other.start()
        let connected = try await event(of: node) { if case .connected = $0 { true } else { false } }
        if case .connected(let peer, 1, 3) = connected {
            // Without a name, the name is the id.
            #expect(peer.name == peer.id && peer.isInbound)
        } else {
            Issue.record("\(connected)")
        }
        await other.stop()
        await node.stop()
    }

    @Test("two nodes meet, talk, are listed and part")
    func two() async throws {
        let alice = try MeshNode(port: 0)
        let bob = try MeshNode(port: 0)
        (alice.name, bob.name) = ("alice", "bob")
        try await alice.start()
        try await bob.start()
        let port = try #require(await alice.port)
        try await bob.connect(to: "localhost:\(port)")
        #expect(await bob.peers.map(\.name) == ["alice"])
        _ = try await event(of: alice) { if case .connected = $0 { true } else { false } }
        #expect(await alice.peers.map(\.name) == ["bob"])
        #expect(try await bob.broadcast("hello") == 1)
        let message = try await event(of: alice) { if case .message = $0 { true } else { false } }
        if case .message(let peer, let text) = message { #expect(peer.name == "bob" && text == "hello") }
        await bob.stop()
        _ = try await event(of: alice) { if case .disconnected = $0 { true } else { false } }
        #expect(await alice.peers == [])
        await alice.stop()
    }

    @Test("what is no address is refused, by name")
    func noAddress() async throws {
        #expect(throws: MeshFailure.noAddress("localhost")) { try MeshNode(port: 0, bootstrap: ["localhost"]) }
        let node = try MeshNode(port: 0)
        try await node.start()
        await #expect(throws: MeshFailure.noAddress("1.2.3:80")) { try await node.connect(to: "1.2.3:80") }
        await node.stop()
    }

    @Test("a port in use is an error, after which the node can be started again; a stopped node does nothing")
    func starting() async throws {
        let first = try MeshNode(port: 0)
        try await first.start()
        let port = try #require(await first.port)
        let second = try MeshNode(port: port)
        let refused = await #expect(throws: NetworkError.self) { try await second.start() }
        #expect(refused?.reason == .addressInUse)
        await first.stop()
        try await second.start()
        await second.stop()
        await second.stop()
        #expect(await second.events.next() == .started(id: "peer-\(port)", name: "peer-\(port)", port: port))
        #expect(await second.events.next() == nil)
        await #expect(throws: MeshFailure.stopped) { try await second.connect(to: "localhost:\(port)") }
        #expect(try await second.broadcast("anyone?") == 0)
        let unused = try MeshNode(port: 0)
        await unused.stop()
        #expect(await unused.events.next() == nil)
    }
}
