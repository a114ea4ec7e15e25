import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletWire

@testable import MartletSwarm
@testable import MartletTransport

/// A connection without a network, which does what its test says. Nothing ever comes in on its streams.
final class FakeConnection: Connection {
    /// Why no stream can be opened.
    var openError: ConnectionError?
    /// Whether it says nothing of its end when it is closed.
    var staysAfterClose = false
    private(set) var opened: UInt64 = 0

    init(
        _ loop: EventLoop, _ key: PublicKey, at address: Multiaddr, _ direction: ConnectionNature.Direction = .outbound
    ) {
        super.init(
            loop: loop, remotePublicKey: key, localAddress: tcp(254), remoteAddress: address,
            nature: ConnectionNature(direction: direction, transport: "fake"))
    }

    override func openStream() throws(ConnectionError) -> Stream {
        if let closeReason { throw closeReason }
        if let openError { throw openError }
        opened += 1
        return Stream(StreamLink(connection: self, id: opened, isOutbound: true, creditStep: 1 << 16))
    }

    override func close(code: UInt64) {
        if !staysAfterClose { ended(.closed(code: code)) }
    }

    override func abort() { ended(.closed(code: 0)) }
    override var statistics: ConnectionStatistics { ConnectionStatistics() }
    override func streamHasOutput(_ link: StreamLink) {}
    override func streamFreed(_ link: StreamLink, credit: Int) {}
    override func streamReset(_ link: StreamLink, code: UInt64) { link.detach() }
    override func streamStopped(_ link: StreamLink, code: UInt64) {}
}

/// Dials everything, and gives what its test makes.
final class FakeTransport: Transport {
    let name = "fake"
    private(set) var dials = 0
    private let make: (Multiaddr, PeerID?) -> Connection

    init(_ make: @escaping (Multiaddr, PeerID?) -> Connection) {
        self.make = make
    }

    func canDial(_ address: Multiaddr) -> Bool { true }
    func canListen(on address: Multiaddr) -> Bool { false }

    nonisolated(nonsending) func dial(
        _ address: Multiaddr, expecting peer: PeerID?, deadline: Instant
    ) async throws(TransportError) -> Connection {
        dials += 1
        return make(address, peer)
    }

    func listen(on address: Multiaddr, _ inbound: Inbound) throws(TransportError) -> TransportListener {
        throw .unsupportedAddress(address)
    }
}

extension Swarm {
    /// The swarm of key 1 over one fake transport. Peers are not identified.
    convenience init(
        _ environment: any Environment, over transport: FakeTransport, metrics: MetricsRegistry = MetricsRegistry(),
        _ configure: (inout SwarmConfiguration) -> Void = { _ in }
    ) {
        var configuration = SwarmConfiguration()
        configuration.identifiesPeers = false
        configure(&configuration)
        self.init(
            environment: environment, identity: key(1), transports: [transport], configuration: configuration,
            metrics: metrics)
    }
}

/// A key that follows from `number`, of which there are as many as wanted.
func numberedKey(_ number: Int) -> PrivateKey {
    let seed = Bytes((0..<32).map { UInt8(truncatingIfNeeded: number >> ($0 % 4 * 8)) ^ 0x5A })
    guard let key = try? PrivateKey(ed25519Seed: seed.span) else { preconditionFailure("32 bytes are a seed") }
    return key
}
