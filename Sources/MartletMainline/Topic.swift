import MartletWire

/// A name under which peers find each other.
///
/// In the DHT a topic is the infohash SHA-1("martlet topic 1" ‖ 0 ‖ name), the name in UTF-8 as it is written: anyone
/// who knows the name can compute it. Who does not know the name learns nothing of it from the infohash but that it
/// cannot guess it.
public struct Topic: Hashable, Sendable, CustomStringConvertible {
    /// The name.
    public let name: String
    /// Where its peers are announced.
    public let infohash: NodeID

    /// The topic `name`.
    public init(_ name: String) {
        self.name = name
        var writer = Writer(capacity: 64)
        writer.utf8("martlet topic 1")
        writer.byte(0)
        writer.utf8(name)
        infohash = NodeID(hashing: writer.span)
    }

    /// The name.
    public var description: String { name }
}
