import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletSwarm
import MartletTransport
import MartletWire

/// A swarm on a simulated host, over TCP alone unless other transports are given.
final class Member {
    let swarm: Swarm
    let metrics = MetricsRegistry()
    private(set) var events: [SwarmEvent] = []
    private var watch: SwarmWatch?

    init(
        _ environment: any Environment, _ identity: PrivateKey, transports: TransportConfiguration? = nil,
        _ configure: (inout SwarmConfiguration) -> Void = { _ in }
    ) {
        var configuration = SwarmConfiguration()
        configure(&configuration)
        var tcpAlone = TransportConfiguration()
        tcpAlone.usesQUIC = false
        swarm = Swarm(
            environment: environment, identity: identity,
            transports: (transports ?? tcpAlone).make(environment: environment, identity: identity),
            configuration: configuration, metrics: metrics)
        watch = swarm.watch { [weak self] in self?.events.append($0) }
    }

    /// How often `reason` was a reason to refuse.
    func refused(_ reason: Refusal) -> UInt64 { metrics.value("martlet_swarm_refused", reason.rawValue) }

    var connected: [PeerID] {
        events.compactMap { if case .connected(let info) = $0 { info.peer } else { nil } }
    }

    var disconnected: [DisconnectReason] {
        events.compactMap { if case .disconnected(_, let reason) = $0 { reason } else { nil } }
    }
}

extension MetricsRegistry {
    /// The number of a counter or gauge under one label.
    func value(_ name: String, _ label: String? = nil) -> UInt64 {
        let family = snapshot.first { $0.description.name == name }
        let series = family?.series.first { label == nil || $0.labels == [label.unsafelyUnwrapped] }
        switch series?.value {
        case .counter(let value): return value
        case .gauge(let value): return UInt64(bitPattern: value)
        default: return 0
        }
    }
}

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

/// The address of port 4001 of the host with this last octet.
func tcp(_ octet: UInt8, port: UInt16 = 4001) -> Multiaddr {
    .tcp(SocketAddress(IPAddress(192, 0, 2, octet), port: port))
}

/// Writes back what it reads until the end.
nonisolated(nonsending) func echo(_ stream: MartletTransport.Stream) async {
    do {
        while let bytes = try await stream.read() { try await stream.write(bytes) }
        stream.closeWrite()
    } catch {
        stream.reset()
    }
}

extension Swarm {
    /// Answers `/echo` by writing back what comes.
    func serveEcho(limit: Int? = nil) {
        handle("/echo", limit: limit) { [loop] stream, _ in
            loop.spawn { await echo(stream) }
        }
    }
}
