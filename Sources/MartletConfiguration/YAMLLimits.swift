/// What a configuration file may grow to. A file is written by its owner and still read with care: it may have been
/// generated, fetched or mistaken for another.
public struct YAMLLimits: Hashable, Sendable {
    /// The most bytes.
    public var size = 1 << 20
    /// How deep values may stand in each other.
    public var depth = 16
    /// The most values, lists and groups in all.
    public var values = 10_000
    /// The most mistakes that are told; those beyond them are left out.
    public var mistakes = 100

    /// The limits for a node's file.
    public init() {}
}
