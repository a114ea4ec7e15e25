import Martlet
import MartletSimulator
import TestSupport
import Testing

@Suite("Encrypted mesh")
struct SecureMeshTests {
    private static let address = SocketAddress(IPAddress(192, 168, 0, 1), port: 8001)
    private static let keys = (0..<20).map { (number: UInt64) -> PrivateKey in
        var generator = SeededGenerator(seed: number)
        return PrivateKey.ed25519(using: &generator)
    }

    private static func encrypts(_ number: Int) -> (inout MeshConfiguration) -> Void {
        { $0.transport = .encrypted(by: keys[number]) }
    }

    private static func fingerprint(_ number: Int) -> String { PeerID(keys[number].publicKey).description }

    /// Whether anything that was sent has these bytes in it.
    private final class Eavesdropper: WorldWatcher {
        let name = "eavesdropper"
        let word: [UInt8]
        var hasHeard = false
        init(_ word: String) { self.word = Array(word.utf8) }

        func sent(_ packet: Packet, by host: Host) {
            let bytes = Array(packet.payload)
            guard bytes.count >= word.count else { return }
            for start in 0...bytes.count - word.count where bytes[start..<start + word.count].elementsEqual(word) {
                hasHeard = true
            }
        }
    }

    /// A mesh of alice and bob, encrypted or not, in which bob says something to alice. Returns whether who listens on
    /// the line has heard it.
    private func isOverheard(_ configure: [(inout MeshConfiguration) -> Void]) throws -> (Bool, Crowd) {
        let crowd = Crowd(seed: 1)
        let eavesdropper = Eavesdropper("the treasure")
        crowd.world.add(eavesdropper)
        let alice = crowd.join("alice", configure[0])
        crowd.join("bob", port: 8002, bootstrap: [alice.address], configure[1]) { node, environment in
            await node.settle(within: .seconds(5))
            #expect(try await node.broadcast("the treasure is here") == 1)
            try await environment.loop.sleep(for: .seconds(40))
            await node.stop()
        }
        try crowd.world.run(for: .seconds(30))
        #expect(alice.heard == ["bob: the treasure is here"])
        #expect(alice.connected == ["bob"])
        return (eavesdropper.hasHeard, crowd)
    }

    @Test("two meet, know each other's keys, talk so that nobody else can read it, and part")
    func two() throws {
        #expect(try isOverheard([{ _ in }, { _ in }]).0)
        let (isOverheard, crowd) = try isOverheard([Self.encrypts(0), Self.encrypts(1)])
        #expect(!isOverheard)
        let (alice, bob) = (crowd.members[0], crowd.members[1])
        let bobAsSeen = MeshPeer(
            id: "peer-8002", name: "bob", address: bob.address, isInbound: true, fingerprint: Self.fingerprint(1))
        let aliceAsSeen = MeshPeer(
            id: "peer-8001", name: "alice", address: alice.address, isInbound: false, fingerprint: Self.fingerprint(0))
        #expect(alice.events.contains(.connected(bobAsSeen, count: 1, maximum: 20)))
        #expect(bob.events.contains(.connected(aliceAsSeen, count: 1, maximum: 20)))
        try crowd.world.run(within: .seconds(15)) { alice.connected.isEmpty }
        #expect(alice.events.last == .disconnected(bobAsSeen, count: 0, maximum: 20))
    }

    @Test("twenty nodes close the full mesh within two seconds, and again after a partition")
    func twenty() throws {
        let count = Sanitizer.amount(20, reduced: 10)
        let halves = count / 2 * (count / 2 - 1)
        let crowd = Crowd(seed: 2)
        let first = crowd.join(nil, Self.encrypts(0))
        for number in 1..<count {
            crowd.join(nil, at: .milliseconds(20 * number), bootstrap: [first.address], Self.encrypts(number))
        }
        try crowd.world.run(for: .milliseconds(20 * (count - 1)))
        try crowd.world.run(within: .seconds(2)) { crowd.isFull }
        #expect(crowd.connections == count * (count - 1) / 2)
        let hosts = crowd.members.map(\.host)
        let partition = crowd.world.separate(Array(hosts[..<(count / 2)]), from: Array(hosts[(count / 2)...]))
        try crowd.world.run(within: .seconds(100)) { crowd.connections == halves }
        crowd.world.heal(partition)
        try crowd.world.run(within: .seconds(62)) { crowd.isFull }
        #expect(crowd.connections == count * (count - 1) / 2)
    }

    @Test("two that dial each other at the same moment end with one connection", arguments: 0..<6)
    func simultaneous(seed: UInt64) throws {
        let crowd = Crowd(seed: seed)
        let offset = Duration.microseconds(Int64(crowd.world.draw() % 5000))
        let addresses = ["192.168.0.1:8001", "192.168.0.2:8002"].map { MeshAddress($0)! }
        let alice = crowd.join("alice", at: .seconds(1), bootstrap: [addresses[1]], Self.encrypts(0))
        let bob = crowd.join(
            "bob", port: 8002, at: .seconds(1) + offset, bootstrap: [addresses[0]], Self.encrypts(1))
        try crowd.world.run(for: .seconds(70))
        #expect(alice.connected == ["bob"])
        #expect(bob.connected == ["alice"])
        #expect(alice.count { if case .disconnected = $0 { true } else { false } } == 0)
    }

    @Test("who dials without encryption is told why that will not do, in one line of plain text")
    func plainDialler() throws {
        let crowd = Crowd(seed: 3)
        let alice = crowd.join("alice", Self.encrypts(0))
        var failure: MeshFailure?
        crowd.join(
            "bob",
            then: { node, _ in
                do throws(MeshFailure) { try await node.connect(to: alice.address) } catch { failure = error }
            })
        let stranger = crowd.world.host("stranger", IPAddress(192, 168, 7, 7))
        var lines: [String] = []
        stranger.start { environment in
            let client = try await LineClient(dialling: Self.address, environment)
            try await client.send("peer-8001:bob")
            while let line = try await client.line() { lines.append(line) }
        }
        try crowd.world.run(for: .seconds(10))
        #expect(lines.count == 1)
        #expect(lines.first?.contains("this mesh is encrypted") == true)
        #expect(failure.map { "\($0)" }?.contains("this mesh is encrypted") == true)
        #expect(alice.connected == [])
        #expect(alice.events.contains { if case .refused(_, .insecure) = $0 { true } else { false } })
    }

    /// What is at the other end when an encrypted node dials.
    enum Unencrypted: CaseIterable { case plainMesh, hangsUp, breaksOff, greets, saysNothing }

    @Test("who dials a node that does not encrypt learns that, and goes on", arguments: Unencrypted.allCases)
    func plainListener(other: Unencrypted) throws {
        let crowd = Crowd(seed: 4)
        let host = crowd.world.host("other", IPAddress(192, 168, 7, 7))
        host.start { environment in
            if other == .plainMesh {
                let node = MeshNode(port: 8001, environment: environment)
                try await node.start()
                for await _ in node.events {}
            } else {
                let listener = try environment.listenTCP(SocketAddress(.anyV4, port: 8001), options: TCPOptions())
                var silent: [ByteStream] = []
                listener.onConnection = { stream in
                    switch other {
                    case .hangsUp: stream.close()
                    case .breaksOff: stream.reset()
                    case .greets: stream.write(Bytes(utf8: "peer-8001:alice\n"))
                    default: silent.append(stream)
                    }
                }
                try await environment.loop.sleep(until: .never)
            }
        }
        var failure: MeshFailure?
        crowd.join("bob", Self.encrypts(1)) { node, environment in
            try await environment.loop.sleep(for: .seconds(1))
            do throws(MeshFailure) { try await node.connect(to: "192.168.7.7:8001") } catch { failure = error }
        }
        try crowd.world.run(for: .seconds(30))
        switch other {
        case .plainMesh, .hangsUp, .greets:
            #expect(failure.map { "\($0)" }?.contains("takes no encrypted connections") == true)
        case .breaksOff: #expect(failure == .insecure("it hung up while the connection was made secure"))
        case .saysNothing: #expect(failure == .timedOut)
        }
    }

    /// Someone who speaks the encryption and then something else than a mesh.
    enum Stranger: CaseIterable { case opensNothing, wantsAnotherProtocol, opensMany, saysNothing, breaksOff, floods }

    @Test("who encrypts and then does not behave is sent away, and nobody else notices", arguments: Stranger.allCases)
    func strangers(kind: Stranger) throws {
        let crowd = Crowd(seed: 5)
        let alice = crowd.join("alice", Self.encrypts(0))
        let bob = crowd.join("bob", port: 8002, bootstrap: [alice.address], Self.encrypts(1)) { node, environment in
            try await environment.loop.sleep(for: .seconds(30))
            try await node.broadcast("still here")
        }
        let host = crowd.world.host("stranger", IPAddress(192, 168, 7, 7))
        var end: Instant?
        host.start { environment in
            try await environment.loop.sleep(for: .seconds(1))
            let transport = TCPTransport(
                environment: environment, upgrader: Upgrader(environment: environment, identity: Self.keys[7]))
            let connection = try await transport.dial(
                .tcp(Self.address), expecting: nil, deadline: environment.loop.now + .seconds(10))
            connection.onClosed = { _ in end = environment.loop.now }
            try await Self.misbehave(kind, on: connection)
            try await environment.loop.sleep(until: .never)
        }
        try crowd.world.run(for: .seconds(31))
        // Ten seconds for the greeting, and five in which the connection may take leave.
        let limit = Instant.start + .seconds(1 + 10 + 5 + 1)
        #expect((end ?? .never) <= limit)
        #expect(alice.connected == ["bob"])
        #expect(bob.connected == ["alice"])
        #expect(alice.heard == ["bob: still here"])
    }

    private nonisolated(nonsending) static func misbehave(_ kind: Stranger, on connection: Connection) async throws {
        guard kind != .opensNothing else { return }
        let stream = try connection.openStream()
        switch kind {
        case .opensNothing: break
        case .wantsAnotherProtocol:
            await #expect(throws: (any Error).self) { try await stream.negotiate(["/ipfs/ping/1.0.0"]) }
        case .opensMany:
            for _ in 0..<100 { _ = try? connection.openStream().propose("/martlet/mesh/1.0.0") }
            try await stream.write(Bytes(utf8: "GET / HTTP/1.1\n"))
        case .saysNothing: _ = try await stream.negotiate(["/martlet/mesh/1.0.0"])
        case .breaksOff:
            _ = try await stream.negotiate(["/martlet/mesh/1.0.0"])
            stream.reset()
        case .floods:
            _ = try await stream.negotiate(["/martlet/mesh/1.0.0"])
            let much = Bytes([UInt8](repeating: 0x61, count: 200_000))
            await #expect(throws: (any Error).self) { while true { try await stream.write(much) } }
        }
        _ = try? await stream.read()
    }

    @Test("a node that is full says so before it closes")
    func full() throws {
        let crowd = Crowd(seed: 6)
        let alice = crowd.join("alice") {
            $0.maximumPeers = 1
            Self.encrypts(0)(&$0)
        }
        crowd.join("bob", bootstrap: [alice.address], Self.encrypts(1))
        var failure: MeshFailure?
        crowd.join("carol", Self.encrypts(2)) { node, environment in
            try await environment.loop.sleep(for: .seconds(1))
            do throws(MeshFailure) { try await node.connect(to: alice.address) } catch { failure = error }
        }
        try crowd.world.run(for: .seconds(5))
        #expect(failure == .full)
        #expect(alice.connected == ["bob"])
    }

    @Test("a peer that does not read is disconnected before it costs much")
    func slowReader() throws {
        let crowd = Crowd(seed: 7)
        let alice = crowd.join("alice") {
            $0.maximumQueued = 100_000
            Self.encrypts(0)(&$0)
        }
        let host = crowd.world.host("stranger", IPAddress(192, 168, 7, 7))
        host.start { environment in
            try await environment.loop.sleep(for: .seconds(1))
            let transport = TCPTransport(
                environment: environment, upgrader: Upgrader(environment: environment, identity: Self.keys[7]))
            let connection = try await transport.dial(
                .tcp(Self.address), expecting: nil, deadline: environment.loop.now + .seconds(10))
            let stream = try connection.openStream()
            _ = try await stream.negotiate(["/martlet/mesh/1.0.0"])
            try await stream.write(Bytes(utf8: "carol:Carol\n"))
            let pings = Bytes(utf8: String(repeating: "PING\n", count: 10_000))
            await #expect(throws: (any Error).self) { while true { try await stream.write(pings) } }
            try await environment.loop.sleep(until: .never)
        }
        try crowd.world.run(for: .seconds(20))
        #expect(alice.count { if case .connected = $0 { true } else { false } } == 1)
        #expect(alice.connected == [])
    }
}
