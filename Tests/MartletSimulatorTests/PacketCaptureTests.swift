import Foundation
import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Packet captures")
struct PacketCaptureTests {
    /// A world of UDP and TCP over IPv4 and IPv6, with payloads of even and odd lengths.
    private func world() throws -> World {
        let world = World(seed: 1)
        let (one, two) = pair(world, LinkConditions(latency: .milliseconds(10), loss: 0.05))
        one.attach(to: world.internet, as: try IPAddress(parsing: "2001:db8::1"))
        two.attach(to: world.internet, as: try IPAddress(parsing: "2001:db8::2"))
        serve(one, echo)
        one.start { environment in
            let listener = try environment.listenTCP(SocketAddress(.anyV6, port: 7), options: TCPOptions())
            listener.onConnection = { stream in
                environment.loop.spawn { try? await echo(stream, environment.loop) }
            }
            try await environment.loop.sleep(until: .never)
        }
        two.start { environment in
            for address in ["192.0.2.1", "2001:db8::1"].compactMap({ IPAddress($0) }) {
                let stream = try await environment.connectTCP(
                    SocketAddress(address, port: 7), from: nil, options: TCPOptions(), deadline: .never)
                let conversation = StreamConversation(stream)
                try await conversation.send(pattern(20_001))
                stream.finish()
                while try await conversation.receive() != nil {}
                let socket = try environment.bindUDP(
                    SocketAddress(address.isV4 ? .anyV4 : .anyV6, port: 40_000), options: UDPOptions())
                for size in 0..<20 {
                    _ = socket.send(pattern(size).span, to: SocketAddress(address, port: 40_000), ecn: .capable0)
                }
            }
            _ = try? await environment.connectTCP(
                SocketAddress(IPAddress(192, 0, 2, 1), port: 9), from: nil, options: TCPOptions(), deadline: .never)
        }
        return world
    }

    /// What tshark prints for a capture. That it is missing is an error like any other.
    private func tshark(_ path: String, _ arguments: [String]) throws -> [String] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            ["tshark", "-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
            + ["-o", "udp.check_checksum:TRUE"] + arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.standardError
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "tshark, which `make setup` installs, failed")
        return text.split(separator: "\n").map(String.init)
    }

    @Test("tshark reads a capture: every packet, its protocol, its checksums, and nothing malformed")
    func reader() throws {
        let world = try world()
        let capture = PacketCapture()
        world.add(capture)
        try world.run(for: .seconds(60))
        let path = FileManager.default.temporaryDirectory.appending(
            path: "martlet-\(UInt64.random(in: 0...(.max))).pcap")
        defer { try? FileManager.default.removeItem(at: path) }
        try capture.write(to: path.path)
        #expect(capture.count == world.statistics.sent && capture.count > 60)

        let fields = [
            "ip.version", "ipv6.version", "udp.length", "tcp.len", "ip.checksum.status",
            "udp.checksum.status", "tcp.checksum.status", "frame.time_epoch",
        ]
        let lines = try tshark(path.path, ["-T", "fields", "-E", "separator=,"] + fields.flatMap { ["-e", $0] })
        let rows = lines.map { $0.split(separator: ",", omittingEmptySubsequences: false) }
        try #require(rows.count == capture.count && rows.allSatisfy { $0.count == fields.count })
        #expect(rows.count { $0[0] == "4" && !$0[2].isEmpty } == 20)
        #expect(rows.count { $0[1] == "6" && !$0[2].isEmpty } == 20)
        #expect(rows.count { $0[0] == "4" && !$0[3].isEmpty } > 20)
        #expect(rows.count { $0[1] == "6" && !$0[3].isEmpty } > 20)
        // 1 is "good"; IPv6 has no checksum of its own.
        #expect(rows.allSatisfy { ($0[4] == "1") == ($0[0] == "4") })
        #expect(rows.allSatisfy { [$0[5], $0[6]].filter { !$0.isEmpty } == ["1"] })
        let times = rows.compactMap { Double($0[7]) }
        #expect(times.count == rows.count && times == times.sorted() && (times.first ?? -1) < 1)
        // Expert information of the level "error" is what tshark takes to be broken.
        let broken = try tshark(path.path, ["-Y", "_ws.malformed || _ws.expert.severity == error"])
        #expect(broken == [])
        let resets = try tshark(path.path, ["-Y", "tcp.flags.reset == 1"])
        #expect(resets.count == 1, "a refused connection is the only one that is reset: \(resets)")

        // Both streams are reassembled whole.
        let bytes = try tshark(path.path, ["-q", "-z", "follow,tcp,raw,0"]).filter { line in
            line.allSatisfy { $0.isHexDigit || $0 == "\t" }
        }
        #expect(bytes.reduce(0) { $0 + $1.count { $0 != "\t" } / 2 } >= 20_001)
    }

    @Test("a capture of one host has what it sends and what it gets")
    func ofHost() throws {
        let world = try world()
        let (here, everywhere) = (PacketCapture(on: [world.hosts[0]]), PacketCapture(on: world.hosts))
        world.add(here)
        world.add(everywhere)
        try world.run(for: .seconds(60))
        #expect(everywhere.count == world.statistics.sent + world.statistics.delivered)
        #expect(here.count > 0 && here.count < everywhere.count)
        #expect(here.bytes.count >= 24 + here.count * 36)
    }

    @Test("a file that cannot be written is an error")
    func unwritable() {
        #expect(throws: FileError.self) { try PacketCapture().write(to: "/nowhere/at/all.pcap") }
    }
}
