import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Raw packets")
struct RawPacketTests {
    private func datagram(_ text: String, from source: SocketAddress, to destination: SocketAddress) -> Packet {
        Packet(source: source, destination: destination, transport: .udp, payload: Bytes(utf8: text))
    }

    @Test("a datagram with somebody else's source arrives as that one's, and the answer goes there")
    func spoofed() throws {
        let world = World(seed: 1)
        world.addCheckers()
        let (server, victim) = pair(world)
        let stranger = world.host("stranger", IPAddress(198, 51, 100, 1))
        let echo = Probe(on: server)
        echo.echoes = true
        let witness = Probe(on: victim)
        try world.run(for: .seconds(1))
        let source = SocketAddress(victim.address, port: 4000)
        world.inject(
            datagram("who goes there", from: source, to: SocketAddress(server.address, port: 4000)), at: stranger)
        try world.run(for: .seconds(1))
        #expect(echo.received.map(\.source) == [source])
        #expect(witness.texts == ["who goes there"])
        #expect(world.statistics.sent == 2 && world.statistics.delivered == 2)
    }

    @Test("what nobody has as an address can be a source, and the answer is lost")
    func nobody() throws {
        let world = World(seed: 2)
        world.addCheckers()
        let (server, stranger) = pair(world)
        let echo = Probe(on: server)
        echo.echoes = true
        try world.run(for: .seconds(1))
        let target = SocketAddress(server.address, port: 4000)
        for number in 0..<10 {
            let source = SocketAddress(IPAddress(203, 0, 113, UInt8(number)), port: 9)
            world.inject(datagram("\(number)", from: source, to: target), at: stranger)
        }
        try world.run(for: .seconds(1))
        #expect(echo.numbers == Array(0..<10))
        #expect(world.statistics.dropped[.noRoute] == 10)
    }

    @Test("a SYN with somebody else's source makes no connection: that one refuses the answer")
    func spoofedSYN() throws {
        let world = World(seed: 3)
        world.addCheckers()
        let (server, victim) = pair(world)
        let stranger = world.host("stranger", IPAddress(198, 51, 100, 1))
        var connections = 0
        serve(server) { stream, _ in
            connections += 1
            stream.close()
        }
        try world.run(for: .seconds(1))
        world.inject(
            Packet(
                source: SocketAddress(victim.address, port: 5000), destination: SocketAddress(server.address, port: 7),
                transport: .tcp(TCPHeader(flags: .syn, sequence: 77, window: 65_536)), payload: Bytes()),
            at: stranger)
        try world.run(for: .seconds(300))
        #expect(connections == 0)
        // The SYN, the answer to the one who seems to have sent it, and the refusal.
        #expect(world.statistics.delivered == 3)
        #expect(world.packetsInFlight == 0)
    }

    @Test("the line, the NAT and the state of the host hold for raw packets, too")
    func bounds() throws {
        let world = World(seed: 4)
        world.addCheckers()
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let home = world.network("home", behind: .nat(.portRestrictedCone), IPAddress(198, 51, 100, 7))
        let stranger = world.host("stranger", IPAddress(192, 168, 0, 2), in: home)
        let probe = Probe(on: server)
        try world.run(for: .seconds(1))
        let target = SocketAddress(server.address, port: 4000)
        let source = SocketAddress(IPAddress(203, 0, 113, 1), port: 9)
        world.inject(datagram("translated", from: source, to: target), at: stranger)
        world.inject(datagram(String(repeating: "x", count: 2000), from: source, to: target), at: stranger)
        try world.run(for: .seconds(1))
        #expect(probe.texts == ["translated"])
        #expect(probe.received.first?.source.ip == IPAddress(198, 51, 100, 7))
        #expect(world.statistics.dropped[.tooLarge] == 1)
        stranger.kill()
        world.inject(datagram("from beyond", from: source, to: target), at: stranger)
        try world.run(for: .seconds(1))
        #expect(probe.texts.count == 1)
        #expect(world.statistics.sent == 2)
    }
}
