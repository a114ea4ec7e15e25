/// The header of a Yamux frame: 12 bytes, all numbers most significant byte first.
struct YamuxHeader: Equatable {
    static let size = 12
    /// The code of a farewell to one who has broken the rules.
    static let protocolError: UInt32 = 1

    enum Kind: UInt8 {
        case data = 0
        case windowUpdate = 1
        case ping = 2
        case goAway = 3
    }

    struct Flags: OptionSet {
        var rawValue: UInt16
        static let syn = Flags(rawValue: 1)
        static let ack = Flags(rawValue: 2)
        static let fin = Flags(rawValue: 4)
        static let rst = Flags(rawValue: 8)
    }

    var kind: Kind
    var flags: Flags
    var stream: UInt32
    var length: UInt32

    init(_ kind: Kind, _ flags: Flags = [], stream: UInt32 = 0, length: UInt32 = 0) {
        self.kind = kind
        self.flags = flags
        self.stream = stream
        self.length = length
    }

    /// The header that begins at `bytes`, which must have 12.
    @inline(__always)
    init(reading bytes: UnsafeRawPointer) throws(YamuxError) {
        let start = UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self))
        guard start >> 24 == 0 else { throw .wrongVersion(UInt8(truncatingIfNeeded: start >> 24)) }
        guard let kind = Kind(rawValue: UInt8(truncatingIfNeeded: start >> 16)) else {
            throw .unknownType(UInt8(truncatingIfNeeded: start >> 16))
        }
        self.kind = kind
        flags = Flags(rawValue: UInt16(truncatingIfNeeded: start))
        stream = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        length = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
    }

    /// Writes the header to `bytes`, which must have room for 12.
    @inline(__always)
    func write(to bytes: UnsafeMutableRawPointer) {
        let start = UInt32(kind.rawValue) << 16 | UInt32(flags.rawValue)
        bytes.storeBytes(of: start.bigEndian, as: UInt32.self)
        bytes.storeBytes(of: stream.bigEndian, toByteOffset: 4, as: UInt32.self)
        bytes.storeBytes(of: length.bigEndian, toByteOffset: 8, as: UInt32.self)
    }
}

/// How the other side broke the rules of Yamux. Each ends the connection.
public enum YamuxError: Error, Hashable, Sendable {
    /// A frame of another version.
    case wrongVersion(UInt8)
    /// A frame of a type that does not exist.
    case unknownType(UInt8)
    /// A frame of the session that names a stream, or one of a stream that names none.
    case wrongStream(UInt32)
    /// A frame for a stream that nobody has opened.
    case neverOpened(UInt32)
    /// A stream opened under a number that is in use, or that is not the opener's to give.
    case wrongNumber(UInt32)
    /// More data than the window allows, or a frame that is larger than any window.
    case windowExceeded(stream: UInt32, size: UInt32, window: UInt32)
    /// A window that grows beyond 4 GiB.
    case windowOverflow(stream: UInt32)
    /// Data behind the end of a stream.
    case dataAfterEnd(UInt32)
    /// More pings in a second than are tolerated.
    case tooManyPings
    /// More farewells than are tolerated.
    case tooManyFarewells
    /// It makes answers necessary and does not take them.
    case tooManyAnswers
    /// A ping was not answered in time.
    case unanswered
}

/// The bounds of a Yamux connection.
public struct YamuxLimits: Hashable, Sendable {
    /// How many streams the other side may have open at once. One more is refused.
    public var inboundStreams = 512
    /// The highest number that a stream of this side may have. Numbers are never used twice, so a connection comes to
    /// its end with them: when 15 of 16 are used up, it is to be replaced by another.
    public var highestNumber = UInt32.max - 2
    /// How many streams this side has open at once; who wants one more waits until another ends.
    ///
    /// No peer says how many it takes, and what one more costs depends on it: rust-yamux ends the whole connection beyond
    /// 512 of both sides together, go-libp2p's resource manager lets a peer have 256 in a small host. 256 is also what both
    /// take over QUIC.
    public var outboundStreams = 256
    /// How many streams this side opens before the other has acknowledged any of them; others refuse more than 256.
    public var unacknowledgedStreams = 256
    /// How far a stream's window may grow from the 256 KiB that the specification gives it.
    public var streamWindow = 16 << 20
    /// By how much the windows of all streams together may have grown.
    public var windowBudget = 64 << 20
    /// How long a connection is left without a ping.
    public var pingInterval = Duration.seconds(30)
    /// How long the answer to a ping may take.
    public var pingTimeout = Duration.seconds(20)
    /// How many pings of the other side are answered in a second.
    public var pingsPerSecond = 64
    /// How many farewells are tolerated.
    public var farewells = 16
    /// How many frames that the other side has made necessary may wait to be sent: answers to its pings, and the breaks
    /// of its streams. One more is a violation.
    public var waitingAnswers = 2048
    /// How many frames of no stream's turn may wait behind an output that takes no more while the connection still
    /// reads. It reads on once they have gone out.
    public var waitingFramesWhileReading = 512
    /// How long a stream may go without the frame that opens or acknowledges it, while it has nothing else to say.
    public var announcementDelay = Duration.milliseconds(5)
    /// How long the end of a stream is waited for, of which nothing more is wanted.
    public var lingerTime = Duration.seconds(30)

    /// The defaults.
    public init() {}
}

/// What a Yamux connection has seen that was not quite in order.
public struct YamuxCounters: Hashable, Sendable {
    /// Streams that were refused since too many were open.
    public var refusedStreams: UInt64 = 0
    /// Frames of streams that were over.
    public var lateFrames: UInt64 = 0
    /// Answers to pings that were not asked.
    public var strayAnswers: UInt64 = 0
    /// Farewells behind the first.
    public var repeatedFarewells: UInt64 = 0

    /// None.
    public init() {}
}
