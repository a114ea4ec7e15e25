public import MartletIdentity
internal import MartletRuntime
public import MartletWire

/// An ordered stream of bytes each way between two peers, one of many on a connection.
///
/// It may be used from any task, one that reads and one that writes at a time; a second reader or writer gets the error
/// `busy`. What has arrived is read without waiting for anyone; a writer waits only while more than 256 KiB is queued,
/// or up to 1 MiB where the connection is faster than the writer comes back.
/// Cancelling a task that waits leaves the stream usable, and so does a deadline that passes.
///
/// A stream that is released is broken off, unless `closeWrite` was called: then what was written still arrives, and
/// what would still have come is refused.
public final class Stream: Sendable {
    /// Who is on the other side.
    public let remotePeer: PeerID
    /// What kind of connection carries it.
    public let nature: ConnectionNature
    /// The `binding` of the connection that carries it.
    public let binding: Bytes
    let link: StreamLink

    /// The user's end of `link`, of which there is one.
    public init(_ link: StreamLink) {
        guard let connection = link.connection else { preconditionFailure("a stream begins with its connection") }
        self.link = link
        remotePeer = connection.remotePeer
        nature = connection.nature
        binding = connection.binding
    }

    deinit {
        link.release()
    }

    /// The muxer's number for it.
    public var id: UInt64 { link.id }

    /// Whether this side opened it.
    public var isOutbound: Bool { link.isOutbound }

    /// Whether there were as many streams as may be when it began: of its peer, or in all. Then it should be reset.
    public var isBeyondShare: Bool { link.isBeyondShare }

    // MARK: Reading

    /// The next bytes, as they come, at most `maximum`; `nil` at the end.
    ///
    /// What is kept for long should be `compacted()`: a large piece may be a slice of a larger slab.
    public nonisolated(nonsending) func read(upTo maximum: Int = .max) async throws(StreamError) -> Bytes? {
        while true {
            let (piece, wakes) = try link.takeInput(atLeast: 1) { $0.take(upTo: maximum) }
            if wakes { link.wake() }
            switch piece {
            case .bytes(let bytes): return bytes
            case .end: return nil
            case .nothingYet: try await link.waitForInput(atLeast: 1)
            case .negotiationFirst: try await link.finishNegotiation(before: 1)
            }
        }
    }

    /// Exactly `count` bytes. Throws `truncated` where the stream ends before. They are kept apart from what came with
    /// them.
    public nonisolated(nonsending) func read(exactly count: Int) async throws(StreamError) -> Bytes {
        while true {
            let (piece, wakes) = try link.takeInput(atLeast: count) { $0.take(exactly: count) }
            if wakes { link.wake() }
            switch piece {
            case .bytes(let bytes): return bytes.compacted()
            case .end: throw .truncated
            case .nothingYet: try await link.waitForInput(atLeast: count)
            case .negotiationFirst: try await link.finishNegotiation(before: count)
            }
        }
    }

    /// The next message: bytes behind a varint that tells how many they are. `nil` where the stream ends in front of
    /// one. It is kept apart from what came with it.
    ///
    /// Throws `messageTooLarge` for more than `maximum`, and `malformedLength` or `truncated`.
    public nonisolated(nonsending) func readMessage(upTo maximum: Int) async throws(StreamError) -> Bytes? {
        while true {
            let (message, wakes) = try link.takeMessage(upTo: maximum)
            if wakes { link.wake() }
            switch message {
            case .message(let bytes): return bytes.compacted()
            case .end: return nil
            case .needs(let count): try await link.waitForInput(atLeast: count)
            case .negotiationFirst: try await link.finishNegotiation(before: 1)
            }
        }
    }

    // MARK: Writing

    /// Queues `bytes`, and waits while too much is queued. Where it throws `cancelled` or `timedOut`, they are queued
    /// all the same.
    public nonisolated(nonsending) func write(_ bytes: Bytes) async throws(StreamError) {
        let (hasRoom, wakes) = try link.append(bytes)
        if wakes { link.wake() }
        if !hasRoom { try await link.waitForRoom() }
    }

    /// Queues `message` behind a varint that tells how many bytes it has, and waits while too much is queued.
    public nonisolated(nonsending) func writeMessage(_ message: Bytes) async throws(StreamError) {
        let (hasRoom, wakes) = try link.append(message, framed: true)
        if wakes { link.wake() }
        if !hasRoom { try await link.waitForRoom() }
    }

    /// Ends this side's direction behind what is queued. The other direction goes on.
    public func closeWrite() {
        if link.closeOutput() { link.wake() }
    }

    /// Says that nothing more will be read: what still comes is thrown away. The other direction goes on.
    public func closeRead(code: UInt64 = 0) {
        link.closeInput(code: code)
    }

    /// Breaks off both directions at once. What is queued is dropped; the other side sees `code`, where the muxer can
    /// carry one.
    public func reset(code: UInt64 = 0) {
        link.reset(code: code)
    }

    // MARK: Deadlines

    /// Makes reads that wait throw `timedOut` from `timeout` after now on; `nil` lets them wait for ever.
    public func setReadDeadline(after timeout: Duration?) {
        link.setReadDeadline(after: timeout)
    }

    /// Makes writes that wait throw `timedOut` from `timeout` after now on; `nil` lets them wait for ever.
    public func setWriteDeadline(after timeout: Duration?) {
        link.setWriteDeadline(after: timeout)
    }
}
