import BenchmarkHarness
import Martlet
import MartletRuntime
import MartletSimulator

/// `MartletSimulator`: what a world costs.
var simulatorBenchmarks: [Benchmark] { [delivery] }

/// A datagram of 200 bytes from one of 10,000 hosts to another, over both lines. Half as many datagrams as there are
/// hosts go round for ever, each passed on at random to the next host. The world's thread is not the harness's, so its
/// allocations are not counted here.
private var delivery: Benchmark {
    let hosts = 10_000
    let latency = Duration.milliseconds(20)
    // Each of the datagrams is delivered once in the time of two lines.
    let packets = hosts / 2

    return Benchmark("simulator-udp-delivered", operations: packets) {
        let world = busyWorld(hosts: hosts, packets: packets, latency: latency)
        try world.run(for: .seconds(1))
        let before = world.statistics.delivered
        try world.run(for: latency * 2)
        precondition(world.statistics.delivered - before == packets, "an iteration delivers another number of packets")
        return { iterations in
            for _ in 0..<iterations { try world.run(for: latency * 2) }
        }
    }
}

private func busyWorld(hosts: Int, packets: Int, latency: Duration) -> World {
    func address(_ number: Int) -> IPAddress {
        IPAddress(10, UInt8(number >> 16), UInt8(number >> 8 & 255), UInt8(number & 255))
    }
    let world = World(seed: 1)
    let payload = Bytes([UInt8](repeating: 0xA5, count: 200))
    for number in 0..<hosts {
        let host = world.host("host\(number)", address(number))
        host.line.latency = latency
        host.start { environment in
            let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 7), options: UDPOptions())
            var random = SeededRandom(seed: UInt64(number))
            func pass(_ bytes: RawSpan) {
                // Never to itself, which would take less time.
                let next = (number + 1 + Int(random.next() % UInt64(hosts - 1))) % hosts
                _ = socket.send(bytes, to: SocketAddress(address(next), port: 7))
            }
            socket.onDatagram = { pass($0.bytes) }
            try await environment.loop.sleep(for: .milliseconds(1))
            if number < packets { pass(payload.span) }
            try await environment.loop.sleep(until: .never)
        }
    }
    return world
}
