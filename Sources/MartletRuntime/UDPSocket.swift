public import MartletWire

/// What a datagram's two congestion bits say (RFC 3168).
public enum ECN: UInt8, Hashable, Sendable {
    /// The sender does not take part.
    case notCapable = 0
    /// The sender takes part, codepoint ECT(1).
    case capable1 = 1
    /// The sender takes part, codepoint ECT(0).
    case capable0 = 2
    /// A router on the way was congested.
    case congested = 3
}

/// A datagram as it came in. It is lent for the length of one call; what is kept must be copied.
public struct Datagram: ~Escapable {
    /// What it carries.
    public let bytes: RawSpan
    /// Who sent it.
    public let source: SocketAddress
    /// The address of this host to which it came, where that is known.
    public let localAddress: IPAddress?
    /// Its congestion bits.
    public let ecn: ECN

    /// A datagram that carries `bytes`.
    @inlinable
    @_lifetime(copy bytes)
    public init(bytes: RawSpan, source: SocketAddress, localAddress: IPAddress?, ecn: ECN) {
        self.bytes = bytes
        self.source = source
        self.localAddress = localAddress
        self.ecn = ecn
    }
}

/// What became of datagrams that were given to a socket.
public enum SendResult: Hashable, Sendable {
    /// They are on their way, or at least no longer ours.
    case sent
    /// The socket's buffer is full and nothing was sent; `onWritable` will be called.
    case blocked
    /// They will not be sent, ever: no route, forbidden, too large, or the socket is closed.
    case dropped(NetworkError.Reason)
}

/// How a UDP socket is to be opened.
public struct UDPOptions: Hashable, Sendable {
    /// How large a receive buffer to ask the kernel for.
    public var receiveBufferSize = 4 << 20
    /// How large a send buffer to ask the kernel for.
    public var sendBufferSize = 4 << 20
    /// Whether several sockets may share the address, each getting a part.
    public var reusesPort = false

    /// The defaults.
    public init() {}
}

/// How large a socket's buffers are, in bytes of the system's own counting.
public struct BufferSizes: Hashable, Sendable {
    /// What comes in and has not been taken.
    public var receive: Int
    /// What goes out and has not left.
    public var send: Int

    /// Sizes of both.
    public init(receive: Int, send: Int) {
        self.receive = receive
        self.send = send
    }

    /// Whether one of them is smaller than `options` asked for.
    public func isLess(than options: UDPOptions) -> Bool {
        receive < options.receiveBufferSize || send < options.sendBufferSize
    }
}

/// A UDP socket on a loop.
///
/// Datagrams come in by `onDatagram`, one call for each, in batches; `onBatchEnd` follows a batch, and is the place
/// to send what the batch caused. Errors that the network reports about single datagrams never close the socket.
///
/// The class is abstract: an environment makes its own kind.
open class UDPSocket {
    /// The loop on which it calls back.
    public let loop: EventLoop
    /// The address it is bound to, with the port it was given.
    public let localAddress: SocketAddress
    /// Takes a datagram that came in. It may close the socket, and must not wait.
    public var onDatagram: ((borrowing Datagram) -> Void)?
    /// Called after the last datagram of a batch.
    public var onBatchEnd: (() -> Void)?
    /// Called when the socket has room again after a `send` was `blocked`.
    public var onWritable: (() -> Void)?

    /// A socket bound to `localAddress`, for subclasses.
    public init(loop: EventLoop, localAddress: SocketAddress) {
        self.loop = loop
        self.localAddress = localAddress
    }

    /// The most datagrams that one `send` takes: more than one where the kernel segments for us.
    open var maximumSegments: Int { 1 }

    /// What the system granted of the buffers that `UDPOptions` asked for, where there is such a thing.
    open var bufferSizes: BufferSizes? { nil }

    /// Sends `bytes` to `destination`: as one datagram, or as several of `segmentSize` each, of which the last may be
    /// shorter. `source` picks one of several local addresses.
    open func send(
        _ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress? = nil, segmentSize: Int? = nil,
        ecn: ECN = .notCapable
    ) -> SendResult {
        preconditionFailure("abstract")
    }

    /// Sends one datagram soon, at the end of the loop's turn at the latest: many by one call, where the system can. One that
    /// cannot be sent is lost, as on the network. What is `send` meanwhile may overtake it.
    open func post(_ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress? = nil) {
        _ = send(bytes, to: destination, from: source)
    }

    /// Closes the socket. Nothing is called back afterwards.
    open func close() {
        preconditionFailure("abstract")
    }
}
