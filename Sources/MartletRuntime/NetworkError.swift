public import MartletWire

/// Why something on the network did not work.
public struct NetworkError: Error, Hashable, Sendable {
    /// What went wrong, in the words of the sockets.
    public enum Reason: Hashable, Sendable {
        /// Nobody listens there, or the connection was refused.
        case refused
        /// There is no way to that address.
        case unreachable
        /// It did not happen by its deadline.
        case timedOut
        /// The other side broke the connection off.
        case reset
        /// This side has closed it, or shut down.
        case closed
        /// Another socket has that address.
        case addressInUse
        /// This host has no such address.
        case addressNotAvailable
        /// The system does not let this process do it.
        case notPermitted
        /// No descriptors, ports or memory are left.
        case exhausted
        /// The conversation was cancelled.
        case cancelled
        /// Another error of the system, by its number and its words.
        case system(Int32, String)
    }

    /// What went wrong.
    public var reason: Reason
    /// What was being done: `connect`, `bind`.
    public var operation: String
    /// The address concerned.
    public var address: SocketAddress?

    /// An error of `operation`.
    public init(_ reason: Reason, _ operation: String, _ address: SocketAddress? = nil) {
        self.reason = reason
        self.operation = operation
        self.address = address
    }
}

extension NetworkError: CustomStringConvertible {
    /// One line: what was done, to whom, and what came of it.
    public var description: String {
        let to = address.map { " \($0)" } ?? ""
        return "\(operation)\(to): \(reason.description)"
    }
}

extension NetworkError.Reason: CustomStringConvertible {
    /// The reason in plain words.
    public var description: String {
        switch self {
        case .refused: "refused"
        case .unreachable: "unreachable"
        case .timedOut: "timed out"
        case .reset: "reset by the other side"
        case .closed: "closed"
        case .addressInUse: "address in use"
        case .addressNotAvailable: "no such address on this host"
        case .notPermitted: "not permitted"
        case .exhausted: "out of descriptors, ports or memory"
        case .cancelled: "cancelled"
        case .system(let number, let words): "\(words) (\(number))"
        }
    }
}
