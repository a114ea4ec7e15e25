extension ConfigurationKey {
    /// All keys in the order of the reference.
    public static let all = nodeKeys + networkKeys + dhtKeys + storeKeys + operatorKeys + logKeys

    private static let topic = ValueKind<String>.text("a name", atMost: 256)
    private static let path = ValueKind<String?>.optional(.text("a path", atMost: 4000))

    private static let nodeKeys = [
        ConfigurationKey(
            "node.name", \.node.name, .text("a name", atMost: 64, orEmpty: true), example: "kestrel",
            "What the node calls itself towards those on its topics."),
        ConfigurationKey(
            "node.role", \.node.role, .choice(), example: "bootstrap",
            "What the node is for: one among others, or one where others begin; relay and worker do nothing yet."),
        ConfigurationKey(
            "node.listen_port", \.node.listenPort, .port, example: "4001",
            "The port of QUIC (UDP) and TCP on all interfaces; 0 takes any that is free."),
        ConfigurationKey(
            "node.listen", \.node.listen,
            .list(of: .listenAddress, atMost: 32, example: "[/ip4/0.0.0.0/udp/4001/quic-v1]"),
            example: "[/ip4/0.0.0.0/udp/4001/quic-v1, /ip4/0.0.0.0/tcp/4001]",
            "Where to listen in place of what listen_port says."),
        ConfigurationKey(
            "node.capabilities", \.node.capabilities,
            .list(of: .text("a name", atMost: 64), atMost: 32, example: "[storage]"), example: "[storage, compute]",
            "What the node can do, by names that mean something to its peers."),
        ConfigurationKey(
            "node.services", \.node.services, .list(of: .service, atMost: 32, example: "[{name: web, port: 8080}]"),
            example: "[{name: web, port: 8080, description: \"Our pages\"}]",
            "What the node offers beside that, with the port that it is at."),
        ConfigurationKey(
            "node.max_connections", \.node.maximumConnections, .number(4...10_000), example: "512",
            "The most connections that are kept; beyond them, the least valuable are closed."),
        ConfigurationKey(
            "node.heartbeat_interval", \.node.heartbeatInterval, .duration(.seconds(1) ... .seconds(3600)),
            example: "30s", "How often connections are measured."),
        ConfigurationKey(
            "node.data_dir", \.node.dataDirectory, path, example: "/var/lib/martlet",
            "The folder of the identity, the database and the control socket; without it, the usual one of the user."),
    ]

    private static let networkKeys = [
        ConfigurationKey(
            "network.protocol_version", \.network.protocolVersion, .text("a name", atMost: 64), example: "martlet/1",
            "What the node says of the network that it belongs to."),
        ConfigurationKey(
            "network.mesh_network", \.network.meshNetwork, .text("a name", atMost: 256, orEmpty: true),
            example: "harbour", "The name of a network: a topic that is joined beside those of topics."),
        ConfigurationKey(
            "network.topics", \.network.topics, .list(of: topic, atMost: 32, example: "[chess]"),
            example: "[chess, weather]", "The topics to join; nodes on the same topic find each other."),
        ConfigurationKey(
            "network.bootstrap", \.network.bootstrap,
            .list(of: .bootstrap, atMost: 64, example: "[bootstrap.example:4001]"),
            example: "[bootstrap.example:4001, /ip4/192.0.2.1/udp/4001/quic-v1]",
            "Nodes to begin with, which works without any DHT."),
        ConfigurationKey(
            "network.target_connections", \.network.targetConnections, .number(1...1000), example: "16",
            "How many peers on its topics the node connects to; of the others it learns from them."),
        ConfigurationKey(
            "network.share_private_addresses", \.network.sharesPrivateAddresses, .flag, example: "false",
            "Whether neighbours on a topic are told addresses of the local network."),
        ConfigurationKey(
            "network.enable_mdns", \.network.usesMDNS, .flag, example: "false",
            "Looking for peers by multicast, which this version does not do yet."),
        ConfigurationKey(
            "network.enable_relay", \.network.usesRelay, .flag, example: "false",
            "Passing traffic on for others, which this version does not do yet."),
        ConfigurationKey(
            "network.connection_timeout", \.network.connectionTimeout, .duration(.seconds(1) ... .seconds(300)),
            example: "5s", "How long making a connection may take."),
        ConfigurationKey(
            "network.transports", \.network.transports,
            .list(of: .choice(), atMost: 2, example: "[quic, tcp]", orNone: false), example: "[quic]",
            "What carries connections."),
        ConfigurationKey(
            "network.allow", \.network.allow, .list(of: .access, atMost: 1000, example: "[192.0.2.0/24]"),
            example: "[192.0.2.0/24, \"2001:db8::/32\"]",
            "Who is let in: only these peers, where any is named, and only from these networks, where any is named."),
        ConfigurationKey(
            "network.block", \.network.block, .list(of: .access, atMost: 1000, example: "[192.0.2.7]"),
            example: "[192.0.2.7]",
            "Who is never let in: peers, and whoever comes from these networks; it counts more than allow."),
    ]

    private static let dhtKeys = [
        ConfigurationKey(
            "dht.enabled", \.dht.isEnabled, .flag, example: "false",
            "Whether the node takes part in the DHT, under the same port as QUIC."),
        ConfigurationKey(
            "dht.private", \.dht.isPrivate, .flag, example: "true",
            "Whether that is a DHT apart from the public one, in which local addresses count too."),
        ConfigurationKey(
            "dht.bootstrap", \.dht.bootstrap,
            .list(of: .hostPort, atMost: 64, example: "[bootstrap.example:4001]"), example: "[bootstrap.example:4001]",
            "Nodes of the DHT to begin with; where the list is empty, those that everybody begins with, or nobody if private."
        ),
        ConfigurationKey(
            "dht.read_only", \.dht.isReadOnly, .flag, example: "true",
            "Whether the node only asks and never answers, for one that must not work for others."),
    ]

    private static let storeKeys = [
        ConfigurationKey(
            "store.peers", \.store.peers, .number(100...1_000_000), example: "5000",
            "The most peers that are remembered."),
        ConfigurationKey(
            "store.megabytes", \.store.megabytes, .number(8...65_536), example: "32",
            "The most megabytes of the database; beyond them the least valuable peers are forgotten."),
        ConfigurationKey(
            "store.addresses", \.store.addresses, .number(1...256), example: "16",
            "The most addresses of a peer that are remembered."),
        ConfigurationKey(
            "store.peer_age", \.store.peerAge, .duration(.seconds(60) ... .seconds(3650 * 86_400)), example: "90d",
            "How long a peer is remembered that was connected once and is not heard of again."),
        ConfigurationKey(
            "store.stranger_age", \.store.strangerAge, .duration(.seconds(60) ... .seconds(3650 * 86_400)),
            example: "1d", "How long a peer is remembered that was never connected."),
        ConfigurationKey(
            "store.write_interval", \.store.writeInterval, .duration(.milliseconds(10) ... .seconds(60)),
            example: "1s", "How long a change may wait to be written with others."),
    ]

    private static let operatorKeys = [
        ConfigurationKey(
            "operator.http", \.operator.http, .optional(.http), example: "127.0.0.1:9090",
            "Where metrics, health and profiles are served; anywhere but on loopback only with a token."),
        ConfigurationKey(
            "operator.token_file", \.operator.tokenFile, path, example: "/etc/martlet/token",
            "The file with the token that whoever asks must show, readable by the node alone."),
        ConfigurationKey(
            "control.socket", \.control.socket, .optional(.text("a path", atMost: 100)),
            example: "/run/martlet/control.sock",
            "The path of the control socket; without it, one in the data directory."),
    ]

    private static let logKeys = [
        ConfigurationKey(
            "log.level", \.log.level, .level, example: "debug", "From which level on lines are written."),
        ConfigurationKey(
            "log.format", \.log.format, .choice(), example: "json",
            "Lines for people or for programs; auto is text on a terminal and JSON elsewhere."),
        ConfigurationKey(
            "log.levels", \.log.levels, .levels, example: "{quic: debug, dht: warning}",
            "Levels of single subsystems, in place of level."),
    ]
}
