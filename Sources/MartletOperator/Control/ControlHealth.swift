/// Whether a node can do its work, as `/v1/health` and `/readyz?format=json` say.
public struct ControlHealth: Codable, Hashable, Sendable {
    /// Something that is checked.
    public struct Check: Codable, Hashable, Sendable {
        /// Its name: `listening`.
        public var name: String
        /// Whether it is as it should be.
        public var isOk: Bool
        /// Whether the node is of no use where it is not.
        public var isRequired: Bool
        /// What was found, in a sentence.
        public var detail: String

        /// A check with its parts.
        public init(name: String, isOk: Bool, isRequired: Bool, detail: String) {
            self.name = name
            self.isOk = isOk
            self.isRequired = isRequired
            self.detail = detail
        }
    }

    /// The version of this shape.
    public var schemaVersion = 1
    /// Whether all that is required is as it should be.
    public var isReady: Bool
    /// All checks.
    public var checks: [Check]

    /// The health that follows from `checks`.
    public init(checks: [Check]) {
        self.checks = checks
        isReady = checks.allSatisfy { $0.isOk || !$0.isRequired }
    }
}
