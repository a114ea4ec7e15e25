import Martlet
import MartletConfiguration

/// What `martlet up` takes for the node that it starts: the configuration file, and flags that count more.
struct NodeOptions: ParsableArguments {
    @Option(letter: "c", help: "the configuration file", valueName: "FILE") var config: String?
    @Option(letter: "t", help: "a topic to join; may be given again", valueName: "TOPIC") var topic: [String] = []
    @Option(help: "what the node calls itself", valueName: "NAME") var name: String?
    @Option(help: "where to listen, as in /ip4/0.0.0.0/udp/4001/quic-v1; may be given again", valueName: "ADDR")
    var listen: [String] = []
    @Option(help: "a node to begin with, by address or HOST:PORT; may be given again", valueName: "ADDR")
    var bootstrap: [String] = []
    @Flag(help: "take part in a DHT apart from the public one, in which local addresses count") var privateDht: Bool
    @Option(help: "serve metrics, health and profiles there, as in 127.0.0.1:9090", valueName: "ADDR") var http: String?
    @Option(help: "keep the identity, the database and the control socket there", valueName: "DIR") var dataDir: String?
    @Option(help: "write lines from that level on, as in debug or info,quic=debug", valueName: "LEVEL")
    var logLevel: String?

    /// What the file, the environment and the flags say. What is wrong with it, or deserves a word, is told on standard
    /// error, and where anything is wrong the command ends as used wrongly: trying again would not help.
    func configuration() throws -> Configuration {
        var configuration: Configuration
        do throws(ConfigurationFileError) {
            configuration = try ConfigurationFile(config).configuration
        } catch {
            MartletCommand.complain("\(error)")
            throw ExitCode.usage
        }
        if !topic.isEmpty { configuration.set("network.topics", to: topic, by: "--topic") }
        if let name { configuration.set("node.name", to: [name], by: "--name") }
        if !listen.isEmpty { configuration.set("node.listen", to: listen, by: "--listen") }
        if !bootstrap.isEmpty { configuration.set("network.bootstrap", to: bootstrap, by: "--bootstrap") }
        if privateDht { configuration.set("dht.private", to: ["true"], by: "--private-dht") }
        if let http { configuration.set("operator.http", to: [http], by: "--http") }
        if let dataDir { configuration.set("node.data_dir", to: [dataDir], by: "--data-dir") }
        if let logLevel { configuration.setLogLevels(logLevel, by: "--log-level") }
        guard configuration.complain() else { throw ExitCode.usage }
        return configuration
    }
}
