import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletTransport
import MartletWire
import Testing

@Suite("What QUIC's strangers are told")
struct QUICStrangersTests {
    /// Sends each of `packets` to `bob` from one port of `host`.
    private func send(_ packets: [Bytes], to bob: QUICHost, from host: Host) {
        host.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 9), options: UDPOptions())
            for packet in packets { _ = socket.send(packet.span, to: bob.address.socketAddress!) }
            try await environment.loop.sleep(until: .never)
        }
    }

    private func isRetry(_ packet: Packet) -> Bool { packet.payload[0] & 0xF0 == 0xF0 }

    @Test("a token of another server counts as none, whatever it looks like: it is not held against the dialer")
    func foreignTokens() throws {
        let world = World(seed: 60)
        let recorder = Recorder()
        world.add(recorder)
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.limits.halfOpenBeforeRetry = 0
        bob.start()
        // The first bytes and the sizes that tokens of ngtcp2 have, of both kinds of Retry and of NEW_TOKEN.
        let shapes: [(first: UInt8, size: Int)] = [(0xB6, 62), (0xB7, 90), (0xB7, 60), (0x36, 41), (0xB6, 1)]
        let packets = shapes.enumerated().map { number, shape in
            firstPacket(number: UInt16(number), token: [shape.first] + Array(repeating: 9, count: shape.size - 1))
        }
        send(packets, to: bob, from: world.host("stranger", IPAddress(192, 0, 2, 3)))
        try world.run(for: .seconds(1))
        #expect(bob.transport.statistics[.token] == 0)
        #expect(bob.transport.statistics[.addressNotProven] == packets.count)
        let answers = recorder.sent.filter { $0.host == "bob" }
        #expect(answers.count == packets.count && answers.allSatisfy { isRetry($0.packet) })
    }

    @Test("one who has proven its address and is refused is told so at once, and one who has not hears nothing")
    func refusals() throws {
        let world = World(seed: 61)
        let recorder = Recorder()
        world.add(recorder)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        let carol = QUICHost(world, "carol", IPAddress(192, 0, 2, 3))
        bob.admit = { address, isProven in
            address.ipAddress == carol.host.address || isProven ? .refused : .proveAddress
        }
        bob.start()
        var waited: Duration?
        alice.start { alice in
            let start = alice.environment.loop.now
            let refusal = await alice.refusal(of: bob)
            #expect(refusal == .handshake("the other side gave up with error 0x2"))
            waited = alice.environment.loop.now - start
        }
        carol.start { carol in _ = try? await carol.dial(bob) }
        try world.run(for: .seconds(5))
        #expect(try #require(waited) < .seconds(1))
        #expect(bob.transport.statistics[.addressNotProven] == 1)
        #expect(bob.transport.statistics[.notAdmitted] > 1)
        #expect(!recorder.sent.contains { $0.host == "bob" && $0.packet.destination.ip == carol.host.address })
    }

    @Test("a dialer whose host has too many unfinished connections is told so, once its address is proven")
    func fullHost() throws {
        let world = World(seed: 62)
        let alice = QUICHost(world, "alice", IPAddress(192, 0, 2, 1))
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        bob.limits.halfOpenPerAddressBeforeRetry = 0
        bob.limits.halfOpenPerAddress = 0
        bob.start()
        var waited: Duration?
        alice.start { alice in
            let start = alice.environment.loop.now
            _ = await alice.refusal(of: bob)
            waited = alice.environment.loop.now - start
        }
        try world.run(for: .seconds(5))
        #expect(try #require(waited) < .seconds(1))
        #expect(bob.transport.statistics[.halfOpenPerAddress] == 1)
    }

    @Test("the second packet of a ClientHello whose first is answered by Retry takes no place by itself")
    func secondPacket() throws {
        let world = World(seed: 63)
        let bob = QUICHost(world, "bob", IPAddress(192, 0, 2, 2))
        var asked = 0
        var taken = 0
        bob.admit = { address, isProven in
            asked += 1
            guard asked > 1 else { return .proveAddress }
            taken += 1
            return .admitted(Admission(of: address, isProven: isProven) { taken -= 1 })
        }
        bob.start()
        let packet = firstPacket(number: 1, token: [])
        send([packet, packet], to: bob, from: world.host("stranger", IPAddress(192, 0, 2, 3)))
        try world.run(for: .seconds(1))
        #expect(asked == 1 && taken == 0)
        #expect(bob.transport.statistics[.addressNotProven] == 2)
        #expect(bob.transport.statistics.halfOpen == 0)
    }
}
