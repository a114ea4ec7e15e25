import Martlet
import MartletMainline

/// `martlet dht`: what the BitTorrent DHT can be asked for.
struct DHTCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "dht", abstract: "ask the BitTorrent DHT",
            examples: ["martlet dht find chess", "martlet dht announce chess --port 4001"],
            subcommands: [
                DHTFind.self, DHTAnnounce.self, DHTGet.self, DHTPut.self, DHTNodes.self, DHTSample.self,
            ])
    }
}

/// What every command of the DHT takes.
struct DHTOptions: ParsableArguments {
    @Flag(help: "print JSON, one object a line") var json: Bool
    @Option(help: "begin with this node instead of the public ones; may be given again", valueName: "HOST:PORT")
    var bootstrap: [String] = []
    @Flag(help: "take part in a DHT apart from the public one, in which local addresses count") var privateDht: Bool
    @Option(letter: "t", help: "stop looking after so long") var timeLimit: Duration = .seconds(60)
    @Option(help: "the UDP port to use", valueName: "PORT") var udpPort: UInt16 = 0

    /// The nodes to begin with. Throws where one is not written as host and port.
    func bootstrapNodes() throws -> [BootstrapNode] {
        try bootstrap.map { text in
            guard let node = BootstrapNode(text) else { throw UsageError("'\(text)' is no HOST:PORT") }
            return node
        }
    }
}

/// The exit codes of all that look for something.
private let searchCodes: [(ExitCode, String)] = [
    (.success, "found"), (.failure, "nothing found"), (.noNetwork, "no network: nobody answered"),
]

/// `martlet dht find`.
struct DHTFind: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "find", abstract: "find the peers that share a topic",
            discussion: "A topic is any text. Forty digits of base16 are an infohash, which is looked for as it is.",
            examples: ["martlet dht find chess", "martlet dht find chess --json --time-limit 20s"],
            exitCodes: searchCodes)
    }
    @Argument(help: "the topic's name, or an infohash") var topic: String
    @OptionGroup var options: DHTOptions

    private struct Peer: Encodable {
        var peer: String
    }

    func validate() throws { _ = try options.bootstrapNodes() }

    func run() async throws {
        let infohash = infohash(of: topic)
        try await DHTSession.run(options) { session in
            let search = session.dht.peers(of: infohash)
            var count = 0
            try await session.follow(search) {
                while let peer = try await search.next() {
                    count += 1
                    try session.show(Peer(peer: "\(peer)"), "\(peer)")
                }
            }
            return count > 0 ? .success : .failure
        }
    }
}

/// The infohash of a topic, or that which the text writes.
private func infohash(of text: String) -> NodeID { NodeID(text) ?? Topic(text).infohash }

/// `martlet dht announce`.
struct DHTAnnounce: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "announce", abstract: "tell others that this host takes part in a topic, until it is stopped",
            discussion: """
                It announces again before the announcement is forgotten, and may take as long as the time limit for each. \
                Stop it with Ctrl-C.
                """,
            examples: ["martlet dht announce chess --port 4001", "martlet dht announce chess --port 4001 --once"],
            exitCodes: [
                (.success, "announced"), (.failure, "no node took it"), (.noNetwork, "no network: nobody answered"),
            ])
    }
    @Argument(help: "the topic's name, or an infohash") var topic: String
    @Option(letter: "p", help: "the port under which this host is reached; the DHT's own where none is given")
    var port: UInt16?
    @Flag(help: "announce once and end") var once: Bool
    @OptionGroup var options: DHTOptions

    private struct Announced: Encodable {
        var announced: String
        var nodes: Int
    }

    func validate() throws {
        _ = try options.bootstrapNodes()
        if port == 0 { throw UsageError("0 is no port") }
    }

    func run() async throws {
        let infohash = infohash(of: topic)
        let announced: AnnouncedPort = port.map { .number($0) } ?? .implied
        let once = once
        try await DHTSession.run(options, isReadOnly: false) { session in
            while true {
                let search = session.dht.announceOnce(infohash, announced)
                try await session.follow(search) { try await search.end() }
                let stored = search.reports.reduce(0) { $0 + $1.stored }
                try session.show(Announced(announced: "\(infohash)", nodes: stored), "announced to \(stored) nodes")
                if once { return stored > 0 ? .success : .failure }
                let pause = stored > 0 ? session.dht.configuration.limits.announceEvery : .seconds(60)
                try await session.wait(for: pause)
            }
        }
    }
}

/// `martlet dht get`.
struct DHTGet: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "get", abstract: "get a value that is stored in the DHT (BEP 44)",
            discussion: """
                On a terminal it is shown as text, with escapes for whatever a terminal would act on. A pipe or a file \
                gets its bytes, and nothing behind them.
                """,
            examples: [
                "martlet dht get e5f96f6f38320f0f33959cb4d3d656452117aadb",
                "martlet dht get 77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548 --salt foobar",
            ],
            exitCodes: searchCodes)
    }
    @Argument(help: "40 digits of base16, the value's place; or 64, its author's public key") var key: String
    @Option(help: "what tells the author's values apart") var salt: String = ""
    @OptionGroup var options: DHTOptions

    private struct Value: Encodable {
        var target: String
        var value: String
        var seq: Int64?
    }

    /// Where the value is stored.
    private func target() throws -> NodeID {
        if let target = NodeID(key) { return target }
        guard let publicKey = bytes(base16: key), publicKey.count == 32 else {
            throw UsageError("'\(key)' is neither 40 nor 64 digits of base16")
        }
        return MainlineItem.target(key: publicKey.span, salt: Bytes(utf8: salt))
    }

    func validate() throws {
        _ = try options.bootstrapNodes()
        _ = try target()
    }

    func run() async throws {
        let target = try target()
        let salt = Bytes(utf8: salt)
        try await DHTSession.run(options) { session in
            let search = session.dht.item(target, salt: salt)
            try await session.follow(search) { try await search.end() }
            guard let item = search.item else { return .failure }
            try session.show(
                Value(target: "\(target)", value: text(of: item.value), seq: item.author?.sequence),
                raw: content(of: item.value))
            return .success
        }
    }
}

/// The bytes of a value: those of a string without its length, all else in bencode.
func content(of value: Bytes) -> Bytes {
    if case .string(let bytes)? = try? Bencode(value) { return bytes }
    return value
}

/// A value as JSON has it: text as it is, all else in bencode, and what is no text in base16.
func text(of value: Bytes) -> String {
    if case .string(let bytes)? = try? Bencode(value), let text = bytes.utf8 { return text }
    return value.utf8 ?? base16(value)
}

/// `martlet dht nodes`.
struct DHTNodes: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "nodes", abstract: "join the DHT and show the nodes that are met",
            examples: ["martlet dht nodes", "martlet dht nodes --json"], exitCodes: searchCodes)
    }
    @OptionGroup var options: DHTOptions

    private struct Node: Encodable {
        var id: String
        var address: String
        var quality: String
        var bound: Bool
        var milliseconds: Double?
    }

    func validate() throws { _ = try options.bootstrapNodes() }

    func run() async throws {
        try await DHTSession.run(options) { session in
            let target = session.dht.status.first?.id ?? Topic("").infohash
            let search = session.dht.nodes(around: target)
            try await session.follow(search) { try await search.end() }
            var count = 0
            for status in session.dht.status {
                let outside = status.outsideAddress.map { "\($0)" } ?? "unknown"
                session.note("\(status.family == .v4 ? "IPv4" : "IPv6"): id \(status.id), outside address \(outside)")
                if let silence = status.unanswered {
                    session.note("no answers for \(spanText(silence / .seconds(1)))")
                }
                for node in status.nodes {
                    count += 1
                    let shown = Node(
                        id: "\(node.id)", address: "\(node.address)", quality: node.quality, bound: node.isBound,
                        milliseconds: node.roundTrip?.milliseconds)
                    let time = shown.milliseconds.map { "\($0.text(1)) ms" } ?? "-"
                    try session.show(shown, "\(shown.id)  \(shown.address)  \(shown.quality)  \(time)")
                }
            }
            return count > 0 ? .success : .failure
        }
    }
}

/// `martlet dht sample`.
struct DHTSample: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "sample", abstract: "show some of the infohashes that nodes of the DHT store (BEP 51)",
            examples: ["martlet dht sample", "martlet dht sample --towards e5f96f6f38320f0f33959cb4d3d656452117aadb"],
            exitCodes: searchCodes)
    }
    @Option(help: "ask nodes close to this infohash; to our own id where none is given", valueName: "INFOHASH")
    var towards: String?
    @OptionGroup var options: DHTOptions

    private struct Infohash: Encodable {
        var infohash: String
    }

    func validate() throws {
        _ = try options.bootstrapNodes()
        if let towards, NodeID(towards) == nil { throw UsageError("'\(towards)' is not 40 digits of base16") }
    }

    func run() async throws {
        let towards = towards.flatMap { NodeID($0) }
        try await DHTSession.run(options) { session in
            let target = towards ?? session.dht.status.first?.id ?? Topic("").infohash
            let search = session.dht.sampleInfohashes(towards: target)
            var count = 0
            try await session.follow(search) {
                while let infohash = try await search.nextInfohash() {
                    count += 1
                    try session.show(Infohash(infohash: "\(infohash)"), "\(infohash)")
                }
            }
            return count > 0 ? .success : .failure
        }
    }
}
