import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("TCP")
struct TCPTests {
    private func world(_ line: LinkConditions = LinkConditions()) -> (World, Host, Host) {
        let world = World(seed: 1)
        let (one, two) = pair(world, line)
        world.addCheckers()
        return (world, one, two)
    }

    @Test("after one side has ended, the other still speaks and is heard")
    func halfClose() throws {
        let (world, one, two) = world()
        serve(one) { stream, _ in
            let conversation = StreamConversation(stream)
            var count = 0
            while let bytes = try await conversation.receive() { count += bytes.count }
            try await conversation.send(Bytes(utf8: "\(count) came"))
            stream.close()
        }
        var answer = ""
        two.start { environment in
            let stream = try await environment.connect(one)
            let conversation = StreamConversation(stream)
            try await conversation.send(pattern(5000))
            stream.finish()
            while let bytes = try await conversation.receive() { answer += bytes.utf8 ?? "?" }
        }
        try world.wait { answer == "5000 came" }
    }

    @Test("a reset is seen by the other side as one, and what it had not read is still there to be read")
    func reset() throws {
        let (world, one, two) = world()
        serve(one) { stream, loop in
            let conversation = StreamConversation(stream)
            _ = try await conversation.receive()
            try await conversation.send(Bytes(utf8: "last words"))
            try await loop.sleep(for: .seconds(1))
            stream.reset()
        }
        var outcome: [String] = []
        two.start { environment in
            let stream = try await environment.connect(one)
            let conversation = StreamConversation(stream)
            try await conversation.send(Bytes(utf8: "hello"))
            try await environment.loop.sleep(for: .seconds(3))
            do throws(NetworkError) {
                while let bytes = try await conversation.receive() { outcome.append(bytes.utf8 ?? "?") }
            } catch {
                outcome.append("\(error.reason)")
            }
            do throws(NetworkError) {
                try await conversation.send(Bytes(utf8: "?"))
            } catch {
                outcome.append("\(error.reason)")
            }
        }
        try world.run(for: .seconds(5))
        #expect(outcome == ["last words", "\(NetworkError.Reason.reset)", "\(NetworkError.Reason.reset)"])
    }

    @Test("a dial is refused where nobody listens, times out where nobody is, and can be cancelled")
    func failedDials() throws {
        let (world, one, two) = world(LinkConditions(latency: .milliseconds(50)))
        var outcome: [String] = []
        var at: [Instant] = []
        two.start { environment in
            let loop = environment.loop
            for address in [one.address, IPAddress(192, 0, 2, 77)] {
                do throws(NetworkError) {
                    _ = try await environment.connectTCP(
                        SocketAddress(address, port: 9), from: nil, options: TCPOptions(),
                        deadline: loop.now + .seconds(10))
                } catch {
                    outcome.append("\(error.reason)")
                    at.append(loop.now)
                }
            }
            let dial = loop.spawn {
                do throws(NetworkError) {
                    _ = try await environment.connectTCP(
                        SocketAddress(IPAddress(192, 0, 2, 77), port: 9), from: nil, options: TCPOptions(),
                        deadline: .never)
                } catch {
                    outcome.append("\(error.reason)")
                }
            }
            try await loop.sleep(for: .seconds(1))
            dial.cancel()
        }
        try world.run(for: .seconds(20))
        #expect(outcome == [NetworkError.Reason.refused, .timedOut, .cancelled].map { "\($0)" })
        #expect(at == [.start + .milliseconds(200), .start + .milliseconds(10_200)])
    }

    @Test("a dial to a host that is off succeeds once it is on again, by its deadline")
    func dialAcrossRestart() throws {
        let (world, one, two) = world()
        serve(one, echo)
        try world.run(for: .seconds(1))
        one.kill()
        var connected: Instant?
        two.start { environment in
            let stream = try await environment.connect(one)
            connected = environment.loop.now
            stream.close()
        }
        try world.run(for: .seconds(5))
        #expect(connected == nil)
        one.restart()
        try world.wait(.seconds(11)) { connected != nil }
    }

    @Test("two that dial each other from the ports that both listen on get one connection")
    func simultaneousOpen() throws {
        let (world, one, two) = world(LinkConditions(latency: .milliseconds(50)))
        var heard: [String] = []
        var options = TCPOptions()
        options.reusesPort = true
        for (own, other) in [(one, two), (two, one)] {
            own.start { [options] environment in
                let listener = try environment.listenTCP(SocketAddress(own.address, port: 4001), options: options)
                listener.onConnection = { _ in heard.append("accepted") }
                let stream = try await environment.connectTCP(
                    SocketAddress(other.address, port: 4001), from: SocketAddress(own.address, port: 4001),
                    options: options, deadline: environment.loop.now + .seconds(5))
                let conversation = StreamConversation(stream)
                try await conversation.send(Bytes(utf8: "from \(own.name)"))
                heard.append(try await conversation.receive()?.utf8 ?? "?")
                stream.close()
                try await environment.loop.sleep(until: .never)
                listener.close()
            }
        }
        try world.run(for: .seconds(2))
        #expect(heard.sorted() == ["from one", "from two"])
    }

    @Test("one local port serves connections to several remotes where all say that it may, and else not")
    func sharedPort() throws {
        let (world, one, two) = world()
        let three = world.host("three", IPAddress(192, 0, 2, 3))
        serve(one, echo)
        serve(three, echo)
        var outcome: [String] = []
        two.start { environment in
            let local = SocketAddress(two.address, port: 4001)
            var shared = TCPOptions()
            shared.reusesPort = true
            let listener = try environment.listenTCP(local, options: shared)
            func dial(_ host: Host, _ options: TCPOptions) async -> ByteStream? {
                do {
                    let stream = try await environment.connectTCP(
                        SocketAddress(host.address, port: 7), from: local, options: options,
                        deadline: environment.loop.now + .seconds(5))
                    outcome.append("\(stream.localAddress!.port)")
                    return stream
                } catch {
                    outcome.append(error.reason.description)
                    return nil
                }
            }
            let first = await dial(one, shared)
            let second = await dial(three, shared)
            _ = await dial(one, shared)
            listener.close()
            _ = await dial(three, TCPOptions())
            first?.close()
            second?.close()
        }
        try world.run(for: .seconds(5))
        let inUse = NetworkError.Reason.addressInUse.description
        #expect(outcome == ["4001", "4001", inUse, inUse])
    }

    @Test("a writer waits at its high mark while the peer does not read, and goes on when it does")
    func backPressure() throws {
        let (world, one, two) = world()
        one.tcpReceiveBuffer = 100_000
        var mayRead = false
        serve(one) { stream, loop in
            while !mayRead { try await loop.sleep(for: .milliseconds(100)) }
            try await echo(stream, loop)
        }
        var written = 0
        var queued = 0
        var back = 0
        two.start { environment in
            let stream = try await environment.connect(one)
            let conversation = StreamConversation(stream)
            environment.loop.spawn {
                while let bytes = try? await conversation.receive() { back += bytes.count }
            }
            for _ in 0..<300 {
                try await conversation.send(pattern(10_000))
                written += 10_000
                queued = max(queued, stream.queued)
            }
            stream.finish()
        }
        try world.run(for: .seconds(60))
        // What is in the peer's buffer, and what may be queued before the writer waits.
        #expect(written <= 100_000 + (1 << 20))
        #expect(queued <= (1 << 20) + 10_000)
        mayRead = true
        try world.wait { back == 3_000_000 }
        #expect(written == 3_000_000)
    }

    @Test("a sender never has more on its way than the receiver has room for")
    func window() throws {
        final class Watch: WorldWatcher {
            let name = "window"
            var most = 0
            var bytes = 0
            func sent(_ packet: Packet, by host: Host) {
                bytes += packet.payload.count
                most = max(most, bytes)
            }
            func read(_ buffer: UnsafeRawBufferPointer, from stream: UInt64, by host: Host) { bytes -= buffer.count }
        }
        let (world, one, two) = world(LinkConditions(latency: .milliseconds(20)))
        let watch = Watch()
        world.add(watch)
        one.tcpReceiveBuffer = 50_000
        var count = 0
        serve(one) { stream, loop in
            let conversation = StreamConversation(stream)
            while let bytes = try await conversation.receive(upTo: 1000) {
                count += bytes.count
                try await loop.sleep(for: .milliseconds(1))
            }
        }
        two.start { environment in
            let stream = try await environment.connect(one)
            stream.write(pattern(300_000))
            stream.finish()
            try await environment.loop.sleep(until: .never)
        }
        try world.wait { count == 300_000 }
        #expect(watch.most <= 50_000)
        #expect(watch.most > 40_000)
    }

    @Test("a stream fills most of a line of a gigabit with twenty milliseconds each way")
    func bulk() throws {
        let world = World(seed: 1)
        var line = LinkConditions(latency: .milliseconds(10), rate: 1_000_000_000)
        line.queueBound = 16 << 20
        let (one, two) = pair(world, line)
        var count = 0
        var begun: Instant?
        serve(one) { stream, loop in
            let conversation = StreamConversation(stream)
            while let bytes = try await conversation.receive(upTo: 64 << 10) {
                if begun == nil { begun = loop.now }
                count += bytes.count
            }
        }
        let piece = pattern(1 << 20)
        two.start { environment in
            let conversation = StreamConversation(try await environment.connect(one))
            while true { try await conversation.send(piece) }
        }
        try world.run(for: .milliseconds(500))
        let bytes = count
        try world.run(for: .milliseconds(500))
        let share = Double(count - bytes) * 8 / 0.5e9
        #expect(share >= 0.85 && share <= 1, "\(share) of the line")
    }

    @Test("closing with bytes unread resets the connection; closing without ends it well")
    func closeUnread() throws {
        for unread in [true, false] {
            let (world, one, two) = world()
            serve(one) { stream, loop in
                if !unread { _ = try await StreamConversation(stream).receive() }
                try await loop.sleep(for: .seconds(1))
                stream.close()
            }
            var outcome = ""
            two.start { environment in
                let conversation = StreamConversation(try await environment.connect(one))
                try await conversation.send(Bytes(utf8: "hello"))
                do throws(NetworkError) {
                    outcome = try await conversation.receive() == nil ? "end" : "bytes"
                } catch {
                    outcome = "\(error.reason)"
                }
            }
            try world.run(for: .seconds(3))
            #expect(outcome == (unread ? "\(NetworkError.Reason.reset)" : "end"))
        }
    }

    @Test("a connection through two NATs carries bytes both ways, and loss there is told to its sender")
    func throughNAT() throws {
        let world = World(seed: 2)
        let carrier = world.network("carrier", behind: .nat(.symmetric), IPAddress(198, 51, 100, 1))
        let home = world.network(
            "home", behind: .nat(.portRestrictedCone), IPAddress(100, 64, 0, 1), of: carrier,
            line: LinkConditions(latency: .milliseconds(10), loss: 0.1))
        let inside = world.host("inside", IPAddress(10, 0, 0, 2), in: home)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        world.addCheckers()
        serve(server, echo)
        var back: [UInt8] = []
        var isEnded = false
        inside.start { environment in
            let stream = try await environment.connect(server)
            let conversation = StreamConversation(stream)
            try await conversation.send(pattern(50_000))
            stream.finish()
            while let bytes = try await conversation.receive() { back += Array(bytes) }
            isEnded = true
        }
        try world.wait { isEnded }
        #expect(back == Array(pattern(50_000)))
        #expect(world.statistics.dropped[.loss] > 5)
    }

    @Test("connections that wait for a taker are taken later, and end where the listener is closed")
    func backlog() throws {
        let (world, one, two) = world()
        var taken = 0
        one.start { environment in
            var options = TCPOptions()
            options.backlog = 2
            let listener = try environment.listenTCP(SocketAddress(.anyV4, port: 7), options: options)
            try await environment.loop.sleep(for: .seconds(2))
            listener.onConnection = { _ in taken += 1 }
            try await environment.loop.sleep(until: .never)
        }
        one.start { environment in
            let listener = try environment.listenTCP(SocketAddress(.anyV4, port: 8), options: TCPOptions())
            try await environment.loop.sleep(for: .seconds(1))
            listener.close()
        }
        var outcome: [String] = []
        two.start { environment in
            for _ in 0..<3 {
                try await environment.loop.sleep(for: .milliseconds(100))
                do throws(NetworkError) {
                    _ = try await environment.connect(one)
                    outcome.append("connected")
                } catch {
                    outcome.append("\(error.reason)")
                }
            }
            let conversation = StreamConversation(try await environment.connect(one, port: 8))
            do throws(NetworkError) {
                _ = try await conversation.receive()
            } catch {
                outcome.append("\(error.reason)")
            }
        }
        try world.run(for: .seconds(4))
        #expect(taken == 2)
        #expect(outcome == ["connected", "connected", "refused", "\(NetworkError.Reason.reset)"])
    }
}
