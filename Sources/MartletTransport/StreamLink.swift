public import MartletRuntime
public import MartletWire

/// A stream as its muxer sees it: the end that lives on the loop, where `Stream` is the end that the user holds.
///
/// A muxer makes one for each stream, keeps it as long as the stream concerns it, and then calls `detach`. It hands in
/// what comes from the other side by `deliver`, `deliverEnd`, `deliverReset` and `deliverStop`, and takes what goes
/// there by `takeOutput`, when its connection was told that there is something and there is room for it. What the
/// user wishes reaches the muxer as the four `stream…` methods of `Connection`, on the loop, many wishes by one wake-up.
///
/// All methods here are to be called on the loop. The class is `@unchecked Sendable` because the user's end, which may
/// be on any thread, touches only `state`, under its lock, and the constants.
public final class StreamLink: @unchecked Sendable {
    /// The loop of the connection.
    public let loop: EventLoop
    /// The muxer's number for it.
    public let id: UInt64
    /// Whether this side opened it.
    public let isOutbound: Bool
    /// Called on the loop when something can be read, or the end or a failure has come, while the muxer is in the middle
    /// of its input: it takes note, and does nothing else.
    var onReadable: (() -> Void)?
    /// Called on the loop when more can be written after `Stream.writeNow` said `false`.
    var onWritable: (() -> Void)?
    /// The connection, until the muxer lets go of the stream.
    public private(set) var connection: Connection?
    /// What the muxer keeps with it.
    public var attachment: AnyObject?
    let state: Lock<StreamState>
    /// Whether there were as many streams as may be already, of its peer or in all.
    let isBeyondShare: Bool
    /// What its queues draw from.
    let account: ResourceAccount?
    private var readTimer: LoopTimer?
    private var writeTimer: LoopTimer?
    private var detached: (() -> Void)?
    private var isReaderCallPlanned = false

    /// How much may be queued for the muxer before a writer has to wait; it goes on when a quarter of that is
    /// left.
    static let highWaterMark = 256 << 10
    /// How far that grows where the muxer has taken all before the writer came back.
    static let largestHighWaterMark = 1 << 20
    /// How much may be queued for the muxer if the peer should hold no more.
    static let unreadWhenExhausted = 4 << 10

    /// A new stream of `connection`. The reader's credit is reported when there are `creditStep` bytes of it.
    public init(connection: Connection, id: UInt64, isOutbound: Bool, creditStep: Int) {
        self.connection = connection
        self.id = id
        self.isOutbound = isOutbound
        loop = connection.loop
        var state = StreamState()
        state.creditStep = creditStep
        account = connection.account(isOutbound ? .outbound : .inbound)
        isBeyondShare = account.map { !$0.scope.admitsStream(isOutbound ? .outbound : .inbound) } ?? false
        account?.begin()
        state.incoming.memory = account
        state.outgoing.memory = account
        self.state = Lock(state)
    }

    deinit {
        if connection != nil { account?.end() }
        state.withLock { state in
            state.incoming.removeAll()
            state.outgoing.removeAll()
        }
    }

    // MARK: From the other side

    /// Hands `bytes` to the reader. They may be a slice of the muxer's receive slab: what is kept is copied unless it
    /// is large and the reader keeps up. If the node or the peer is short of memory, the connection's owner is told, who
    /// sees which stream pays; if there is no owner, it is this one, once nothing is left and its reader is behind.
    public func deliver(_ bytes: Bytes) {
        deliver { $0.append(bytes, mayPin: $0.mayPin(bytes)) }
    }

    /// Hands a copy of `bytes` to the reader.
    public func deliver(copying bytes: UnsafeRawBufferPointer) { deliver(copying: bytes, in: nil) }

    /// Hands a copy of `bytes` to the reader, in slabs of `ring` where they are large.
    func deliver(copying bytes: UnsafeRawBufferPointer, in ring: SlabRing?) {
        deliver { $0.append(copying: bytes, in: ring) }
    }

    private func deliver(_ append: (inout ChunkQueue) -> Void) {
        let (hasEnough, wakes) = state.withLock { state -> (Bool, Bool) in
            guard case .open = state.input else { return (false, false) }
            append(&state.incoming)
            var wakes = state.wakeIfShort()
            wakes = state.takeConsent() || wakes
            guard state.reader != nil else { return (false, wakes) }
            guard state.incoming.count >= state.needed else { return (false, state.prepay() || wakes) }
            return (true, wakes)
        }
        if wakes { wake() }
        if hasEnough { callReaderLater() }
        onReadable?()
    }

    /// Lets the reader go on at the end of the loop's turn: by then more may have come, and waking a thread costs as much
    /// as opening and parsing many kilobytes. One that is woken right behind another costs much less, too.
    private func callReaderLater() {
        guard !isReaderCallPlanned else { return }
        isReaderCallPlanned = true
        loop.atTurnEnd { [self] in
            isReaderCallPlanned = false
            let reader = state.withLock { state in state.hasWhatIsNeeded ? state.reader.take() : nil }
            reader?.resume()
        }
    }

    /// The other side ends its direction: what was delivered can be read, then comes the end.
    public func deliverEnd() {
        endInput(.ended, drops: false)
    }

    /// The other side breaks off its direction: what was not yet read is dropped, and reading fails.
    public func deliverReset(code: UInt64) {
        endInput(.failed(.reset(code: code)), drops: true)
    }

    /// The other side wants no more of what is written here: what is queued is dropped, and writing fails.
    public func deliverStop(code: UInt64) {
        endOutput(.stopped(code: code))
    }

    /// The connection is over: writing fails at once, reading when what was delivered has been read; at once as well if the
    /// peer holds more than it should, since nobody else can be made to pay for it afterwards.
    public func fail(_ error: ConnectionError) {
        endInput(.failed(.connection(error)), drops: account?.scope.isTight ?? false)
        endOutput(.connection(error))
    }

    private func endInput(_ end: StreamState.Direction, drops: Bool) {
        let hasReader = state.withLock { state in
            guard case .open = state.input else { return false }
            state.input = end
            if drops { state.incoming.removeAll() }
            return state.reader != nil
        }
        if hasReader { callReaderLater() }
        onReadable?()
    }

    func endOutput(_ error: StreamError) {
        let writer = state.withLock { state -> StreamState.Waiter? in
            if case .failed = state.output { return nil }
            if case .ended = state.output, state.endIsTaken { return nil }
            state.output = .failed(error)
            state.outgoing.removeAll()
            return state.writer.take()
        }
        writer?.resume()
        // Later, since the muxer may be in the middle of something.
        if let onWritable { loop.afterThis(onWritable) }
    }

    // MARK: To the other side

    /// What there is to send.
    public struct Output: Sendable {
        /// How many bytes are queued.
        public var count: Int
        /// Whether the direction ends behind them, and the end has not been taken.
        public var ends: Bool

        /// Whether there is nothing to do.
        public var isEmpty: Bool { count == 0 && !ends }
    }

    /// What there is to send now.
    public var output: Output {
        state.withLock { $0.untaken }
    }

    /// Takes the next piece of output, at most `maximum` bytes, without a copy: they stay where they are as long as
    /// the result is kept. Where `rest` is then empty and `ends`, the end is taken as well.
    public func takeOutput(upTo maximum: Int) -> (bytes: Bytes, rest: Output) {
        let (bytes, rest, writer) = state.withLock { state in
            let bytes = state.outgoing.take(upTo: maximum)
            let (rest, writer) = state.settleOutput()
            return (bytes, rest, writer)
        }
        hasRoom(rest, for: writer)
        return (bytes, rest)
    }

    /// Copies output to `buffer`, as much as there is and fits. Where `rest` is then empty and `ends`, the end is taken
    /// as well.
    public func takeOutput(into buffer: UnsafeMutableRawBufferPointer) -> (count: Int, rest: Output) {
        let (count, rest, writer) = state.withLock { state in
            let count = state.outgoing.take(into: buffer)
            let (rest, writer) = state.settleOutput()
            return (count, rest, writer)
        }
        hasRoom(rest, for: writer)
        return (count, rest)
    }

    private func hasRoom(_ rest: Output, for writer: StreamState.Waiter?) {
        writer?.resume()
        if rest.count <= Self.highWaterMark / 2, let onWritable { loop.afterThis(onWritable) }
    }

    // MARK: Bookkeeping

    /// Which share it belongs to.
    var side: ResourceSide { isOutbound ? .outbound : .inbound }

    /// How many bytes its queues hold.
    var held: Int { state.withLock { $0.incoming.count + $0.outgoing.count } }

    /// Whether there is memory for more than has to be, such as a larger window.
    var hasMemoryToGrow: Bool { account.map { !$0.scope.isShort } ?? true }

    /// Reports credit from now on when there are `step` bytes of it, and what there is already where that is as much.
    public func setCreditStep(_ step: Int) {
        let wakes = state.withLock { state in
            state.creditStep = step
            return state.freed >= step && state.wake()
        }
        if wakes { wake() }
    }

    /// The muxer has nothing more to do with the stream. It hears nothing from it any more; what was delivered can
    /// still be read. Users hear of it when the muxer is in order again.
    public func detach() {
        if connection != nil { account?.end() }
        if let detached = detached.take() { connection?.tellLater(detached) }
        connection = nil
        attachment = nil
        readTimer = nil
        writeTimer = nil
    }

    /// Calls `body`, behind those that were given before, once the muxer has let go of the stream.
    func whenDetached(_ body: @escaping () -> Void) {
        guard connection != nil else { return body() }
        guard let before = detached else { return detached = body }
        detached = {
            before()
            body()
        }
    }

    /// Sees to it that the loop looks at what is wished. From any thread.
    func wake() {
        loop.execute { [self] in pump() }
    }

    /// Tells the connection what the user has wished since it was last asked.
    private func pump() {
        var wishes: StreamState.Wishes = []
        var credit = 0
        var codes: (reset: UInt64, stop: UInt64) = (0, 0)
        let deadlines = state.withLock { state in
            state.isWakePlanned = false
            wishes = state.wishes
            state.wishes = []
            credit = state.freed
            state.freed = 0
            codes = (state.resetCode, state.stopCode)
            return (read: state.readDeadline, write: state.writeDeadline)
        }
        if wishes.contains(.shortage) { payOrTell() }
        guard let connection else { return }
        if wishes.contains(.reset) { return connection.streamReset(self, code: codes.reset) }
        if wishes.contains(.readDeadline) {
            readTimer = timer(for: deadlines.read, label: "read deadline") { state in
                state.readDeadline.pass(deadlines.read) ? state.reader.take() : nil
            }
        }
        if wishes.contains(.writeDeadline) {
            writeTimer = timer(for: deadlines.write, label: "write deadline") { state in
                state.writeDeadline.pass(deadlines.write) ? state.writer.take() : nil
            }
        }
        if credit > 0 { connection.streamFreed(self, credit: credit) }
        if wishes.contains(.output) { connection.streamHasOutput(self) }
        if wishes.contains(.stop) { connection.streamStopped(self, code: codes.stop) }
    }

    /// The node or the peer is short of memory: the connection's owner sees who pays.
    private func payOrTell() {
        if let onShortage = connection?.onShortage { return onShortage() }
        account?.scope.reliefIsOver()
        let pays = state.withLock { state in
            guard state.incoming.memory?.scope.isExhausted == true else { return false }
            return state.incoming.count > Self.unreadWhenExhausted
        }
        if pays { reset(code: 0, as: .outOfMemory) }
    }

    private func timer(
        for deadline: StreamState.Deadline, label: StaticString,
        expire: @escaping @Sendable (inout StreamState) -> StreamState.Waiter?
    ) -> LoopTimer? {
        guard let timeout = deadline.timeout else { return nil }
        let timer = LoopTimer(on: loop, label: label) { [weak self] in
            self?.state.withLock { expire(&$0) }?.resume()
        }
        timer.arm(after: timeout)
        return timer
    }
}
