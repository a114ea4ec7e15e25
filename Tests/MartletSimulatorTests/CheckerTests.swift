import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Checkers")
struct CheckerTests {
    private let packet = Packet(
        source: SocketAddress(IPAddress(192, 0, 2, 1), port: 1), destination: SocketAddress(.loopbackV4, port: 2),
        transport: .udp, payload: Bytes([1]))

    @Test("a packet from nowhere, and one that vanished, are found")
    func conservation() {
        let world = World(seed: 1)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        let checker = PacketConservation(of: world)
        #expect(checker.verdict(on: world) == nil)
        checker.delivered(packet, to: host)
        #expect(checker.verdict(on: world) != nil)
        checker.sent(packet, by: host)
        #expect(checker.verdict(on: world) == nil)
        checker.duplicated(packet)
        #expect(checker.verdict(on: world) != nil)
        checker.dropped(packet, because: .loss)
        #expect(checker.verdict(on: world) == nil)
    }

    /// What the checker says of a stream to which `written` was written and from which `read` was read.
    private func verdict(_ written: [[UInt8]], _ read: [[UInt8]], ends: Bool = true) -> String? {
        let world = World(seed: 1)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        let checker = StreamIntegrity()
        for bytes in written { checker.wrote(Bytes(bytes), to: 5, by: host) }
        for bytes in read { bytes.withUnsafeBytes { checker.read($0, from: 5, by: host) } }
        if ends { checker.readEnd(of: 5, by: host) }
        return checker.verdict(on: world)
    }

    @Test("bytes that changed, were never written, or are missing at the end, are found")
    func integrity() {
        #expect(verdict([[1, 2], [3, 4, 5]], [[1], [2, 3, 4], [5]]) == nil)
        #expect(verdict([], []) == nil)
        #expect(verdict([[1, 2, 3]], [[1, 2]], ends: false) == nil)
        #expect(verdict([[1, 2, 3]], [[1, 2]])?.contains("after 2 bytes") == true)
        #expect(verdict([[1, 2, 3]], [[1, 2, 4]])?.contains("other bytes") == true)
        #expect(verdict([[1, 2, 3]], [[1, 2, 3, 4]])?.contains("nobody wrote") == true)
        #expect(verdict([], [[1]])?.contains("nobody wrote") == true)
    }

    @Test("a packet from a host that is off fails the world")
    func silence() throws {
        let world = World(seed: 1)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        let checker = SilenceOfTheDead()
        world.add(checker)
        host.kill()
        try world.run(for: .seconds(1))
        checker.sent(packet, by: host)
        #expect(throws: WorldFailure.self) { try world.run(for: .seconds(1)) }
    }

    @Test("checkers see a busy world's streams")
    func busy() throws {
        let world = World(seed: 1)
        let (one, two) = pair(world, LinkConditions(latency: .milliseconds(10), jitter: .milliseconds(10), loss: 0.2))
        let checker = StreamIntegrity()
        world.add(checker)
        serve(one, echo)
        two.start { environment in
            let stream = try await environment.connect(one)
            stream.write(pattern(100_000))
            stream.finish()
            let conversation = StreamConversation(stream)
            while try await conversation.receive() != nil {}
        }
        try world.run(for: .seconds(100))
        #expect(checker.checked == 200_000)
    }
}
