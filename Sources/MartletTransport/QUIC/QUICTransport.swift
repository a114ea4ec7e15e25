public import MartletCrypto
public import MartletIdentity
public import MartletRuntime
public import MartletTLS
internal import MartletWire

/// QUIC v1 (RFC 9000) with libp2p's certificates: addresses like `/ip4/192.0.2.1/udp/4001/quic-v1`.
///
/// One UDP port serves for listening and dialling, for each family of addresses; other protocols share it through its
/// `Demultiplexer`. Connections outlive a change of address on either side.
public final class QUICTransport: Transport {
    /// `quic-v1`.
    public var name: String { "quic-v1" }

    private let environment: any Environment
    private let hostKey: PrivateKey
    private let credentials: TLSCredentials
    private let limits: QUICLimits
    /// What connections draw from, from the next one on: what QUIC and TLS hold for them, handshakes included, and the
    /// buffers of their streams. Where it is used up, no connection is begun.
    public var memory: ResourceScope? {
        didSet { for endpoint in endpoints { endpoint.memory = memory } }
    }
    private(set) var endpoints: [QUICEndpoint] = []
    private var watch: InterfaceWatch?
    private var isClosed = false

    /// The transport of the host with `hostKey`, which makes a certificate for it.
    public convenience init(
        environment: any Environment, hostKey: PrivateKey, certificateKey: TLSCredentials.CertificateKey = .ecdsaP256,
        limits: QUICLimits = QUICLimits()
    ) {
        var random = environment.random
        let credentials = TLSCredentials(
            hostKey: hostKey, certificateKey: certificateKey, at: environment.wallTime.seconds, using: &random)
        self.init(environment: environment, hostKey: hostKey, credentials: credentials, limits: limits)
    }

    /// The transport of the host with `hostKey`, which shows `credentials`.
    init(
        environment: any Environment, hostKey: PrivateKey, credentials: TLSCredentials, limits: QUICLimits
    ) {
        self.environment = environment
        self.hostKey = hostKey
        self.credentials = credentials
        self.limits = limits
        // Without the watch, connections end where this host's address does.
        watch = try? environment.watchInterfaces { [weak self] in self?.interfacesChanged() }
    }

    deinit {
        close()
    }

    // MARK: Dialling

    /// Whether `address` is QUIC v1 at an IP address or a name.
    public func canDial(_ address: Multiaddr) -> Bool {
        address.transport == .quicV1
    }

    /// Connects to `address` by `deadline`. Where it has a name, what that leads to is tried in turns, and the time is
    /// shared between them.
    public nonisolated(nonsending) func dial(
        _ address: Multiaddr, expecting peer: PeerID?, deadline: Instant
    ) async throws(TransportError) -> Connection {
        guard canDial(address) else { throw .unsupportedAddress(address) }
        let expected = try address.expectedPeer(peer)
        let remotes = try await remotes(of: address, deadline)
        var failure = TransportError.unsupportedAddress(address)
        for (turn, remote) in remotes.enumerated() {
            let now = environment.loop.now
            let limit = now + (deadline - now) / (remotes.count - turn)
            do throws(TransportError) {
                let endpoint = try endpoint(for: remote)
                return try await endpoint.dial(remote, expecting: expected, deadline: limit)
            } catch {
                if error == .cancelled { throw error }
                failure = error
            }
        }
        throw failure
    }

    private nonisolated(nonsending) func remotes(
        of address: Multiaddr, _ deadline: Instant
    ) async throws(TransportError) -> [SocketAddress] {
        if let remote = address.socketAddress { return [remote] }
        guard case .name(let name, let family) = address.host, let port = address.port else {
            throw .unsupportedAddress(address)
        }
        var found: [SocketAddress] = []
        var failure = NameError.noRecords
        for type in [RecordType.a, .aaaa] where family == nil || (family == .v4) == (type == .a) {
            do throws(NameError) {
                for case .address(let ip) in try await environment.lookUp(name, type, deadline: deadline) {
                    // As many as anyone needs; whoever holds the name chose their number.
                    if found.count < 8 { found.append(SocketAddress(ip, port: port)) }
                }
            } catch { failure = error }
        }
        guard found.isEmpty else { return found }
        throw failure == .cancelled ? .cancelled : failure == .timedOut ? .timedOut(.lookUp) : .name(failure)
    }

    /// A port from which `remote` can be reached, else a new one. Of several it is one that accepts connections, so that
    /// the other side sees where this host can be dialled, and among those one that is open to the same network.
    private func endpoint(for remote: SocketAddress) throws(TransportError) -> QUICEndpoint {
        let usable = endpoints.filter { $0.port.socket.localAddress.reaches(remote) }
        let listening = usable.filter { $0.inbound != nil }
        let candidates = listening.isEmpty ? usable : listening
        let nearest = candidates.first { $0.port.socket.localAddress.isAsWide(as: remote) }
        if let endpoint = nearest ?? candidates.first { return endpoint }
        return try bind(SocketAddress(remote.ip.isV4 ? .anyV4 : .anyV6, port: 0))
    }

    private func bind(_ address: SocketAddress) throws(TransportError) -> QUICEndpoint {
        guard !isClosed else { throw .cancelled }
        do throws(NetworkError) {
            let endpoint = QUICEndpoint(
                Demultiplexer(try environment.bindUDP(address, options: UDPOptions())), environment: environment,
                hostKey: hostKey, credentials: credentials, limits: limits)
            endpoint.memory = memory
            endpoints.append(endpoint)
            return endpoint
        } catch { throw .network(error) }
    }

    // MARK: Listening

    /// Whether `address` is QUIC v1 at an IP address.
    public func canListen(on address: Multiaddr) -> Bool {
        address.transport == .quicV1 && address.socketAddress != nil
    }

    /// Accepts connections at `address`, whose port may be 0 for any. A port that is open already is used.
    public func listen(on address: Multiaddr, _ inbound: Inbound) throws(TransportError) -> TransportListener {
        guard canListen(on: address), let local = address.socketAddress else { throw .unsupportedAddress(address) }
        var endpoint: QUICEndpoint! = endpoints.first { $0.port.socket.localAddress == local }
        if endpoint == nil { endpoint = try bind(local) }
        guard endpoint.inbound == nil else { throw .network(NetworkError(.addressInUse, "bind", local)) }
        endpoint.inbound = inbound
        return QUICListener(endpoint)
    }

    /// The UDP ports that are open, to share them with other protocols.
    public var ports: [Demultiplexer] { endpoints.map(\.port) }

    /// What all ports have counted together.
    public var statistics: QUICStatistics {
        endpoints.reduce(into: QUICStatistics()) { $0.add($1.statistics) }
    }

    /// Closes all connections and ports.
    public func close() {
        isClosed = true
        watch = nil
        for endpoint in endpoints {
            endpoint.close()
            endpoint.port.close()
        }
        endpoints = []
    }

    // MARK: Moving

    private func interfacesChanged() {
        guard let interfaces = try? environment.interfaces() else { return }
        let addresses = interfaces.filter(\.isUp).map(\.address)
        let outside = interfaces.filter { $0.isUp && !$0.isLoopback }.map(\.address)
        for endpoint in endpoints where endpoint.port.socket.localAddress.ip.isUnspecified {
            let family = endpoint.port.socket.localAddress.ip.family
            guard let next = outside.last(where: { $0.family == family && !$0.isLinkLocal }) else { continue }
            endpoint.moveAll(to: next, awayFrom: { !addresses.contains($0) })
        }
    }
}

/// A QUIC endpoint that accepts connections.
private final class QUICListener: TransportListener {
    private let endpoint: QUICEndpoint

    init(_ endpoint: QUICEndpoint) {
        self.endpoint = endpoint
        super.init(address: .quic(endpoint.port.socket.localAddress))
    }

    override func close() {
        endpoint.inbound = nil
    }
}

extension SocketAddress {
    /// Whether a socket that is bound here can send to `remote` and hear the answer. What is bound to loopback or to a
    /// link goes no further; any other address of this host may, be it by a NAT.
    fileprivate func reaches(_ remote: SocketAddress) -> Bool {
        guard ip.family == remote.ip.family else { return false }
        if ip.isUnspecified { return true }
        if ip.isLoopback || remote.ip.isLoopback { return ip.isLoopback && remote.ip.isLoopback }
        if ip.isLinkLocal || remote.ip.isLinkLocal {
            return ip.isLinkLocal && remote.ip.isLinkLocal && (ip.isV4 || scope == remote.scope)
        }
        return true
    }

    /// Whether a socket that is bound here is open, or bound to an address that is known as widely as that of `remote`.
    fileprivate func isAsWide(as remote: SocketAddress) -> Bool {
        ip.isUnspecified || ip.isGlobal == remote.ip.isGlobal
    }
}
