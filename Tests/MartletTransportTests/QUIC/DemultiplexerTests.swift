import MartletRuntime
import MartletSimulator
import MartletTransport
import MartletWire
import Testing

@Suite("One UDP port for all")
struct DemultiplexerTests {
    @Test("every first byte leads to one protocol")
    func kinds() {
        for first in UInt8.min...UInt8.max {
            let kind = Demultiplexer.Kind(of: Bytes([first, 0x80]).span)
            switch first {
            case 0...3: #expect(kind == .stun)
            case 20...63: #expect(kind == .dtls)
            case 64...255: #expect(kind == .quic)
            default: #expect(kind == .unknown)
            }
        }
    }

    @Test("a d is KRPC before a digit and QUIC before a connection id of ours")
    func krpc() {
        for second in UInt8.min...UInt8.max {
            let kind = Demultiplexer.Kind(of: Bytes([UInt8(ascii: "d"), second]).span)
            #expect(kind == ((0x30...0x39).contains(second) ? .krpc : .quic))
        }
        #expect(Demultiplexer.Kind(of: Bytes().span) == .unknown)
        #expect(Demultiplexer.Kind(of: Bytes([0]).span) == .unknown)
    }

    @Test("protocols share a socket, and what nobody takes is counted")
    func sharing() throws {
        let world = World(seed: 1)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        var taken: [Demultiplexer.Kind] = []
        var port: Demultiplexer?
        server.start { environment in
            port = Demultiplexer(
                try environment.bindUDP(SocketAddress(.anyV4, port: 7), options: UDPOptions()))
            for kind in [Demultiplexer.Kind.stun, .krpc, .dtls] { port?.register(kind) { _ in taken.append(kind) } }
        }
        client.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 0), options: UDPOptions())
            for first: [UInt8] in [[0, 1], [0x64, 0x31], [22, 254], [0xC0, 0], [7, 7]] {
                _ = socket.send(Bytes(first).span, to: SocketAddress(IPAddress(192, 0, 2, 1), port: 7))
            }
        }
        try world.run(for: .seconds(1))
        #expect(taken == [.stun, .krpc, .dtls])
        #expect(port?.unclaimed == 2)
    }
}
