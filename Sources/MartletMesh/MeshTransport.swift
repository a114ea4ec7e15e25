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

    /// Makes of a TCP connection what lines are spoken over, by a deadline, or throws a sentence that says why not.
    /// It owns the stream it is given, and closes it where it throws.
    public typealias Upgrade =
        nonisolated(nonsending) @Sendable (
            _ stream: ByteStream, _ isDialler: Bool, _ environment: any Environment, _ deadline: Instant
        ) async throws(MeshFailure) -> Link

    /// Whether nobody on the way can read the lines or change them.
    public var isSecure: Bool
    let upgrade: Upgrade?

    /// TCP as it is, readable by anyone on the way.
    public static let plain = MeshTransport(isSecure: false, upgrade: nil)

    /// TCP that `upgrade` has made secure.
    public static func secure(_ upgrade: @escaping Upgrade) -> MeshTransport {
        MeshTransport(isSecure: true, upgrade: upgrade)
    }
}
