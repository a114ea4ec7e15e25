import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
@testable import MartletTransport
import MartletWire
import TestSupport
import Testing

/// A stream whose other side takes no more than it is told to, and that remembers how it was ended.
private final class StuckStream: ByteStream {
    var input: [UInt8] = []
    var takes = true
    var ending: String?

    override func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
        guard !input.isEmpty else { return .wouldBlock }
        let count = min(buffer.count, input.count)
        buffer.copyBytes(from: input[..<count])
        input.removeFirst(count)
        return .bytes(count)
    }
    override func readLater() {}
    override func write(_ bytes: Bytes) -> Bool { takes }
    override var queued: Int { 0 }
    override func close() { ending = ending ?? "closed" }
    override func reset() { ending = ending ?? "reset" }
}

@Suite("The end of a connection with Yamux")
struct YamuxEndTests {
    /// How the stream below was ended, after `body` has run.
    private func ending(takes: Bool, input: [UInt8] = [], _ body: @escaping (Connection) -> Void) throws -> String? {
        let world = World(seed: 1)
        let host = world.host("host", IPAddress(192, 0, 2, 1))
        var ending: String?
        var isDone = false
        host.start { environment in
            let stream = StuckStream(loop: environment.loop)
            stream.takes = takes
            let address = Multiaddr.tcp(SocketAddress(IPAddress(192, 0, 2, 2), port: 7))
            let connection = YamuxConnection(
                stream, noise: nil, remotePublicKey: Node(environment).identity.publicKey, localAddress: address,
                remoteAddress: address,
                nature: ConnectionNature(direction: .inbound, transport: "tcp"), limits: UpgradeLimits(),
                buffers: ConnectionBuffers(), random: environment.random)
            connection.begin(opened: Bytes(input), input: Bytes())
            try await environment.loop.sleep(for: .milliseconds(1))
            body(connection)
            ending = stream.ending
            isDone = true
        }
        try world.run(within: .seconds(10)) { isDone }
        return ending
    }

    @Test("a peer that says farewell with an error is broken off at once, so that nothing queued holds its socket")
    func farewellWithError() throws {
        #expect(try ending(takes: true, input: [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]) { _ in } == "reset")
    }

    @Test("a connection is closed after what is queued, unless its peer takes nothing: then it is broken off")
    func close() throws {
        #expect(try ending(takes: true) { $0.close(code: 0) } == "closed")
        #expect(try ending(takes: false) { $0.close(code: 0) } == "reset")
    }

    @Test("what came on a stream that is over before anybody had it is given back at once")
    func neverAccepted() throws {
        let world = World(seed: 1)
        let host = world.host("host", IPAddress(192, 0, 2, 1))
        let memory = ResourceScope(limit: 1 << 20)
        var left: Int?
        var accepted = 0
        host.start { environment in
            let address = Multiaddr.tcp(SocketAddress(IPAddress(192, 0, 2, 2), port: 7))
            let connection = YamuxConnection(
                StuckStream(loop: environment.loop), noise: nil,
                remotePublicKey: Node(environment).identity.publicKey, localAddress: address, remoteAddress: address,
                nature: ConnectionNature(direction: .inbound, transport: "tcp"), limits: UpgradeLimits(),
                buffers: ConnectionBuffers(), random: environment.random)
            connection.memory = memory
            connection.onStream = { _ in accepted += 1 }
            // A stream with four bytes, and a frame of a version that does not exist.
            let opening: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 1, 2, 3, 4]
            connection.begin(opened: Bytes(opening + [9] + [UInt8](repeating: 0, count: 11)), input: Bytes())
            try await environment.loop.sleep(for: .milliseconds(1))
            // The connection is over, and its owner may keep it for as long as it likes.
            #expect(connection.closeReason != nil)
            left = connection.account(.inbound)?.used
        }
        try world.run(within: .seconds(10)) { left != nil }
        #expect(accepted == 0)
        #expect(left == 0)
    }
}
