public import MartletCrypto
public import MartletIdentity
public import MartletRuntime
public import MartletWire

/// An authenticated connection to a peer that carries streams. It lives on its loop, and is used there alone.
///
/// The class is abstract: a muxer makes its own kind, by overriding what is asked of a connection and what its streams
/// (`StreamLink`) ask of it. A muxer calls `accepted` for a stream that the other side opened and `ended` when all is
/// over.
open class Connection {
    /// The loop on which it lives.
    public let loop: EventLoop
    /// Who is on the other side. Proven.
    public let remotePeer: PeerID
    /// The key that proves it.
    public let remotePublicKey: PublicKey
    /// This end's address.
    public internal(set) var localAddress: Multiaddr
    /// The other end's address, which may change where the transport can migrate.
    public internal(set) var remoteAddress: Multiaddr
    /// What kind of connection it is.
    public let nature: ConnectionNature
    /// What the two ends know of this one connection and nobody can make equal in another, 32 bytes from its handshake:
    /// a proof that covers it is of no use elsewhere. Empty where a transport has none to give.
    public var binding = Bytes()
    /// What the buffers of its streams draw from, from the next stream on: the scope of its peer, or of the node while
    /// that is not known.
    public var memory: ResourceScope? {
        didSet {
            inboundAccount = memory.map { ResourceAccount(of: $0, .inbound) }
            outboundAccount = memory.map { ResourceAccount(of: $0, .outbound) }
        }
    }
    private var inboundAccount: ResourceAccount?
    private var outboundAccount: ResourceAccount?
    /// Called when one of its streams has found that the node or the peer is short of memory, to see who pays.
    var onShortage: (() -> Void)?
    /// Takes streams that the other side opens. Without a taker they are reset.
    public var onStream: ((Stream) -> Void)?
    /// Called with the number of streams of the other side that the muxer has refused, since as many were open as may be.
    public var onRefusedStreams: ((UInt64) -> Void)?
    /// Called once, when `isDraining` has become true: never from within what made it so.
    public var onDraining: (() -> Void)?
    /// Called once, when the connection is over.
    ///
    /// If it is set when the connection is over already, the loop calls it right after what runs now: never from within
    /// the setter, so that its owner is done with its own books first. To set it to `nil` before then takes it back.
    public var onClosed: ((ConnectionError) -> Void)? {
        didSet { if closeReason != nil, onClosed != nil { loop.afterThis { [self] in tellEnd() } } }
    }
    /// Why it is over, once it is.
    public private(set) var closeReason: ConnectionError?
    /// Whether this side can open no more streams on it, or soon can't: the other side takes no new ones, or the numbers
    /// are nearly used up. Streams that are open go on, and the other side may still open some.
    public private(set) var isDraining = false
    private var waiters: [Signal] = []
    /// What users wait to hear until the muxer is in order.
    private var news: FIFO<() -> Void> = FIFO()
    private var isTellingPlanned = false
    private var refusedStreams: UInt64 = 0

    /// A connection that is ready for streams.
    public init(
        loop: EventLoop, remotePublicKey: PublicKey, localAddress: Multiaddr, remoteAddress: Multiaddr,
        nature: ConnectionNature
    ) {
        self.loop = loop
        self.remotePublicKey = remotePublicKey
        remotePeer = PeerID(remotePublicKey)
        self.localAddress = localAddress
        self.remoteAddress = remoteAddress
        self.nature = nature
    }

    // MARK: Using it

    /// Opens a stream, without waiting for the other side. Throws `tooManyStreams`, `noMoreStreams` or why the
    /// connection is over.
    open func openStream() throws(ConnectionError) -> Stream {
        preconditionFailure("abstract")
    }

    /// Opens a stream, by `deadline` waiting for one to end where there are too many.
    public nonisolated(nonsending) func openStream(by deadline: Instant) async throws(ConnectionError) -> Stream {
        while true {
            do throws(ConnectionError) {
                return try openStream()
            } catch {
                guard error == .tooManyStreams else { throw error }
            }
            guard loop.now < deadline else { throw .timedOut }
            let signal = Signal(on: loop)
            let timer = LoopTimer(on: loop, label: "open stream") { signal.signal() }
            timer.arm(at: deadline)
            waiters.append(signal)
            do {
                try await signal.wait()
            } catch {
                throw .cancelled
            }
            waiters.removeAll { $0 === signal }
        }
    }

    /// The connection that carries `stream`; `nil` when the muxer has nothing more to do with the stream. To be called on
    /// the loop.
    public static func carrying(_ stream: Stream) -> Connection? { stream.link.connection }

    /// Calls `body` on the loop when the muxer has nothing more to do with `stream`, which is one of this connection's: both
    /// directions have ended, or it was broken off. At once if that is so already.
    public func whenEnded(_ stream: Stream, _ body: @escaping () -> Void) {
        loop.preconditionCurrent()
        precondition(stream.link.connection.map { $0 === self } ?? true, "a stream of another connection")
        stream.link.whenDetached(body)
    }

    /// Closes it and tells the other side so with `code`. What streams have queued is sent first where the muxer can.
    open func close(code: UInt64 = 0) {
        preconditionFailure("abstract")
    }

    /// Breaks it off without a word.
    open func abort() {
        preconditionFailure("abstract")
    }

    /// What has gone over it so far.
    open var statistics: ConnectionStatistics {
        preconditionFailure("abstract")
    }

    /// Calls `body` for each stream that concerns the muxer, in the order of their numbers.
    func forEachStream(_ body: (StreamLink) -> Void) {}

    /// What streams of `side` draw from.
    func account(_ side: ResourceSide) -> ResourceAccount? { side == .inbound ? inboundAccount : outboundAccount }

    /// What it draws from itself.
    var ownAccount: ResourceAccount? { account(nature.direction == .inbound ? .inbound : .outbound) }

    // MARK: What its streams ask of it

    /// `link` has output that it did not have before: take it by `takeOutput` when there is room.
    open func streamHasOutput(_ link: StreamLink) {
        preconditionFailure("abstract")
    }

    /// The reader of `link` has consumed `credit` more bytes.
    open func streamFreed(_ link: StreamLink, credit: Int) {
        preconditionFailure("abstract")
    }

    /// Both directions of `link` are to be broken off with `code`. It has no output any more.
    open func streamReset(_ link: StreamLink, code: UInt64) {
        preconditionFailure("abstract")
    }

    /// What still comes in on `link` is not wanted.
    open func streamStopped(_ link: StreamLink, code: UInt64) {
        preconditionFailure("abstract")
    }

    // MARK: For muxers

    /// Calls `body`, a user's, by the next `tellUsers`, which comes behind what runs now at the latest.
    ///
    /// A user may do anything, close the connection included, and a muxer that is in the middle of a frame could not bear
    /// that.
    func tellLater(_ body: @escaping () -> Void) {
        news.append(body)
        // A node that is let go of elsewhere takes its connections with it when its loop is over: nobody is left to hear.
        guard !isTellingPlanned, loop.isCurrent else { return }
        isTellingPlanned = true
        loop.afterThis { [self] in
            isTellingPlanned = false
            tellUsers()
        }
    }

    /// Tells users what has come about. A muxer calls it when it is in order, and wants what users do about it to be
    /// done before it goes on; nobody has to.
    public func tellUsers() {
        while let body = news.popFirst() { body() }
    }

    /// Hands out the stream of `link`, which the other side opened.
    public func accepted(_ link: StreamLink) {
        let stream = Stream(link)
        if let onStream { onStream(stream) } else { stream.reset() }
    }

    /// Says that `count` streams of the other side were refused so far, since as many were open as may be.
    public func refusedStreams(_ count: UInt64) {
        guard count > refusedStreams else { return }
        let more = count - refusedStreams
        refusedStreams = count
        onRefusedStreams?(more)
    }

    /// Says that this side can open no more streams, or soon can't.
    public func beginsToDrain() {
        guard !isDraining, closeReason == nil else { return }
        isDraining = true
        loop.afterThis { [weak self] in
            let onDraining = self?.onDraining
            self?.onDraining = nil
            onDraining?()
        }
    }

    /// Wakes those who wait for a stream, since one more can be opened.
    public func streamsBecameAvailable() {
        let woken = waiters
        waiters = []
        for waiter in woken { waiter.signal() }
    }

    /// Says that the connection is over. To be called once; every link is failed and detached by the muxer before.
    public func ended(_ reason: ConnectionError) {
        guard closeReason == nil else { return }
        closeReason = reason
        tellUsers()
        streamsBecameAvailable()
        onStream = nil
        onRefusedStreams = nil
        onDraining = nil
        tellEnd()
    }

    private func tellEnd() {
        guard let closeReason, let onClosed else { return }
        self.onClosed = nil
        onClosed(closeReason)
    }

    /// Says that this side is now at `address`.
    public func moved(from address: Multiaddr) {
        localAddress = address
    }

    /// Says that the other side is now at `address`.
    public func moved(to address: Multiaddr) {
        remoteAddress = address
    }
}
