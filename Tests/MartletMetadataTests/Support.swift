import MartletCrypto
import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletSwarm
import MartletTransport
import MartletWire

/// A key that follows from `number`.
func key(_ number: UInt8) -> PrivateKey {
    let seed = Bytes([UInt8](repeating: number, count: 32))
    guard let key = try? PrivateKey(ed25519Seed: seed.span) else { preconditionFailure("32 bytes are a seed") }
    return key
}

func peer(_ number: UInt8) -> PeerID { PeerID(key(number).publicKey) }

func address(_ text: String) -> Multiaddr {
    guard let address = try? Multiaddr(parsing: text) else { preconditionFailure("no address: \(text)") }
    return address
}

/// A node of a simulated world that has nothing but a swarm and the metadata service.
final class Member {
    let number: UInt8
    let swarm: Swarm
    let service: MetadataService
    private(set) var events: [MetadataEvent] = []

    init(
        _ environment: any Environment, _ number: UInt8, topics: [String] = ["cooks"],
        _ configuration: MetadataConfiguration = MetadataConfiguration()
    ) throws {
        self.number = number
        var transports = TransportConfiguration()
        transports.usesQUIC = number % 2 == 0
        swarm = Swarm(
            environment: environment, identity: key(number),
            transports: transports.make(environment: environment, identity: key(number)))
        var metadata = NodeMetadata(peer: peer(number), sequence: 0, time: environment.wallTime)
        metadata.name = "node \(number)"
        service = MetadataService(
            swarm, topics: topics.map { TopicKey($0) }, saying: metadata, configuration: configuration)
        service.onEvent = { [weak self] in self?.events.append($0) }
        _ = try swarm.listen(on: address("/ip4/0.0.0.0/tcp/4001"))
        if transports.usesQUIC { _ = try swarm.listen(on: address("/ip4/0.0.0.0/udp/4001/quic-v1")) }
    }

    /// Connects to `other`, by QUIC where both have it, and greets it.
    nonisolated(nonsending) func meet(_ other: UInt8) async throws {
        let usesQUIC = number % 2 == 0 && other % 2 == 0
        let target = "/ip4/192.0.2.\(other)" + (usesQUIC ? "/udp/4001/quic-v1" : "/tcp/4001")
        swarm.add(addresses: [address(target)], of: peer(other))
        _ = try await swarm.connect(to: peer(other))
        try await service.greet(peer(other))
    }

    var refusals: [MetadataRefusal] {
        events.compactMap { if case .refused(_, let refusal) = $0 { refusal } else { nil } }
    }
}

extension Member {
    /// A stream of the protocol to `other`, spoken by hand from here on: the member's own service serves no more.
    nonisolated(nonsending) func stream(to other: UInt8) async throws -> MartletTransport.Stream {
        service.stop()
        swarm.add(addresses: [address("/ip4/192.0.2.\(other)/tcp/4001")], of: peer(other))
        return try await swarm.openStream(to: peer(other), MetadataService.name)
    }

    /// Such a stream, behind a hello by which this member proves to be on `topic`.
    nonisolated(nonsending) func greetedStream(
        to other: UInt8, on topic: String = "cooks"
    ) async throws -> MartletTransport.Stream {
        let stream = try await stream(to: other)
        let proof = TopicKey(topic).proof(
            of: .opener, opener: peer(number), answerer: peer(other), binding: stream.binding)
        try await stream.writeMessage(MetadataMessage(id: 1, .hello([proof])).encoded)
        return stream
    }
}

/// A record that the peer of `number` has signed, of about `size` bytes at least.
func record(
    _ number: UInt8, _ sequence: UInt64 = 1, topic: String = "cooks", at time: WallTime, size: Int = 0
) -> SignedMetadata {
    var record = NodeMetadata(peer: peer(number), sequence: sequence, time: time)
    record.topicMarks = [TopicKey(topic).mark(of: peer(number))]
    let text = String(repeating: "x", count: 256)
    record.services = (0..<size / 264).map { .init(name: "\($0)", port: 1, description: text) }
    return SignedMetadata(record, signedWith: key(number))
}

extension MetadataBook {
    /// Takes a record that one and the same neighbour of a book told at `time`.
    mutating func take(_ record: SignedMetadata, at time: WallTime) throws(MetadataRefusal) {
        try take(record, from: Teller(peer(255), at: nil), at: moment(time))
    }
}

/// The moment at which a clock that was never set shows `time`.
func moment(_ time: WallTime) -> Moment {
    let passed = time.nanoseconds - BookTests.now.nanoseconds
    return Moment(wall: time, boot: .start + .seconds(36_000) + .nanoseconds(passed))
}

/// A record of a peer of which nobody has heard, one for each `number`.
func madeUp(
    _ number: Int, _ sequence: UInt64 = 1, at time: WallTime, topic: String = "cooks", size: Int = 0
) -> SignedMetadata {
    var seed = [UInt8](repeating: 0xA5, count: 32)
    (seed[0], seed[1]) = (UInt8(number & 0xFF), UInt8(number >> 8))
    let bytes = Bytes(seed)
    guard let key = try? PrivateKey(ed25519Seed: bytes.span) else { preconditionFailure("32 bytes are a seed") }
    let peer = PeerID(key.publicKey)
    var record = NodeMetadata(peer: peer, sequence: sequence, time: time)
    if !topic.isEmpty { record.topicMarks = [TopicKey(topic).mark(of: peer)] }
    let text = String(repeating: "x", count: 256)
    record.services = (0..<size / 264).map { .init(name: "\($0)", port: 1, description: text) }
    return SignedMetadata(record, signedWith: key)
}
