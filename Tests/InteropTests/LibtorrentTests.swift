import Foundation
import MartletCrypto
import MartletMainline
import MartletRuntime
import MartletWire
import Testing

/// Our nodes among libtorrent's, in a private DHT on loopback. `make setup` installs it; without it these tests fail.
@Suite("libtorrent", .serialized)
struct LibtorrentTests {
    /// A node of ours on a port of its own.
    private final class OurNode: @unchecked Sendable {
        let environment: SystemEnvironment
        // It is made and used on the environment's loop alone.
        private(set) var dht: MainlineDHT!
        private(set) var port: UInt16 = 0

        init(bootstrap: [Int]) async throws {
            let log = Logger(subsystem: "dht", sink: CollectingLogSink(), levels: LogLevels(.warning))
            environment = try SystemEnvironment(name: "dht", log: log)
            try await environment.loop.run { [self] in
                let address = SocketAddress(.loopbackV4, port: 0)
                let socket = try environment.bindUDP(address, options: UDPOptions())
                port = socket.localAddress.port
                var configuration = MainlineConfiguration(
                    privateWith: bootstrap.map { BootstrapNode("127.0.0.1", port: UInt16($0)) })
                configuration.file = nil
                dht = MainlineDHT(configuration, environment: environment, ports: [OwnDatagramPort(socket)])
                await dht.start()
            }
        }

        /// Waits until it has joined.
        func join() async throws {
            try await environment.loop.run { [self] in
                let deadline = environment.loop.now + .seconds(20)
                while dht.status.first?.join != .joined, environment.loop.now < deadline {
                    try await environment.loop.sleep(for: .milliseconds(20))
                }
                guard dht.status.first?.join == .joined else { throw PeerError.silent("nobody answered us") }
            }
        }

        /// What `body` makes of the node, tried again until it makes something.
        func attempt<Result: Sendable>(
            _ body: sending nonisolated(nonsending) @escaping (MainlineDHT) async throws -> Result?
        ) async throws -> Result {
            try await environment.loop.run { [self] in
                let deadline = environment.loop.now + .seconds(20)
                repeat {
                    if let result = try await body(dht) { return result }
                    try await environment.loop.sleep(for: .milliseconds(200))
                } while environment.loop.now < deadline
                throw PeerError.silent("it was not found")
            }
        }

        func peers(_ infohash: NodeID) async throws -> [SocketAddress] {
            try await attempt { dht in
                let search = dht.peers(of: infohash)
                var peers: [SocketAddress] = []
                while let peer = try await search.next() { peers.append(peer) }
                return peers.isEmpty ? nil : peers
            }
        }

        func stop() async {
            try? await environment.loop.run { [self] in await dht.stop() }
            await environment.shutdown()
        }
    }

    private func start(_ count: Int) async throws -> (PeerProcess, [Int]) {
        let peer = try PeerProcess("libtorrent_dht.py", ["\(count)"])
        let ports = try await peer.answer(within: .seconds(30)) { $0["ports"] != nil }["ports"] as? [Int] ?? []
        return (peer, ports)
    }

    @Test("both sides find what the other announces")
    func announcements() async throws {
        let (peer, ports) = try await start(4)
        let ours = try await OurNode(bootstrap: ports)
        try await ours.join()
        let theirs = Topic("announced by libtorrent")
        peer.tell("announce 1 \(theirs.infohash) 5001")
        let found = try await ours.peers(theirs.infohash)
        #expect(found.contains(SocketAddress(.loopbackV4, port: 5001)))

        let topic = Topic("announced by us")
        let stored = try await ours.attempt { dht in
            let search = dht.announceOnce(topic.infohash, .number(5002))
            let stored = try await search.end().first?.stored ?? 0
            return stored > 0 ? stored : nil
        }
        #expect(stored >= 4)
        let answer = try await peer.ask("find 2 \(topic.infohash)") { $0["infohash"] as? String == "\(topic.infohash)" }
        #expect((answer["peers"] as? [String])?.contains("127.0.0.1:5002") == true)
        await ours.stop()
    }

    @Test("items put by either are got by the other, immutable and mutable")
    func items() async throws {
        let (peer, ports) = try await start(4)
        let ours = try await OurNode(bootstrap: ports)
        try await ours.join()
        let item = try MainlineItem(immutable: Bencode.string(Bytes(utf8: "from-us")).encoded())
        let seed = Bytes((0..<32).map { UInt8($0) })
        let key = try PrivateKey(ed25519Seed: seed.span)
        let mutable = try MainlineItem(
            mutable: Bencode.string(Bytes(utf8: "signed-by-us")).encoded(), sequence: 3, salt: Bytes(utf8: "salt"),
            signedBy: key)
        for item in [item, mutable] {
            let stored = try await ours.attempt { dht in
                let stored = try await dht.put(item).end().first?.stored ?? 0
                return stored > 0 ? stored : nil
            }
            #expect(stored >= 4)
        }
        let got = try await peer.ask("get 1 \(item.target)") { $0["event"] as? String == "item" }
        #expect(got["value"] as? String == "from-us")
        let publicKey = base16(key.publicKey.data)
        let signed = try await peer.ask("mget 2 \(publicKey) salt") { $0["seq"] as? Int == 3 }
        #expect(signed["value"] as? String == "signed-by-us")

        // It reads our version and puts the next one.
        let secret = base16(seed)
        peer.tell("mput 0 \(secret) \(publicKey) salt signed-by-libtorrent")
        let newer = try await ours.attempt { dht in
            let search = dht.item(mutable.target, salt: Bytes(utf8: "salt"))
            try await search.end()
            return search.item?.author?.sequence == 4 ? search.item : nil
        }
        #expect(newer.value == Bencode.string(Bytes(utf8: "signed-by-libtorrent")).encoded())

        peer.tell("put 3 from-libtorrent")
        let target = try await peer.answer { $0["event"] as? String == "target" }["target"] as? String
        let place = try #require(NodeID(target ?? ""))
        let theirs = try await ours.attempt { dht in
            let search = dht.item(place)
            try await search.end()
            return search.item
        }
        #expect(theirs.value == Bencode.string(Bytes(utf8: "from-libtorrent")).encoded())
        await ours.stop()
    }

    @Test("libtorrent's table keeps our node as a live one")
    func table() async throws {
        let (peer, ports) = try await start(3)
        let ours = try await OurNode(bootstrap: ports)
        try await ours.join()
        let first = ports[0]
        let id = try await ours.attempt { dht in
            dht.status.first?.nodes.first { Int($0.address.port) == first }?.id
        }
        let port = ours.port
        let answer = try await peer.ask("live 0 \(id)") { fields in
            (fields["nodes"] as? [String])?.contains { $0.contains("\(port)") } == true
        }
        #expect(answer["event"] as? String == "live")
        await ours.stop()
    }

    @Test("a network of which half are ours works when libtorrent's half leaves")
    func halves() async throws {
        let (peer, ports) = try await start(6)
        var ours: [OurNode] = []
        for _ in 0..<6 { ours.append(try await OurNode(bootstrap: ports)) }
        for node in ours { try await node.join() }
        for (number, node) in ours.enumerated() { peer.tell("know \(number) \(node.port)") }

        let topic = Topic("both halves")
        func announce(_ topic: Topic, by node: OurNode, _ port: UInt16) async throws {
            _ = try await node.attempt { dht in
                let stored = try await dht.announceOnce(topic.infohash, .number(port)).end().first?.stored ?? 0
                return stored > 0 ? stored : nil
            }
        }
        try await announce(topic, by: ours[0], 5100)
        // Libtorrent's leave: ours know what was announced before, and work on.
        for number in 0..<6 { peer.tell("stop \(number)") }
        #expect(try await ours[5].peers(topic.infohash) == [SocketAddress(.loopbackV4, port: 5100)])
        let later = Topic("after libtorrent's half has left")
        try await announce(later, by: ours[2], 5101)
        #expect(try await ours[4].peers(later.infohash) == [SocketAddress(.loopbackV4, port: 5101)])
        for node in ours { await node.stop() }
    }

    @Test("and when our half leaves")
    func otherHalf() async throws {
        let (peer, ports) = try await start(6)
        var ours: [OurNode] = []
        for _ in 0..<6 { ours.append(try await OurNode(bootstrap: ports)) }
        for node in ours { try await node.join() }
        for (number, node) in ours.enumerated() { peer.tell("know \(number) \(node.port)") }
        let before = Topic("before our half has left")
        _ = try await ours[0].attempt { dht in
            let stored = try await dht.announceOnce(before.infohash, .number(5200)).end().first?.stored ?? 0
            return stored > 0 ? stored : nil
        }
        for node in ours { await node.stop() }
        let later = Topic("after our half has left")
        peer.tell("announce 1 \(later.infohash) 5201")
        for (topic, port) in [(before, 5200), (later, 5201)] {
            _ = try await peer.ask("find 3 \(topic.infohash)") { fields in
                fields["infohash"] as? String == "\(topic.infohash)"
                    && (fields["peers"] as? [String])?.contains("127.0.0.1:\(port)") == true
            }
        }
    }
}

/// Bytes in base16.
private func base16(_ bytes: Bytes) -> String {
    bytes.map { String(UInt16($0) + 256, radix: 16).dropFirst() }.joined()
}
