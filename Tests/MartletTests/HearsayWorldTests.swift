import Martlet
import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletWire
import NodeWorlds
import TestSupport
import Testing

/// Where the packets of one host go.
private final class Destinations: WorldWatcher {
    let name = "destinations"
    private let sender: Int
    private(set) var seen: [SocketAddress: Int] = [:]

    init(of member: NodeWorld.Member) { sender = member.host.number }

    func sent(_ packet: Packet, by host: Host) {
        if host.number == sender { seen[packet.destination, default: 0] += 1 }
    }
}

@Suite("Nodes that are lied to")
struct HearsayWorldTests {
    private static func key(_ number: Int) throws -> PrivateKey {
        var seed = [UInt8](repeating: 0x4C, count: 32)
        (seed[0], seed[1]) = (UInt8(number & 0xFF), UInt8(number >> 8))
        let bytes = Bytes(seed)
        return try PrivateKey(ed25519Seed: bytes.span)
    }

    /// A host on the Internet that is on the topic of `member` and tells it of `count` peers at the addresses that `places`
    /// says.
    private static func addLiar(
        to play: NodeWorld, about member: NodeWorld.Member, _ count: Int, at places: @escaping (Int) -> [Multiaddr]
    ) {
        let host = play.world.host("liar", IPAddress(60, 1, 1, 1))
        host.start { environment in
            try await environment.loop.sleep(for: .seconds(5))
            var transports = TransportConfiguration()
            transports.usesQUIC = false
            let own = try key(0)
            let swarm = Swarm(
                environment: environment, identity: own,
                transports: transports.make(environment: environment, identity: own))
            swarm.add(addresses: [Multiaddr(.ip(member.host.address), .tcp(NodeWorld.port))], of: member.id)
            let stream = try await swarm.openStream(to: member.id, MetadataService.name)
            let topic = TopicKey("chess")
            let proof = topic.proof(of: .opener, opener: swarm.localPeer, answerer: member.id, binding: stream.binding)
            try await stream.writeMessage(MetadataMessage(id: 1, .hello([proof])).encoded)
            for number in 0..<count {
                let key = try key(number)
                let peer = PeerID(key.publicKey)
                var record = NodeMetadata(peer: peer, sequence: 1, time: environment.wallTime)
                record.topicMarks = [topic.mark(of: peer)]
                record.privateAddresses = places(number)
                let push = MetadataMessage.Body.push(SignedMetadata(record, signedWith: key).envelope.bytes)
                try await stream.writeMessage(MetadataMessage(id: UInt64(number) + 2, push).encoded)
                try await environment.loop.sleep(for: .milliseconds(30))
            }
            try await environment.loop.sleep(until: .never)
        }
    }

    @Test("a member on the Internet makes nobody dial into its own network, nor itself")
    func scopes() throws {
        let play = NodeWorld(seed: 51)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        let member = play.add(configuration)
        let watch = Destinations(of: member)
        play.world.add(watch)
        Self.addLiar(to: play, about: member, 40) { number in
            [
                .init(.ip(.loopbackV4), .tcp(UInt16(7000 + number))),
                .init(.ip(IPAddress(192, 168, 1, UInt8(number + 1))), .udp(53), .quicV1),
                .init(.ip(IPAddress(10, 0, 0, UInt8(number + 1))), .tcp(22)),
                .init(.ip(IPAddress(100, 64, 0, UInt8(number + 1))), .tcp(22)),
                .init(.ip(IPAddress(169, 254, 0, UInt8(number + 1))), .tcp(22)),
                .init(.ip(IPAddress(70, 7, UInt8(number), 1)), .udp(4001), .quicV1),
            ]
        }
        try play.world.run(for: .seconds(120))
        let targets = watch.seen.keys.map(\.ip)
        #expect(targets.contains { $0 == IPAddress(70, 7, 1, 1) }, "what is on the Internet is dialled")
        #expect(targets.allSatisfy { $0.isGlobal }, "\(targets.filter { !$0.isGlobal })")
    }

    @Test("a member cannot make nodes flood a network that it names")
    func flood() throws {
        let (count, seconds) = Sanitizer.amount((300, 300), reduced: (60, 120))
        let play = NodeWorld(seed: 52)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        let member = play.add(configuration)
        let watch = Destinations(of: member)
        play.world.add(watch)
        Self.addLiar(to: play, about: member, count) { number in
            (0..<16).map { .init(.ip(IPAddress(70, 7, 7, UInt8($0 + 1))), .udp(UInt16(1000 + number)), .quicV1) }
        }
        try play.world.run(for: .seconds(seconds))
        let victims = watch.seen.filter { $0.key.ip.prefix(24) == IPAddress(70, 7, 7, 0) }
        // A burst of 32 and one each ten seconds; a dial over QUIC is a handful of packets.
        #expect(victims.count > 0 && victims.count <= 32 + 30, "\(victims.count) addresses were dialled")
        #expect(member.failure == nil)
    }

    @Test("candidates that may not be dialled yet hold up no others")
    func postponed() throws {
        let play = NodeWorld(seed: 54)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        configuration.discovery.dials = 4
        configuration.discovery.networkDials = Rate(burst: 1, perSecond: 0.001)
        let member = play.add(configuration)
        let watch = Destinations(of: member)
        play.world.add(watch)
        let (crowd, others) = (60, 8)
        // Most are in one network, of which only one may be dialled.
        Self.addLiar(to: play, about: member, crowd + others) { number in
            let place = number < crowd ? IPAddress(70, 7, 7, UInt8(number + 1)) : IPAddress(71, UInt8(number), 1, 1)
            return [.init(.ip(place), .udp(4001), .quicV1)]
        }
        try play.world.run(for: .seconds(240))
        let dialled = Set(watch.seen.keys.map(\.ip))
        #expect((crowd..<crowd + others).allSatisfy { dialled.contains(IPAddress(71, UInt8($0), 1, 1)) }, "\(dialled)")
        #expect(member.failure == nil)
    }

    /// A host on the Internet that comes back as one new member of `member`'s topic after the other, `count` in all. By
    /// identify each claims to be at the addresses that `places` says, and goes as soon as it has proven to be on the topic.
    private static func addPretenders(
        to play: NodeWorld, before member: NodeWorld.Member, _ count: Int, at places: @escaping (Int) -> [Multiaddr]
    ) {
        let host = play.world.host("pretender", IPAddress(60, 1, 1, 1))
        host.start { environment in
            try await environment.loop.sleep(for: .seconds(5))
            var transports = TransportConfiguration()
            transports.usesQUIC = false
            let topic = TopicKey("chess")
            for number in 0..<count {
                let own = try key(number)
                let swarm = Swarm(
                    environment: environment, identity: own,
                    transports: transports.make(environment: environment, identity: own))
                var claims = Writer()
                for place in places(number) { claims.field(2, bytes: place.bytes) }
                let message = claims.finish()
                swarm.handle("/ipfs/id/1.0.0") { stream, _ in
                    environment.loop.spawn {
                        try? await stream.writeMessage(message)
                        stream.closeWrite()
                    }
                }
                let target = Multiaddr(.ip(member.host.address), .tcp(NodeWorld.port))
                try await swarm.connect(to: member.id, at: [target])
                let stream = try await swarm.openStream(to: member.id, MetadataService.name)
                let proof = topic.proof(
                    of: .opener, opener: swarm.localPeer, answerer: member.id, binding: stream.binding)
                try await stream.writeMessage(MetadataMessage(id: 1, .hello([proof])).encoded)
                _ = try await stream.readMessage(upTo: 1 << 16)
                try await environment.loop.sleep(for: .milliseconds(500))
                swarm.shutDown()
                try await environment.loop.sleep(for: .milliseconds(500))
            }
            try await environment.loop.sleep(until: .never)
        }
    }

    @Test(
        "members that claim a victim's addresses for their own and go have no node flood it, nor dial its own network")
    func pretenders() throws {
        let play = NodeWorld(seed: 53)
        var configuration = NodeWorld.configuration(topics: ["chess"])
        configuration.dht = nil
        let member = play.add(configuration)
        let watch = Destinations(of: member)
        play.world.add(watch)
        Self.addPretenders(to: play, before: member, 40) { number in
            let near: [Multiaddr] = [
                .init(.ip(.loopbackV4), .tcp(UInt16(7000 + number))), .init(.ip(IPAddress(10, 0, 0, 1)), .tcp(22)),
            ]
            return near + (0..<14).map { .init(.ip(IPAddress(70, 7, 7, UInt8($0 + 1))), .tcp(UInt16(1000 + number))) }
        }
        try play.world.run(for: .seconds(300))
        #expect(member.failure == nil)
        #expect(watch.seen.keys.allSatisfy { $0.ip.isGlobal })
        let victims = watch.seen.filter { $0.key.ip.prefix(24) == IPAddress(70, 7, 7, 0) }
        #expect(victims.count > 0 && victims.count <= 32 + 30, "\(victims.count) addresses were dialled")
    }
}
