import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletTLS
@testable import MartletTransport
import MartletWire
import TestSupport
import Testing

@Suite("Hostile QUIC peers")
struct QUICHostileTests {
    /// A host that Alice's peers are compared with: she asks Bob each second, and counts the answers.
    private func ask(_ bob: QUICHost, by alice: QUICHost, _ times: Int, _ answered: @escaping () -> Void) {
        alice.start { alice in
            let connection = try await alice.dial(bob)
            for _ in 0..<times {
                let start = alice.environment.loop.now
                let answer = try await connection.ask([1])
                #expect(answer == [1])
                #expect(alice.environment.loop.now - start < .seconds(1))
                answered()
                try await alice.environment.loop.sleep(for: .seconds(1))
            }
        }
    }

    /// First packets of `count` dialers, as they would send them to `bob`.
    private func firstPackets(_ count: Int, to bob: Multiaddr) throws -> [Bytes] {
        let world = World(seed: 50)
        let recorder = Recorder()
        world.add(recorder)
        let dialer = QUICHost(world, "dialer", IPAddress(192, 0, 2, 1))
        dialer.start(listens: false) { dialer in
            for _ in 0..<count {
                dialer.environment.loop.spawn {
                    _ = try? await dialer.transport.dial(
                        bob, expecting: nil, deadline: dialer.environment.loop.now + .milliseconds(100))
                }
            }
        }
        try world.run(for: .milliseconds(50))
        return recorder.sent.map(\.packet.payload)
    }

    @Test("dialers by the hundred who say no more must prove their addresses, get little, and leave nothing behind")
    func floodFromEverywhere() throws {
        let world = World(seed: 51)
        let recorder = Recorder()
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 3))
        let budget = ResourceScope(limit: 1 << 30)
        bob.memory = budget
        bob.start()
        let packets = try firstPackets(400, to: bob.address)
        #expect(packets.count == 400)
        for (number, packet) in packets.enumerated() {
            let host = world.host("h\(number)", IPAddress(10, 0, UInt8(number >> 7), UInt8(number & 127)))
            host.start { environment in
                let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 9), options: UDPOptions())
                _ = socket.send(packet.span, to: bob.address.socketAddress!)
                try await environment.loop.sleep(until: .never)
            }
        }
        world.add(recorder)
        var answers = 0
        ask(bob, by: alice, 20) { answers += 1 }
        try world.run(for: .seconds(3))
        let statistics = bob.transport.statistics
        #expect(statistics.halfOpen == bob.limits.halfOpenBeforeRetry)
        #expect(statistics[.addressNotProven] >= 400 - bob.limits.halfOpenBeforeRetry)
        #expect(budget.peak < (bob.limits.halfOpenBeforeRetry + 2) * 96 << 10)
        try world.run(for: .seconds(20))
        // The anti-amplification limit of RFC 9000 §8.1, for each of them.
        var balance: [IPAddress: Int] = [:]
        for (packet, host) in recorder.sent {
            if host == "bob" { balance[packet.destination.ip, default: 0] -= packet.payload.count }
            if host.hasPrefix("h") { balance[packet.source.ip, default: 0] += 3 * packet.payload.count }
        }
        balance[alice.host.address] = nil
        #expect(balance.count == 400)
        #expect(balance.values.allSatisfy { $0 >= 0 })
        #expect(answers == 20)
        #expect(bob.transport.statistics.halfOpen == 0)
        #expect(bob.transport.statistics[.handshake] == bob.limits.halfOpenBeforeRetry)
        #expect(bob.endpoint.sessions.count == 1)
    }

    @Test("a place is given back on every way out: nonsense, a Retry, silence, the end of the port, a connection")
    func places() throws {
        let world = World(seed: 55)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let packets = try firstPackets(40, to: bob.address)
        var taken = 0
        var proofs: [Bool] = []
        bob.admit = { address, isProven in
            taken += 1
            proofs.append(isProven)
            return .admitted(Admission(of: address, isProven: isProven) { taken -= 1 })
        }
        bob.start()
        let mallory = world.host("mallory", IPAddress(192, 0, 2, 3))
        var socket: UDPSocket?
        mallory.start { environment in
            socket = try environment.bindUDP(SocketAddress(.anyV4, port: 9), options: UDPOptions())
            for number in 0..<20 as Range<UInt16> {
                let packet = firstPacket(number: number, token: [0xB7] + Array(repeating: 9, count: 89))
                _ = socket?.send(packet.span, to: bob.address.socketAddress!)
            }
            try await environment.loop.sleep(for: .seconds(1))
            for packet in packets[..<20] { _ = socket?.send(packet.span, to: bob.address.socketAddress!) }
            try await environment.loop.sleep(until: .never)
        }
        alice.start { alice in
            _ = try await alice.dial(bob).ask([1])
            // The next must prove its address.
            try await alice.environment.loop.sleep(for: .seconds(1))
        }
        try world.run(for: .milliseconds(900))
        #expect(bob.transport.statistics[.handshake] == 20)
        #expect(bob.accepted.count == 1)
        #expect(taken == 0 && proofs == Array(repeating: false, count: 21))
        try world.run(for: .seconds(1))
        #expect(taken == bob.limits.halfOpenPerAddressBeforeRetry)
        #expect(bob.transport.statistics[.addressNotProven] == 20 - bob.limits.halfOpenPerAddressBeforeRetry)
        try world.run(for: .seconds(20))
        #expect(taken == 0)
        #expect(bob.failures.count == 20 + bob.limits.halfOpenPerAddressBeforeRetry)
        world.at(world.now) {
            for packet in packets[20..<24] { _ = socket?.send(packet.span, to: bob.address.socketAddress!) }
        }
        try world.run(for: .seconds(1))
        #expect(taken == 4)
        bob.host.start { _ in bob.transport.close() }
        try world.run(for: .seconds(1))
        #expect(taken == 0)
    }

    @Test("streams that are reset do not pile up behind one that may send nothing, for a peer that grants no credit")
    func deadStreams() throws {
        let count = Sanitizer.amount(2000, reduced: 600)
        let world = World(seed: 56)
        let mallory = QUICHost(world, "mallory", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let budget = ResourceScope(limit: 64 << 20)
        bob.memory = budget
        bob.start()
        mallory.limits.connectionWindow = 0...0
        let piece = Bytes(pattern(16 << 10))
        var opened = 0
        var kept: Stream?
        var held: [Stream] = []
        mallory.start { mallory in
            let connection = try await mallory.dial(bob)
            kept = try connection.openStream()
            try await kept?.write(piece)
            let loop = mallory.environment.loop
            while opened < count {
                let stream = try await connection.openStream(by: loop.now + .seconds(5))
                try await stream.write(piece)
                opened += 1
                held.append(stream)
                guard held.count == 50 else { continue }
                // Bob has the time to answer, which cannot leave him, before they are reset.
                try await loop.sleep(for: .milliseconds(300))
                held = []
            }
        }
        try world.run(for: .seconds(60))
        #expect(opened == count)
        let connection = try #require(bob.accepted.first as? QUICConnection)
        #expect(connection.closeReason == nil && connection.statistics.streamsAccepted == count + 1)
        #expect(connection.statistics.openStreams <= bob.limits.streams)
        #expect(connection.queueLength <= 2 * bob.limits.streams)
        #expect(budget.used < 16 << 20)
    }

    @Test("a certificate that is whole, but in which the named host did not sign the key, is refused on both sides")
    func forgedIdentity() throws {
        let world = World(seed: 52)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let mallory = QUICHost(world, "mallory", IPAddress(192, 0, 2, 3))
        mallory.forged = try forgery(by: mallory.key, of: bob.key.publicKey)
        bob.start()
        mallory.start { mallory in _ = try await mallory.dial(bob) }
        var refusal: TransportError?
        alice.start { refusal = await $0.refusal(of: mallory, expecting: bob.peer) }
        try world.run(within: .seconds(5)) { refusal != nil }
        try world.run(for: .seconds(1))
        let reason = "\(TLSError.certificate(.hostSignature))"
        #expect(refusal == .handshake(reason))
        #expect(bob.failures == [.handshake(reason)])
        #expect(bob.transport.statistics[.handshake] == 1)
        #expect(bob.accepted.isEmpty && mallory.accepted.isEmpty)
    }

    /// A certificate of `key` with `victim`'s host key in its place, signed anew by the certificate's own key.
    private func forgery(by key: PrivateKey, of victim: PublicKey) throws -> TLSCredentials {
        var generator = SeededGenerator(seed: 5)
        let own = PrivateKey.ed25519(using: &generator)
        let made = Certificate.make(
            hostKey: key, certificateKey: own, notBefore: 0, notAfter: 1 << 35, using: &generator)
        var der = Array(made.der)
        let wanted = Array(key.publicKey.data)
        let position = (0...der.count - wanted.count).first { der[$0..<$0 + wanted.count].elementsEqual(wanted) }!
        der.replaceSubrange(position..<position + wanted.count, with: Array(victim.data))
        // SEQUENCE { what is signed: SEQUENCE, algorithm, BIT STRING }, both lengths in two bytes.
        #expect(der[1] == 0x82 && der[4] == 0x30 && der[5] == 0x82)
        let signed = Bytes(Array(der[4..<8 + Int(der[6]) << 8 + Int(der[7])]))
        let signature = own.sign(signed)
        der.replaceSubrange(der.count - signature.count..<der.count, with: Array(signature))
        return TLSCredentials(certificate: try Certificate(der: Bytes(der)), key: own)
    }

    @Test("one who opens streams without end and grants no window has as many as are allowed, and bounded memory")
    func streamsWithoutWindow() throws {
        let world = World(seed: 53)
        let mallory = QUICHost(world, "mallory", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 3))
        let budget = ResourceScope(limit: 1 << 20)
        bob.memory = budget
        bob.start()
        // Mallory grants next to nothing, so that Bob's answers stay with him.
        mallory.limits.streamWindow = 1...1
        mallory.limits.connectionWindow = 1...1
        mallory.host.line.rate = 10_000_000
        let piece = Bytes(pattern(64 << 10))
        var opened = 0
        mallory.start { mallory in
            let connection = try await mallory.dial(bob)
            while true {
                let loop = mallory.environment.loop
                let stream: Stream
                do throws(ConnectionError) {
                    stream = try await connection.openStream(by: loop.now + .seconds(1))
                } catch {
                    guard error == .timedOut else { return }
                    continue
                }
                opened += 1
                loop.spawn { while (try? await stream.write(piece)) != nil {} }
            }
        }
        var answers = 0
        ask(bob, by: alice, 8) { answers += 1 }
        try world.run(for: .seconds(10))
        #expect(answers == 8)
        #expect(opened >= bob.limits.streams)
        #expect(bob.accepted.allSatisfy { $0.statistics.openStreams <= bob.limits.streams })
        #expect(budget.peak > budget.limit)
        // What is over the edge: of each stream what may be queued then and a last write of Bob's, who writes what he
        // reads, in pieces of 16 KiB at most; and what was on its way.
        let queued = bob.limits.streams * (StreamLink.unreadWhenExhausted + 16 << 10)
        #expect(budget.peak < budget.limit + queued + bob.limits.connectionWindow.lowerBound)
    }

    @Test("pings without end are answered at most one by one, and keep nobody waiting")
    func pings() throws {
        let world = World(seed: 54)
        let recorder = Recorder()
        world.add(recorder)
        let mallory = QUICHost(world, "mallory", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 3))
        let budget = ResourceScope(limit: 1 << 30)
        bob.memory = budget
        bob.start()
        mallory.limits.keepAlive = .milliseconds(1)
        mallory.start { mallory in _ = try await mallory.dial(bob) }
        var answers = 0
        ask(bob, by: alice, 10) { answers += 1 }
        try world.run(for: .seconds(2))
        let before = budget.used
        try world.run(for: .seconds(10))
        #expect(answers == 10)
        let pings = recorder.count(from: "mallory")
        #expect(pings > 2000)
        #expect(recorder.count(from: "bob") < pings + 200)
        #expect(budget.used < before + 16 << 10)
        #expect(bob.ends.isEmpty)
    }
}
