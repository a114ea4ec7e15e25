import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletTransport
import MartletWire
import Testing

@Suite("TCP, Noise and Yamux")
struct TCPTests {
    @Test("a megabyte comes back over a stream of a connection between two hosts")
    func echoes() throws {
        let world = World(seed: 1)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        client.line.latency = .milliseconds(10)
        server.start { environment in
            let listener = try Node(environment).listen(port: 7) { connection in
                connection.onStream = { stream in
                    environment.loop.spawn { try? await echo(stream) }
                }
            }
            try await environment.loop.sleep(until: .never)
            listener.close()
        }
        let sent = pattern(1 << 20)
        var received: [UInt8] = []
        client.start { environment in
            let connection = try await Node(environment).dial(server.address, port: 7)
            let stream = try connection.openStream()
            environment.loop.spawn {
                try? await stream.write(Bytes(sent))
                stream.closeWrite()
            }
            while let bytes = try await stream.read() { received += Array(bytes) }
            #expect(connection.nature.muxer == "/yamux/1.0.0")
            connection.close()
        }
        try world.run(within: .seconds(60)) { received.count == sent.count }
        #expect(received == sent)
    }

    @Test("an address that names another peer than the caller wants is refused")
    func addressOfAnotherPeer() throws {
        let world = World(seed: 2)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let client = world.host("client", IPAddress(192, 0, 2, 2))
        var listening: Node?
        server.start { environment in
            let node = Node(environment)
            listening = node
            let listener = try node.listen(port: 7) { _ in Issue.record("nobody was to connect") }
            try await environment.loop.sleep(until: .never)
            listener.close()
        }
        var refusal: TransportError?
        client.start { environment in
            let node = Node(environment)
            try await environment.loop.sleep(for: .seconds(1))
            guard let there = listening?.peerID else { return }
            let address = Multiaddr.tcp(SocketAddress(server.address, port: 7))
            do {
                _ = try await node.transport.dial(
                    try address.appending(.p2p(there)), expecting: node.peerID,
                    deadline: environment.loop.now + .seconds(30))
            } catch {
                refusal = error as? TransportError
                #expect(refusal == .wrongPeer(expected: node.peerID, actual: there))
            }
        }
        try world.run(within: .seconds(60)) { refusal != nil }
        try world.run(for: .seconds(1))
    }
}
