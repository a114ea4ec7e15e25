import MartletConfiguration
import MartletIdentity
import MartletRuntime
import MartletWire
import Testing

@Suite("Configuration")
struct ConfigurationTests {
    @Test("the reference is a valid file, without warnings, whose values are the defaults")
    func reference() {
        let read = configuration(ConfigurationReference.file)
        #expect(read.mistakes.isEmpty && read.warnings.isEmpty)
        #expect(read.settings == Settings())
        for key in ConfigurationKey.all { #expect(read.origin(of: key.path) != .byDefault, "\(key.path) is missing") }
        #expect(ConfigurationReference.file.split(separator: "\n").allSatisfy { $0.count <= 132 })
    }

    @Test(
        "nothing at all is a valid file",
        arguments: ["", "\n", "# only a comment\n", "---\n", "~", "node:\nlog:\n", "\u{FEFF}"])
    func nothing(text: String) {
        let read = configuration(text)
        #expect(read.mistakes.isEmpty && read.settings == Settings())
    }

    @Test(
        "every key has a sentence, an example that it takes, and a place in a section",
        arguments: ConfigurationKey.all.map(\.path))
    func key(path: String) throws {
        let key = try #require(ConfigurationKey.named(path))
        #expect(key.summary.last == "." && key.summary.first?.isUppercase == true)
        #expect(ConfigurationSection.all.map(\.name).contains(key.section))
        let extra = path == "operator.http" ? "" : "\noperator: {token_file: x}"
        let read = configuration(
            "\(key.section):\n  \(key.name): \(key.example)\n" + (key.section == "operator" ? "" : extra))
        #expect(read.mistakes.isEmpty, "\(read.mistakes)")
        #expect(read.origin(of: path) == .file("f", SourcePosition(line: 2, column: 3)))
        // What is shown is read as the same again.
        let shown = key.value(in: read.settings).yaml
        let again = configuration("\(key.section):\n  \(key.name): \(shown)\n")
        #expect(key.value(in: again.settings) == key.value(in: read.settings), "\(shown)")
    }

    @Test("no two keys have one name or one variable, and every section has keys")
    func names() {
        let keys = ConfigurationKey.all
        #expect(Set(keys.map(\.path)).count == keys.count && Set(keys.map(\.variable)).count == keys.count)
        #expect(ConfigurationSection.all.flatMap(\.keys).map(\.path) == keys.map(\.path))
    }

    /// A file as users of the program before this one have it.
    private static let usersFile = """
        # production
        node:
          role: "relay"
          listen_port: 4001
          capabilities:
            - storage
            - "compute"
          max_connections: 100
          heartbeat_interval: 30

        network:
          protocol_version: "1.0.0"
          mesh_network: harbour
          enable_mdns: true
          enable_relay: on
          connection_timeout: 30s
        """

    @Test("the files that users have are taken as they are")
    func existing() {
        let read = configuration(Self.usersFile)
        var wanted = Settings()
        wanted.node.role = .relay
        wanted.node.listenPort = 4001
        wanted.node.capabilities = ["storage", "compute"]
        wanted.node.maximumConnections = 100
        wanted.node.heartbeatInterval = .seconds(30)
        wanted.network.protocolVersion = "1.0.0"
        wanted.network.meshNetwork = "harbour"
        wanted.network.usesMDNS = true
        wanted.network.usesRelay = true
        wanted.network.connectionTimeout = .seconds(30)
        #expect(read.settings == wanted && read.mistakes.isEmpty && read.warnings.count == 3)
        #expect(read.settings.network.allTopics == ["harbour"])
    }

    @Test("who lowers the most connections need not lower the target with them")
    func lowered() {
        #expect(configuration("node: {max_connections: 10}").mistakes.isEmpty)
    }

    @Test("the environment counts more than the file, and flags count most")
    func precedence() {
        var read = configuration(
            "node: {name: file, listen_port: 1, max_connections: 10}\nnetwork: {target_connections: 5}")
        read.read(environment: [
            "MARTLET_NODE_NAME": "variable", "MARTLET_NODE_LISTEN_PORT": "2", "MARTLET_NODE_ROLE": "",
        ])
        read.set("node.name", to: ["flag"], by: "--name")
        #expect(read.mistakes.isEmpty)
        #expect(read.settings.node.name == "flag" && read.origin(of: "node.name").description == "--name")
        #expect(read.settings.node.listenPort == 2)
        #expect(read.origin(of: "node.listen_port").description == "MARTLET_NODE_LISTEN_PORT")
        #expect(
            read.settings.node.maximumConnections == 10 && read.origin(of: "node.max_connections").description == "f:1")
        #expect(read.settings.node.role == .peer && read.origin(of: "node.role").description == "default")
    }

    @Test("variables hold lists by commas, levels and services in one line")
    func variables() throws {
        var read = Configuration()
        read.read(environment: [
            "MARTLET_NETWORK_TOPICS": "chess, weather", "MARTLET_LOG_LEVELS": "quic=debug,dht=error",
            "MARTLET_NODE_SERVICES": "web:8080,files", "MARTLET_NETWORK_BOOTSTRAP": "a.example:1,/ip4/1.2.3.4/tcp/5",
            "MARTLET_NODE_NAME": "one, two", "MARTLET_CONFIG": "/etc/x",
        ])
        #expect(read.mistakes.isEmpty && read.warnings.isEmpty)
        #expect(read.settings.network.topics == ["chess", "weather"] && read.settings.node.name == "one, two")
        #expect(read.settings.log.levels == [.init(name: "quic", level: .debug), .init(name: "dht", level: .error)])
        #expect(read.settings.node.services == [.init(name: "web", port: 8080), .init(name: "files")])
        let address = try #require(Multiaddr("/ip4/1.2.3.4/tcp/5"))
        #expect(
            read.settings.network.bootstrap == [.hostPort(.init(host: "a.example", port: 1)), .multiaddr(address)])
    }

    @Test("a variable that no key has is warned of")
    func unknownVariables() {
        var read = Configuration()
        read.read(environment: ["MARTLET_NODE_NAM": "a", "MARTLET_X": "b", "PATH": "c"])
        #expect(
            read.warnings.map(\.description) == [
                "MARTLET_NODE_NAM: no key has this variable; did you mean 'MARTLET_NODE_NAME'?",
                "MARTLET_X: no key has this variable; remove it, or see 'martlet config reference'",
            ])
    }

    @Test("flags take the place of a list, and an entry may hold a comma")
    func flags() {
        var read = configuration("network: {topics: [a, b]}")
        read.set("network.topics", to: ["c, d", "e", "e"], by: "--topic")
        read.setLogLevels("debug,quic=trace", by: "--log-level")
        #expect(read.settings.network.topics == ["c, d", "e"])
        #expect(read.settings.log.level == .debug && read.settings.log.levels == [.init(name: "quic", level: .trace)])
    }

    @Test(
        "durations have units, one behind the other, and a bare number is seconds",
        arguments: [
            ("15", .seconds(15)), ("15s", .seconds(15)), ("1500ms", .milliseconds(1500)), ("1.5s", .milliseconds(1500)),
            ("2m", .seconds(120)), ("1m30s", .seconds(90)), ("0.5h", .seconds(1800)), ("'60'", .seconds(60)),
            ("-5s", nil), ("s", nil), ("5 s", nil), ("1m30", nil), ("1e3s", nil), (".s", nil), ("5y", nil),
        ] as [(String, Duration?)])
    func durations(text: String, duration: Duration?) {
        let read = configuration("node:\n  heartbeat_interval: \(text)\n")
        #expect(read.mistakes.isEmpty == (duration != nil))
        #expect(read.settings.node.heartbeatInterval == duration ?? .seconds(15))
    }

    @Test(
        "addresses and networks are told in their canonical form",
        arguments: [
            (
                "network.allow", "[192.0.2.77/24, 2001:DB8::/32, 192.0.2.1]",
                "[\"192.0.2.0/24\", \"2001:db8::/32\", \"192.0.2.1\"]"
            ),
            ("network.bootstrap", "['[2001:DB8:0::1]:80', HOST:1]", "[\"[2001:db8::1]:80\", \"HOST:1\"]"),
            ("operator.http", "localhost:9090", "\"127.0.0.1:9090\""), ("operator.http", "''", "\"\""),
            ("node.listen", "[/ip6/::/tcp/0/]", "[\"/ip6/::/tcp/0\"]"),
        ])
    func canonical(path: String, text: String, shown: String) throws {
        let key = try #require(ConfigurationKey.named(path))
        let read = configuration("\(key.section):\n  \(key.name): \(text)\n")
        #expect(read.mistakes.isEmpty, "\(read.mistakes)")
        #expect(key.value(in: read.settings).yaml == shown)
    }
}
