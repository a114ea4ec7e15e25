internal import MartletRuntime
internal import MartletWire

// What the user's end does, from any thread, under the lock.
extension StreamLink {
    /// What can be read at this moment.
    enum Input {
        case bytes(Bytes)
        case nothingYet
        case end
        case negotiationFirst
    }

    /// What can be read as a message at this moment.
    enum Message {
        case message(Bytes)
        /// So many bytes have to be there for the next step.
        case needs(Int)
        case end
        case negotiationFirst
    }

    /// Takes input by `body` where at least `count` bytes are there. The second result says whether to `wake`.
    func takeInput(
        atLeast count: Int, _ body: (inout ChunkQueue) -> Bytes
    ) throws(StreamError) -> (Input, wakes: Bool) {
        try state.withLock { state throws(StreamError) in
            guard state.reader == nil else { throw .busy }
            if case .done = state.negotiation {} else { return (.negotiationFirst, false) }
            guard state.incoming.count >= count else {
                return (try state.isAtEnd() ? .end : .nothingYet, false)
            }
            let bytes = body(&state.incoming)
            return (.bytes(bytes), state.free(bytes.count))
        }
    }

    /// Why neither direction can be used any more.
    var failure: StreamError? {
        state.withLock { state in
            if case .failed(let error) = state.output { return error }
            if case .failed(let error) = state.input, state.incoming.isEmpty { return error }
            return nil
        }
    }

    /// Takes the next message where it is there, at most `maximum` bytes long.
    func takeMessage(upTo maximum: Int) throws(StreamError) -> (Message, wakes: Bool) {
        try state.withLock { state throws(StreamError) in
            guard state.reader == nil else { throw .busy }
            if case .done = state.negotiation {} else { return (.negotiationFirst, false) }
            return try state.takeMessage(upTo: maximum)
        }
    }

    /// Waits until `count` bytes are there, or the end or a failure has come.
    nonisolated(nonsending) func waitForInput(atLeast count: Int) async throws(StreamError) {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { waiter in
                var wakes = false
                let isWaiting = state.withLock { state in
                    guard state.reader == nil else { return false }
                    guard state.incoming.count < count, case .open = state.input else { return false }
                    guard !state.readDeadline.isPast, !state.readIsCancelled else { return false }
                    state.reader = waiter
                    state.needed = count
                    // The other side may not be able to send the rest before it gets credit for the beginning.
                    if count > 1 { wakes = state.prepay() }
                    return true
                }
                if wakes { wake() }
                if !isWaiting { waiter.resume() }
            }
        } onCancel: {
            state.withLock { state in
                state.readIsCancelled = true
                return state.reader.take()
            }?.resume()
        }
        try state.withLock { state throws(StreamError) in
            let isCancelled = state.readIsCancelled
            state.readIsCancelled = false
            if isCancelled { throw .cancelled }
            if state.readDeadline.isPast { throw .timedOut }
        }
    }

    /// Queues `bytes`, behind their length where they are `framed`. Says whether the writer may go on, and whether to
    /// `wake`.
    func append(_ bytes: Bytes, framed: Bool = false) throws(StreamError) -> (hasRoom: Bool, wakes: Bool) {
        try state.withLock { state throws(StreamError) in
            guard state.writer == nil else { throw .busy }
            switch state.output {
            case .open: break
            case .ended: throw .closed
            case .failed(let error): throw error
            }
            if framed { state.outgoing.append(length: bytes.count) }
            state.outgoing.append(bytes, mayPin: true)
            let mark = state.isShortOfMemory ? Self.unreadWhenExhausted : state.highWaterMark
            let hasRoom = state.outgoing.count < mark
            if !hasRoom { state.writerIsHeldUp = true }
            let wakes = state.wakeIfShort()
            guard !state.outgoing.isEmpty, !state.isAnnounced else { return (hasRoom, wakes) }
            state.isAnnounced = true
            return (hasRoom, state.wake(for: .output) || wakes)
        }
    }

    /// Waits until the queue has fallen below its low mark, or the direction has failed.
    nonisolated(nonsending) func waitForRoom() async throws(StreamError) {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { waiter in
                let isWaiting = state.withLock { state in
                    let mark = state.isShortOfMemory ? Self.unreadWhenExhausted : state.lowWaterMark
                    guard state.writer == nil, state.outgoing.count > mark else { return false }
                    guard !state.writeDeadline.isPast, !state.writeIsCancelled else { return false }
                    state.writer = waiter
                    return true
                }
                if !isWaiting { waiter.resume() }
            }
        } onCancel: {
            state.withLock { state in
                state.writeIsCancelled = true
                return state.writer.take()
            }?.resume()
        }
        try state.withLock { state throws(StreamError) in
            let isCancelled = state.writeIsCancelled
            state.writeIsCancelled = false
            if case .failed(let error) = state.output { throw error }
            if isCancelled { throw .cancelled }
            if state.writeDeadline.isPast, state.outgoing.count > state.lowWaterMark { throw .timedOut }
        }
    }

    /// Ends the output behind what is queued. Says whether to `wake`.
    func closeOutput() -> Bool {
        state.withLock { state in
            guard case .open = state.output else { return false }
            state.output = .ended
            guard !state.isAnnounced else { return false }
            state.isAnnounced = true
            return state.wake(for: .output)
        }
    }

    /// Throws away what was delivered and what still comes.
    func closeInput(code: UInt64) {
        let (reader, wakes) = state.withLock { state -> (StreamState.Waiter?, Bool) in
            state.incoming.removeAll()
            guard case .open = state.input else { return (nil, false) }
            state.input = .failed(.closed)
            state.stopCode = code
            return (state.reader.take(), state.wake(for: .stop))
        }
        reader?.resume()
        if wakes { wake() }
    }

    /// Breaks off both directions; from then on they fail with `error`.
    func reset(code: UInt64, as error: StreamError = .closed) {
        let (reader, writer, wakes) = state.withLock { state -> (StreamState.Waiter?, StreamState.Waiter?, Bool) in
            let isOver = state.isOver
            state.input = .failed(error)
            state.output = .failed(error)
            state.incoming.removeAll()
            state.outgoing.removeAll()
            if !isOver { state.resetCode = code }
            return (state.reader.take(), state.writer.take(), !isOver && state.wake(for: .reset))
        }
        reader?.resume()
        writer?.resume()
        if wakes { wake() }
    }

    /// The user's end is gone.
    func release() {
        let isClosing = state.withLock { state in
            if case .ended = state.output { return true }
            return false
        }
        if isClosing { closeInput(code: 0) } else { reset(code: 0) }
    }

    /// Sets one of the two deadlines, which leaves the other as it is.
    func setReadDeadline(after timeout: Duration?) {
        let wakes = state.withLock { state in
            state.readDeadline.set(after: timeout)
            return state.wake(for: .readDeadline)
        }
        if wakes { wake() }
    }

    /// The same for writing.
    func setWriteDeadline(after timeout: Duration?) {
        let wakes = state.withLock { state in
            state.writeDeadline.set(after: timeout)
            return state.wake(for: .writeDeadline)
        }
        if wakes { wake() }
    }
}

extension StreamState {
    /// Whether the input has ended in good order. Throws where it has failed.
    func isAtEnd() throws(StreamError) -> Bool {
        switch input {
        case .open: return false
        case .ended: return true
        case .failed(let error): throw error
        }
    }

    /// Whether both directions are over and done with, so that the muxer need not be told of a reset.
    var isOver: Bool {
        if case .open = input { return false }
        switch output {
        case .open: return false
        case .ended: return endIsTaken
        case .failed: return true
        }
    }

    mutating func takeMessage(upTo maximum: Int) throws(StreamError) -> (StreamLink.Message, wakes: Bool) {
        var length: UInt64 = 0
        var size = 0
        while true {
            guard size < incoming.count else {
                guard try isAtEnd() else { return (.needs(size + 1), false) }
                if size > 0 { throw .truncated }
                return (.end, false)
            }
            let byte = incoming.byte(at: size)
            length |= UInt64(byte & 0x7F) << (7 * UInt64(size))
            size += 1
            if byte < 0x80 {
                guard byte > 0 || size == 1 else { throw .malformedLength }
                break
            }
            guard size < Varint.maximumSize else { throw .malformedLength }
        }
        guard length <= maximum else { throw .messageTooLarge(size: length) }
        let whole = size + Int(length)
        guard incoming.count >= whole else {
            if try isAtEnd() { throw .truncated }
            return (.needs(whole), false)
        }
        _ = incoming.take(exactly: size)
        let message = incoming.take(exactly: Int(length))
        return (.message(message), free(whole))
    }
}

extension ChunkQueue {
    /// Puts a message's length at the end.
    mutating func append(length: Int) {
        var writer = Writer(capacity: Varint.maximumSize)
        writer.varint(UInt64(length))
        append(writer.finish(), mayPin: false)
    }
}
