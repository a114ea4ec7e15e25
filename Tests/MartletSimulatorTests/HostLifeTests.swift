import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("A host's life")
struct HostLifeTests {
    @Test("a paused host does nothing, and then what it would have done, but for what was cancelled")
    func pause() throws {
        let world = World(seed: 1)
        let (one, two) = pair(world)
        world.addCheckers()
        let probe = Probe(on: two)
        let sender = Probe(on: one)
        var ticks: [Instant] = []
        var cancelled = false
        two.start { environment in
            let loop = environment.loop
            let never = LoopTimer(on: loop) { cancelled = true }
            never.arm(at: .start + .milliseconds(2500))
            let early = LoopTimer(on: loop) { never.cancel() }
            early.arm(at: .start + .milliseconds(2400))
            while true {
                try await loop.sleep(for: .seconds(1))
                ticks.append(loop.now)
            }
        }
        try world.run(for: .milliseconds(1500))
        two.pause()
        sender.send("while paused", to: probe)
        try world.run(for: .seconds(3))
        #expect(ticks.count == 1 && probe.texts.isEmpty)
        #expect(world.packetsInFlight == 1)
        two.resume()
        try world.run(for: .seconds(2))
        #expect(probe.texts == ["while paused"])
        #expect(ticks.map { $0 - .start } == [.seconds(1), .seconds(4.5), .seconds(5.5), .seconds(6.5)])
        #expect(!cancelled, "a timer that another cancels in time does not fire because both are late")
    }

    @Test("a paused host keeps so many packets, and the rest is lost")
    func pausedQueue() throws {
        let world = World(seed: 1)
        let (one, two) = pair(world)
        world.addCheckers()
        let (sender, probe) = (Probe(on: one), Probe(on: two))
        try world.run(for: .zero)
        two.pause()
        sender.burst(1100, size: 4, to: probe)
        try world.run(for: .seconds(1))
        two.resume()
        try world.run(for: .seconds(1))
        #expect(probe.numbers == Array(0..<1024))
        #expect(world.statistics.dropped[.queueFull] == 76)
    }

    @Test("a killed host's code ends, its sockets are gone, and packets to it are lost")
    func kill() throws {
        let world = World(seed: 1)
        let (one, two) = pair(world)
        world.addCheckers()
        let (sender, probe) = (Probe(on: one), Probe(on: two))
        var ended: [String] = []
        two.start { environment in
            environment.loop.spawn {
                try? await environment.loop.sleep(until: .never)
                ended.append("conversation")
            }
            defer { ended.append("program") }
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(1))
        sender.send("on its way", to: probe)
        two.kill()
        #expect(two.state == .down)
        try world.run(for: .seconds(1))
        #expect(ended.sorted() == ["conversation", "program"])
        #expect(world.statistics.dropped[.hostDown] == 1)
        let result = probe.socket.send(Bytes(utf8: "from the grave").span, to: SocketAddress(one.address, port: 4000))
        #expect(result == .dropped(.closed))
        try world.run(for: .seconds(1))
        #expect(sender.texts.isEmpty && probe.texts.isEmpty)
    }

    @Test("a restarted host runs its programs anew, with its disk as it was")
    func restart() throws {
        let world = World(seed: 1)
        let (one, _) = pair(world)
        world.addCheckers()
        var starts: [Int] = []
        one.start { environment in
            let before = try await environment.files.read("starts", maximum: 100)?.count ?? 0
            starts.append(before)
            try await environment.files.append(Bytes([1]), to: "starts")
            try await environment.loop.sleep(until: .never)
        }
        try world.run(for: .seconds(1))
        one.restart()
        try world.run(for: .seconds(1))
        one.kill()
        try world.run(for: .seconds(1))
        one.restart()
        try world.run(for: .seconds(1))
        #expect(starts == [0, 1, 2])
    }

    @Test("a host that moves has its new address alone, and is told")
    func move() throws {
        let world = World(seed: 1)
        let (one, two) = pair(world)
        world.addCheckers()
        let home = world.network("home", behind: .nat(.portRestrictedCone), IPAddress(198, 51, 100, 1))
        let (probe, server) = (Probe(on: one), Probe(on: two))
        server.echoes = true
        var seen: [[IPAddress]] = []
        one.start { environment in
            let watch = try environment.watchInterfaces {
                seen.append(((try? environment.interfaces()) ?? []).filter { !$0.isLoopback }.map(\.address))
            }
            try await environment.loop.sleep(until: .never)
            _ = watch
        }
        try world.run(for: .zero)
        probe.send("before", to: server)
        try world.run(for: .seconds(1))
        server.send("on its way", to: probe)
        let old = one.address
        one.move(to: home, as: IPAddress(10, 0, 0, 2))
        probe.send("after", to: server)
        try world.run(for: .seconds(1))
        #expect(seen == [[IPAddress(10, 0, 0, 2)]])
        #expect(server.received.map(\.source.ip) == [old, IPAddress(198, 51, 100, 1)])
        #expect(probe.texts == ["before", "after"], "what was on its way to the old address is lost")
        #expect(world.statistics.dropped[.noRoute] == 1)
    }

    @Test("a paused host is told of a move when it goes on")
    func moveWhilePaused() throws {
        let world = World(seed: 1)
        let (one, _) = pair(world)
        var changes = 0
        one.start { environment in
            let watch = try environment.watchInterfaces { changes += 1 }
            try await environment.loop.sleep(until: .never)
            _ = watch
        }
        try world.run(for: .zero)
        one.pause()
        one.move(to: world.internet, as: IPAddress(192, 0, 2, 99))
        try world.run(for: .seconds(1))
        #expect(changes == 0)
        one.resume()
        try world.run(for: .seconds(1))
        #expect(changes == 1)
    }

    @Test("a host with addresses in two networks sends from each into its own")
    func multihomed() throws {
        let world = World(seed: 1)
        let home = world.network("home", behind: .nat(.fullCone), IPAddress(198, 51, 100, 1))
        let host = world.host("both", IPAddress(192, 0, 2, 1))
        host.attach(to: home, as: IPAddress(10, 0, 0, 2))
        let wide = Probe(on: host, port: 4000, at: IPAddress(192, 0, 2, 1))
        let inside = Probe(on: host, port: 4000, at: IPAddress(10, 0, 0, 2))
        let server = Probe(on: world.host("server", IPAddress(192, 0, 2, 2)))
        world.addCheckers()
        try world.run(for: .zero)
        wide.send("wide", to: server)
        inside.send("inside", to: server)
        try world.run(for: .seconds(1))
        let sources = Dictionary(uniqueKeysWithValues: server.received.map { ($0.text, $0.source.ip) })
        #expect(sources == ["wide": IPAddress(192, 0, 2, 1), "inside": IPAddress(198, 51, 100, 1)])
        host.detach(IPAddress(10, 0, 0, 2))
        inside.send("no more", to: server)
        wide.send("still", to: server)
        try world.run(for: .seconds(1))
        #expect(server.texts.contains("still") && !server.texts.contains("no more"))
    }

    @Test("an error that a host's code throws fails the world, with host, time, seed and replay")
    func failure() throws {
        struct Trouble: Error {}
        let world = World(seed: 77)
        let (one, _) = pair(world)
        one.start { environment in
            try await environment.loop.sleep(for: .seconds(2))
            throw Trouble()
        }
        do {
            try world.run(for: .seconds(5))
            Issue.record("it did not fail")
        } catch {
            #expect(error.time == .start + .seconds(2))
            #expect(error.reason == "one: Trouble()")
            #expect(error.description.contains("MARTLET_SEED=77 swift test --filter 'HostLifeTests.swift'"))
            #expect(error.description.contains("seed 77"))
        }
    }
}
