import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTLS
import MartletTransport
import MartletWire
import Testing

// Without this module GnuTLS draws other bytes in each run.
import CSeededRandom

/// Keeps the datagrams that hosts sent.
private final class Tap: WorldWatcher {
    let name = "tap"
    private(set) var payloads: [Bytes] = []
    func sent(_ packet: Packet, by host: Host) { payloads.append(packet.payload) }
}

@Suite("Who is let in")
struct AdmissionTests {
    private static let server = SocketAddress(IPAddress(192, 0, 2, 1), port: 4001)
    private static let quic = address("/ip4/192.0.2.1/udp/4001/quic-v1")

    private static func member(_ environment: SimulatedEnvironment, _ number: UInt8) -> Member {
        var transports = TransportConfiguration()
        transports.certificateKey = .ed25519
        return Member(environment, key(number), transports: transports)
    }

    /// A host that accepts over both transports.
    private func serve(in world: World, _ ready: @escaping (Member) -> Void) {
        world.host("server", Self.server.ip).start { environment in
            let member = Self.member(environment, 1)
            try member.swarm.listen(on: Self.quic)
            try member.swarm.listen(on: tcp(1))
            ready(member)
            try await environment.loop.sleep(until: .never)
        }
    }

    /// Sends each of `packets` to the server at once.
    private func send(_ packets: [Bytes], from host: Host, pause: Duration = .zero) {
        host.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 9), options: UDPOptions())
            for packet in packets {
                _ = socket.send(packet.span, to: Self.server)
                if pause > .zero { try await environment.loop.sleep(for: pause) }
            }
            try await environment.loop.sleep(until: .never)
        }
    }

    /// Over what `host` reaches the server at `time`, by `address` alone.
    private func reach(
        _ address: Multiaddr, from host: Host, as number: UInt8, at time: Duration,
        _ reached: @escaping (String) -> Void
    ) {
        host.start { environment in
            try await environment.loop.sleep(for: time)
            let member = Self.member(environment, number)
            let info = try await member.swarm.connect(to: peer(1), at: [address])
            reached(info.nature.transport)
            try await environment.loop.sleep(for: .seconds(1))
            member.swarm.shutDown()
            try await environment.loop.sleep(until: .never)
        }
    }

    /// First packets of QUIC as `count` dialers of the server send them.
    private func firstPackets(_ count: Int) throws -> [Bytes] {
        let world = World(seed: 70)
        let tap = Tap()
        world.add(tap)
        world.host("dialer", IPAddress(192, 0, 2, 9)).start { environment in
            let transport = QUICTransport(environment: environment, hostKey: key(9), certificateKey: .ed25519)
            for _ in 0..<count {
                environment.loop.spawn {
                    _ = try? await transport.dial(
                        Self.quic, expecting: nil, deadline: environment.loop.now + .milliseconds(50))
                }
            }
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .milliseconds(40))
        return tap.payloads
    }

    /// A first packet with a token that is none.
    private func forged(_ number: UInt16) -> Bytes {
        let id: [UInt8] = [0x90, 1, 2, 3, 4, 5, UInt8(number >> 8), UInt8(number & 0xFF)]
        let token: [UInt8] = [0xB6] + Array(repeating: 9, count: 60)
        let head = [0xC3, 0, 0, 0, 1, 8] + id + [0, UInt8(token.count)] + token
        let rest = 1200 - head.count - 2
        return Bytes(head + [0x40 | UInt8(rest >> 8), UInt8(rest & 0xFF)] + Array(repeating: 7, count: rest))
    }

    @Test("512 first packets with garbage for tokens, from 8 addresses, keep nobody out and hold no place")
    func garbageTokens() throws {
        let world = World(seed: 71)
        var server: Member?
        serve(in: world) { server = $0 }
        for number in 0..<8 as Range<UInt8> {
            let host = world.host("h\(number)", IPAddress(198, 51, 100, number + 1))
            send((0..<64).map { forged(UInt16(number) << 8 | $0) }, from: host)
        }
        var reached: [String] = []
        reach(Self.quic, from: world.host("a", IPAddress(203, 0, 113, 1)), as: 2, at: .seconds(1)) {
            reached.append($0)
        }
        reach(tcp(1), from: world.host("b", IPAddress(203, 0, 113, 2)), as: 3, at: .seconds(2)) { reached.append($0) }
        // From an address from which garbage came, too.
        reach(Self.quic, from: world.hosts[1], as: 4, at: .seconds(3)) { reached.append($0) }
        try world.run(for: .seconds(20))
        #expect(reached == ["quic-v1", "tcp", "quic-v1"])
        let member = try #require(server)
        #expect(member.swarm.pendingCount == 0)
        #expect(member.refused(.addressRate) == 0)
    }

    @Test("packets that bear somebody's address by the hundred do not lock it out, over QUIC or over TCP")
    func spoofed() throws {
        let packets = try firstPackets(400)
        #expect(packets.count == 400)
        let world = World(seed: 72)
        var server: Member?
        serve(in: world) { server = $0 }
        // What is sent from another port of the victim's host looks to the server as if anyone had written its address.
        let victim = world.host("victim", IPAddress(203, 0, 113, 1))
        send(packets, from: victim, pause: .milliseconds(10))
        var reached: [String] = []
        reach(Self.quic, from: victim, as: 2, at: .milliseconds(3500)) { reached.append($0) }
        reach(tcp(1), from: victim, as: 3, at: .milliseconds(3600)) { reached.append($0) }
        var pending = 0
        world.at(world.now + .milliseconds(3500)) { pending = server?.swarm.pendingCount ?? 0 }
        try world.run(for: .seconds(30))
        #expect(reached == ["quic-v1", "tcp"])
        let member = try #require(server)
        #expect(pending > 0 && pending <= 9)
        #expect(member.swarm.pendingCount == 0)
        #expect(member.refused(.addressRate) + member.refused(.pendingPerAddress) == 0)
    }
}
