import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletStore
import MartletWire
import Testing

@Suite("The peer store in a simulated world")
struct WorldTests {
    /// A host with a store that is fed, killed, restarted and fed again.
    private func life(seed: UInt64) throws -> (world: World, host: MartletSimulator.Host, known: [[Int]]) {
        let world = World(seed: seed)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        var known: [[Int]] = []
        host.start { environment in
            let store = try await PeerStore.open(environment)
            known.append([try await store.counts().peers])
            let first = known.count * 100
            for number in first..<first + 50 {
                store.record([
                    .addresses(peer(number), [address(number)], .dht), metadata(number, sequence: 1, name: "x"),
                    .connected(peer(number), address(number)),
                ])
            }
            try await store.flush()
            while true {
                store.record(.quality(peer(first), QualitySample(roundTrip: .milliseconds(5), packets: 1)))
                store.record(.forgotten(peer(first + Int(environment.loop.now.nanoseconds % 50))))
                try await environment.loop.sleep(for: .milliseconds(700))
                known[known.count - 1].append(try await store.counts().peers)
            }
        }
        try world.run(for: .seconds(20))
        host.kill()
        try world.run(for: .seconds(5))
        host.restart()
        try world.run(for: .seconds(20))
        return (world, host, known)
    }

    @Test("a store survives its host's restart, and loses no more than what came after the file was written last")
    func restart() throws {
        let (_, host, known) = try life(seed: 7)
        #expect(known.count == 2 && known[0][0] == 0)
        let before = known[0].dropFirst()
        #expect(before.contains(known[1][0]) && known[1][0] > 0, "\(known)")
        // Within the last five seconds and a bit.
        #expect(before.suffix(9).contains(known[1][0]))
        #expect(host.disk.files.keys.sorted() == ["peers.sqlite"])
    }

    @Test("the same seed makes the same store, to the byte")
    func deterministic() throws {
        let (one, two, other) = (try life(seed: 3), try life(seed: 3), try life(seed: 4))
        #expect(one.world.digest == two.world.digest)
        #expect(one.known == two.known)
        #expect(one.host.disk.files == two.host.disk.files)
        #expect(one.host.disk.files != other.host.disk.files)
    }

    @Test("a simulated disk that is full or fails is told, and what was recorded is written when it works again")
    func fullDisk() throws {
        for (seed, error) in [(1, FileError.full), (2, .system(5, "input/output error"))] as [(UInt64, FileError)] {
            let events = Events()
            let world = World(seed: seed)
            let host = world.host("one", IPAddress(192, 0, 2, 1))
            var counts: [Int] = []
            var isDone = false
            host.start { environment in
                let store = try await PeerStore.open(environment) { events.add($0) }
                store.record(.seen(peer(1)))
                try await store.flush()
                host.disk.writeFailure = error
                store.record(.seen(peer(2)))
                #expect(await failure { try await store.flush() } != nil)
                #expect(store.trouble != nil)
                try await environment.loop.sleep(for: .seconds(100))
                counts.append(try await store.counts().peers)
                host.disk.writeFailure = nil
                try await environment.loop.sleep(for: .seconds(40))
                #expect(store.trouble == nil)
                try await store.close()
                counts.append(try await store.reopened(environment).counts().peers)
                isDone = true
            }
            try world.run(within: .seconds(1000)) { isDone }
            #expect(counts == [2, 2])
            guard events.all.count == 2, case .failing = events.all[0] else {
                Issue.record("\(events.all)")
                return
            }
            #expect(events.all[1] == .recovered(lost: 0))
        }
    }

    @Test("a store that is opened on a failing disk goes on in memory, and tells what is lost when it is closed so")
    func openedOnFailingDisk() throws {
        let events = Events()
        let host = try inWorld {
            $0.disk.writeFailure = .notPermitted
            $0.disk.set("peers.sqlite", to: Bytes())
        } _: { environment in
            let store = try await PeerStore.open(environment) { events.add($0) }
            store.record(.seen(peer(1)))
            try await environment.loop.sleep(for: .seconds(1))
            #expect(try await store.counts().peers == 1)
            #expect(await failure { try await store.close() } != nil)
        }
        #expect(host.disk.files["peers.sqlite"] == Bytes())
        guard events.all.count == 2, case .failing(.disk) = events.all[0], case .lost(1, .disk) = events.all[1] else {
            Issue.record("\(events.all)")
            return
        }
    }
}
