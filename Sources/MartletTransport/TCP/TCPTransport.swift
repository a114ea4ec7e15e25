public import MartletIdentity
public import MartletRuntime
internal import MartletWire

/// Connections over TCP, secured and divided by an `Upgrader`: `/ip4|ip6|dns|dns4|dns6/…/tcp/N`.
public final class TCPTransport: Transport {
    /// `tcp`.
    public let name = "tcp"
    private let environment: any Environment
    private let upgrader: Upgrader
    private let options: TCPOptions

    /// A transport on the loop of `environment`.
    ///
    /// `options` are used for every socket. What is queued in front of the kernel is kept short by default: what waits
    /// there can no longer be overtaken by another stream.
    public init(environment: any Environment, upgrader: Upgrader, options: TCPOptions? = nil) {
        self.environment = environment
        self.upgrader = upgrader
        var short = TCPOptions()
        short.highWaterMark = 256 << 10
        short.lowWaterMark = 64 << 10
        self.options = options ?? short
    }

    /// Whether the address is one of TCP that leaves open what secures it.
    public func canDial(_ address: Multiaddr) -> Bool {
        address.transport == .tcp && !address.contains(.tls)
    }

    /// Whether the address is an IP address and a TCP port.
    public func canListen(on address: Multiaddr) -> Bool {
        canDial(address) && address.socketAddress != nil
    }

    /// Looks up the address's name where it has one, tries what that leads to in turns, and upgrades the first that
    /// answers. A peer that does not speak what the upgrader likes best is connected to once more, for the next best.
    public nonisolated(nonsending) func dial(
        _ address: Multiaddr, expecting peer: PeerID?, deadline: Instant
    ) async throws(TransportError) -> Connection {
        guard canDial(address) else { throw .unsupportedAddress(address) }
        let expected = try address.expectedPeer(peer)
        // One at a time, so that each can begin without waiting for an answer. What began in vain has spoilt the stream,
        // so the next one gets a new one; nearly all peers speak the first.
        for security in upgrader.security {
            let stream = try await connect(to: address, deadline)
            let request = UpgradeRequest(
                direction: .outbound, expectedPeer: expected,
                localAddress: Multiaddr(stream.localAddress), remoteAddress: Multiaddr(stream.remoteAddress),
                transport: name, deadline: deadline)
            if let connection = try await upgrader.upgrade(stream, request, by: [security]) {
                try connection.mustBeOpen()
                return connection
            }
        }
        throw .negotiation(.noneInCommon)
    }

    private nonisolated(nonsending) func connect(
        to address: Multiaddr, _ deadline: Instant
    ) async throws(TransportError) -> ByteStream {
        if let direct = address.socketAddress { return try await connect(to: [direct], deadline) }
        guard case .name(let name, let family) = address.host, let port = address.port else {
            throw .unsupportedAddress(address)
        }
        if let family {
            return try await connect(to: try await lookUp(name, family, port: port, deadline), deadline)
        }
        do throws(DialError) {
            return try await environment.connectTCP(name: name, port: port, options: options, deadline: deadline)
        } catch {
            switch error {
            case .name(let error): throw error == .timedOut ? .timedOut(.lookUp) : .name(error)
            case .unreachable(let errors): throw Self.error(errors.last ?? NetworkError(.unreachable, "connect"))
            case .cancelled: throw .cancelled
            }
        }
    }

    private nonisolated(nonsending) func connect(
        to addresses: [SocketAddress], _ deadline: Instant
    ) async throws(TransportError) -> ByteStream {
        var last = NetworkError(.unreachable, "connect")
        for (index, address) in addresses.enumerated() {
            // What is left is shared out evenly, so that one that is silent does not use it up.
            let left = deadline - environment.loop.now
            let share = environment.loop.now + left / (addresses.count - index)
            do throws(NetworkError) {
                return try await environment.connectTCP(address, from: nil, options: options, deadline: share)
            } catch {
                guard error.reason != .cancelled else { throw .cancelled }
                last = error
            }
        }
        throw Self.error(last)
    }

    private nonisolated(nonsending) func lookUp(
        _ name: String, _ family: IPAddress.Family, port: UInt16, _ deadline: Instant
    ) async throws(TransportError) -> [SocketAddress] {
        do throws(NameError) {
            let records = try await environment.lookUp(name, family == .v4 ? .a : .aaaa, deadline: deadline)
            return records.compactMap {
                if case .address(let ip) = $0, ip.family == family { SocketAddress(ip, port: port) } else { nil }
            }
        } catch {
            throw error == .timedOut ? .timedOut(.lookUp) : error == .cancelled ? .cancelled : .name(error)
        }
    }

    private static func error(_ error: NetworkError) -> TransportError {
        error.reason == .timedOut ? .timedOut(.connect) : .network(error)
    }

    /// Accepts TCP connections at `address` and upgrades them.
    public func listen(on address: Multiaddr, _ inbound: Inbound) throws(TransportError) -> TransportListener {
        guard canListen(on: address), let socketAddress = address.socketAddress else {
            throw .unsupportedAddress(address)
        }
        do throws(NetworkError) {
            let listener = try environment.listenTCP(socketAddress, options: options)
            return Listener(listener, upgrader, inbound, transport: name)
        } catch {
            throw .network(error)
        }
    }

    private final class Listener: TransportListener {
        private let listener: TCPListener

        init(_ listener: TCPListener, _ upgrader: Upgrader, _ inbound: Inbound, transport: String) {
            self.listener = listener
            super.init(address: .tcp(listener.localAddress))
            listener.onConnection = { stream in
                let remoteAddress = Multiaddr(stream.remoteAddress)
                // The kernel's handshake has proven the address.
                guard case .admitted(let admission) = inbound.admit(remoteAddress, true) else {
                    return stream.reset()
                }
                let loop = stream.loop
                loop.spawn("upgrade") {
                    let request = UpgradeRequest(
                        direction: .inbound, localAddress: Multiaddr(stream.localAddress),
                        remoteAddress: remoteAddress, transport: transport, deadline: loop.now + .seconds(60))
                    do throws(TransportError) {
                        inbound.connected(try await upgrader.upgrade(stream, request), admission)
                    } catch {
                        admission.giveBack()
                        inbound.failed(remoteAddress, error)
                    }
                }
            }
        }

        override func close() {
            listener.close()
        }
    }
}

extension Multiaddr {
    /// The address of one end of a TCP connection.
    fileprivate init(_ address: SocketAddress?) {
        self = .tcp((address ?? SocketAddress(.anyV4, port: 0)).unmapped)
    }
}
