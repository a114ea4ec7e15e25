import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Big worlds", .serialized)
struct BigWorldTests {
    private func address(_ number: Int) -> IPAddress {
        IPAddress(10, UInt8(number >> 16), UInt8(number >> 8 & 255), UInt8(number & 255))
    }

    @Test("ten thousand hosts pass datagrams on at random, and each packet is accounted for")
    func gossip() throws {
        let count = Tier.size(500, 10_000)
        let world = World(seed: 1)
        let before = residentBytes()
        for number in 0..<count { _ = world.host("host\(number)", address(number)) }
        let idle = (residentBytes() - before) / count
        world.addCheckers()
        let payload = pattern(200)
        for (number, host) in world.hosts.enumerated() {
            host.line = LinkConditions(latency: .milliseconds(20), loss: number % 10 == 0 ? 0.001 : 0)
            host.start { environment in
                let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 7), options: UDPOptions())
                var random = environment.random
                func next() -> SocketAddress {
                    SocketAddress(self.address(Int(random.next() % UInt64(count))), port: 7)
                }
                socket.onDatagram = { _ = socket.send($0.bytes, to: next()) }
                _ = socket.send(payload.span, to: next())
                try await environment.loop.sleep(until: .never)
            }
        }
        let time = try ContinuousClock().measure { try world.run(for: .seconds(Tier.size(2, 30))) }
        let rate = Double(world.statistics.delivered) / (time / .seconds(1))
        print("\(count) hosts, \(world.now) s: \(world.statistics.delivered) packets delivered, \(Int(rate)) a second;")
        print("an idle host takes \(idle) bytes, digest \(world.digest)")
        #expect(world.statistics.delivered > count * 10)
        #expect(world.statistics.dropped.total == world.statistics.dropped[.loss])
        if Tier.current != .test { #expect(idle <= 4096) }
    }

    /// So many bytes that differ.
    private func pattern(_ count: Int) -> Bytes { Bytes((0..<count).map { UInt8(truncatingIfNeeded: $0) }) }
}
