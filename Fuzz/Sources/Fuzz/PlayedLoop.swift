import Glibc
import MartletRuntime
import MartletWire

/// A loop that stands still between the moves of a play, with a clock that moves when the play says so.
///
/// A play has no world around it: what comes from outside comes from the play itself, and so some thousands of plays fit
/// into a second.
final class PlayedLoop {
    /// Nobody sleeps here, so nobody is woken.
    private final class Driver: LoopDriver {
        func wake(_ loop: EventLoop) {}
    }

    /// How many turns and timers one move may cause. More are taken to run in a circle.
    private static let mostTurns = 20_000

    let loop: EventLoop
    private let timers = TimerQueue(now: .start + .seconds(1))

    init() {
        loop = EventLoop(name: "play", timers: timers, driver: Driver())
    }

    deinit {
        loop.close()
    }

    var now: Instant { timers.now }

    /// Runs `body` on the loop, and all that follows from it.
    func run(_ body: () -> Void) {
        loop.asCurrent(body)
        settle()
    }

    /// Lets `duration` pass, with all that is due meanwhile.
    func pass(_ duration: Duration) {
        let end = timers.now + duration
        var turns = 0
        while let next = timers.nextDeadline, next <= end {
            timers.advance(to: next)
            settle()
            turns += 1
            expect(turns < Self.mostTurns, "timers come to an end")
        }
        timers.advance(to: end)
        settle()
    }

    private func settle() {
        var turns = 0
        while true {
            if loop.hasWork { loop.turn() } else if let timer = timers.popExpired() { loop.fire(timer) } else { return }
            turns += 1
            expect(turns < Self.mostTurns, "a loop comes to rest")
        }
    }
}

/// An ordered stream of bytes whose other end is a play.
final class PlayedStream: ByteStream {
    /// How much may be queued before a writer has to wait, and how far the queue must fall then.
    static let highWaterMark = 64 << 10
    private static let lowWaterMark = 16 << 10
    /// How much is queued at most: one record goes beyond the mark.
    static let mostQueued = highWaterMark + (64 << 10) + 18

    private var incoming = ByteQueue()
    private var outgoing = ByteQueue()
    private var hasEnded = false
    private var broken: NetworkError.Reason?
    private var isReadPlanned = false
    /// Whether this side has closed it, well or not.
    private(set) var isClosed = false
    /// Whether a writer was told to wait.
    private(set) var isBlocked = false
    /// How much was queued when a writer was last told to wait.
    private(set) var queuedWhenBlocked = 0

    override var failure: NetworkError.Reason? { broken }
    override var queued: Int { outgoing.count }

    override func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
        expect(!isClosed, "what is closed is not read")
        expect(!buffer.isEmpty, "nothing can be read into no room")
        let count = incoming.take(into: buffer)
        if count > 0 { return .bytes(count) }
        if let broken { return .failed(broken) }
        return hasEnded ? .end : .wouldBlock
    }

    override func readLater() {
        guard !isReadPlanned else { return }
        isReadPlanned = true
        loop.afterThis { [self] in
            isReadPlanned = false
            onReadable?()
        }
    }

    override func write(_ bytes: Bytes) -> Bool {
        expect(!isClosed, "nothing is written behind the end")
        if broken == nil { bytes.withUnsafeBytes { outgoing.append($0) } }
        guard outgoing.count >= Self.highWaterMark else { return true }
        isBlocked = true
        queuedWhenBlocked = outgoing.count
        return false
    }

    override func finish() {}

    override func close() {
        isClosed = true
        (onReadable, onWritable) = (nil, nil)
    }

    override func reset() {
        close()
        outgoing.removeAll()
    }

    // MARK: The play's end

    /// Sends `bytes` to this side.
    func send(_ bytes: UnsafeRawBufferPointer) {
        guard !isClosed, !hasEnded, broken == nil, !bytes.isEmpty else { return }
        incoming.append(bytes)
        onReadable?()
    }

    /// Ends the play's direction.
    func sendEnd() {
        guard !isClosed, broken == nil else { return }
        hasEnded = true
        onReadable?()
    }

    /// Breaks it off.
    func breakOff() {
        guard !isClosed, broken == nil else { return }
        broken = .reset
        outgoing.removeAll()
        isBlocked = false
        onReadable?()
        onWritable?()
    }

    /// Takes at most `count` bytes of what this side has written.
    func take(_ count: Int) -> [UInt8] {
        let taken = outgoing.take(upTo: count)
        if isBlocked, outgoing.count <= Self.lowWaterMark {
            isBlocked = false
            onWritable?()
        }
        return taken
    }
}

/// Bytes in a row.
struct ByteQueue {
    private var bytes: [UInt8] = []
    private var head = 0

    var count: Int { bytes.count - head }

    mutating func append(_ more: UnsafeRawBufferPointer) { bytes.append(contentsOf: more) }

    mutating func take(upTo maximum: Int) -> [UInt8] {
        let size = min(maximum, count)
        let taken = Array(bytes[head..<head + size])
        drop(size)
        return taken
    }

    mutating func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let size = min(buffer.count, count)
        bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[head..<head + size])) }
        drop(size)
        return size
    }

    mutating func removeAll() { (bytes, head) = ([], 0) }

    private mutating func drop(_ size: Int) {
        head += size
        if head == bytes.count {
            removeAll()
        } else if head > 64 << 10 {
            bytes.removeFirst(head)
            head = 0
        }
    }
}

/// Bytes in which a piece that is missing, doubled, moved or of another stream shows.
enum Pattern {
    /// A prime, so that no piece of a likely size fits in the wrong place.
    private static let period = 65_521
    static let longestPiece = 1 << 20
    private static let table: [UInt8] = (0..<period + longestPiece).map { index in
        let place = UInt32(index % period)
        return UInt8(truncatingIfNeeded: place &* 31 &+ place >> 5 &+ place >> 9)
    }

    /// Calls `body` with the `count` bytes that stand at `offset` of what `stream` carries in one direction.
    static func withBytes<Result>(
        of stream: UInt64, inbound: Bool, at offset: Int, _ count: Int, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        expect(count <= longestPiece, "a piece fits the table")
        let start = (offset + Int(stream % 4096) * 13 + (inbound ? 7 : 0)) % period
        return table.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[start..<start + count])) }
    }

    /// Whether `bytes` stand at `offset` of what `stream` carries.
    static func holds(_ bytes: UnsafeRawBufferPointer, of stream: UInt64, inbound: Bool, at offset: Int) -> Bool {
        withBytes(of: stream, inbound: inbound, at: offset, bytes.count) { expected in
            bytes.isEmpty || memcmp(bytes.baseAddress!, expected.baseAddress!, bytes.count) == 0
        }
    }
}
