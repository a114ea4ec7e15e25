internal import CQUIC
internal import MartletRuntime
internal import MartletWire

/// What a QUIC connection keeps of a stream: the output that the other side has not acknowledged, where it stands, and
/// how much of the input was not yet paid for.
final class QUICStream {
    /// How much output is taken from the writer at a time.
    private static let pieceSize = 64 << 10
    /// How much output there should be before a packet is written, so that it is full.
    private static let enough = PacketBatch.largestPacket
    /// How many pieces go into one packet at most.
    static let maximumParts = 16

    let id: Int64
    let link: StreamLink
    /// Output from `acknowledged` on. ngtcp2 does not copy it, so the pieces stay until they are acknowledged.
    private var pieces: [Bytes] = []
    private var head = 0
    /// How much of the first piece is acknowledged, and how much in all.
    private var headOffset = 0
    private var acknowledged: UInt64 = 0
    /// The first piece that is not sent whole, and how much of it is sent.
    private var next = 0
    private var nextOffset = 0
    /// How many bytes of the pieces are not sent.
    private(set) var unsent = 0
    /// Whether the writer has more than was taken.
    var hasMore = false
    /// Whether the output ends behind the pieces.
    private var ends = false
    private var isEndSent = false
    /// Whether nothing more is sent.
    private(set) var isDropped = false
    /// Whether it waits in the connection's list of those that can send.
    var isReady = false
    /// Whether what comes in is thrown away.
    var isInputClosed = false
    /// How many bytes came in for which the other side got no credit yet.
    private(set) var unpaid = 0
    /// How many bytes the other side may be ahead of the reader, and how far that has grown.
    private(set) var window: Int
    private(set) var growth = 0
    /// When the reader began with the present window's worth of bytes, and how many it has consumed since.
    private var roundStart: Instant
    private var consumed = 0
    /// What the pieces are drawn from, and how much they are.
    private let memory: ResourceAccount?
    private var drawn = 0 {
        didSet { memory?.draw(drawn - oldValue) }
    }

    init(id: Int64, link: StreamLink, window: Int, memory: ResourceAccount?) {
        self.id = id
        self.link = link
        self.window = window
        self.memory = memory
        roundStart = link.loop.now
    }

    deinit {
        memory?.draw(-drawn)
    }

    // MARK: Output

    /// Whether there is something to send: bytes, or the end.
    var hasOutput: Bool { unsent > 0 || ends && !isEndSent }

    /// Whether everything that the writer wrote was sent and acknowledged, as far as is known here.
    var isFlushed: Bool { isDropped || head == pieces.count && !hasMore && !(ends && !isEndSent) }

    /// Takes output from the writer where little is left.
    func refill() {
        while hasMore, !isDropped, unsent < Self.enough {
            let (bytes, rest) = link.takeOutput(upTo: Self.pieceSize)
            if bytes.count > 0 {
                pieces.append(bytes)
                unsent += bytes.count
                drawn += bytes.count
            }
            if rest.count == 0 {
                hasMore = false
                if rest.ends { ends = true }
            }
        }
    }

    /// Calls `body` with where the next bytes to send stand, and whether the stream ends behind them.
    func withParts<Result>(_ body: (UnsafePointer<ngtcp2_vec>, Int, _ ends: Bool) -> Result) -> Result {
        withUnsafeTemporaryAllocation(of: ngtcp2_vec.self, capacity: Self.maximumParts) { parts in
            var count = 0
            var index = next
            var offset = nextOffset
            while index < pieces.count, count < Self.maximumParts {
                pieces[index].withUnsafeBytes { bytes in
                    // The pointer holds beyond the call because `pieces` keeps the bytes, and bytes never move.
                    let start = UnsafeMutableRawPointer(mutating: bytes.baseAddress!) + offset
                    parts.initializeElement(
                        at: count,
                        to: ngtcp2_vec(base: start.assumingMemoryBound(to: UInt8.self), len: bytes.count - offset))
                }
                offset = 0
                index += 1
                count += 1
            }
            return body(UnsafePointer(parts.baseAddress!), count, ends && index == pieces.count)
        }
    }

    /// `count` bytes went into a packet; with `ends`, the end as well where nothing is left.
    func sent(_ count: Int, ends: Bool) {
        // Writing the packet may have ended the stream.
        guard !isDropped else { return }
        var rest = count
        unsent -= count
        while rest > 0 {
            let step = min(rest, pieces[next].count - nextOffset)
            nextOffset += step
            rest -= step
            if nextOffset == pieces[next].count {
                next += 1
                nextOffset = 0
            }
        }
        if ends, unsent == 0 { isEndSent = true }
    }

    /// The other side has everything before `offset`.
    func acknowledge(upTo offset: UInt64) {
        guard offset > acknowledged else { return }
        var rest = Int(offset - acknowledged)
        acknowledged = offset
        drawn -= min(rest, drawn)
        while rest > 0, head < pieces.count {
            let step = min(rest, pieces[head].count - headOffset)
            headOffset += step
            rest -= step
            if headOffset == pieces[head].count {
                pieces[head] = Bytes()
                head += 1
                headOffset = 0
            }
        }
        if head == pieces.count {
            pieces.removeAll(keepingCapacity: pieces.capacity <= 64)
            next -= head
            head = 0
        } else if head >= 64, head * 2 >= pieces.count {
            pieces.removeFirst(head)
            next -= head
            head = 0
        }
    }

    /// Nothing more is sent. Only once ngtcp2 has been told so.
    func dropOutput() {
        // What is in flight stays: ngtcp2 may still hold its address until the stream is closed.
        isDropped = true
        hasMore = false
        unsent = 0
        ends = false
        next = pieces.count
        nextOffset = 0
    }

    // MARK: Input

    /// `count` bytes came in.
    func received(_ count: Int) { unpaid += count }

    /// The reader has consumed up to `count` bytes; says how many of them the other side is to get credit for.
    func paid(_ count: Int) -> Int {
        let credit = min(count, unpaid)
        unpaid -= credit
        consumed += credit
        return credit
    }

    /// Whether the reader consumes a window in less than two round trips, so that the window may be what holds the
    /// other side back. Asked once for each window.
    func outgrowsWindow(at now: Instant, roundTripTime: Duration) -> Bool {
        guard consumed >= window else { return false }
        let outgrows = now - roundStart < roundTripTime * 2
        roundStart = now
        consumed = 0
        return outgrows
    }

    /// Makes the window larger by `count`.
    func grow(by count: Int) {
        window += count
        growth += count
    }
}
