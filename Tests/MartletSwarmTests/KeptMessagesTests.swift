import Foundation
import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTLS
import MartletTransport
@testable import MartletWire
import TestSupport
import Testing

// Without this module GnuTLS draws other bytes in each run.
import CSeededRandom

@Suite("Messages that are kept", .serialized)
struct KeptMessagesTests {
    /// What this process has in memory, in bytes.
    private static func resident() throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        let pages = try #require(text.split(separator: " ").dropFirst().first.flatMap { Int($0) })
        return pages * 4096
    }

    @Test(
        "100,000 messages of 60 bytes that the application keeps hold no more memory than they need, however much came between",
        arguments: ["/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1"])
    func kept(_ address: String) throws {
        let place = try Multiaddr(parsing: address)
        let (count, between) = (Sanitizer.amount(100_000, reduced: 5000), 3000)
        let world = World(seed: 1)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        client.line.latency = .milliseconds(1)
        var kept: [Bytes] = []
        kept.reserveCapacity(count)
        func member(_ environment: SimulatedEnvironment, _ number: UInt8) -> Member {
            var transports = TransportConfiguration()
            transports.certificateKey = .ed25519
            return Member(environment, key(number), transports: transports)
        }
        server.start { environment in
            let member = member(environment, 1)
            member.swarm.handle("/keep") { stream, _ in
                environment.loop.spawn {
                    while let message = try? await stream.readMessage(upTo: 4096) {
                        if message.count == 60 { kept.append(message) }
                    }
                }
            }
            try member.swarm.listen(on: place)
            try await environment.loop.sleep(until: .never)
        }
        client.start { environment in
            let member = member(environment, 2)
            try await member.swarm.connect(to: peer(1), at: [place])
            let stream = try await member.swarm.openStream(to: peer(1), "/keep")
            let small = Bytes([UInt8](repeating: 1, count: 60))
            let large = Bytes([UInt8](repeating: 2, count: between))
            for _ in 0..<count {
                try await stream.writeMessage(small)
                try await stream.writeMessage(large)
            }
            stream.closeWrite()
            _ = try await stream.read()
        }
        let before = try Self.resident()
        try world.run(within: .seconds(600)) { kept.count == count }
        let grown = try Self.resident() - before
        var slabs: [ObjectIdentifier: Int] = [:]
        for message in kept {
            let slab = try #require(message.slab)
            slabs[ObjectIdentifier(slab)] = slab.size
        }
        let held = slabs.values.reduce(0, +)
        // The last one is not full.
        #expect(held <= count * 64 + (slabs.values.max() ?? 0), "\(held) bytes of slabs")
        // Had they held on to what they came in, it would be all 300 MB. Other tests run in the same process meanwhile.
        #expect(grown < 225_000_000, "\(grown) bytes more in memory")
    }
}
