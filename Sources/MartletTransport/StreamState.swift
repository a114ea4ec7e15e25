internal import MartletWire

/// What the two ends of a stream share, under the lock of its `StreamLink`.
struct StreamState: ~Copyable {
    /// Where a direction stands.
    enum Direction {
        case open
        /// No more bytes come behind those in the queue.
        case ended
        /// Broken, for good. What is still in the queue can be read before the error is seen.
        case failed(StreamError)
    }

    /// What the loop is to be told, beside credit.
    struct Wishes: OptionSet {
        var rawValue: UInt8
        static let output = Wishes(rawValue: 1)
        static let reset = Wishes(rawValue: 2)
        static let stop = Wishes(rawValue: 4)
        static let readDeadline = Wishes(rawValue: 8)
        static let writeDeadline = Wishes(rawValue: 16)
        static let shortage = Wishes(rawValue: 32)
    }

    /// Until when a direction waits.
    struct Deadline {
        /// From when it was set on; `nil` for ever.
        private(set) var timeout: Duration?
        /// Whether it has passed.
        private(set) var isPast = false
        /// Tells it from those that were set before, whose timers may still fire.
        private var number: UInt32 = 0

        /// Takes the place of what was set before.
        mutating func set(after timeout: Duration?) {
            self.timeout = timeout
            isPast = false
            number &+= 1
        }

        /// The timer of `deadline` has fired. Returns whether that is still this one.
        mutating func pass(_ deadline: Deadline) -> Bool {
            guard number == deadline.number else { return false }
            isPast = true
            return true
        }
    }

    /// How a protocol is still to be agreed on before the first byte is read.
    enum Negotiation {
        case done
        /// The other side's header comes first.
        case header(String)
        /// Then its answer to the proposal.
        case answer(String)
    }

    typealias Waiter = UnsafeContinuation<Void, Never>

    // Reading.
    var incoming = ChunkQueue()
    var input = Direction.open
    /// How many bytes at the front of `incoming` are paid for already: their credit went back before they were read.
    var prepaid = 0
    /// Credit that waits for the next message to the loop.
    var freed = 0
    /// How much credit is worth a message to the loop.
    var creditStep = 128 << 10
    var reader: Waiter?
    /// How many bytes the reader waits for.
    var needed = 1
    /// How many it will wait for once the protocol is agreed on.
    var neededAfterConsent = 1
    var readIsCancelled = false
    var readDeadline = Deadline()
    var negotiation = Negotiation.done
    /// What the other side says where it speaks the proposed protocol: the proposal, byte for byte.
    var consent = Bytes()

    // Writing.
    var outgoing = ChunkQueue()
    var output = Direction.open
    /// Whether the loop knows that there is output, or an end, that it has not taken.
    var isAnnounced = false
    var endIsTaken = false
    var writer: Waiter?
    /// How much may be queued before a writer has to wait.
    var highWaterMark = StreamLink.highWaterMark
    /// Whether a writer has had to wait since the queue was last empty.
    var writerIsHeldUp = false
    var writeIsCancelled = false
    var writeDeadline = Deadline()

    // Messages to the loop.
    var wishes: Wishes = []
    var resetCode: UInt64 = 0
    var stopCode: UInt64 = 0
    var isWakePlanned = false

    /// Whether nothing more than has to be should be kept: the stream's peer holds as much as it may, or the node is short
    /// and the peer holds more than its fair share.
    var isShortOfMemory: Bool { incoming.memory?.scope.isTight ?? false }

    /// Whether the loop has to be woken to see who pays, since the node or the peer is short of memory.
    mutating func wakeIfShort() -> Bool {
        guard let scope = incoming.memory?.scope, scope.isShort, scope.planRelief() else { return false }
        return wake(for: .shortage)
    }

    /// How far the queue must fall for a writer that waits: so far that it is worth waking him.
    var lowWaterMark: Int { highWaterMark / 4 }

    /// Whether a reader that waits can go on.
    var hasWhatIsNeeded: Bool {
        if case .open = input { return incoming.count >= needed }
        return true
    }

    /// Whether the loop has to be woken for what is wished. It is asked once until the loop has looked.
    mutating func wake(for wish: Wishes = []) -> Bool {
        wishes.formUnion(wish)
        guard !isWakePlanned else { return false }
        isWakePlanned = true
        return true
    }

    /// Counts `size` consumed bytes as credit. Whether the loop has to be woken for it.
    mutating func free(_ size: Int) -> Bool {
        let paid = min(prepaid, size)
        prepaid -= paid
        freed += size - paid
        if case .failed = input { return false }
        // Credit counts behind the end as well, for a connection that all streams share.
        return freed >= creditStep && wake()
    }

    /// Gives credit for what is in the queue already, for a reader that needs more than that to go on.
    mutating func prepay() -> Bool {
        let wakes = free(incoming.count)
        prepaid = incoming.count
        return wakes
    }

    /// What the loop has not taken of the output.
    var untaken: StreamLink.Output {
        switch output {
        case .open: StreamLink.Output(count: outgoing.count, ends: false)
        case .ended: StreamLink.Output(count: outgoing.count, ends: !endIsTaken)
        case .failed: StreamLink.Output(count: 0, ends: false)
        }
    }

    /// After the loop has taken output: what is left, and the writer that may go on.
    mutating func settleOutput() -> (rest: StreamLink.Output, writer: Waiter?) {
        var rest = untaken
        if rest.count > 0 {
            rest.ends = false
        } else {
            isAnnounced = false
            if rest.ends { endIsTaken = true }
        }
        if outgoing.isEmpty, writerIsHeldUp {
            // The muxer waits for the writer, who was told in time: a longer queue bridges the time until he comes.
            writerIsHeldUp = false
            if !isShortOfMemory { highWaterMark = min(2 * highWaterMark, StreamLink.largestHighWaterMark) }
        }
        return (rest, outgoing.count <= lowWaterMark ? writer.take() : nil)
    }
}
