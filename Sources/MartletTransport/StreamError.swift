/// Why a stream could not be read, written or opened.
public enum StreamError: Error, Hashable, Sendable {
    /// The other side has broken off its direction, or the whole stream, with `code`.
    case reset(code: UInt64)
    /// The other side does not want what this one writes, and said so with `code`, which is not known over QUIC: 0.
    case stopped(code: UInt64)
    /// This side has ended or reset the direction.
    case closed
    /// The connection ended.
    case connection(ConnectionError)
    /// The deadline that was set has passed. The stream can still be used.
    case timedOut
    /// The task was cancelled. The stream can still be used.
    case cancelled
    /// The node's buffers hold as much as they may, and this stream's reader was behind.
    case outOfMemory
    /// Another task reads, or writes, at this moment.
    case busy
    /// The stream ended where more had to come.
    case truncated
    /// A message is longer than the caller takes.
    case messageTooLarge(size: UInt64)
    /// The length of a message is no varint.
    case malformedLength
    /// The other side speaks none of the protocols that were proposed.
    case protocolsNotSupported([String])
    /// What the other side said about protocols makes no sense.
    case negotiation(MultistreamError)
}

/// Why multistream-select failed.
public enum MultistreamError: Error, Hashable, Sendable {
    /// A line is longer than 1 KiB.
    case lineTooLong(UInt64)
    /// A length is no varint, or a line does not end with a line feed, or is no text.
    case malformedLine
    /// The first line is another than `/multistream/1.0.0`.
    case wrongHeader
    /// The answer is neither what was proposed nor `na`.
    case unexpectedAnswer
    /// Nothing that one proposed was what the other speaks.
    case noneInCommon
    /// The dialer proposed more often than is allowed.
    case tooManyProposals
}
