public import MartletRuntime
public import MartletWire

/// Where a DHT sends its datagrams and gets those that are meant for it: a share of a UDP socket, or one of its own.
///
/// A node shares one UDP socket between QUIC, STUN and the DHT; whatever tells their datagrams apart gives the DHT those
/// that begin with a `d` and a digit, by an object of this kind. It calls back on its loop.
public protocol DatagramPort: AnyObject {
    /// Where it is bound; tells the family.
    var localAddress: SocketAddress { get }
    /// Takes a datagram that came in.
    var onDatagram: ((borrowing Datagram) -> Void)? { get set }
    /// Sends one datagram, from `source` where this host has several addresses and it matters which. One that cannot be
    /// sent is lost, as on the network.
    func send(_ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress?)
}

/// A UDP socket that is the DHT's alone.
public final class OwnDatagramPort: DatagramPort {
    private let socket: UDPSocket

    /// The whole of `socket`, whose callbacks are this object's from now on.
    public init(_ socket: UDPSocket) {
        self.socket = socket
    }

    /// Where the socket is bound.
    public var localAddress: SocketAddress { socket.localAddress }

    /// Takes a datagram that came in.
    public var onDatagram: ((borrowing Datagram) -> Void)? {
        get { socket.onDatagram }
        set { socket.onDatagram = newValue }
    }

    /// Sends one datagram.
    public func send(_ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress?) {
        // A full buffer is a loss as any other: who asked asks somebody else.
        socket.post(bytes, to: destination, from: source)
    }
}
