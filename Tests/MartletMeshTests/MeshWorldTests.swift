import MartletRuntime
import MartletSimulator
import MartletWire
import TestSupport
import Testing

@testable import MartletMesh

@Suite("Mesh in a world")
struct MeshWorldTests {
    @Test("two nodes meet, talk and part")
    func two() throws {
        let crowd = Crowd(seed: 1)
        let alice = crowd.join(
            "alice",
            then: { node, environment in
                try await environment.loop.sleep(for: .seconds(2))
                #expect(try await node.broadcast("hello, bob") == 1)
                await #expect(throws: MeshLine.Unsayable.protocolWord("PING")) { try await node.broadcast("PING") }
            })
        let bob = crowd.join(
            "bob", port: 8002, bootstrap: [alice.address],
            then: { node, environment in
                await node.settle(within: .seconds(5))
                #expect(try await node.broadcast("hello") == 1)
                try await environment.loop.sleep(for: .seconds(5))
                await node.stop()
            })
        try crowd.world.run(for: .seconds(6))
        #expect(alice.heard == ["bob: hello"])
        #expect(bob.heard == ["alice: hello, bob"])
        #expect(
            bob.events.prefix(3) == [
                .started(id: "peer-8002", name: "bob", port: 8002), .bootstrapSucceeded(alice.address),
                .connected(
                    MeshPeer(id: "peer-8001", name: "alice", address: alice.address, isInbound: false), count: 1,
                    maximum: 20),
            ])
        #expect(
            alice.events.contains(
                .connected(
                    MeshPeer(id: "peer-8002", name: "bob", address: bob.address, isInbound: true), count: 1, maximum: 20
                )))
        try crowd.world.run(for: .seconds(6))
        #expect(alice.connected == [])
    }

    @Test(
        "fifty nodes that start one after the other close the full mesh within two seconds, and again after a partition"
    )
    func fifty() throws {
        let count = Sanitizer.amount(50, reduced: 20)
        let crowd = Crowd(seed: 2)
        let first = crowd.join { $0.maximumPeers = 60 }
        for number in 1..<count {
            crowd.join(at: .milliseconds(20 * number), bootstrap: [first.address]) { $0.maximumPeers = 60 }
        }
        try crowd.world.run(for: .milliseconds(20 * (count - 1)))
        try crowd.world.run(within: .seconds(2)) { crowd.isFull }
        print("\(count) nodes: full mesh \(crowd.world.now) after the first start")
        #expect(crowd.connections == count * (count - 1) / 2)
        #expect(crowd.members.allSatisfy { $0.count { if case .connectionFailed = $0 { true } else { false } } == 0 })

        let hosts = crowd.members.map(\.host)
        let halves = count / 2 * (count / 2 - 1)
        let partition = crowd.world.separate(Array(hosts[..<(count / 2)]), from: Array(hosts[(count / 2)...]))
        try crowd.world.run(within: .seconds(100)) { crowd.connections == halves }
        try crowd.world.run(for: .seconds(60))
        #expect(crowd.connections == halves)
        crowd.world.heal(partition)
        let healed = crowd.world.now
        try crowd.world.run(within: .seconds(2)) { crowd.isFull }
        print("\(count) nodes: full mesh \(crowd.world.now - healed) after the partition has healed")
        #expect(crowd.connections == count * (count - 1) / 2)
        try crowd.world.run(for: .seconds(60))
        #expect(crowd.isFull)
    }

    @Test("fifty nodes that start at the same moment in a chain close the full mesh within two seconds")
    func chain() throws {
        let count = Sanitizer.amount(50, reduced: 20)
        let crowd = Crowd(seed: 3)
        for number in 0..<count {
            let before = number > 0 ? [crowd.members[number - 1].address] : []
            crowd.join(at: .microseconds(Int64(crowd.world.draw() % 1000)), bootstrap: before) { $0.maximumPeers = 60 }
        }
        try crowd.world.run(within: .seconds(2)) { crowd.isFull }
        #expect(crowd.connections == count * (count - 1) / 2)
    }

    @Test("with room for twenty, fifty nodes fill up and settle without a storm of refused dials")
    func limited() throws {
        let (count, seconds) = Sanitizer.amount((50, 600), reduced: (30, 120))
        let crowd = Crowd(seed: 4)
        for number in 0..<count {
            let before = crowd.members.suffix(3).map(\.address)
            crowd.join(at: .milliseconds(20 * number), bootstrap: before)
        }
        func refusals() -> Int {
            crowd.members.reduce(0) { $0 + $1.count { if case .refused = $0 { true } else { false } } }
        }
        try crowd.world.run(for: .seconds(30))
        let early = refusals()
        #expect(crowd.members.allSatisfy { $0.connected.count <= 20 })
        let connections = crowd.connections
        try crowd.world.run(for: .seconds(seconds))
        let late = refusals() - early
        print(
            "limited to twenty: \(connections) connections, \(early) refusals in 30 s, \(late) in the next \(seconds) s"
        )
        // A refused dial for every second node in the first half minute, and then one every ten seconds in all.
        #expect(early < 25)
        #expect(late < 60)
        #expect(crowd.connections >= connections)
        // Whoever is full stays with whom it has.
        #expect(crowd.members.allSatisfy { $0.count { if case .disconnected = $0 { true } else { false } } == 0 })
    }

    @Test("two that dial each other at the same moment end with one connection, whoever is smaller", arguments: 0..<12)
    func simultaneous(seed: UInt64) throws {
        let crowd = Crowd(seed: seed)
        let ports: [(UInt16, UInt16)] = [(8001, 8002), (8002, 8001), (8001, 8001)]
        let (left, right) = ports[Int(seed % 3)]
        let leftAddress = MeshAddress("192.168.0.1:\(left)")!
        let rightAddress = MeshAddress("192.168.0.2:\(right)")!
        let offset = Duration.microseconds(Int64(crowd.world.draw() % 3000))
        let alice = crowd.join("alice", port: left, at: .seconds(1), bootstrap: [rightAddress])
        let bob = crowd.join("bob", port: right, at: .seconds(1) + offset, bootstrap: [leftAddress])
        try crowd.world.run(for: .seconds(10))
        #expect(alice.connected == ["bob"])
        #expect(bob.connected == ["alice"])
        #expect(alice.count { if case .disconnected = $0 { true } else { false } } == 0)
        #expect(bob.count { if case .disconnected = $0 { true } else { false } } == 0)
        try crowd.world.run(for: .seconds(60))
        #expect(alice.connected == ["bob"])
    }

    @Test("peers with the same id on different hosts are both welcome")
    func sameID() throws {
        let crowd = Crowd(seed: 5)
        let first = crowd.join("alice")
        crowd.join("bob", bootstrap: [first.address])
        crowd.join("carol", bootstrap: [first.address])
        try crowd.world.run(for: .seconds(3))
        #expect(crowd.isFull)
    }

    @Test("a node that finds only itself, under every address it has, notices")
    func oneself() throws {
        let crowd = Crowd(seed: 6)
        var failures: [MeshFailure] = []
        crowd.join(
            "alice", bootstrap: [MeshAddress("192.168.0.1:8001")!],
            then: { node, _ in
                for text in ["localhost:8001", "192.168.0.1:8001", "[::1]:8001"] {
                    do throws(MeshFailure) { try await node.connect(to: MeshAddress(text)!) } catch {
                        failures.append(error)
                    }
                }
            })
        try crowd.world.run(for: .seconds(10))
        #expect(failures == [.oneself, .oneself, .oneself])
        #expect(crowd.members[0].connected == [])
    }

    @Test("a user's connection comes about, or fails with its reason")
    func connecting() throws {
        let crowd = Crowd(seed: 7)
        let alice = crowd.join("alice")
        var failure: MeshFailure?
        crowd.join(
            "bob",
            then: { node, environment in
                try await node.connect(to: alice.address)
                try await node.connect(to: alice.address)
                #expect(await node.peers.map(\.name) == ["alice"])
                do throws(MeshFailure) { try await node.connect(to: MeshAddress("192.168.0.1:9")!) } catch {
                    failure = error
                }
            })
        try crowd.world.run(for: .seconds(5))
        #expect(failure == .network(.refused))
        #expect(crowd.members[1].events.allSatisfy { if case .failed = $0 { false } else { true } })
    }

    @Test("a peer that is gone without a word is removed after a minute, and met again when it is back")
    func stale() throws {
        let crowd = Crowd(seed: 8)
        let alice = crowd.join("alice")
        let bob = crowd.join("bob", bootstrap: [alice.address])
        try crowd.world.run(for: .seconds(5))
        bob.host.kill()
        try crowd.world.run(for: .seconds(50))
        #expect(alice.connected == ["bob"])
        try crowd.world.run(for: .seconds(40))
        #expect(alice.connected == [])
        #expect(alice.count { if case .removedStale = $0 { true } else { false } } == 1)
        bob.connected = []
        bob.host.restart()
        try crowd.world.run(within: .seconds(5)) { alice.connected == ["bob"] && bob.connected == ["alice"] }
    }

    @Test("a peer that comes back before it was missed is met again in seconds")
    func comesBack() throws {
        let crowd = Crowd(seed: 9)
        let alice = crowd.join("alice")
        let bob = crowd.join("bob", bootstrap: [alice.address])
        try crowd.world.run(for: .seconds(5))
        bob.connected = []
        bob.host.restart()
        try crowd.world.run(within: .seconds(10)) { alice.connected == ["bob"] && bob.connected == ["alice"] }
    }

    @Test("what goes wrong while peers are looked for is told once, and who is found through whom")
    func searching() throws {
        let crowd = Crowd(seed: 12)
        let alice = crowd.join("alice")
        crowd.join("bob", bootstrap: [alice.address])
        let nobody = MeshAddress("192.168.0.1:9")!
        let alsoNobody = MeshAddress("192.168.0.1:10")!
        let carol = crowd.join(
            "carol", at: .seconds(1), bootstrap: [nobody, alice.address],
            then: { node, _ in
                await #expect(throws: MeshFailure.network(.refused)) { try await node.connect(to: alsoNobody) }
            })
        try crowd.world.run(for: .seconds(60))
        let aliceAsSeen = MeshPeer(id: "peer-8001", name: "alice", address: alice.address, isInbound: false)
        #expect(carol.count { $0 == .bootstrapSucceeded(alice.address) } == 1)
        #expect(carol.count { $0 == .bootstrapFailed(nobody, .network(.refused)) } == 1)
        #expect(carol.count { $0 == .connectionFailed(alsoNobody, .network(.refused)) } == 1)
        // alice, bob, and the two at which nobody is.
        #expect(carol.events.contains(.discovered(count: 1, via: aliceAsSeen, known: 4)))
        #expect(crowd.isFull)
    }

    @Test("a node that cannot listen by IPv6 on a host that has it goes on, and says so")
    func withoutIPv6() throws {
        let world = World(seed: 13)
        let host = world.host("alice", IPAddress(192, 168, 9, 1))
        host.attach(to: world.internet, as: IPAddress("fd00::1")!)
        var events: [MeshEvent] = []
        host.start { environment in
            let other = try environment.listenTCP(SocketAddress(.anyV6, port: 8001), options: TCPOptions())
            let node = MeshNode(port: 8001, environment: environment)
            try await node.start()
            for await event in node.events { events.append(event) }
            other.close()
        }
        try world.run(for: .seconds(1))
        #expect(
            events == [
                .started(id: "peer-8001", name: "peer-8001", port: 8001),
                .failed("port 8001 cannot be listened on by IPv6: address in use"),
            ])
    }

    @Test("the same seed makes the same things happen")
    func repeats() throws {
        func digest() throws -> String {
            let crowd = Crowd(seed: 10)
            let first = crowd.join()
            for number in 1..<8 {
                crowd.join(at: .milliseconds(number), bootstrap: [first.address]) { $0.maximumPeers = 4 }
            }
            try crowd.world.run(for: .seconds(100))
            return "\(crowd.world.digest)"
        }
        #expect(try digest() == digest())
    }

    @Test("a reader that is too slow loses the oldest events, and is told how many")
    func missed() throws {
        let crowd = Crowd(seed: 11)
        var events: [MeshEvent] = []
        let alice = crowd.world.host("alice", IPAddress(192, 168, 9, 1))
        alice.start { environment in
            var configuration = MeshConfiguration()
            configuration.maximumEvents = 10
            let node = MeshNode(port: 8001, configuration: configuration, environment: environment)
            try await node.start()
            try await environment.loop.sleep(for: .seconds(5))
            await node.stop()
            for await event in node.events { events.append(event) }
        }
        crowd.join(
            "bob", bootstrap: [MeshAddress("192.168.9.1:8001")!],
            then: { node, _ in
                await node.settle(within: .seconds(1))
                for number in 1...100 { try await node.broadcast("\(number)") }
            })
        try crowd.world.run(for: .seconds(6))
        // One that started, one that connected and a hundred messages, of which the last ten are left.
        #expect(events.count == 11)
        #expect(events.first == .missed(92))
        if case .message(_, let text) = events.last { #expect(text == "100") } else { Issue.record("\(events)") }
    }
}
