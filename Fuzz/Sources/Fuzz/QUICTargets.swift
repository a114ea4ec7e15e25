import Martlet
import MartletSimulator

/// What comes to a UDP port that QUIC has.
let quicTargets: [FuzzTarget] = [
    FuzzTarget("Demultiplexer") { input in
        let kind = Demultiplexer.Kind(of: input.span)
        guard input.count >= 2 else { return expect(kind == .unknown, "a byte is of no protocol") }
        let isDictionary = input[0] == UInt8(ascii: "d") && (0x30...0x39).contains(input[1])
        expect((kind == .krpc) == isDictionary, "KRPC begins with a dictionary's first key")
        expect((kind == .quic) == (input[0] >= 64 && !isDictionary), "QUIC has one of the two high bits")
        expect((kind == .stun) == (input[0] < 4), "STUN begins with two zero bits and a class")
        expect((kind == .dtls) == (20...63).contains(input[0]), "DTLS begins with a content type")
    },

    FuzzTarget("QUICDatagrams") { input in
        // The input is datagrams behind their lengths, each behind a byte that says whose it is: see `QUICPlay.send`.
        var reader = Reader(input.span)
        while !reader.isAtEnd {
            let origin = try reader.byte()
            let size = min(Int(try reader.integer(UInt16.self)), reader.remaining)
            QUICPlay.shared.send(Bytes(copying: try reader.span(size)), from: origin)
        }
        QUICPlay.shared.check()
    },
]

/// A world in which Alice is connected with Bob, and others send to both. It lives as long as the fuzzer.
///
/// It is `@unchecked Sendable` because libFuzzer runs one input at a time.
private final class QUICPlay: WorldWatcher, @unchecked Sendable {
    static let shared = QUICPlay()

    let name = "play"
    private let world = World(seed: 1)
    private let alice: Host
    private let bob: Host
    private var transports: [QUICTransport] = []
    private var connection: Connection?
    private var sockets: [UDPSocket] = []
    /// The last packets of Alice and of Bob.
    private var last: [IPAddress: Packet] = [:]
    private var inputs = 0
    private var answers = 0

    private init() {
        alice = world.host("alice", IPAddress(192, 0, 2, 1))
        bob = world.host("bob", IPAddress(192, 0, 2, 2))
        world.add(self)
        bob.start { [self] in try open($0) }
        alice.start { [self] in try open($0) }
        for number in 0..<4 {
            world.host("mallory\(number)", IPAddress(192, 0, 2, UInt8(10 + number))).start {
                [self] environment in
                sockets.append(
                    try environment.bindUDP(SocketAddress(.anyV4, port: 4001), options: UDPOptions()))
                try await environment.loop.sleep(until: .never)
            }
        }
        run(.milliseconds(100))
        connect()
    }

    private func open(_ environment: SimulatedEnvironment) throws {
        var random = environment.random
        var limits = QUICLimits()
        limits.halfOpen = 16
        limits.halfOpenBeforeRetry = 8
        limits.handshakeTimeout = .seconds(1)
        let transport = QUICTransport(
            environment: environment, hostKey: .ed25519(using: &random), certificateKey: .ed25519, limits: limits)
        transports.append(transport)
        _ = try transport.listen(
            on: try Multiaddr(parsing: "/ip4/0.0.0.0/udp/4001/quic-v1"),
            Inbound { connection in
                connection.onStream = { stream in
                    connection.loop.spawn {
                        while let bytes = try? await stream.read() { try? await stream.write(bytes) }
                        stream.closeWrite()
                    }
                }
            })
    }

    private func connect() {
        alice.start { [self] environment in
            connection = try await transports[1].dial(
                try Multiaddr(parsing: "/ip4/192.0.2.2/udp/4001/quic-v1"), expecting: nil,
                deadline: environment.loop.now + .seconds(5))
        }
        run(.seconds(1))
        expect(connection != nil, "two who mean well are connected")
    }

    func sent(_ packet: Packet, by host: Host) {
        if host === alice || host === bob { last[host.address] = packet }
    }

    /// Sends `bytes`: from one of four strangers by the two low bits, to Bob, or to Alice where bit 2 is set. Bit 3 puts
    /// them over the last packet that the target got from its peer, bit 4 makes it as long as a first packet.
    func send(_ bytes: Bytes, from origin: UInt8) {
        let (target, peer) = origin & 4 == 0 ? (bob, alice) : (alice, bob)
        var packet = Array(bytes)
        if origin & 8 != 0, let real = last[peer.address] {
            var mixed = Array(real.payload)
            for (index, byte) in packet.prefix(mixed.count).enumerated() { mixed[index] ^= byte }
            packet = mixed
        }
        if origin & 16 != 0, packet.count < 1200 { packet += Array(repeating: 0, count: 1200 - packet.count) }
        guard packet.count <= 1400 else { return }
        let socket = sockets[Int(origin & 3)]
        world.at(world.now) { _ = socket.send(Bytes(packet).span, to: SocketAddress(target.address, port: 4001)) }
        run(.milliseconds(3))
    }

    /// What must hold after any input.
    func check() {
        inputs += 1
        run(.milliseconds(20))
        for transport in transports {
            expect(transport.statistics.halfOpen <= 16, "the unfinished are bounded")
            expect(transport.statistics.connections <= 18, "connections are bounded")
        }
        guard inputs % 64 == 0 else { return }
        expect(connection?.closeReason == nil, "strangers do not end a connection")
        let before = answers
        alice.start { [self] environment in
            guard let stream = try connection?.openStream() else { return }
            try await stream.write([7])
            stream.closeWrite()
            if try await stream.read() == [7], try await stream.read() == nil { answers += 1 }
        }
        run(.seconds(2))
        expect(answers == before + 1, "strangers do not keep an answer from coming")
    }

    private func run(_ duration: Duration) {
        do throws(WorldFailure) { try world.run(for: duration) } catch { preconditionFailure("\(error)") }
    }
}
