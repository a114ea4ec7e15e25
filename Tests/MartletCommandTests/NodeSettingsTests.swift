import Foundation
import Martlet
import MartletConfiguration
import Testing

@testable import MartletCommand

@Suite("What settings ask of a node")
struct NodeSettingsTests {
    private func settings(_ text: String) -> Settings {
        var configuration = Configuration()
        configuration.read(Bytes(utf8: text), named: "f")
        #expect(configuration.mistakes.isEmpty, "\(configuration.mistakes)")
        return configuration.settings
    }

    @Test("the defaults are those of the node")
    func defaults() {
        let (asked, plain) = (NodeConfiguration(Settings()), NodeConfiguration())
        #expect(asked.name == plain.name && asked.role == plain.role && asked.topics == plain.topics)
        #expect(asked.listen == plain.listen && asked.bootstrap == plain.bootstrap && asked.dht == plain.dht)
        #expect(asked.targetConnections == plain.targetConnections)
        #expect(asked.maximumConnections == plain.maximumConnections && asked.heartbeat == plain.heartbeat)
        #expect(asked.connectionTimeout == plain.connectionTimeout && asked.protocolVersion == plain.protocolVersion)
        #expect(asked.capabilities == plain.capabilities && asked.services == plain.services)
        #expect(asked.sharesPrivateAddresses == plain.sharesPrivateAddresses && asked.access == plain.access)
        #expect(asked.store == plain.store && asked.limits == plain.limits)
        #expect(asked.transports.usesQUIC == plain.transports.usesQUIC)
        #expect(asked.transports.usesTCP == plain.transports.usesTCP)
    }

    @Test("each role has its counterpart", arguments: Settings.Role.allCases)
    func roles(role: Settings.Role) {
        var settings = Settings()
        settings.node.role = role
        #expect(NodeConfiguration(settings).role.rawValue == role.rawValue)
    }

    @Test("every value arrives")
    func values() throws {
        let asked = NodeConfiguration(
            settings(
                """
                node: {name: a, listen_port: 4001, capabilities: [b], services: [{name: c, port: 5, description: d}],
                  max_connections: 20, heartbeat_interval: 2s, data_dir: ~/x}
                network: {protocol_version: e, mesh_network: f, topics: [g], bootstrap: ["h.example:1"], transports: [tcp],
                  share_private_addresses: false, connection_timeout: 3s, allow: [192.0.2.0/24], block: [192.0.2.7]}
                dht: {private: true, bootstrap: ["127.0.0.1:6881"], read_only: true}
                store: {peers: 500, addresses: 3, peer_age: 4d, stranger_age: 5h, write_interval: 1s}
                """))
        #expect(asked.name == "a" && asked.topics == ["f", "g"] && asked.protocolVersion == "e")
        #expect(asked.listen.map(\.description) == ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"])
        #expect(asked.transports.usesTCP && !asked.transports.usesQUIC)
        #expect(asked.capabilities == ["b"] && asked.services == [.init(name: "c", port: 5, description: "d")])
        #expect(asked.maximumConnections == 20 && asked.targetConnections == 20 && asked.heartbeat == .seconds(2))
        #expect(asked.dataDirectory == NSHomeDirectory() + "/x")
        #expect(asked.bootstrap == [.hostPort("h.example", 1)])
        #expect(!asked.sharesPrivateAddresses && asked.connectionTimeout == .seconds(3))
        #expect(asked.access.refusal(of: IPAddress(192, 0, 2, 1)) == nil)
        #expect(asked.access.refusal(of: IPAddress(192, 0, 2, 7)) == .blocked)
        #expect(asked.access.refusal(of: IPAddress(198, 51, 100, 1)) == .notAllowed)
        let dht = try #require(asked.dht)
        #expect(dht.isPrivate && dht.isReadOnly && dht.bootstrap == [BootstrapNode("127.0.0.1", port: 6881)])
        #expect(asked.store.peers == 500 && asked.store.addresses == 3 && asked.store.peerAge == .seconds(4 * 86_400))
        #expect(asked.store.strangerAge == .seconds(5 * 3600) && asked.store.writeInterval == .seconds(1))
        #expect(NodeConfiguration(settings("dht: {enabled: false}")).dht == nil)
    }
}
