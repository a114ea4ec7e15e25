import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletTLS
@testable import MartletTransport
import MartletWire
import TestSupport
import Testing

@Suite("QUIC in trouble")
struct QUICTroubleTests {
    @Test("another peer than the one that was dialled is refused before a stream is handed out")
    func wrongPeer() throws {
        let world = World(seed: 21)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let carol = QUICHost(world, "carol", IPAddress(192, 0, 2, 3))
        bob.start()
        var isDone = false
        alice.start { alice in
            let refusal = await alice.refusal(of: bob, expecting: carol.peer)
            #expect(refusal == .wrongPeer(expected: carol.peer, actual: bob.peer))
            isDone = true
        }
        try world.run(within: .seconds(5)) { isDone }
        try world.run(for: .seconds(1))
        #expect(bob.accepted.isEmpty)
        #expect(bob.failures.count == 1)
        #expect(bob.transport.statistics[.handshake] == 1)
        #expect(bob.transport.statistics.connections == 0)
    }

    @Test(
        "a dial fails if its connection has ended before the dialler's turn, and a late word of the end comes at once")
    func endsBeforeTheDiallersTurn() throws {
        let world = World(seed: 27)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        var ended: [Connection] = []
        var told: [ConnectionError] = []
        var refusal: TransportError?
        alice.start { alice in
            let endpoint = alice.endpoint
            endpoint.port.onBatchEnd {
                for session in endpoint.sessions.values {
                    if let connection = session.connection { ended.append(connection) }
                    if session.connection != nil { session.abandon(.network(.reset)) }
                }
            }
            refusal = await alice.refusal(of: bob)
            var isSetting = true
            ended.first?.onClosed = {
                #expect(!isSetting)
                told.append($0)
            }
            isSetting = false
        }
        try world.run(for: .seconds(5))
        #expect(refusal == .network(NetworkError(.reset, "connect")))
        #expect(told == [.network(.reset)])
    }

    @Test("an address that names another peer than the caller wants is refused before a packet is sent")
    func addressOfAnotherPeer() throws {
        let world = World(seed: 28)
        let recorder = Recorder()
        world.add(recorder)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let carol = QUICHost(world, "carol", IPAddress(192, 0, 2, 3))
        bob.start()
        var refusal: TransportError?
        alice.start { alice in
            do {
                _ = try await alice.transport.dial(
                    try bob.address.appending(.p2p(bob.peer)), expecting: carol.peer,
                    deadline: alice.environment.loop.now + .seconds(5))
            } catch {
                refusal = error as? TransportError
            }
        }
        try world.run(within: .seconds(6)) { refusal != nil }
        #expect(refusal == .wrongPeer(expected: carol.peer, actual: bob.peer))
        #expect(recorder.count(from: "alice") == 0)
    }

    @Test("a certificate in which another host's key was put is refused, by the dialer and by the listener")
    func forgedCertificate() throws {
        let world = World(seed: 22)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let mallory = QUICHost(world, "mallory", IPAddress(192, 0, 2, 3))
        mallory.forged = try forgery(by: mallory.key, of: bob.key.publicKey)
        bob.start()
        mallory.start { mallory in
            // Its own handshake is done before Bob has seen the certificate.
            let connection = try await mallory.dial(bob)
            let silence = await connection.silence(about: [1])
            #expect(silence != nil)
        }
        var isDone = false
        alice.start { alice in
            let refusal = await alice.refusal(of: mallory, expecting: bob.peer)
            #expect(refusal == .handshake("\(TLSError.certificate(.selfSignature))"))
            isDone = true
        }
        try world.run(within: .seconds(5)) { isDone }
        try world.run(for: .seconds(1))
        #expect(bob.accepted.isEmpty)
        #expect(bob.failures.count == 1)
        #expect(mallory.accepted.isEmpty)
    }

    /// A certificate of `key` with `victim`'s host key in its place.
    private func forgery(by key: PrivateKey, of victim: PublicKey) throws -> TLSCredentials {
        var generator = SeededGenerator(seed: 5)
        let own = PrivateKey.ed25519(using: &generator)
        let made = Certificate.make(
            hostKey: key, certificateKey: own, notBefore: 0, notAfter: 1 << 35, using: &generator)
        var der = Array(made.der)
        let wanted = Array(key.publicKey.data)
        let position = (0...der.count - wanted.count).first { der[$0..<$0 + wanted.count].elementsEqual(wanted) }!
        der.replaceSubrange(position..<position + wanted.count, with: Array(victim.data))
        return TLSCredentials(certificate: try Certificate(der: Bytes(der)), key: own)
    }

    @Test("with many handshakes open a dialer proves its address by Retry, and a stolen token proves nothing")
    func retry() throws {
        let world = World(seed: 23)
        let recorder = Recorder()
        world.add(recorder)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let mallory = world.host("mallory", IPAddress(192, 0, 2, 3))
        bob.limits.halfOpenBeforeRetry = 0
        bob.start()
        var isDone = false
        alice.start { alice in
            let connection = try await alice.dial(bob)
            #expect(try await connection.ask([1, 2, 3]) == [1, 2, 3])
            connection.close(code: 0)
            isDone = true
        }
        try world.run(within: .seconds(5)) { isDone }
        #expect(bob.transport.statistics[.addressNotProven] == 1)
        #expect(bob.transport.statistics.established == 1)
        // Until her packets are those of a stranger again.
        try world.run(within: .seconds(5)) { bob.endpoint.sessions.isEmpty }
        // The Initial that followed the Retry, sent from elsewhere: as it is, and under another id than the token's.
        let stolen = recorder.sent.filter { $0.host == "alice" && $0.packet.payload[0] & 0xF0 == 0xC0 }[1].packet
        mallory.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 9), options: UDPOptions())
            _ = socket.send(stolen.payload.span, to: bob.address.socketAddress!)
            var copy = Array(stolen.payload)
            copy[6] ^= 1
            _ = socket.send(Bytes(copy).span, to: bob.address.socketAddress!)
        }
        try world.run(for: .seconds(1))
        #expect(bob.transport.statistics[.token] == 1)
        #expect(bob.transport.statistics[.addressNotProven] == 2)
        #expect(bob.transport.statistics.halfOpen == 0)
    }

    @Test("an unknown version is answered with the versions, once, and only where it cannot amplify")
    func versionNegotiation() throws {
        let world = World(seed: 24)
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let alice = world.host("alice", IPAddress(192, 0, 2, 1))
        bob.start()
        var answers: [[UInt8]] = []
        alice.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 9), options: UDPOptions())
            socket.onDatagram = { answers.append(Array(Bytes(copying: $0.bytes))) }
            var packet: [UInt8] = [0xC0, 0x1A, 0x2A, 0x3A, 0x4A, 8] + [1, 2, 3, 4, 5, 6, 7, 8] + [2, 9, 9]
            packet += Array(repeating: 0, count: 1199 - packet.count)
            _ = socket.send(Bytes(packet).span, to: bob.address.socketAddress!)
            _ = socket.send(Bytes(packet + [0]).span, to: bob.address.socketAddress!)
        }
        try world.run(for: .seconds(1))
        #expect(answers.count == 1)
        let answer = try #require(answers.first)
        #expect(answer[0] & 0x80 != 0)
        #expect(Array(answer[1...]) == [0, 0, 0, 0, 2, 9, 9, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1])
    }

    @Test("a dialer that is told of other versions alone gives up at once")
    func onlyOtherVersions() throws {
        let world = World(seed: 25)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.host.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: QUICHost.port), options: UDPOptions())
            socket.onDatagram = { datagram in
                let packet = Array(Bytes(copying: datagram.bytes))
                let destination = packet[6..<6 + Int(packet[5])]
                let source = packet[(7 + destination.count)...].prefix(Int(packet[6 + destination.count]))
                let answer =
                    [0xC0, 0, 0, 0, 0, UInt8(source.count)] + source + [UInt8(destination.count)] + destination
                _ = socket.send(Bytes(answer + [0xFF, 0, 0, 0x1D]).span, to: datagram.source)
            }
            try await environment.loop.sleep(until: .never)
        }
        var isDone = false
        alice.start { alice in
            let refusal = await alice.refusal(of: bob)
            #expect(refusal != nil)
            isDone = true
        }
        try world.run(within: .seconds(1)) { isDone }
    }

    @Test("a server that has restarted ends its old connections by stateless reset, and is dialled anew")
    func statelessReset() throws {
        let world = World(seed: 26)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        var ends: [ConnectionError] = []
        var isConnected = false
        var again = false
        alice.start { alice in
            let connection = try await alice.dial(bob)
            connection.onClosed = { ends.append($0) }
            _ = try await connection.ask([1])
            isConnected = true
            try await alice.environment.loop.sleep(for: .seconds(2))
            // What it said in the meantime, or this, was answered by a reset.
            _ = try? await connection.ask([2])
            #expect(try await alice.dial(bob).ask([3]) == [3])
            again = true
        }
        try world.run(within: .seconds(5)) { isConnected }
        bob.host.kill()
        bob.host.restart()
        try world.run(within: .seconds(5)) { again }
        #expect(ends == [.network(.reset)])
        #expect(bob.transport.statistics.resetsSent >= 1)
    }

    @Test("a dialer that moves to another address keeps its connection")
    func moving() throws {
        let world = World(seed: 27)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        var step = 0
        alice.start { alice in
            let connection = try await alice.dial(bob)
            #expect(try await connection.ask([1]) == [1])
            step = 1
            try await alice.environment.loop.sleep(for: .seconds(3))
            #expect(try await connection.ask([2]) == [2])
            #expect(connection.localAddress == .quic(SocketAddress(IPAddress(198, 51, 100, 7), port: QUICHost.port)))
            step = 2
        }
        try world.run(within: .seconds(5)) { step == 1 }
        try world.run(for: .seconds(1))
        alice.host.move(to: world.internet, as: IPAddress(198, 51, 100, 7))
        try world.run(within: .seconds(10)) { step == 2 }
        try world.run(for: .seconds(1))
        #expect(bob.accepted.count == 1)
        #expect(bob.accepted[0].remoteAddress.ipAddress == IPAddress(198, 51, 100, 7))
    }

    @Test("a NAT that gives a connection another port does not end it")
    func rebinding() throws {
        let world = World(seed: 28)
        let home = world.network("home", behind: .nat(.portRestrictedCone), IPAddress(203, 0, 113, 1))
        let alice = QUICHost(world, "alice", IPAddress(192, 168, 0, 2), in: home)
        let carol = world.host("carol", IPAddress(192, 168, 0, 3), in: home)
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.start()
        var step = 0
        alice.start { alice in
            let connection = try await alice.dial(bob)
            #expect(try await connection.ask([1]) == [1])
            step = 1
            try await alice.environment.loop.sleep(for: .seconds(3))
            #expect(try await connection.ask(Bytes(pattern(100_000))).count == 100_000)
            step = 2
        }
        try world.run(within: .seconds(5)) { step == 1 }
        // What is still on its way to Alice's first port.
        try world.run(for: .seconds(1))
        let before = bob.accepted[0].remoteAddress
        home.gateway?.restart()
        // Carol takes the outer port that Alice had.
        carol.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: QUICHost.port), options: UDPOptions())
            _ = socket.send(Bytes([7, 7]).span, to: bob.address.socketAddress!)
        }
        try world.run(within: .seconds(20)) { step == 2 }
        #expect(bob.accepted.count == 1)
        #expect(bob.accepted[0].remoteAddress.ipAddress == IPAddress(203, 0, 113, 1))
        #expect(bob.accepted[0].remoteAddress != before)
    }

    @Test("a thousand handshakes begun from one address, as by anyone who writes it on packets, keep nobody out")
    func flood() throws {
        let count = Sanitizer.amount(2000, reduced: 500)
        let world = World(seed: 29)
        let recorder = Recorder()
        world.add(recorder)
        let mallory = QUICHost(world, "mallory", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 3))
        // Mallory never hears an answer, so that every handshake stays half open.
        world.separate([bob.host], from: [mallory.host], oneWay: true)
        bob.start()
        mallory.start { mallory in
            for _ in 0..<count {
                mallory.environment.loop.spawn { _ = try? await mallory.dial(bob) }
            }
        }
        var answered = false
        alice.start { alice in
            try await alice.environment.loop.sleep(for: .seconds(1))
            answered = try await alice.dial(bob).ask([1]) == [1]
        }
        try world.run(within: .seconds(5)) { answered }
        let statistics = bob.transport.statistics
        #expect(statistics.halfOpen == bob.limits.halfOpenPerAddressBeforeRetry)
        #expect(statistics[.addressNotProven] > count - 100)
        #expect(statistics[.halfOpenPerAddress] == 0)
        // One small Retry for each packet, and three times what came in at most for the few that were begun.
        let ofBob = recorder.sent.filter { $0.host == "bob" && $0.packet.destination.ip == mallory.host.address }
        #expect(ofBob.count <= recorder.count(from: "mallory") + bob.limits.halfOpenPerAddressBeforeRetry * 8)
        #expect(ofBob.reduce(0) { $0 + $1.packet.payload.count } < recorder.count(from: "mallory") * 400)
        try world.run(for: .seconds(60))
        #expect(bob.transport.statistics.halfOpen == 0)
        #expect(bob.endpoint.sessions.count == 1)
    }

    @Test("garbage, and real packets that were changed, cost an answer at most and harm nobody")
    func garbage() throws {
        let world = World(seed: 30)
        let recorder = Recorder()
        world.add(recorder)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let mallory = world.host("mallory", IPAddress(192, 0, 2, 3))
        bob.start()
        var connection: QUICConnection?
        alice.start { alice in
            connection = try await alice.dial(bob)
            #expect(try await connection!.ask(Bytes(pattern(20_000))).count == 20_000)
        }
        try world.run(for: .seconds(2))
        let real = recorder.sent.filter { $0.host == "alice" }.map { Array($0.packet.payload) }
        let before = recorder.count(from: "bob")
        var sent = 0
        mallory.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 9), options: UDPOptions())
            var generator = SeededGenerator(seed: 30)
            for round in 0..<4000 {
                var packet: [UInt8]
                if round % 2 == 0 {
                    packet = (0..<Int(generator.next() % 1500)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
                } else {
                    packet = real[Int(generator.next() % UInt64(real.count))]
                    for _ in 0..<1 + generator.next() % 4 {
                        packet[Int(generator.next() % UInt64(packet.count))] ^= UInt8(
                            truncatingIfNeeded: generator.next())
                    }
                    if round % 8 == 1 { packet.removeLast(Int(generator.next() % UInt64(packet.count))) }
                }
                _ = socket.send(Bytes(packet).span, to: bob.address.socketAddress!)
                sent += 1
                if round % 100 == 0 { try await environment.loop.sleep(for: .milliseconds(10)) }
            }
        }
        try world.run(for: .seconds(15))
        #expect(sent == 4000)
        #expect(recorder.count(from: "bob") - before < sent + 100)
        var answered = false
        alice.host.start { _ in answered = try await connection!.ask([1]) == [1] }
        try world.run(within: .seconds(5)) { answered }
        #expect(bob.ends.isEmpty)
    }
}
