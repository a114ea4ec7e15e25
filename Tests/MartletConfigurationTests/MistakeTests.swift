import MartletConfiguration
import MartletWire
import Testing

/// The configuration that the file `text` makes, which messages call `f`.
func configuration(_ text: String) -> Configuration {
    var configuration = Configuration()
    configuration.read(Bytes(utf8: text), named: "f")
    return configuration
}

/// A file with one mistake, and the line that is to be said of it.
struct MistakeCase: Sendable, CustomTestStringConvertible {
    let text: String
    let message: String
    var testDescription: String { message }

    init(_ text: String, _ message: String) {
        self.text = text
        self.message = message
    }
}

@Suite("Mistakes in a configuration")
struct MistakeTests {
    static let keys = [
        MistakeCase("node:\n  listen_prot: 1\n", "f:2:3: node has no key 'listen_prot'; did you mean 'listen_port'?"),
        MistakeCase("node:\n  quux: 1\n", "f:2:3: node has no key 'quux'; 'martlet config reference' shows all keys"),
        MistakeCase("node:\n  topics: [a]\n", "f:2:3: node has no key 'topics'; write 'topics' below 'network:'"),
        MistakeCase("nodes:\n  name: a\n", "f:1:1: there is no section 'nodes'; did you mean 'node'?"),
        MistakeCase(
            "quux: 1\n",
            "f:1:1: there is no section 'quux'; the sections are node, network, dht, store, operator, control, log"),
        MistakeCase("listen_port: 1\n", "f:1:1: there is no section 'listen_port'; write 'listen_port' below 'node:'"),
        MistakeCase("node.role: peer\n", "f:1:1: there is no section 'node.role'; write 'role' below 'node:'"),
        MistakeCase(
            "node: [a]\n",
            "f:1:7: node is a list; write its keys below it, indented, as 'martlet config reference' does"),
        MistakeCase(
            "just words\n",
            "f:1:1: the file is 'just words'; write keys with their values, as 'martlet config reference' does"),
        MistakeCase(
            "node:\n  name: a\n  role: peer\n  name: b\n",
            "f:4:3: 'name' stands here a second time, after line 2; keep one of the two"),
    ]

    static let values = [
        MistakeCase(
            "node:\n  listen_port: abc\n",
            "f:2:16: node.listen_port is 'abc'; write a whole number from 0 to 65535"),
        MistakeCase(
            "node: {listen_port: 65536}",
            "f:1:21: node.listen_port is '65536', which is too large; write a whole number from 0 to 65535"),
        MistakeCase(
            "node: {max_connections: 0}",
            "f:1:25: node.max_connections is '0', which is too small; write a whole number from 4 to 10000"),
        MistakeCase(
            "node: {max_connections: 99999999999999999999}",
            "f:1:25: node.max_connections is '99999999999999999999', which is too large; write a whole number from 4 to"
                + " 10000"),
        MistakeCase(
            "node: {listen_port: 1.5}", "f:1:21: node.listen_port is '1.5'; write a whole number from 0 to 65535"),
        MistakeCase(
            "node:\n  listen_port:\n  - 1\n",
            "f:3:3: node.listen_port is a list; write a whole number from 0 to 65535"),
        MistakeCase(
            "node: {heartbeat_interval: 15 minutes}",
            "f:1:28: node.heartbeat_interval is '15 minutes'; write a duration from 1s to 1h, such as 15s, 500ms, 2m or 1h"
        ),
        MistakeCase(
            "node: {heartbeat_interval: 10ms}",
            "f:1:28: node.heartbeat_interval is '10ms', which is too short; write a duration from 1s to 1h, such as 15s,"
                + " 500ms, 2m or 1h"),
        MistakeCase(
            "network: {connection_timeout: 1h}",
            "f:1:31: network.connection_timeout is '1h', which is too long; write a duration from 1s to 5m, such as 15s,"
                + " 500ms, 2m or 1h"),
        MistakeCase(
            "node: {role: pear}",
            "f:1:14: node.role is 'pear'; did you mean 'peer'? It may be peer, bootstrap, relay or worker"),
        MistakeCase("node: {role: king}", "f:1:14: node.role is 'king'; write peer, bootstrap, relay or worker"),
        MistakeCase("dht: {enabled: maybe}", "f:1:16: dht.enabled is 'maybe'; write true or false"),
        MistakeCase("network: {topics: chess}", "f:1:19: network.topics is 'chess'; write a list, as in [chess]"),
        MistakeCase(
            "network: {topics: [a, \"\"]}",
            "f:1:23: an entry of network.topics is '', which is empty; write a name of at most 256 bytes"),
        MistakeCase(
            "network: {transports: [quic, udp]}",
            "f:1:30: an entry of network.transports is 'udp'; write quic or tcp"),
        MistakeCase("network: {transports: []}", "f:1:23: network.transports has 0 entries; write 1 to 2"),
        MistakeCase("log: {level: verbose}", "f:1:14: log.level is 'verbose'; write \(levels)"),
        MistakeCase(
            "log: {levels: {quic: loud}}", "f:1:22: the level of 'quic' is 'loud'; write \(levels)"),
        MistakeCase(
            "log: {levels: debug}",
            "f:1:15: log.levels is 'debug'; write subsystems with their levels, as in {quic: debug, dht: warning}"),
        MistakeCase(
            "node: {services: [{nam: web}]}", "f:1:20: a service has no 'nam'; did you mean 'name'?"),
        MistakeCase(
            "node: {services: [{port: 1}]}",
            "f:1:19: an entry of node.services has no name; write a group such as {name: web, port: 8080, description:"
                + " \"Our pages\"}"),
    ]

    private static let levels = "trace, debug, info, notice, warning, error or critical"

    static let addresses = [
        MistakeCase(
            "network: {bootstrap: [nowhere]}",
            "f:1:23: an entry of network.bootstrap is 'nowhere', which has no port; write nowhere:PORT"),
        MistakeCase(
            "network: {bootstrap: ['host:0']}",
            "f:1:23: an entry of network.bootstrap is 'host:0', whose port is no number from 1 to 65535; \(bootstrap)"),
        MistakeCase(
            "network: {bootstrap: ['2001:db8::1']}",
            "f:1:23: an entry of network.bootstrap is '2001:db8::1', which has no port; write [2001:db8::1]:PORT"),
        MistakeCase(
            "network: {bootstrap: [/ip4/1.2.3.400/tcp/1]}",
            "f:1:23: an entry of network.bootstrap is '/ip4/1.2.3.400/tcp/1', in which ip4 has a value that"
                + " it cannot have; \(bootstrap)"),
        MistakeCase(
            "network: {bootstrap: [/ip4/1.2.3.4/ucp/1]}",
            "f:1:23: an entry of network.bootstrap is '/ip4/1.2.3.4/ucp/1', in which 'ucp' is no protocol; \(bootstrap)"
        ),
        MistakeCase(
            "network: {bootstrap: [/ip4/1.2.3.4/udp/1]}",
            "f:1:23: an entry of network.bootstrap is '/ip4/1.2.3.4/udp/1', which nothing of this version can dial;"
                + " \(bootstrap)"),
        MistakeCase(
            "dht: {bootstrap: [/ip4/1.2.3.4/udp/1]}",
            "f:1:19: an entry of dht.bootstrap is '/ip4/1.2.3.4/udp/1'; write a host and a port, such as"
                + " bootstrap.example:4001 or [2001:db8::1]:4001"),
        MistakeCase(
            "node: {listen: [/dns/a.example/tcp/1]}",
            "f:1:17: an entry of node.listen is '/dns/a.example/tcp/1', where nothing of this version can listen; write"
                + " an address such as /ip4/0.0.0.0/udp/4001/quic-v1 or /ip4/0.0.0.0/tcp/4001"),
        MistakeCase(
            "network: {block: [192.0.2.0/33]}",
            "f:1:19: an entry of network.block is '192.0.2.0/33', whose length is no number from 0 to 32; write a"
                + " peer's id, an IP address, or a network such as 192.0.2.0/24"),
        MistakeCase(
            "operator: {http: ':9090'}",
            "f:1:18: operator.http is ':9090'; write an IP address and a port, such as 127.0.0.1:9090"
        ),
        MistakeCase(
            "operator: {http: '0.0.0.0:9090'}",
            "f:1:12: operator.http is 0.0.0.0:9090, which other machines reach, without a token; name a file with a"
                + " token in operator.token_file, or use 127.0.0.1:9090"),
        MistakeCase(
            "network: {target_connections: 300}",
            "f:1:11: network.target_connections is 300, and node.max_connections is only 256; lower the first or raise"
                + " the second"),
        MistakeCase(
            "node: {listen: [/ip4/0.0.0.0/tcp/1]}\nnetwork: {transports: [quic]}",
            "f:1:8: node.listen has /ip4/0.0.0.0/tcp/1, and network.transports has no tcp; remove the address or add the"
                + " transport"),
    ]

    private static let bootstrap =
        "write an address such as /ip4/192.0.2.1/udp/4001/quic-v1/p2p/ID, or a host and a port such as"
        + " bootstrap.example:4001"

    static let form = [
        MistakeCase(
            "node:\n\tname: a\n",
            "f:2:1: no value can begin with this character; indent with blanks instead of tabs, and put quotes around a"
                + " text that begins with @, ` or %"),
        MistakeCase(
            "node:\n  name: a: b\n",
            "f:2:10: there is a ':' where no key can stand; check the indentation of this line, and put quotes around a"
                + " text that holds ': '"),
        MistakeCase(
            "node:\n  name\n  role: peer\n",
            "f:3:7: there is a ':' where no key can stand; check the indentation of this line, and put quotes around a"
                + " text that holds ': '"),
        MistakeCase(
            "node:\n    name: a\n  role: peer\n",
            "f:3:3: this does not stand below what is above it; keys of one group, and entries of one list, begin in the"
                + " same column"),
        MistakeCase(
            "network: {topics: [a, b}\n",
            "f:1:24: a list is not closed; write ',' between its entries and ']' behind it"),
        MistakeCase("node: {name: \"a}\n", "f:2:1: a text in quotes is not closed; write the quote that ends it"),
        MistakeCase(
            "node: &n {name: a}\n",
            "f:1:7: aliases (*name) and anchors (&name) are not used here; write the value out where it is wanted"),
        MistakeCase(
            "node: {name: *n}\n",
            "f:1:14: aliases (*name) and anchors (&name) are not used here; write the value out where it is wanted"),
        MistakeCase(
            "node: {name: !!str 5}\n",
            "f:1:14: tags (!name) are not used here; write the value alone, in quotes to make it a text"),
        MistakeCase(
            "node: {}\n---\nlog: {}\n",
            "f:2:1: a second document begins here; a configuration is one document; remove the line '---' or what"
                + " follows"),
        MistakeCase(
            "%TAG ! a\n---\nnode: {}\n",
            "f:1:1: a line begins with '%'; directives are not used here; remove the line, or put quotes around the text"
        ),
        MistakeCase(
            "node: {name: a\u{0}}", "f:1:15: there is an invisible character, U+0; remove it; is this the right file?"),
        MistakeCase("? [a]\n: b\n", "f:1:3: a key is a list; a key is one word"),
    ]

    @Test("are told with their place, what is wrong and what to write", arguments: keys + values + addresses + form)
    func mistake(wrong: MistakeCase) {
        #expect(configuration(wrong.text).mistakes.map(\.description) == [wrong.message])
    }

    @Test("are told all at once, in the order of the file")
    func all() {
        let text = """
            network:
              topics: chess
              enable_mnds: true
            node:
              role: pear
              listen_port: -1
              name: a
            """
        let found = configuration(text)
        #expect(found.mistakes.map(\.origin.place) == ["f:2:11", "f:3:3", "f:5:9", "f:6:16"])
        #expect(found.settings.node.name == "a", "what is right is read beside what is wrong")
    }

    @Test("show nothing of a value that a terminal would obey, and only the beginning of a long one")
    func shown() {
        let long = String(repeating: "x", count: 1000)
        #expect(
            configuration("node: {role: \"\\e[2J\\u202E\"}").mistakes[0].problem == "node.role is '\\u{1b}[2J\\u{202e}'"
        )
        #expect(
            configuration("node: {role: \(long)}").mistakes[0].problem == "node.role is '\(long.prefix(60))…'")
    }

    @Test("are told by name where the environment or a flag has them")
    func elsewhere() {
        var configuration = Configuration()
        configuration.set("node.listen", to: ["/ip4/1"], by: "--listen")
        configuration.setLogLevels("loud,quic=debug", by: "--log-level")
        configuration.read(environment: ["MARTLET_NODE_LISTEN_PORT": "x", "MARTLET_DHT_ENABLED": "2", "HOME": "/"])
        #expect(
            configuration.mistakes.map(\.description) == [
                "MARTLET_DHT_ENABLED: dht.enabled is '2'; write true or false",
                "MARTLET_NODE_LISTEN_PORT: node.listen_port is 'x'; write a whole number from 0 to 65535",
                "--listen: an entry of node.listen is '/ip4/1', in which ip4 has a value that it cannot"
                    + " have; write an address such as /ip4/0.0.0.0/udp/4001/quic-v1 or /ip4/0.0.0.0/tcp/4001",
                "--log-level: log.level is 'loud'; write trace, debug, info, notice, warning, error or critical",
            ])
    }

    @Test("are not made of what this version does not do yet, which is warned of")
    func notYet() {
        let found = configuration(
            "node: {role: relay, listen_port: 1, listen: [/ip4/0.0.0.0/tcp/1]}\n"
                + "network: {enable_mdns: true, enable_relay: yes}\ndht: {private: true}")
        #expect(found.mistakes.isEmpty)
        #expect(
            found.warnings.map(\.description) == [
                "f:1:8: node.role is 'relay', which does nothing yet in this version; the node runs as a peer",
                "f:1:21: node.listen_port is not used where node.listen is given; remove one of the two",
                "f:2:11: network.enable_mdns is true, and this version does not do it yet; peers are found by the DHT and"
                    + " by network.bootstrap",
                "f:2:30: network.enable_relay is true, and this version does not do it yet; only direct connections are"
                    + " made",
                "f:3:7: the private DHT has nobody to begin with; name a node in dht.bootstrap or network.bootstrap, or set"
                    + " node.role to bootstrap if this is the first",
            ])
    }
}
