import Martlet
import MartletRuntime
import MartletSimulator
import NodeWorlds

/// Twenty-five connections under keys of their own, remade each fifteen seconds, from a few hosts of one network.
struct RemadeConnections: Attack {
    let name = "connections remade each 15 s"
    let hosts = 5

    func strike(_ stranger: Stranger) async throws {
        let member = stranger.targets[0]
        while true {
            var connections: [Connection] = []
            for _ in 0..<5 {
                if let connection = try? await stranger.dial(member, as: stranger.key()) {
                    connections.append(connection)
                }
            }
            try await stranger.pause(.seconds(15))
            for connection in connections { connection.close() }
        }
    }
}

/// A peer that asks and asks, and takes nothing of what it is answered, not even from its socket.
struct NeverReads: Attack {
    let name = "peer that never reads"

    func strike(_ stranger: Stranger) async throws {
        let peer = try await RawPeer(stranger, to: stranger.target(), as: stranger.key())
        defer { peer.reset() }
        var id: UInt32 = 1
        for _ in 0..<600 {
            var frames: [(RawPeer.Frame, stream: UInt32, length: UInt32, body: Bytes)] = []
            for _ in 0..<10 * stranger.strength {
                frames += RawPeer.opening(id, "/ipfs/id/1.0.0")
                id += 2
            }
            try await peer.send(frames)
            try await stranger.pause(.milliseconds(100))
        }
    }
}

/// Streams that are opened and reset without end.
struct StreamResets: Attack {
    let name = "stream resets"

    func strike(_ stranger: Stranger) async throws {
        let peer = try await RawPeer(stranger, to: stranger.target(), as: stranger.key())
        defer { peer.reset() }
        // What the node says is read by nobody else, and it must not be the reason for the end.
        stranger.environment.loop.spawn { try? await peer.answerPings() }
        var id: UInt32 = 1
        while true {
            var frames: [(RawPeer.Frame, stream: UInt32, length: UInt32, body: Bytes)] = []
            for _ in 0..<10 * stranger.strength {
                frames.append((.opening, id, 0, Bytes()))
                frames.append((.reset, id, 0, Bytes()))
                id += 2
            }
            try await peer.send(frames)
            try await stranger.pause(.milliseconds(50))
        }
    }
}

/// A peer that says goodbye as soon as it is there, stays, and answers nothing but pings.
struct GoodbyeAndSilence: Attack {
    let name = "goodbye and silence"
    let hosts = 3

    func strike(_ stranger: Stranger) async throws {
        let peer = try await RawPeer(stranger, to: stranger.target(), as: stranger.key())
        defer { peer.reset() }
        try await peer.send([(.goodbye, 0, 0, Bytes())])
        try await peer.answerPings()
    }
}

/// Identify messages without end, each with a record of its own that says something else.
struct IdentifyPushes: Attack {
    let name = "identify pushes"

    func strike(_ stranger: Stranger) async throws {
        let member = stranger.target()
        let key = stranger.key()
        let swarm = stranger.newSwarm(key)
        swarm.add(addresses: [Stranger.tcp(member)], of: member.id)
        for number in 0..<2000 {
            let address = Multiaddr.tcp(SocketAddress(stranger.address, port: UInt16(2000 + number)))
            try await swarm.push([address], sequence: UInt64(number + 1), as: key, to: member)
            try await stranger.pause(.milliseconds(50))
        }
    }
}

/// A peer that says by identify that it lives at many ports of the victim's, proves that it is on the topic, and goes.
struct ClaimedAddresses: Attack {
    let name = "identify with a victim's addresses"

    func strike(_ stranger: Stranger) async throws {
        let member = stranger.target()
        let key = stranger.key()
        let swarm = stranger.newSwarm(key)
        let stream = try await stranger.greet(member, by: swarm)
        stranger.answer(stream)
        let claimed = (0..<32).map { number -> Multiaddr in
            let port = UInt16(3000 + 100 * stranger.draw(below: 300) + number)
            return number % 2 == 0
                ? .tcp(SocketAddress(stranger.victim, port: port))
                : Stranger.quic(SocketAddress(stranger.victim, port: port))
        }
        try await swarm.push(claimed, sequence: 1, as: key, to: member)
        try await stranger.pause(.seconds(2))
        swarm.disconnect(member.id)
        try await stranger.pause(.seconds(8))
    }
}

extension Swarm {
    /// Tells `member` by identify push that the holder of `key` listens at `addresses`.
    fileprivate nonisolated(nonsending) func push(
        _ addresses: [Multiaddr], sequence: UInt64, as key: PrivateKey, to member: NodeWorld.Member
    ) async throws {
        let record = SignedPeerRecord(addresses: addresses, sequence: sequence, signedWith: key)
        var message = Writer()
        message.field(1, bytes: key.publicKey.protobuf)
        for address in addresses { message.field(2, bytes: address.bytes) }
        message.field(8, bytes: record.envelope.bytes)
        let stream = try await openStream(to: member.id, "/ipfs/id/push/1.0.0")
        try await stream.writeMessage(message.finish())
        stream.closeWrite()
        stream.setReadDeadline(after: .seconds(5))
        _ = try? await stream.read(upTo: 1)
    }
}
