import Foundation
import Martlet
import MartletConfiguration

extension NodeConfiguration {
    /// What `settings` ask of a node. Its files are kept where `Settings.dataDirectory` says.
    init(_ settings: Settings) {
        self.init(topics: settings.network.allTopics, name: settings.node.name)
        role = Role(settings.node.role)
        listen = settings.listenAddresses
        bootstrap = settings.network.bootstrap.map { BootstrapAddress($0) }
        dataDirectory = settings.dataDirectory
        dht = settings.dht.isEnabled ? MainlineConfiguration(settings.dht) : nil
        targetConnections = min(settings.network.targetConnections, settings.node.maximumConnections)
        maximumConnections = settings.node.maximumConnections
        heartbeat = settings.node.heartbeatInterval
        connectionTimeout = settings.network.connectionTimeout
        protocolVersion = settings.network.protocolVersion
        capabilities = settings.node.capabilities
        services = settings.node.services.map { .init(name: $0.name, port: $0.port, description: $0.description) }
        sharesPrivateAddresses = settings.network.sharesPrivateAddresses
        access = AccessLists(allow: settings.network.allow, block: settings.network.block)
        store.peers = settings.store.peers
        store.fileSize = settings.store.megabytes << 20
        store.addresses = settings.store.addresses
        store.peerAge = settings.store.peerAge
        store.strangerAge = settings.store.strangerAge
        store.writeInterval = settings.store.writeInterval
        transports.usesQUIC = settings.network.transports.contains(.quic)
        transports.usesTCP = settings.network.transports.contains(.tcp)
    }
}

extension Settings {
    /// Where the node listens: where that is said, there; otherwise on all interfaces at one port.
    var listenAddresses: [Multiaddr] {
        guard node.listen.isEmpty else { return node.listen }
        let port = node.listenPort
        return network.transports.flatMap { transport in
            [IPAddress.anyV4, .anyV6].map { ip in
                switch transport {
                case .quic: Multiaddr(.ip(ip), .udp(port), .quicV1)
                case .tcp: Multiaddr(.ip(ip), .tcp(port))
                }
            }
        }
    }

    /// The folder of the node's files: the one that is named, `~` being the user's, or the usual one.
    var dataDirectory: String {
        let folders = UserFolders()
        return node.dataDirectory.map(folders.expanded) ?? folders.martlet
    }
}

extension Settings.Log {
    /// The levels of all subsystems.
    var logLevels: LogLevels {
        let result = LogLevels(level)
        for subsystem in levels { result.set(subsystem.name, to: subsystem.level) }
        return result
    }

    /// What writes lines to standard error in the form that is asked for.
    func sink(now: @escaping @Sendable () -> WallTime) -> any LogSink {
        switch format {
        case .auto where isatty(STDERR_FILENO) == 1, .text: TextLogSink(now: now)
        case .auto, .json: JSONLogSink(now: now)
        }
    }
}

extension NodeConfiguration.Role {
    /// The same by its name here.
    fileprivate init(_ role: Settings.Role) {
        self =
            switch role {
            case .peer: .peer
            case .bootstrap: .bootstrap
            case .relay: .relay
            case .worker: .worker
            }
    }
}

extension BootstrapAddress {
    /// The same as a node takes it.
    fileprivate init(_ bootstrap: Settings.Bootstrap) {
        self =
            switch bootstrap {
            case .multiaddr(let address): .multiaddr(address)
            case .hostPort(let place): .hostPort(place.host, place.port)
            }
    }
}

extension MainlineConfiguration {
    /// What `settings` ask of the DHT.
    fileprivate init(_ settings: Settings.DHT) {
        let nodes = settings.bootstrap.map { BootstrapNode($0.host, port: $0.port) }
        if settings.isPrivate {
            self.init(privateWith: nodes)
        } else {
            self.init()
            if !nodes.isEmpty { bootstrap = nodes }
        }
        isReadOnly = settings.isReadOnly
    }
}

extension AccessLists {
    /// The lists that `allow` and `block` are together.
    fileprivate init(allow: [Settings.Access], block: [Settings.Access]) {
        self.init()
        for entry in block {
            switch entry {
            case .peer(let peer): blockedPeers.insert(peer)
            case .network(let address, let length): blockedNetworks.insert(IPBlock(address, length: length))
            }
        }
        for entry in allow {
            switch entry {
            case .peer(let peer): allowedPeers = (allowedPeers ?? []).union([peer])
            case .network(let address, let length):
                allowedNetworks = (allowedNetworks ?? []).union([IPBlock(address, length: length)])
            }
        }
    }
}
