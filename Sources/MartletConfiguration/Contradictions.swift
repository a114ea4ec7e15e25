import MartletIdentity
import MartletWire

/// What no single key can tell to be wrong: a machine that looks at all values together.
struct Contradictions {
    private(set) var mistakes: [ConfigurationMistake] = []
    private(set) var warnings: [ConfigurationMistake] = []
    private let origin: (String) -> ConfigurationOrigin

    /// Looks at `settings`, whose values come from where `origin` says.
    init(_ settings: Settings, origin: @escaping (String) -> ConfigurationOrigin) {
        self.origin = origin
        bounds(settings)
        listening(settings)
        endpoint(settings)
        notYet(settings)
    }

    private mutating func bounds(_ settings: Settings) {
        let (target, most) = (settings.network.targetConnections, settings.node.maximumConnections)
        // Whoever only lowers the most means the target with it.
        if target > most, origin("network.target_connections") != .byDefault {
            mistakes.append(
                ConfigurationMistake(
                    origin("network.target_connections"),
                    "network.target_connections is \(target), and node.max_connections is only \(most)",
                    "lower the first or raise the second"))
        }
        let topics = settings.network.allTopics.count
        if topics > 32 {
            mistakes.append(
                ConfigurationMistake(
                    place("network.mesh_network", "network.topics"), "there are \(topics) topics with mesh_network",
                    "join at most 32"))
        }
    }

    private mutating func listening(_ settings: Settings) {
        let (node, network) = (settings.node, settings.network)
        for address in node.listen {
            let carrier: Settings.Transport = address.transport == .quicV1 ? .quic : .tcp
            guard !network.transports.contains(carrier) else { continue }
            mistakes.append(
                ConfigurationMistake(
                    place("node.listen", "network.transports"),
                    "node.listen has \(address), and network.transports has no \(carrier.rawValue)",
                    "remove the address or add the transport"))
        }
        if !node.listen.isEmpty, node.listenPort != 0 {
            warnings.append(
                ConfigurationMistake(
                    place("node.listen_port", "node.listen"), "node.listen_port is not used where node.listen is given",
                    "remove one of the two"))
        }
        if settings.dht.isEnabled, settings.dht.isPrivate, settings.dht.bootstrap.isEmpty, network.bootstrap.isEmpty,
            node.role != .bootstrap
        {
            warnings.append(
                ConfigurationMistake(
                    place("dht.private", "dht.enabled"), "the private DHT has nobody to begin with",
                    "name a node in dht.bootstrap or network.bootstrap, or set node.role to bootstrap if this is the first"
                ))
        }
    }

    private mutating func endpoint(_ settings: Settings) {
        guard let http = settings.operator.http, !http.ip.unmapped.isLoopback, settings.operator.tokenFile == nil else {
            return
        }
        mistakes.append(
            ConfigurationMistake(
                place("operator.http", "operator.token_file"),
                "operator.http is \(http), which other machines reach, without a token",
                "name a file with a token in operator.token_file, or use 127.0.0.1:\(http.port)"))
    }

    private mutating func notYet(_ settings: Settings) {
        func warn(_ key: String, _ what: String, _ advice: String) {
            warnings.append(ConfigurationMistake(origin(key), what, advice))
        }
        if settings.node.role == .relay || settings.node.role == .worker {
            warn(
                "node.role", "node.role is '\(settings.node.role.rawValue)', which does nothing yet in this version",
                "the node runs as a peer")
        }
        if settings.network.usesMDNS {
            warn(
                "network.enable_mdns", "network.enable_mdns is true, and this version does not do it yet",
                "peers are found by the DHT and by network.bootstrap")
        }
        if settings.network.usesRelay {
            warn(
                "network.enable_relay", "network.enable_relay is true, and this version does not do it yet",
                "only direct connections are made")
        }
    }

    /// Where `key` was set, or if nobody set it, the `other` that it does not go with.
    private func place(_ key: String, _ other: String) -> ConfigurationOrigin {
        let own = origin(key)
        return own == .byDefault ? origin(other) : own
    }
}
