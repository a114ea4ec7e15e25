public import MartletMainline
public import MartletRuntime
public import MartletTransport
public import MartletWire

/// The DHT's share of a UDP port on which QUIC runs as well: what begins as KRPC does is the DHT's.
///
///     let dht = MainlineDHT(configuration, environment: environment, ports: quic.ports.map { SharedDatagramPort($0) })
///
/// So the mapping that the DHT keeps open in a NAT, and whose outside address the DHT learns, is the one on which QUIC
/// is dialled: an announcement of `AnnouncedPort.implied` tells of both.
public final class SharedDatagramPort: DatagramPort {
    private let port: Demultiplexer
    /// Told to whom something is sent.
    var onSend: ((SocketAddress) -> Void)?

    /// A share of `port`, which has no other taker of KRPC.
    public init(_ port: Demultiplexer) {
        self.port = port
    }

    /// Where the port is bound.
    public var localAddress: SocketAddress { port.socket.localAddress }

    /// Takes a datagram of KRPC that came in.
    public var onDatagram: ((borrowing Datagram) -> Void)? {
        didSet { port.register(.krpc, onDatagram) }
    }

    /// Sends one datagram.
    public func send(_ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress?) {
        onSend?(destination)
        // A full buffer is a loss as any other: who asked asks somebody else.
        port.socket.post(bytes, to: destination, from: source)
    }
}
