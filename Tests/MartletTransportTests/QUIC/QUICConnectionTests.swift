import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletTransport
import MartletWire
import TestSupport
import Testing

@Suite("QUIC connections")
struct QUICConnectionTests {
    @Test("the first answered byte comes after two round trips, and both sides know each other")
    func roundTrips() throws {
        let world = World(seed: 1)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        alice.host.line.latency = .milliseconds(50)
        bob.host.line.latency = .milliseconds(50)
        bob.start()
        var answered: Instant?
        alice.start { alice in
            let connection = try await alice.dial(bob)
            #expect(connection.remotePeer == bob.peer)
            #expect(connection.nature.direction == .outbound)
            #expect(connection.remoteAddress == bob.address)
            #expect(try await connection.ask([1, 2, 3]) == [1, 2, 3])
            answered = alice.environment.loop.now
        }
        try world.run(within: .seconds(5)) { answered != nil }
        #expect(try #require(answered) < .start + .milliseconds(402))
        #expect(bob.accepted.map(\.remotePeer) == [alice.peer])
        #expect(bob.accepted.map(\.nature.direction) == [.inbound])
    }

    @Test("a name is looked up, and the address that answers is found among several")
    func names() throws {
        let world = World(seed: 10)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        world.names.add("bob.example", IPAddress(192, 0, 2, 99))
        world.names.add("bob.example", bob.host.address)
        bob.start()
        var isDone = false
        alice.start { alice in
            let deadline = alice.environment.loop.now + .seconds(10)
            let address = try Multiaddr(parsing: "/dns/bob.example/udp/4001/quic-v1")
            let connection = try await alice.transport.dial(address, expecting: bob.peer, deadline: deadline)
            #expect(try await connection.ask([1]) == [1])
            let nobody = try Multiaddr(parsing: "/dns4/nobody.example/udp/4001/quic-v1")
            do throws(TransportError) {
                _ = try await alice.transport.dial(nobody, expecting: nil, deadline: deadline)
                Issue.record("a name without an address was dialled")
            } catch { #expect(error == .name(.notFound)) }
            isDone = true
        }
        try world.run(within: .seconds(20)) { isDone }
    }

    @Test("a megabyte goes both ways unharmed over a line that loses, reorders and duplicates")
    func lossyMegabyte() throws {
        let world = World(seed: 2)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        alice.host.line = LinkConditions(latency: .milliseconds(10), jitter: .milliseconds(8), loss: 0.02)
        alice.host.line.reordering = 0.05
        alice.host.line.duplication = 0.01
        bob.start()
        let message = pattern(1 << 20)
        var answer: [UInt8]?
        alice.start { answer = try await $0.dial(bob).ask(Bytes(message)) }
        try world.run(within: .seconds(120)) { answer != nil }
        #expect(answer == message)
        #expect(world.statistics.dropped[.loss] > 20)
    }

    @Test("a thousand streams, more than may be open at once, are all answered")
    func manyStreams() throws {
        let world = World(seed: 3)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        var answered = 0
        alice.start { alice in
            let connection = try await alice.dial(bob)
            for number in 0..<1000 {
                alice.environment.loop.spawn {
                    do {
                        let stream = try await connection.openStream(by: alice.environment.loop.now + .seconds(60))
                        let message = Bytes(utf8: "number \(number)")
                        try await stream.write(message)
                        stream.closeWrite()
                        let answer = try await stream.read(exactly: message.count)
                        #expect(answer == message)
                        #expect(try await stream.read() == nil)
                        answered += 1
                    } catch { Issue.record(error) }
                }
            }
        }
        try world.run(within: .seconds(60)) { answered == 1000 }
        try world.run(for: .seconds(1))
        #expect(bob.accepted[0].statistics.openStreams == 0)
        #expect(bob.accepted[0].statistics.streamsAccepted == 1000)
    }

    @Test("many streams that each read little, but do read, never keep the connection's window to themselves")
    func smallReaders() throws {
        let world = World(seed: 11)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        let count = 100
        // Less than a stream's own step, and together more than the connection's window.
        let size = bob.limits.streamWindow.lowerBound / 5
        #expect(count * size > bob.limits.connectionWindow.lowerBound)
        var answered = 0
        alice.start { alice in
            let connection = try await alice.dial(bob)
            for _ in 0..<count {
                let stream = try connection.openStream()
                alice.environment.loop.spawn {
                    do {
                        let piece = Bytes(pattern(size / 8))
                        for _ in 0..<8 {
                            try await stream.write(piece)
                            let answer = try await stream.read(exactly: piece.count)
                            #expect(answer == piece)
                        }
                        answered += 1
                        // It stays open.
                        _ = try? await stream.read()
                    } catch { Issue.record(error) }
                }
            }
        }
        try world.run(within: .seconds(10)) { answered == count }
        #expect(bob.accepted[0].statistics.openStreams == count)
    }

    @Test("a bulk stream does not starve a small one, and a reader that does not read stops only its own stream")
    func fairness() throws {
        let world = World(seed: 4)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        alice.host.line = LinkConditions(latency: .milliseconds(10), rate: 10_000_000)
        bob.start()
        var took: Duration?
        alice.start { alice in
            let connection = try await alice.dial(bob)
            // Bob's answers to it are never read.
            let bulk = try connection.openStream()
            alice.environment.loop.spawn {
                while (try? await bulk.write(Bytes(pattern(64 << 10)))) != nil {}
            }
            try await alice.environment.loop.sleep(for: .seconds(2))
            let start = alice.environment.loop.now
            #expect(try await connection.ask([42]) == [42])
            took = alice.environment.loop.now - start
        }
        try world.run(within: .seconds(60)) { took != nil }
        #expect(try #require(took) < .milliseconds(500))
    }

    @Test("codes of reset and of refusal to read reach the other side, and the other direction goes on")
    func codes() throws {
        let world = World(seed: 5)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        var isDone = false
        alice.start { alice in
            let connection = try await alice.dial(bob)
            let first = try connection.openStream()
            try await first.write([1])
            #expect(try await first.read() == [1])
            first.reset(code: 99)
            // Bob's echo sees the reset, and breaks its own direction off.
            let second = try connection.openStream()
            try await second.write([2])
            #expect(try await second.read() == [2])
            second.closeRead(code: 98)
            try await second.write([3])
            try await alice.environment.loop.sleep(for: .seconds(1))
            // Bob could not answer, and broke off both directions; ngtcp2 does not say with what code.
            await #expect(throws: StreamError.stopped(code: 0)) {
                for _ in 0..<100 { try await second.write(Bytes(pattern(10_000))) }
            }
            isDone = true
        }
        try world.run(within: .seconds(30)) { isDone }
        try world.run(for: .seconds(1))
        #expect(bob.accepted[0].statistics.openStreams == 0)
    }

    @Test("a writer that was silent while the other side broke off the stream hears of it when it writes")
    func silentWriter() throws {
        let world = World(seed: 5)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        var isDone = false
        alice.start { alice in
            let connection = try await alice.dial(bob)
            // He has accepted once the handshake's last packet is with him.
            try await alice.environment.loop.sleep(for: .milliseconds(200))
            try #require(bob.accepted.first).onStream = { $0.reset(code: 5) }
            let stream = try connection.openStream()
            try await stream.write([1])
            try await alice.environment.loop.sleep(for: .seconds(1))
            #expect(connection.statistics.openStreams == 0)
            // Nobody would ever take what is queued now.
            await #expect(throws: StreamError.stopped(code: 0)) { try await stream.write([2]) }
            isDone = true
        }
        try world.run(within: .seconds(30)) { isDone }
    }

    @Test("a close with a code reaches the other side behind what was written before it")
    func close() throws {
        let world = World(seed: 6)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        alice.host.line.latency = .milliseconds(20)
        bob.start()
        var ends: [ConnectionError] = []
        alice.start { alice in
            let connection = try await alice.dial(bob)
            connection.onClosed = { ends.append($0) }
            let stream = try connection.openStream()
            try await stream.write(Bytes(pattern(200_000)))
            connection.close(code: 17)
            await #expect(throws: StreamError.connection(.closed(code: 17))) {
                while try await stream.read() != nil {}
            }
        }
        try world.run(for: .seconds(10))
        #expect(ends == [.closed(code: 17)])
        #expect(bob.ends == [.closedByPeer(code: 17)])
        #expect(bob.accepted[0].statistics.bytesReceived == 200_000)
        #expect(bob.transport.statistics.connections == 0)
        #expect(bob.endpoint.sessions.isEmpty)
        #expect(alice.endpoint.sessions.isEmpty)
    }

    @Test("a silent connection is kept alive by the side that dialled, and ends when the other is gone")
    func idle() throws {
        let world = World(seed: 7)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        var ends: [ConnectionError] = []
        alice.start { alice in
            let connection = try await alice.dial(bob)
            connection.onClosed = { ends.append($0) }
        }
        try world.run(for: .seconds(300))
        #expect(ends.isEmpty)
        #expect(bob.ends.isEmpty)
        world.separate([alice.host], from: [bob.host])
        try world.run(for: .seconds(60))
        #expect(ends == [.idle])
        #expect(bob.ends == [.idle])
        #expect(alice.endpoint.sessions.isEmpty)
    }

    @Test("keys are changed in the middle of a transfer without harm")
    func keyUpdate() throws {
        let world = World(seed: 8)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        alice.host.line = LinkConditions(latency: .milliseconds(5), rate: 20_000_000)
        bob.start()
        let message = pattern(2 << 20)
        var answer: [UInt8]?
        var updates = 0
        alice.start { alice in
            let connection = try await alice.dial(bob)
            alice.environment.loop.spawn {
                for _ in 0..<5 {
                    try? await alice.environment.loop.sleep(for: .milliseconds(150))
                    if connection.session.updateKeys() { updates += 1 }
                }
            }
            answer = try await connection.ask(Bytes(message))
        }
        try world.run(within: .seconds(60)) { answer != nil }
        #expect(answer == message)
        #expect(updates >= 2)
    }

    @Test("twice the same world of fifty hosts over QUIC leaves the same trace")
    func repeats() throws {
        let count = Sanitizer.amount(50, reduced: 20)
        func trace() throws -> (TraceDigest, Int) {
            let world = World(seed: 9)
            let hosts = (0..<count).map { QUICHost(world, "h\($0)", IPAddress(10, 0, 0, UInt8($0 + 1))) }
            var answered = 0
            for (number, host) in hosts.enumerated() {
                host.host.line = LinkConditions(
                    latency: .milliseconds(10), jitter: .milliseconds(5), loss: 0.01)
                host.start { host in
                    for step in [1, 7, 19] {
                        let connection = try await host.dial(hosts[(number + step) % hosts.count])
                        #expect(try await connection.ask(Bytes(pattern(5000))).count == 5000)
                        answered += 1
                    }
                }
            }
            try world.run(for: .seconds(20))
            return (world.digest, answered)
        }
        let first = try trace()
        let second = try trace()
        #expect(first.1 == 3 * count)
        #expect(first == second)
    }

    @Test("a dial leaves by a port that reaches its target: not by one that is bound to loopback, unless it stays here")
    func portOfItsReach() throws {
        let world = World(seed: 17)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        var local: [SocketAddress] = []
        alice.start(listens: false) { alice in
            let own = Multiaddr.quic(SocketAddress(.loopbackV4, port: 4001))
            let loop = alice.environment.loop
            _ = try alice.transport.listen(on: own, Inbound(connected: { _ in }))
            for address in [own, bob.address, bob.address] {
                let connection = try await alice.transport.dial(
                    address, expecting: nil, deadline: loop.now + .seconds(5))
                let session = try #require(connection as? QUICConnection).session
                local.append(session.endpoint.port.socket.localAddress)
            }
        }
        try world.run(within: .seconds(20)) { local.count == 3 }
        #expect(local.map(\.ip) == [.loopbackV4, .anyV4, .anyV4])
        #expect(local[1].port == local[2].port)
    }

    @Test("a listener that is bound to a private address dials from its port, unless another is nearer to the target")
    func portOfTheListener() throws {
        let world = World(seed: 18)
        let inside = IPAddress(192, 168, 0, 2)
        let alice = QUICHost(world, "alice", inside)
        let bob = QUICHost(world, "bob", IPAddress(8, 8, 8, 8))
        let carol = QUICHost(world, "carol", IPAddress(192, 168, 0, 3))
        bob.start()
        carol.start()
        var local: [SocketAddress] = []
        alice.start(listens: false) { alice in
            let loop = alice.environment.loop
            func dial(_ other: QUICHost) async throws {
                let connection = try await alice.transport.dial(
                    other.address, expecting: nil, deadline: loop.now + .seconds(5))
                let session = try #require(connection as? QUICConnection).session
                local.append(session.endpoint.port.socket.localAddress)
            }
            _ = try alice.transport.listen(
                on: .quic(SocketAddress(inside, port: 4001)), Inbound(connected: { _ in }))
            try await dial(bob)
            try await dial(carol)
            _ = try alice.transport.listen(on: .quic(SocketAddress(.anyV4, port: 4002)), Inbound(connected: { _ in }))
            try await dial(bob)
        }
        try world.run(within: .seconds(20)) { local.count == 3 }
        #expect(local.map(\.port) == [4001, 4001, 4002])
    }
}
