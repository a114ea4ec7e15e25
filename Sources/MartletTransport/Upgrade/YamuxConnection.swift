internal import MartletCrypto
internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

/// A connection over an ordered stream of bytes: sealed by Noise, or by the stream itself, and divided by Yamux.
///
/// What comes in is read to shared memory, opened where it stands and parsed where it stands. What goes out is pulled
/// from the streams into a record with room for its length and tag, and sealed where it stands: once per turn, or when
/// there is room again.
final class YamuxConnection: Connection {
    private let stream: ByteStream
    /// What seals and opens; `nil` where the stream of bytes does.
    private let noise: NoiseTransport?
    private let yamux: Yamux<StreamLink>
    private let limits: UpgradeLimits
    /// How many bytes a record has at most, before it is sealed.
    private var recordSize: Int
    private var fullRecords = 0
    private let buffers: ConnectionBuffers
    private var timer: LoopTimer?
    private var isFlushPlanned = false
    private var isBlocked = false
    private var isOver = false
    private var opened: UInt64 = 0
    private var accepted: UInt64 = 0
    private var newcomers: [StreamLink] = []
    /// Whether it reads no more until what waits to be sent has gone out.
    private var isReadingPaused = false
    private var random: RandomSource
    /// The beginning of a record whose rest has not come.
    private var rest: (slab: Slab, start: Int, end: Int)?
    private var farewell: UInt32?
    /// What is drawn from the node's memory for what waits in front of a system that takes no more.
    private var held: (account: ResourceAccount, bytes: Int)?

    private static let fullRecordsPerFit = 64
    /// The longest record, with its length.
    private static let maximumRecord = 2 + NoiseCipher.maximumMessageSize

    init(
        _ stream: ByteStream, noise: NoiseTransport?, remotePublicKey: PublicKey, localAddress: Multiaddr,
        remoteAddress: Multiaddr, nature: ConnectionNature, limits: UpgradeLimits, buffers: ConnectionBuffers,
        random: RandomSource
    ) {
        self.stream = stream
        self.noise = noise
        self.limits = limits
        recordSize = min(limits.recordSize, NoiseCipher.maximumMessageSize - NoiseCipher.tagSize)
        self.buffers = buffers
        self.random = random
        yamux = Yamux(isClient: nature.direction == .outbound, limits: limits.yamux, now: stream.loop.now)
        super.init(
            loop: stream.loop, remotePublicKey: remotePublicKey, localAddress: localAddress,
            remoteAddress: remoteAddress, nature: nature)
    }

    /// Takes over the stream, and what has already come: `opened`, and behind it `input`, which is as it came from the
    /// stream.
    func begin(opened: Bytes, input: Bytes) {
        timer = LoopTimer(on: loop, label: "yamux") { [weak self] in self?.timeout() }
        stream.onReadable = { self.readable() }
        stream.onWritable = { self.writable() }
        if !input.isEmpty {
            let copy = Slab.make(capacity: input.count)
            input.withUnsafeBytes { copy.base.copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: $0.count) }
            rest = (copy, 0, input.count)
        }
        // The taker of streams is not there yet.
        loop.afterThis { [self] in
            if !opened.isEmpty { handle(opened) }
            if let (slab, start, end) = rest { rest = openRecords(in: slab, from: start, to: end) }
            settle()
            stream.readLater()
        }
    }

    // MARK: Input

    private func readable() {
        // Whoever pays for what comes does so when this turn is over.
        let isShort = ownAccount?.scope.isShort ?? false
        var budget = isShort ? limits.bytesPerTurn / 16 : limits.bytesPerTurn
        while !isOver {
            guard budget > 0 else {
                stream.readLater()
                break
            }
            if mustPauseReading {
                isReadingPaused = true
                keepRest()
                break
            }
            let (slab, start, end) = roomToRead()
            let result = stream.read(
                into: UnsafeMutableRawBufferPointer(start: slab.base + end, count: slab.size - end))
            switch result {
            case .bytes(let count):
                budget -= count
                if start == end || rest?.slab === slab { buffers.incoming.fill(upTo: end + count) }
                rest = openRecords(in: slab, from: start, to: end + count)
                continue
            case .wouldBlock:
                keepRest()
            case .end:
                isOver ? () : fail(.closedByPeer(code: UInt64(farewell ?? 0)))
            case .failed(let reason):
                fail(.network(reason))
            }
            break
        }
        settle()
    }

    /// Whether the other side takes nothing, and what it makes necessary piles up: then it is not asked for more. One that
    /// reads is never kept waiting, since those frames go out in front of everything else.
    private var mustPauseReading: Bool { isBlocked && yamux.shouldPauseReading }

    /// Where to read to, and where what is there of a record begins.
    private func roomToRead() -> (slab: Slab, start: Int, end: Int) {
        guard let rest else {
            let (slab, start) = buffers.incoming.room(Self.maximumRecord)
            return (slab, start, start)
        }
        let incoming = buffers.incoming
        if incoming.continues(rest.slab, from: rest.start, to: rest.end, room: Self.maximumRecord) { return rest }
        let count = rest.end - rest.start
        let (slab, start) = incoming.room(Self.maximumRecord)
        (slab.base + start).copyMemory(from: rest.slab.base + rest.start, byteCount: count)
        self.rest = (slab, start, start + count)
        incoming.fill(upTo: start + count)
        return (slab, start, start + count)
    }

    /// Keeps the beginning of a record apart, so that it doesn't hold shared memory while nothing comes.
    private func keepRest() {
        guard let rest, rest.slab.size > 2 * (rest.end - rest.start) else { return }
        let count = rest.end - rest.start
        let slab = Slab.make(capacity: count)
        slab.base.copyMemory(from: rest.slab.base + rest.start, byteCount: count)
        self.rest = (slab, 0, count)
    }

    /// Opens and handles the records that are there as a whole; gives what is left.
    private func openRecords(in slab: Slab, from first: Int, to end: Int) -> (slab: Slab, start: Int, end: Int)? {
        guard let noise else {
            handle(Bytes(slab: slab, offset: first, count: end - first))
            return nil
        }
        var start = first
        while end - start >= 2, !isOver {
            let size = Int(UInt16(bigEndian: slab.base.loadUnaligned(fromByteOffset: start, as: UInt16.self)))
            guard end - start >= 2 + size else { break }
            let plain: Int
            do throws(NoiseError) {
                plain = try noise.receiving.open(
                    UnsafeMutableRawBufferPointer(start: slab.base + start + 2, count: size))
            } catch {
                breakOff(.noiseRecord, detail: "\(error)")
                return nil
            }
            if plain > 0 { handle(Bytes(slab: slab, offset: start + 2, count: plain)) }
            start += 2 + size
        }
        return start < end && !isOver ? (slab, start, end) : nil
    }

    private func handle(_ plain: Bytes) {
        do throws(YamuxError) {
            try yamux.handle(plain, at: loop.now) { id in
                let link = StreamLink(
                    connection: self, id: UInt64(id), isOutbound: false,
                    creditStep: Yamux<StreamLink>.initialWindow / 2)
                newcomers.append(link)
                return link
            }
        } catch {
            violated(error)
        }
    }

    private func violated(_ error: YamuxError) {
        guard let violation = Violation(error) else { return breakOff(.unanswered) }
        breakOff(violation, detail: "\(error)")
    }

    /// After input: hands out new streams, and sees to it that answers go out.
    private func settle() {
        // What has ended makes room for what has begun.
        tellUsers()
        if !newcomers.isEmpty {
            let links = newcomers
            newcomers = []
            for link in links {
                // One that was opened and broken off at once is over already, and nobody will read what came on it.
                guard link.connection != nil else {
                    link.reset(code: 0)
                    continue
                }
                accepted += 1
                accepted(link)
            }
        }
        guard !isOver else { return }
        let events = yamux.takeEvents()
        if let code = events.farewell {
            farewell = code
            // The other side goes on with what is open where nothing is wrong.
            // Beyond that it is owed nothing: what is queued for it must not hold the socket.
            if code != 0 { return breakOff(.closedByPeer(code: UInt64(code))) }
            beginsToDrain()
        }
        if events.streamsAvailable { streamsBecameAvailable() }
        refusedStreams(yamux.counters.refusedStreams)
        if isBlocked { holdQueued() }
        flushLater()
    }

    // MARK: Output

    private func flushLater() {
        guard !isOver, !isFlushPlanned else { return }
        isFlushPlanned = true
        loop.atTurnEnd { [self] in
            isFlushPlanned = false
            flush()
        }
    }

    private func writable() {
        isBlocked = false
        hold(0)
        if let failure = stream.failure { return fail(.network(failure)) }
        flush()
        guard isReadingPaused, !isOver, !mustPauseReading else { return }
        isReadingPaused = false
        stream.readLater()
    }

    private func flush() {
        while !isOver, !isBlocked, yamux.hasOutput, sendRecord() {}
        if !isOver { armTimer() }
    }

    /// Sends one record, where there is anything to put in it.
    private func sendRecord() -> Bool {
        let room = 2 + recordSize + NoiseCipher.tagSize
        let (slab, start) = buffers.outgoing.lend(room)
        var filled = 0
        defer { buffers.outgoing.giveBack(slab, from: start, to: start + room, filled: filled) }
        let record = slab.base + start
        // Without Noise, the place of the length is left empty.
        let count = yamux.transmit(into: UnsafeMutableRawBufferPointer(start: record + 2, count: recordSize))
        guard count > 0 else { return false }
        guard let noise else {
            filled = 2 + count
            return send(slab, from: start + 2, count)
        }
        if count == recordSize { sentFullRecord() }
        let sealed = count + NoiseCipher.tagSize
        record.storeBytes(of: UInt16(sealed).bigEndian, as: UInt16.self)
        do throws(NoiseError) {
            try noise.sending.seal(UnsafeMutableRawBufferPointer(start: record + 2, count: sealed))
        } catch {
            breakOff(.violation(.noiseRecord, detail: "\(error)"))
            return false
        }
        filled = 2 + sealed
        return send(slab, from: start, filled)
    }

    /// Fits the size of records to the stream's segments, now and then: the system learns how long they may be as the
    /// connection is used. A full record is to be a number of whole segments, else there is a small one behind each,
    /// which costs both sides as much as a large one.
    private func sentFullRecord() {
        defer { fullRecords += 1 }
        guard fullRecords % Self.fullRecordsPerFit == 0, let segment = stream.segmentSize else { return }
        let overhead = 2 + NoiseCipher.tagSize
        let longest = min(limits.recordSize + overhead, Self.maximumRecord)
        // A segment that has no room for a piece of a stream is no measure.
        guard segment > overhead + Yamux<StreamLink>.smallestPiece, segment <= longest else { return }
        recordSize = longest / segment * segment - overhead
    }

    private func send(_ slab: Slab, from start: Int, _ count: Int) -> Bool {
        isBlocked = !stream.write(Bytes(slab: slab, offset: start, count: count))
        if isBlocked { holdQueued() }
        return true
    }

    /// Draws for what waits: in front of the system, and the machine's own frames behind that.
    private func holdQueued() {
        hold(stream.queued + yamux.waitingFrames * MemoryLayout<YamuxHeader?>.stride)
    }

    private func hold(_ bytes: Int) {
        guard bytes != held?.bytes ?? 0 else { return }
        if let held { held.account.draw(-held.bytes) }
        held = nil
        guard bytes > 0, let account = ownAccount else { return }
        account.draw(bytes)
        held = (account, bytes)
    }

    // MARK: Time

    private func armTimer() {
        let deadline = yamux.deadline
        if timer?.deadline != deadline { timer?.arm(at: deadline) }
    }

    private func timeout() {
        do throws(YamuxError) {
            try yamux.handleTimeout(at: loop.now, using: &random)
        } catch {
            return violated(error)
        }
        flush()
    }

    // MARK: The end

    private func fail(_ reason: ConnectionError) {
        end(reason, leave)
    }

    /// Ends it with one who takes nothing or has said that it is over, and who is owed nothing: what is queued is dropped.
    private func breakOff(_ reason: ConnectionError) {
        end(reason) { $0.reset() }
    }

    /// Ends it with one who breaks the rules, and who is told so if that can go out at once; but what is queued is dropped.
    private func breakOff(_ violation: Violation, detail: String) {
        end(.violation(violation, detail: detail)) { stream in
            guard !isBlocked else { return stream.reset() }
            yamux.lastWord()
            _ = sendRecord()
            hold(0)
            // What is written in a turn leaves at its end, in front of this.
            loop.atTurnEnd { stream.reset() }
        }
    }

    /// Sends what is queued and closes; but a peer that takes nothing is not waited for, since the socket and its queue
    /// would stay although nothing counts them any more.
    private func leave(_ stream: ByteStream) {
        isBlocked ? stream.reset() : stream.close()
    }

    private func end(_ reason: ConnectionError, _ farewell: (ByteStream) -> Void) {
        guard !isOver else { return }
        isOver = true
        timer = nil
        rest = nil
        hold(0)
        yamux.removeAll { $0.fail(reason) }
        stream.onReadable = nil
        stream.onWritable = nil
        farewell(stream)
        ended(reason)
    }

    override func close(code: UInt64) {
        guard !isOver else { return }
        yamux.farewell(code: UInt32(clamping: code))
        flush()
        end(.closed(code: code), leave)
    }

    override func abort() {
        end(.closed(code: 0)) { $0.reset() }
    }

    // MARK: Streams

    override func openStream() throws(ConnectionError) -> Stream {
        if let closeReason { throw closeReason }
        let link: StreamLink
        do {
            link = try yamux.open(at: loop.now) { id in
                StreamLink(
                    connection: self, id: UInt64(id), isOutbound: true,
                    creditStep: Yamux<StreamLink>.initialWindow / 2)
            }
        } catch {
            if yamux.isDraining { beginsToDrain() }
            throw error == .tooMany ? .tooManyStreams : .noMoreStreams
        }
        if yamux.isDraining { beginsToDrain() }
        opened += 1
        armTimer()
        return Stream(link)
    }

    override func forEachStream(_ body: (StreamLink) -> Void) { yamux.forEachUser(body) }

    override func streamHasOutput(_ link: StreamLink) {
        yamux.hasOutput(UInt32(link.id))
        flushLater()
    }

    override func streamFreed(_ link: StreamLink, credit: Int) {
        yamux.freed(UInt32(link.id), credit: credit, at: loop.now)
        flushLater()
    }

    override func streamReset(_ link: StreamLink, code: UInt64) {
        yamux.reset(UInt32(link.id), code: code)
        flushLater()
    }

    override func streamStopped(_ link: StreamLink, code: UInt64) {
        yamux.stop(UInt32(link.id), at: loop.now)
        armTimer()
    }

    override var statistics: ConnectionStatistics {
        var statistics = ConnectionStatistics()
        statistics.bytesReceived = yamux.bytesReceived
        statistics.bytesSent = yamux.bytesSent
        statistics.streamsAccepted = accepted
        statistics.streamsOpened = opened
        statistics.openStreams = yamux.inboundCount + yamux.outboundCount
        statistics.roundTripTime = yamux.roundTripTime
        return statistics
    }
}

extension StreamLink: YamuxUser {
    func deliverBreak(code: UInt64) {
        deliverReset(code: code)
        endOutput(.reset(code: code))
    }
}
