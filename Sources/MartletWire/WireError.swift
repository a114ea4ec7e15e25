/// Why bytes could not be read, and where.
public struct WireError: Error, Hashable, Sendable {
    /// What was wrong.
    public enum Reason: Hashable, Sendable {
        /// The input ended inside a value.
        case truncated
        /// Bytes were left where the value should have ended the input.
        case trailingBytes
        /// A number is written longer than it needs to be, or with a leading zero.
        case notMinimal
        /// A number, length or count is larger than its type or the stated bound allows.
        case tooLarge
        /// Values are nested deeper than the stated bound.
        case tooDeep
        /// A byte, tag or code that has no meaning here.
        case unexpected(UInt64)
        /// Dictionary keys that are not in ascending order.
        case unsorted
        /// The same key twice.
        case duplicateKey
        /// Text that is not valid UTF-8.
        case notUTF8
        /// A value that must be there is not.
        case missing
    }

    /// What was wrong.
    public var reason: Reason
    /// How many bytes into the input it was found.
    public var offset: Int

    /// An error with its reason, at `offset`.
    @inlinable
    public init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }
}

extension WireError: CustomStringConvertible {
    /// The reason and the offset, for a log line.
    public var description: String { "\(reason) at byte \(offset)" }
}
