import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletWire
import NodeWorlds
import Testing

@testable import Martlet

@Suite("Connections of use in a simulated world")
struct LeaseWorldTests {
    /// A host that wants two neighbours, and keeps the streams of its protocol `/wait/1.0.0` open. Returns it, and the
    /// configuration of others that begin with it.
    private func addNarrowHost(to play: NodeWorld) -> (others: NodeConfiguration, host: NodeWorld.Member) {
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        configuration.targetConnections = 2
        let host = play.add(configuration) { node, _ in
            await node.handle("/wait/1.0.0") { stream in _ = try? await stream.read() }
        }
        configuration.bootstrap = [.multiaddr(host.address)]
        configuration.targetConnections = 32
        return (configuration, host)
    }

    @Test("a peer on no topic that uses a protocol of the user's stays, and goes when it has not used it for long")
    func use() throws {
        let play = NodeWorld(seed: 281)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        let host = play.add(configuration) { node, _ in
            await node.handle("/echo/1.0.0") { stream in
                while let bytes = try? await stream.read() { try? await stream.write(bytes) }
                stream.closeWrite()
            }
        }
        configuration.topics = ["music"]
        configuration.bootstrap = [.multiaddr(host.address)]
        var answers = 0
        let guest = play.add(configuration, after: .seconds(1)) { node, member in
            guard let loop = member.host.environment?.loop else { return }
            try await loop.sleep(for: .seconds(2))
            for _ in 0..<12 {
                let stream = try await node.open("/echo/1.0.0", to: host.id)
                try await stream.write(Bytes(utf8: "here?"))
                stream.closeWrite()
                if try await stream.read(exactly: 5) == Bytes(utf8: "here?") { answers += 1 }
                try await loop.sleep(for: .seconds(20))
            }
        }
        try play.world.run(within: .seconds(300)) { answers == 12 || guest.failure != nil }
        #expect(answers == 12 && guest.connections == 1, "\(String(describing: guest.failure))")
        try play.world.run(for: .seconds(300))
        #expect(host.connected == [guest.id], "it may come again")
        try play.world.run(within: .seconds(400)) { host.connected.isEmpty && guest.connected.isEmpty }
    }

    @Test("a connection in use is not cut when there are more neighbours than the high mark")
    func inUse() throws {
        let play = NodeWorld(seed: 282)
        let (others, host) = addNarrowHost(to: play)
        var configuration = others
        configuration.targetConnections = 2
        var isOpen = false
        let user = play.add(configuration, after: .seconds(1)) { node, member in
            try await member.host.environment?.loop.sleep(for: .seconds(2))
            let stream = try await node.open("/wait/1.0.0", to: host.id)
            try await stream.write(Bytes(utf8: "."))
            isOpen = true
            _ = try? await stream.read()
        }
        try play.world.run(within: .seconds(10)) { isOpen }
        for number in 0..<16 { play.add(others, after: .milliseconds(10 * number)) }
        try play.world.run(within: .seconds(20)) { host.mostConnected > 8 }
        try play.world.run(for: .seconds(60))
        let lost = host.events.filter { if case .disconnected(_, "this side let it go") = $0 { true } else { false } }
        #expect(lost.count > 5)
        let wasCut = host.events.contains { if case .disconnected(user.id, _) = $0 { true } else { false } }
        #expect(host.connected.contains(user.id) && !wasCut)
    }

    @Test("peers that keep a stream of theirs open yield all the same when there are too many")
    func idleStreams() throws {
        let play = NodeWorld(seed: 283)
        let (configuration, host) = addNarrowHost(to: play)
        var open = 0
        for number in 0..<12 {
            play.add(configuration, after: .milliseconds(500 + 10 * number)) { node, member in
                try await member.host.environment?.loop.sleep(for: .seconds(1))
                let stream = try await node.open("/wait/1.0.0", to: host.id)
                try await stream.write(Bytes(utf8: "."))
                open += 1
                _ = try? await stream.read()
            }
        }
        try play.world.run(within: .seconds(30)) { open > 8 }
        try play.world.run(within: .seconds(120)) { host.connected.count <= 4 }
    }
}
