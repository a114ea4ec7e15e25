import Martlet
import MartletRuntime
import MartletSimulator
import NodeWorlds

/// First packets of QUIC with garbage in them, tokens included, from addresses that are not the sender's: each second from
/// a hundred that nobody has, and a few from the victim's.
struct SpoofedInitials: Attack {
    let name = "spoofed QUIC Initials"

    func strike(_ stranger: Stranger) async throws {
        let member = stranger.target()
        while true {
            for number in 0..<10 * stranger.strength {
                let source =
                    number == 0
                    ? stranger.victim
                    : IPAddress(61, UInt8(stranger.draw(below: 4)), UInt8(stranger.draw(below: 256)), UInt8(number + 1))
                stranger.environment.inject(
                    Packet(
                        source: SocketAddress(source, port: UInt16(1024 + stranger.draw(below: 60_000))),
                        destination: SocketAddress(member.host.address, port: NodeWorld.port), transport: .udp,
                        payload: initial(stranger, token: [0, 1, 40][stranger.draw(below: 3)])))
            }
            try await stranger.pause(.milliseconds(100))
        }
    }

    /// A datagram that is an Initial as far as can be seen without its keys (RFC 9000 §17.2.2).
    private func initial(_ stranger: Stranger, token: Int) -> Bytes {
        var writer = Writer(capacity: 1200)
        writer.bytes(Bytes([0xC3, 0, 0, 0, 1, 8]))
        writer.bytes(stranger.garbage(8))
        writer.byte(8)
        writer.bytes(stranger.garbage(8))
        writer.byte(UInt8(token))
        // Tokens of a Retry begin with this byte here (`NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY`).
        if token > 0 { writer.byte(0xB6) }
        if token > 1 { writer.bytes(stranger.garbage(token - 1)) }
        writer.integer(UInt16(0x4000 | (1200 - writer.count - 2)))
        writer.bytes(stranger.garbage(1200 - writer.count))
        return writer.finish()
    }
}

/// Datagrams that mean nothing, without end, at one node after the other.
struct DatagramFlood: Attack {
    let name = "flood of datagrams"

    func strike(_ stranger: Stranger) async throws {
        let member = stranger.target()
        let socket = try stranger.environment.bindUDP(SocketAddress(.anyV4, port: 0), options: UDPOptions())
        defer { socket.close() }
        let sizes = [1, 20, 100, 400, 1200]
        for round in 0..<100 {
            for number in 0..<20 * stranger.strength {
                let bytes = stranger.garbage(sizes[(round + number) % sizes.count])
                _ = socket.send(bytes.span, to: SocketAddress(member.host.address, port: NodeWorld.port))
            }
            try await stranger.pause(.milliseconds(100))
        }
    }
}
