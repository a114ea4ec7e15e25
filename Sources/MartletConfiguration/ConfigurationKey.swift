/// One key of the configuration: what it is called, what it may hold, what it means. Everything else is made from
/// these: reading, the reference, what is shown, the mistakes' words, the table in the documents.
public struct ConfigurationKey: Sendable {
    /// Its full name: `node.listen_port`.
    public let path: String
    /// What it means, in one sentence.
    public let summary: String
    /// What it may hold: "a whole number from 0 to 65535".
    public let wanted: String
    /// A value that could stand there, as YAML.
    public let example: String

    let form: ValueForm
    /// Reads its value into settings; `false` where there is none or it is wrong.
    let read: @Sendable (YAMLNode, inout Settings, inout ValueMistakes) -> Bool
    /// Its value in settings.
    private let get: @Sendable (Settings) -> SettingValue

    init<Value: Sendable>(
        _ path: String, _ place: any WritableKeyPath<Settings, Value> & Sendable, _ kind: ValueKind<Value>,
        example: String, _ summary: String
    ) {
        self.path = path
        self.summary = summary
        self.example = example
        wanted = kind.wanted
        form = kind.form
        read = { node, settings, mistakes in
            guard let value = kind.read(node, path, &mistakes) else { return false }
            settings[keyPath: place] = value
            return true
        }
        get = { kind.show($0[keyPath: place]) }
    }

    /// The section that it stands in: `node`.
    public var section: String { String(path.prefix { $0 != "." }) }

    /// Its name in its section: `listen_port`.
    public var name: String { String(path.drop { $0 != "." }.dropFirst()) }

    /// The variable of the environment that sets it: `MARTLET_NODE_LISTEN_PORT`.
    public var variable: String { Self.variables + path.replacing(".", with: "_").uppercased() }

    /// What the names of all variables begin with.
    static let variables = "MARTLET_"

    /// Its value in `settings`.
    public func value(in settings: Settings) -> SettingValue { get(settings) }

    /// The key with that full name.
    public static func named(_ path: String) -> ConfigurationKey? { byPath[path] }

    private static let byPath = Dictionary(uniqueKeysWithValues: all.map { ($0.path, $0) })
}

/// A group of keys.
public struct ConfigurationSection: Sendable {
    /// Its name: `node`.
    public let name: String
    /// What its keys are about, in one sentence.
    public let summary: String

    init(_ name: String, _ summary: String) {
        self.name = name
        self.summary = summary
    }

    /// Its keys in the order of the reference.
    public var keys: [ConfigurationKey] { ConfigurationKey.all.filter { $0.section == name } }

    /// All sections in the order of the reference.
    public static let all = [
        ConfigurationSection("node", "What this node is, and where it listens."),
        ConfigurationSection("network", "Whom it looks for, and how it talks with them."),
        ConfigurationSection("dht", "The BitTorrent DHT, in which peers on a topic find each other."),
        ConfigurationSection("store", "The database of peers."),
        ConfigurationSection("operator", "The HTTP endpoint with metrics, health and profiles."),
        ConfigurationSection("control", "The socket that commands like 'martlet status' talk to."),
        ConfigurationSection("log", "What is written about what happens."),
    ]
}
