import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("TCP in bad weather")
struct TCPTroubleTests {
    /// A client that sends something every second and remembers what became of it.
    private final class Chatter {
        var answers = 0
        var failure: NetworkError.Reason?
        var failedAt: Instant?
        var stream: ByteStream?

        init(on host: Host, to server: Host, every pause: Duration = .seconds(1)) {
            host.start { [self] environment in
                let loop = environment.loop
                do {
                    stream = try await environment.connect(server)
                    let conversation = StreamConversation(stream!)
                    while true {
                        try await conversation.send(Bytes(utf8: "still there?"))
                        guard try await conversation.receive() != nil else { return }
                        answers += 1
                        try await loop.sleep(for: pause)
                    }
                } catch let error as NetworkError {
                    failure = error.reason
                    failedAt = loop.now
                } catch {}
            }
        }
    }

    private func world(_ line: LinkConditions = LinkConditions()) -> (World, Host, Host) {
        let world = World(seed: 1)
        let (one, two) = pair(world, line)
        world.addCheckers()
        return (world, one, two)
    }

    @Test("a connection outlives a partition of a minute, and what was written meanwhile arrives")
    func shortPartition() throws {
        let (world, one, two) = world()
        serve(one, echo)
        let chatter = Chatter(on: two, to: one)
        try world.run(for: .seconds(600))
        let before = chatter.answers
        // Long silences before it must not count against the connection.
        let partition = world.separate([one], from: [two])
        try world.run(for: .seconds(60))
        #expect(chatter.answers <= before + 1)
        world.heal(partition)
        try world.run(for: .seconds(20))
        #expect(chatter.answers > before + 5)
        #expect(chatter.failure == nil)
    }

    @Test("an idle connection survives its first lost segment however long it was idle")
    func lossAfterIdleness() throws {
        let (world, one, two) = world()
        serve(one, echo)
        let chatter = Chatter(on: two, to: one, every: .seconds(1000))
        try world.run(for: .seconds(999))
        two.line.loss = 1
        try world.run(for: .seconds(3))
        two.line.loss = 0
        try world.run(for: .seconds(5))
        #expect(chatter.failure == nil)
        #expect(chatter.answers == 2)
    }

    @Test("a connection is given up when nothing has come through for about two minutes")
    func longPartition() throws {
        let (world, one, two) = world()
        serve(one, echo)
        let chatter = Chatter(on: two, to: one)
        try world.run(for: .seconds(10))
        world.separate([one], from: [two])
        try world.run(for: .seconds(200))
        #expect(chatter.failure == .timedOut)
        let after = try #require(chatter.failedAt) - (.start + .seconds(10))
        #expect(after > .seconds(90) && after < .seconds(150))
    }

    @Test("a dial with no deadline is given up, too")
    func endlessDial() throws {
        let (world, one, two) = world()
        world.separate([one], from: [two])
        var failure: NetworkError.Reason?
        two.start { environment in
            do throws(NetworkError) {
                _ = try await environment.connectTCP(
                    SocketAddress(one.address, port: 7), from: nil, options: TCPOptions(), deadline: .never)
            } catch {
                failure = error.reason
            }
        }
        try world.run(for: .seconds(200))
        #expect(failure == .timedOut)
    }

    @Test(
        "a peer that was killed is noticed by keep-alive alone, and one that was restarted answers with a reset",
        arguments: [false, true])
    func silentPeer(_ restarts: Bool) throws {
        let (world, one, two) = world()
        serve(one, echo)
        var failure: NetworkError.Reason?
        var at: Instant?
        two.start { environment in
            let conversation = StreamConversation(try await environment.connect(one))
            do throws(NetworkError) {
                _ = try await conversation.receive()
            } catch {
                failure = error.reason
                at = environment.loop.now
            }
        }
        try world.run(for: .seconds(1))
        if restarts { one.restart() } else { one.kill() }
        try world.run(for: .seconds(59))
        #expect(failure == nil)
        try world.run(for: .seconds(200))
        #expect(failure == (restarts ? .reset : .timedOut))
        if restarts { #expect(try #require(at) < .start + .seconds(61)) }
    }

    @Test("a peer killed in the middle of a transfer and restarted resets the connection")
    func killDuringTransfer() throws {
        let (world, one, two) = world(LinkConditions(latency: .milliseconds(20), rate: 1_000_000))
        var received = 0
        serve(one) { stream, _ in
            let conversation = StreamConversation(stream)
            while let bytes = try await conversation.receive() { received += bytes.count }
        }
        var failure: NetworkError.Reason?
        two.start { environment in
            let conversation = StreamConversation(try await environment.connect(one))
            do throws(NetworkError) {
                while true { try await conversation.send(pattern(100_000)) }
            } catch {
                failure = error.reason
            }
        }
        try world.run(for: .seconds(2))
        #expect(received > 0 && failure == nil)
        one.kill()
        try world.run(for: .seconds(5))
        one.restart()
        try world.run(for: .seconds(30))
        #expect(failure == .reset)
    }

    @Test("a host that was restarted dials again from the same port, though the other side knows the old connection")
    func sameEndsAgain() throws {
        let (world, one, two) = world()
        var ends: [String] = []
        serve(one) { stream, _ in
            let conversation = StreamConversation(stream)
            do throws(NetworkError) {
                while let bytes = try await conversation.receive() { ends.append(bytes.utf8 ?? "?") }
                ends.append("end")
            } catch {
                ends.append("\(error.reason)")
            }
        }
        var starts = 0
        two.start { environment in
            starts += 1
            let stream = try await environment.connectTCP(
                SocketAddress(one.address, port: 7), from: SocketAddress(two.address, port: 4001),
                options: TCPOptions(), deadline: environment.loop.now + .seconds(10))
            stream.write(Bytes(utf8: "start \(starts)"))
            if starts == 2 { stream.finish() }
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(5))
        two.restart()
        try world.run(for: .seconds(15))
        #expect(ends == ["start 1", "\(NetworkError.Reason.reset)", "start 2", "end"])
    }

    @Test(
        "connections end well on both sides over a line that loses and doubles, and nothing is left of them",
        arguments: 1...5)
    func lossyEnds(_ seed: UInt64) throws {
        let world = World(seed: seed)
        var line = LinkConditions(latency: .milliseconds(10), jitter: .milliseconds(10), loss: 0.3)
        line.duplication = 0.2
        line.reordering = 0.2
        let (one, two) = pair(world, line)
        world.addCheckers()
        var served: [String] = []
        serve(one) { stream, _ in
            let conversation = StreamConversation(stream)
            do throws(NetworkError) {
                while let bytes = try await conversation.receive() { try await conversation.send(bytes) }
                stream.finish()
                served.append("end")
            } catch {
                served.append("\(error.reason)")
            }
            stream.close()
        }
        var done = 0
        two.start { environment in
            for _ in 0..<20 {
                let stream = try await environment.connect(one, within: .seconds(60))
                let conversation = StreamConversation(stream)
                try await conversation.send(pattern(3000))
                stream.finish()
                var count = 0
                while let bytes = try await conversation.receive() { count += bytes.count }
                stream.close()
                if count == 3000 { done += 1 }
            }
        }
        try world.run(for: .seconds(600))
        #expect(done == 20)
        #expect(served == Array(repeating: "end", count: 20))
        #expect(world.packetsInFlight == 0, "nobody says anything any more")
    }

    @Test("a paused host sends nothing again, and a stream goes on when it does")
    func pausedSender() throws {
        let (world, one, two) = world(LinkConditions(latency: .milliseconds(20), rate: 2_000_000))
        two.upLine.loss = 0.2
        var count = 0
        serve(one) { stream, _ in
            let conversation = StreamConversation(stream)
            while let bytes = try await conversation.receive() { count += bytes.count }
        }
        two.start { environment in
            let stream = try await environment.connect(one)
            stream.write(pattern(400_000))
            stream.finish()
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(1))
        two.pause()
        try world.run(for: .seconds(1))
        let sent = world.statistics.sent
        try world.run(for: .seconds(10))
        #expect(world.statistics.sent == sent)
        two.resume()
        try world.wait { count == 400_000 }
    }
}
