public import MartletRuntime

/// How the connections of a mesh are made: what is done with a TCP connection before the first line.
///
/// The plain mesh does nothing. A mesh over authenticated, encrypted connections is plugged in here from above.
public struct MeshTransport: Sendable {
    /// A connection over which lines can be spoken.
    public struct Link {
        /// What carries the lines.
        public var stream: ByteStream
        /// The fingerprint of the key that the other side has proven to have.
        public var fingerprint: String?

        /// A connection that `stream` carries.
        public init(_ stream: ByteStream, fingerprint: String? = nil) {
            self.stream = stream
            self.fingerprint = fingerprint
        }
    }

    /// Makes of a TCP connection what lines are spoken over, or throws why that cannot be. It has until the deadline, at
    /// which it is cancelled. It owns the stream it is given, and closes it where it throws.
    public typealias Upgrade =
        nonisolated(nonsending) (
            _ stream: ByteStream, _ isDialler: Bool, _ deadline: Instant
        ) async throws(MeshFailure) -> Link

    /// The fingerprint of the key by which this node proves itself; `nil` where it does not.
    public let fingerprint: String?
    let makeUpgrade: (@Sendable (any Environment) -> Upgrade)?

    /// Whether nobody on the way can read the lines or change them.
    public var isSecure: Bool { makeUpgrade != nil }

    /// TCP as it is, readable by anyone on the way.
    public static let plain = MeshTransport(fingerprint: nil, makeUpgrade: nil)

    /// TCP that an upgrade has made secure. Each node makes its own, on the loop of its environment.
    public static func secure(
        fingerprint: String, _ makeUpgrade: @escaping @Sendable (any Environment) -> Upgrade
    ) -> MeshTransport {
        MeshTransport(fingerprint: fingerprint, makeUpgrade: makeUpgrade)
    }
}
