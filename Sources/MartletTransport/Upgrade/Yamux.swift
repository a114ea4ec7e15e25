internal import MartletRuntime
internal import MartletWire

/// Yamux, which carries many streams on one ordered stream of bytes (hashicorp/yamux, spec.md; `/yamux/1.0.0`): a
/// machine.
///
/// In: `handle`, and what users wish: `open`, `hasOutput`, `freed`, `reset`, `stop`, `farewell`. Out: `transmit` until it
/// gives nothing, `takeEvents`, and `deadline`, at which `handleTimeout` is to be called. All that is delivered to a
/// user goes there at once; the user must not call back into the machine from there.
///
/// A window grows when half of it is used up within a few round trips: then it, and not the path, sets the pace.
final class Yamux<User: YamuxUser> {
    /// The window that every stream has in the beginning, by the specification.
    static var initialWindow: Int { 256 << 10 }
    /// How much a stream that has just got something to send may send before it is the next one's turn, while others
    /// have something to send as well.
    static var quantum: Int { 16 << 10 }
    /// The same for a stream that still had something to send after its last turn: larger pieces cost both sides less.
    static var bulkQuantum: Int { 64 << 10 }
    /// After how many turns of streams of the first kind one of the second gets its turn.
    static var turnsBeforeBulk: Int { 4 }
    /// What is left of a buffer is used where it has room for two headers and some data.
    static var smallestPiece: Int { 512 }
    /// A window grows when half of it is used up in less than so many round trips.
    static var growthRoundTrips: Int { 4 }
    /// A round trip that is shorter counts as this long: on so short a path it is the time until a thread or a reader
    /// gets its turn that a window has to span.
    static var shortestRoundTrip: Duration { .milliseconds(1) }

    /// A stream.
    final class Entry {
        let id: UInt32
        let user: User
        /// How much may be sent.
        var sendWindow = Yamux.initialWindow
        /// How much may come in.
        var receiveWindow = Yamux.initialWindow
        /// How much may come in when all of it has been consumed.
        var window = Yamux.initialWindow
        /// What was consumed and not yet told to the other side.
        var credit = 0
        /// When the other side was last told.
        var creditTime: Instant
        /// The flags that the next frame carries: it opens or acknowledges the stream.
        var opening: YamuxHeader.Flags
        var isAcknowledged: Bool
        var isEndSent = false
        var isEndReceived = false
        var isDiscarding = false
        /// Whether the end has been taken from the user and has yet to go out, in a frame of its own.
        var owesEnd = false
        /// In which line for output it stands.
        var line = Line.none
        /// Whether it stands in `unannounced`.
        var isUnannounced = false
        /// Whether it stands in `lingering`.
        var isLingering = false
        /// Whether it has left the table.
        var isOver = false

        /// The lines for output.
        enum Line {
            case none
            case ready
            case bulk
        }

        init(id: UInt32, user: User, opening: YamuxHeader.Flags, now: Instant) {
            self.id = id
            self.user = user
            self.opening = opening
            creditTime = now
            isAcknowledged = opening == .ack
        }
    }

    /// When something is due of a stream.
    private struct Appointment {
        var due: Instant
        var entry: Entry
    }

    /// What has happened that the owner may want to know of.
    struct Events {
        /// A stream has ended or was acknowledged, so that another may be opened.
        var streamsAvailable = false
        /// The other side is about to go, and says why.
        var farewell: UInt32?
    }

    let limits: YamuxLimits
    private(set) var counters = YamuxCounters()
    /// The time from a ping to its answer, smoothed.
    var roundTripTime: Duration? { pings.roundTripTime }
    /// Bytes of streams so far.
    private(set) var bytesReceived: UInt64 = 0
    private(set) var bytesSent: UInt64 = 0

    // Streams.
    private var entries: [UInt32: Entry] = [:]
    private var lastEntry: Entry?
    private let firstID: UInt32
    private var nextID: UInt32
    private var highestInbound: UInt32 = 0
    private(set) var inboundCount = 0
    private(set) var outboundCount = 0
    private var unacknowledged = 0
    private var grown = 0
    private var events = Events()
    private var peerIsLeaving = false
    private var farewells = 0

    // Output.
    /// How many frames in `control` answer the other side.
    private var answers = 0
    private var control: FIFO<YamuxHeader> = FIFO()
    /// Streams that have just got something to send.
    private var ready: YamuxLine<Entry> = YamuxLine()
    /// Streams that still had something to send after their last turn.
    private var bulk: YamuxLine<Entry> = YamuxLine()
    /// How many turns those of `ready` have had since the last of `bulk`.
    private var turns = 0
    private var unannounced: YamuxLine<Appointment> = YamuxLine()
    private var lingering: YamuxLine<Appointment> = YamuxLine()
    /// Streams whose own end has gone out and whose other direction is not wanted, and that do not linger yet.
    private var endedAndStopped: [Entry] = []

    // Input.
    private var header = InlineArray<12, UInt8>(repeating: 0)
    private var headerCount = 0
    private var bodyRest = 0
    private var bodyEntry: Entry?
    private var bodyEnds = false

    private var pings: YamuxPings

    /// One side of a connection; the one that dialled is the client. The first ping goes out at once.
    init(isClient: Bool, limits: YamuxLimits, now: Instant) {
        self.limits = limits
        firstID = isClient ? 1 : 2
        nextID = firstID
        pings = YamuxPings(limits, first: now)
    }

    // MARK: What users wish

    /// Why no stream can be opened.
    enum OpenError: Error {
        case tooMany
        case noMore
    }

    /// Whether this side can open no more streams, or soon can't.
    var isDraining: Bool { peerIsLeaving || nextID > highestNumber - highestNumber / 16 }

    /// One more is never added to it without room for the next.
    private var highestNumber: UInt32 { min(limits.highestNumber, .max - 2) }

    /// Opens a stream for the user that `make` makes with its number.
    func open(at now: Instant, _ make: (UInt32) -> User) throws(OpenError) -> User {
        guard !peerIsLeaving, nextID <= highestNumber else { throw .noMore }
        guard outboundCount < limits.outboundStreams, unacknowledged < limits.unacknowledgedStreams else {
            throw .tooMany
        }
        let entry = Entry(id: nextID, user: make(nextID), opening: .syn, now: now)
        nextID += 2
        entries[entry.id] = entry
        outboundCount += 1
        unacknowledged += 1
        announceLater(entry, at: now)
        return entry.user
    }

    /// The user of stream `id` has output, or wants to end it.
    func hasOutput(_ id: UInt32) {
        if let entry = find(id) { makeReady(entry) }
    }

    /// The user of stream `id` has consumed `credit` more bytes.
    func freed(_ id: UInt32, credit: Int, at now: Instant) {
        guard let entry = find(id), !entry.isEndReceived, !entry.isDiscarding else { return }
        entry.credit += credit
        guard entry.credit >= entry.window / 2 else { return }
        grow(entry, at: now)
        makeReady(entry)
    }

    /// Breaks off stream `id`.
    func reset(_ id: UInt32, code: UInt64) {
        guard let entry = find(id) else { return }
        // A stream that the other side has not heard of needs no farewell.
        if !entry.opening.contains(.syn) {
            let code = UInt32(clamping: code)
            let header = YamuxHeader(.windowUpdate, [.rst, entry.opening], stream: id, length: code)
            // The other side opens as many of its own as it likes, and so the breaks of those are its doing.
            if isInbound(id) { answer(header) } else { control.append(header) }
        }
        remove(entry)
    }

    /// Nothing more is wanted of what comes in on stream `id`. Yamux has no word for that: once this side has ended its
    /// own direction, the other has a while to end its own, and then the stream is broken off.
    func stop(_ id: UInt32, at now: Instant) {
        guard let entry = find(id), !entry.isDiscarding else { return }
        entry.isDiscarding = true
        // A user that still writes may do so for as long as it likes.
        if entry.isEndSent { linger(entry, at: now) }
    }

    /// Tells the other side that this one is about to go.
    func farewell(code: UInt32) {
        control.append(YamuxHeader(.goAway, length: code))
    }

    /// Tells the other side that this one goes because of a broken rule, in place of the frames that wait.
    func lastWord() {
        control = FIFO()
        farewell(code: YamuxHeader.protocolError)
    }

    /// Calls `body` for the user of each stream, in the order of their numbers.
    func forEachUser(_ body: (User) -> Void) {
        for entry in entries.values.sorted(by: { $0.id < $1.id }) { body(entry.user) }
    }

    /// Takes all streams out; what they were is given to `body`, in the order of their numbers.
    func removeAll(_ body: (User) -> Void) {
        for entry in entries.values.sorted(by: { $0.id < $1.id }) {
            body(entry.user)
            remove(entry)
        }
    }

    /// What has happened since the last time.
    func takeEvents() -> Events {
        defer { events = Events() }
        return events
    }

    private func find(_ id: UInt32) -> Entry? {
        if let lastEntry, lastEntry.id == id { return lastEntry }
        guard let entry = entries[id] else { return nil }
        lastEntry = entry
        return entry
    }

    private func isInbound(_ id: UInt32) -> Bool { (id ^ firstID) & 1 == 1 }

    private func makeReady(_ entry: Entry) {
        guard entry.line == .none else { return }
        entry.line = .ready
        ready.append(entry)
    }

    private func announceLater(_ entry: Entry, at now: Instant) {
        entry.isUnannounced = true
        unannounced.append(Appointment(due: now + limits.announcementDelay, entry: entry))
    }

    private func linger(_ entry: Entry, at now: Instant) {
        entry.isLingering = true
        lingering.append(Appointment(due: now + limits.lingerTime, entry: entry))
    }

    private func remove(_ entry: Entry) {
        guard !entry.isOver else { return }
        entry.isOver = true
        switch entry.line {
        case .none: break
        case .ready: ready.lostOne { $0.isOver }
        case .bulk: bulk.lostOne { $0.isOver }
        }
        if entry.isUnannounced { unannounced.lostOne { $0.entry.isOver } }
        if entry.isLingering { lingering.lostOne { $0.entry.isOver } }
        entries[entry.id] = nil
        if lastEntry === entry { lastEntry = nil }
        grown -= entry.window - Self.initialWindow
        if isInbound(entry.id) { inboundCount -= 1 } else { outboundCount -= 1 }
        if !entry.isAcknowledged { acknowledge(entry) }
        events.streamsAvailable = true
        entry.user.detach()
    }

    private func acknowledge(_ entry: Entry) {
        guard !entry.isAcknowledged else { return }
        entry.isAcknowledged = true
        unacknowledged -= 1
        events.streamsAvailable = true
    }

    /// Doubles the window where it was the bottleneck and the budget has room.
    private func grow(_ entry: Entry, at now: Instant) {
        defer { entry.creditTime = now }
        guard let roundTripTime else { return }
        let roundTrip = max(roundTripTime, Self.shortestRoundTrip)
        guard now - entry.creditTime < roundTrip * Self.growthRoundTrips else { return }
        let more = min(entry.window, limits.streamWindow - entry.window, limits.windowBudget - grown)
        guard more > 0, entry.user.hasMemoryToGrow else { return }
        grown += more
        entry.window += more
        entry.credit += more
        entry.user.setCreditStep(entry.window / 2)
    }

    // MARK: Time

    /// When `handleTimeout` is to be called.
    var deadline: Instant {
        // Output is taken without a clock, so what begins with it begins now.
        guard endedAndStopped.isEmpty else { return .start }
        var deadline = pings.deadline
        if let first = unannounced.first(unless: { $0.entry.isOver }) { deadline = min(deadline, first.due) }
        if let first = lingering.first(unless: { $0.entry.isOver }) { deadline = min(deadline, first.due) }
        return deadline
    }

    /// Does what is due. The value of a ping is drawn from `random`.
    func handleTimeout(at now: Instant, using random: inout some RandomNumberGenerator) throws(YamuxError) {
        if let value = try pings.handleTimeout(at: now, using: &random) {
            control.append(YamuxHeader(.ping, .syn, length: value))
        }
        while let first = unannounced.first(unless: { $0.entry.isOver }),
            first.due <= now || first.entry.opening.isEmpty
        {
            _ = unannounced.popFirst(unless: { $0.entry.isOver })
            first.entry.isUnannounced = false
            if !first.entry.opening.isEmpty { makeReady(first.entry) }
        }
        for entry in endedAndStopped where !entry.isOver { linger(entry, at: now) }
        endedAndStopped.removeAll()
        while let first = lingering.first(unless: { $0.entry.isOver }), first.due <= now {
            _ = lingering.popFirst(unless: { $0.entry.isOver })
            first.entry.isLingering = false
            reset(first.entry.id, code: 0)
        }
    }
}

// MARK: - Input

extension Yamux {
    /// Handles bytes of the connection, cut anywhere. Streams that the other side opens are `accept`ed, or refused
    /// where that gives `nil`.
    func handle(_ bytes: Bytes, at now: Instant, accept: (UInt32) -> User?) throws(YamuxError) {
        var position = 0
        while position < bytes.count {
            if bodyRest > 0 {
                let size = min(bodyRest, bytes.count - position)
                bodyRest -= size
                if let entry = bodyEntry {
                    if !entry.isOver, !entry.isDiscarding {
                        entry.user.deliver(bytes.slice(position..<position + size))
                    }
                    if bodyRest == 0 { endBody(entry) }
                }
                position += size
            } else if headerCount == 0, bytes.count - position >= YamuxHeader.size {
                let header = try bytes.withUnsafeBytes { bytes throws(YamuxError) in
                    try YamuxHeader(reading: bytes.baseAddress.unsafelyUnwrapped + position)
                }
                position += YamuxHeader.size
                try handle(header, at: now, accept)
            } else {
                header[headerCount] = bytes[position]
                headerCount += 1
                position += 1
                guard headerCount == YamuxHeader.size else { continue }
                headerCount = 0
                let whole = try header.span.bytes.withUnsafeBytes { bytes throws(YamuxError) in
                    try YamuxHeader(reading: bytes.baseAddress.unsafelyUnwrapped)
                }
                try handle(whole, at: now, accept)
            }
        }
        guard answers <= limits.waitingAnswers else { throw .tooManyAnswers }
    }

    private func handle(_ header: YamuxHeader, at now: Instant, _ accept: (UInt32) -> User?) throws(YamuxError) {
        switch header.kind {
        case .data, .windowUpdate:
            guard header.stream != 0 else { throw .wrongStream(0) }
            try handleStream(header, at: now, accept)
        case .ping:
            guard header.stream == 0 else { throw .wrongStream(header.stream) }
            try handlePing(header, at: now)
        case .goAway:
            guard header.stream == 0 else { throw .wrongStream(header.stream) }
            farewells += 1
            guard farewells <= limits.farewells else { throw .tooManyFarewells }
            if farewells > 1 { counters.repeatedFarewells += 1 }
            peerIsLeaving = true
            events.farewell = header.length
        }
    }

    private func handleStream(
        _ header: YamuxHeader, at now: Instant, _ accept: (UInt32) -> User?
    ) throws(YamuxError) {
        if header.flags.contains(.syn) { try handleOpening(header, at: now, accept) }
        guard let entry = find(header.stream) else { return try handleLate(header) }
        if header.flags.contains(.ack) { acknowledge(entry) }
        if header.flags.contains(.rst) {
            if header.kind == .data { bodyEntry = nil; bodyRest = Int(header.length) }
            entry.user.deliverBreak(code: header.kind == .windowUpdate ? UInt64(header.length) : 0)
            return remove(entry)
        }
        switch header.kind {
        case .windowUpdate:
            entry.sendWindow += Int(header.length)
            guard entry.sendWindow <= Int(UInt32.max) else { throw .windowOverflow(stream: entry.id) }
            if header.length > 0, !entry.user.output.isEmpty { makeReady(entry) }
            if header.flags.contains(.fin) { end(entry) }
        default:
            guard header.length == 0 || !entry.isEndReceived else { throw .dataAfterEnd(entry.id) }
            guard header.length <= entry.receiveWindow else {
                throw .windowExceeded(
                    stream: entry.id, size: header.length, window: UInt32(entry.receiveWindow))
            }
            entry.receiveWindow -= Int(header.length)
            bytesReceived += UInt64(header.length)
            bodyEntry = entry
            bodyRest = Int(header.length)
            bodyEnds = header.flags.contains(.fin)
            if bodyRest == 0 { endBody(entry) }
        }
    }

    private func handleOpening(
        _ header: YamuxHeader, at now: Instant, _ accept: (UInt32) -> User?
    ) throws(YamuxError) {
        let id = header.stream
        guard isInbound(id), entries[id] == nil else { throw .wrongNumber(id) }
        highestInbound = max(highestInbound, id)
        guard inboundCount < limits.inboundStreams, let user = accept(id) else {
            counters.refusedStreams += 1
            return answer(YamuxHeader(.windowUpdate, .rst, stream: id))
        }
        let entry = Entry(id: id, user: user, opening: .ack, now: now)
        entries[id] = entry
        inboundCount += 1
        announceLater(entry, at: now)
    }

    /// A frame of a stream that is over, or was refused: what it carries is passed over.
    private func handleLate(_ header: YamuxHeader) throws(YamuxError) {
        let existed = isInbound(header.stream) ? header.stream <= highestInbound : header.stream < nextID
        guard existed else { throw .neverOpened(header.stream) }
        counters.lateFrames += 1
        guard header.kind == .data else { return }
        guard header.length <= limits.streamWindow else {
            throw .windowExceeded(stream: header.stream, size: header.length, window: UInt32(limits.streamWindow))
        }
        bodyEntry = nil
        bodyRest = Int(header.length)
    }

    private func endBody(_ entry: Entry) {
        bodyEntry = nil
        if bodyEnds { end(entry) }
    }

    private func end(_ entry: Entry) {
        guard !entry.isEndReceived, !entry.isOver else { return }
        entry.isEndReceived = true
        entry.user.deliverEnd()
        if entry.isEndSent { remove(entry) }
    }

    private func handlePing(_ header: YamuxHeader, at now: Instant) throws(YamuxError) {
        if header.flags.contains(.ack) {
            if !pings.handleAnswer(header.length, at: now) { counters.strayAnswers += 1 }
        } else {
            try pings.handlePing(at: now)
            answer(YamuxHeader(.ping, .ack, length: header.length))
        }
    }

    private func answer(_ header: YamuxHeader) {
        answers += 1
        control.append(header)
    }
}

// MARK: - Output

extension Yamux {
    /// How many frames wait that belong to no stream's turn: answers, breaks and pings.
    var waitingFrames: Int { control.count }

    /// Whether so many of them wait that no more should be read until they have gone out.
    var shouldPauseReading: Bool { control.count >= limits.waitingFramesWhileReading }

    /// Whether `transmit` would give anything.
    var hasOutput: Bool { !control.isEmpty || !ready.isEmpty || !bulk.isEmpty }

    /// Writes as many frames as there are and fit to `buffer`, which must have room for `smallestPiece` bytes, and says
    /// how many bytes that were.
    func transmit(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        precondition(buffer.count >= Self.smallestPiece, "no room")
        var filled = 0
        while buffer.count - filled >= YamuxHeader.size {
            guard let header = control.popFirst() else { break }
            header.write(to: buffer.baseAddress.unsafelyUnwrapped + filled)
            filled += YamuxHeader.size
        }
        if control.isEmpty { answers = 0 }
        // Behind the first, a piece goes into the next buffer rather than into a rest of this one that is hardly worth
        // its header.
        while filled == 0 || buffer.count - filled >= Self.smallestPiece, let (entry, quantum) = nextTurn() {
            entry.line = .none
            filled += transmit(entry, within: quantum, UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
        }
        return filled
    }

    /// Whose turn it is, and how much that one may send while others wait.
    private func nextTurn() -> (Entry, quantum: Int)? {
        if turns < Self.turnsBeforeBulk || bulk.isEmpty, let entry = ready.popFirst(unless: { $0.isOver }) {
            turns += 1
            return (entry, Self.quantum)
        }
        turns = 0
        return bulk.popFirst(unless: { $0.isOver }).map { ($0, Self.bulkQuantum) }
    }

    /// Writes what one stream has to say, within its turn, and puts it at the end of the line where it has more.
    private func transmit(_ entry: Entry, within quantum: Int, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
        var filled = 0
        if entry.credit >= entry.window / 2, !entry.isEndReceived {
            write(YamuxHeader(.windowUpdate, entry.opening, stream: entry.id, length: UInt32(entry.credit)), buffer)
            entry.receiveWindow += entry.credit
            entry.credit = 0
            entry.opening = []
            filled = YamuxHeader.size
        }
        let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
        filled += transmitData(entry, within: quantum, rest)
        if !entry.opening.isEmpty, !entry.owesEnd {
            // It has nothing to send, or may not: the opening goes out by itself.
            write(YamuxHeader(.windowUpdate, entry.opening, stream: entry.id), buffer)
            entry.opening = []
            filled = YamuxHeader.size
        }
        if entry.owesEnd {
            filled += transmitEnd(entry, UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
        }
        return filled
    }

    private func transmitData(_ entry: Entry, within quantum: Int, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard !entry.isEndSent, !entry.owesEnd else { return 0 }
        let turn = ready.isEmpty && bulk.isEmpty ? buffer.count : quantum + YamuxHeader.size
        let room = min(buffer.count, turn, entry.sendWindow + YamuxHeader.size)
        let body = UnsafeMutableRawBufferPointer(rebasing: buffer[YamuxHeader.size..<max(room, YamuxHeader.size)])
        let (count, rest) = entry.user.takeOutput(into: body)
        if rest.ends { entry.owesEnd = true }
        guard count > 0 else { return 0 }
        write(YamuxHeader(.data, entry.opening, stream: entry.id, length: UInt32(count)), buffer)
        entry.opening = []
        entry.sendWindow -= count
        bytesSent += UInt64(count)
        if !rest.ends, rest.count > 0, entry.sendWindow > 0 {
            entry.line = .bulk
            bulk.append(entry)
        }
        return YamuxHeader.size + count
    }

    /// Writes the end of a stream, as soon as there is room: in a frame of its own, since go-yamux loses data that comes
    /// in the same frame as the end.
    private func transmitEnd(_ entry: Entry, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard buffer.count >= YamuxHeader.size else {
            makeReady(entry)
            return 0
        }
        write(YamuxHeader(.data, entry.opening.union(.fin), stream: entry.id), buffer)
        entry.opening = []
        entry.owesEnd = false
        entry.isEndSent = true
        if entry.isEndReceived {
            remove(entry)
        } else if entry.isDiscarding {
            endedAndStopped.append(entry)
        }
        return YamuxHeader.size
    }

    @inline(__always)
    private func write(_ header: YamuxHeader, _ buffer: UnsafeMutableRawBufferPointer) {
        header.write(to: buffer.baseAddress.unsafelyUnwrapped)
    }
}
