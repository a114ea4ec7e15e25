import Martlet
import MartletRuntime
import MartletSimulator
import MartletTLS
import NodeWorlds

/// What strangers do to the nodes of a hostile world, by means that every stranger has: packets and connections.
///
/// Each attack is a type of its own and stands once in `Attacks.all`. A hole that is mended adds the attack that used it.
protocol Attack {
    /// What it is called where figures are printed.
    var name: String { get }
    /// On how many hosts it runs. They stand side by side in one /24.
    var hosts: Int { get }
    /// What each host does, again and again while the attack lasts: once it returns or throws, it begins anew after a
    /// second. Its effort is bounded by its pauses, which `stranger` makes.
    nonisolated(nonsending) func strike(_ stranger: Stranger) async throws
}

extension Attack {
    var hosts: Int { 1 }
}

/// The attacks that a hostile world draws from.
enum Attacks {
    /// All of them, in the order in which they are numbered.
    static var all: [any Attack] {
        [
            SpoofedInitials(), DatagramFlood(), RemadeConnections(), NeverReads(), StreamResets(), GoodbyeAndSilence(),
            IdentifyPushes(), ClaimedAddresses(), MadeUpRecords(), RecordsNamingVictim(), RecordsNamingHomes(),
            StolenAddresses(), SlowReader(), WrongClock(), FalseNodes(), ManyPorts(), DeadNodes(), FalsePeers(),
        ]
    }
}

/// One host of an attack: who it is, whom it knows of, and what it can do.
final class Stranger {
    /// The topic of the world's nodes. It is no secret.
    static let topic = "chess"

    let environment: SimulatedEnvironment
    /// Which of the hosts of its attack it is, from 0.
    let number: Int
    /// Whom it means ill.
    let targets: [NodeWorld.Member]
    /// A host that has nothing to do with all this.
    let victim: IPAddress
    /// Its address.
    let address: IPAddress
    /// How many times as much as in the first tier it does at once.
    let strength: Int
    private let end: Instant
    private let salt: UInt8
    /// What garbage is cut from: drawing each byte of a flood would take most of a world's time.
    private let heap: Bytes
    private var keysMade = 0
    private var swarm: Swarm?

    init(
        _ environment: SimulatedEnvironment, attack: Int, number: Int, at address: IPAddress,
        targets: [NodeWorld.Member], victim: IPAddress, strength: Int, until end: Instant
    ) {
        self.environment = environment
        self.number = number
        self.targets = targets
        self.victim = victim
        self.address = address
        self.strength = strength
        self.end = end
        salt = UInt8(attack)
        var random = environment.random
        heap = Bytes((0..<8192).map { _ in UInt8(truncatingIfNeeded: random.next()) })
    }

    private struct Over: Error {}

    /// Runs `attack` until its time is over.
    nonisolated(nonsending) func run(_ attack: any Attack) async throws {
        while environment.loop.now < end {
            try? await attack.strike(self)
            // The host was killed, or the world is over.
            if Task.isCancelled { return }
            try await environment.loop.sleep(for: .seconds(1))
        }
        swarm?.shutDown()
        swarm = nil
    }

    /// Waits. Throws when the time of the attack is over.
    nonisolated(nonsending) func pause(_ duration: Duration) async throws {
        try await environment.loop.sleep(for: duration)
        guard environment.loop.now < end else { throw Over() }
    }

    /// A number below `bound`.
    func draw(below bound: Int) -> Int {
        var random = environment.random
        return Int(random.next() % UInt64(bound))
    }

    /// At most 4 KiB of bytes that mean nothing.
    func garbage(_ count: Int) -> Bytes {
        let start = draw(below: heap.count - count)
        return heap.slice(start..<start + count)
    }

    /// Whom it strikes now.
    func target() -> NodeWorld.Member { targets[draw(below: targets.count)] }

    /// A key that no other host has.
    func key() -> PrivateKey {
        keysMade += 1
        let seed = Bytes(
            [
                0xBA, 0xD0, salt, UInt8(number), UInt8(keysMade & 0xFF), UInt8(keysMade >> 8 & 0xFF),
                UInt8(keysMade >> 16),
            ]
                + [UInt8](repeating: 0x66, count: 25))
        guard let key = try? PrivateKey(ed25519Seed: seed.span) else { preconditionFailure("32 bytes are a seed") }
        return key
    }

    /// A swarm of its own, over TCP, in place of the one before it.
    func newSwarm(_ key: PrivateKey) -> Swarm {
        self.swarm?.shutDown()
        let swarm = Swarm(
            environment: environment, identity: key, transports: [transport(key)])
        self.swarm = swarm
        return swarm
    }

    /// What makes connections over TCP in the name of `key`.
    func transport(_ key: PrivateKey, _ limits: UpgradeLimits = UpgradeLimits()) -> TCPTransport {
        TCPTransport(
            environment: environment,
            upgrader: Upgrader(
                environment: environment, identity: key, security: [.noise], certificateKey: .ed25519, limits: limits))
    }

    /// A connection to `member` over TCP.
    nonisolated(nonsending) func dial(
        _ member: NodeWorld.Member, as key: PrivateKey, _ limits: UpgradeLimits = UpgradeLimits()
    ) async throws -> Connection {
        try await transport(key, limits).dial(
            Stranger.tcp(member), expecting: nil, deadline: environment.loop.now + .seconds(10))
    }

    /// An address of QUIC.
    static func quic(_ address: SocketAddress) -> Multiaddr {
        Multiaddr(.ip(address.ip), .udp(address.port), .quicV1)
    }

    /// Where a node takes TCP connections.
    static func tcp(_ member: NodeWorld.Member) -> Multiaddr {
        .tcp(SocketAddress(member.host.address, port: NodeWorld.port))
    }

    /// A stream for records to `member`, to which it has proven that it knows the topic.
    nonisolated(nonsending) func greet(
        _ member: NodeWorld.Member, by swarm: Swarm
    ) async throws -> MartletTransport.Stream {
        swarm.add(addresses: [Stranger.tcp(member)], of: member.id)
        let stream = try await swarm.openStream(to: member.id, MetadataService.name)
        let proof = TopicKey(Stranger.topic).proof(
            of: .opener, opener: swarm.localPeer, answerer: member.id, binding: stream.binding)
        try await stream.writeMessage(MetadataMessage(id: 1, .hello([proof])).encoded)
        return stream
    }

    /// A record in the name of `key`, of the time that the host's clock shows and on the topic, which `change` completes.
    func record(
        _ key: PrivateKey, sequence: UInt64? = nil, _ change: (inout NodeMetadata) -> Void = { _ in }
    ) -> SignedMetadata {
        let peer = PeerID(key.publicKey)
        let now = environment.wallTime
        var record = NodeMetadata(
            peer: peer, sequence: sequence ?? UInt64(now.nanoseconds / 1_000_000), time: now)
        record.name = "stranger"
        record.topicMarks = [TopicKey(Stranger.topic).mark(of: peer)]
        change(&record)
        return SignedMetadata(record, signedWith: key)
    }

    /// Answers what is asked on a stream for records as one who knows nothing, a message at a time with `pause` between.
    func answer(_ stream: MartletTransport.Stream, every pause: Duration = .zero) {
        environment.loop.spawn { [loop = environment.loop] in
            while let bytes = try? await stream.readMessage(upTo: MetadataMessage.maximumSize) {
                guard let message = try? MetadataMessage(bytes) else { return }
                switch message.body {
                case .summary:
                    try? await stream.writeMessage(MetadataMessage(id: message.id, .records([])).encoded)
                case .digest:
                    try? await stream.writeMessage(MetadataMessage(id: message.id, .same(true)).encoded)
                default: break
                }
                if pause > .zero { try? await loop.sleep(for: pause) }
                if Task.isCancelled { return }
            }
        }
    }
}
