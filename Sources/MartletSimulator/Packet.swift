public import MartletRuntime
public import MartletWire

/// A packet on its way through a world.
public struct Packet: Sendable {
    /// What it carries.
    public enum Transport: Hashable, Sendable {
        /// A datagram.
        case udp
        /// A segment of a simulated TCP connection.
        case tcp(TCPHeader)
    }

    /// From where, as the network at this point sees it.
    public var source: SocketAddress
    /// To where, as the network at this point sees it.
    public var destination: SocketAddress
    /// Datagram or segment.
    public var transport: Transport
    /// What the datagram or the segment carries.
    public var payload: Bytes
    /// The congestion bits.
    public var ecn: ECN = .notCapable
    /// Which host sent it, by number, wherever translation makes it seem to come from.
    var sender = 0
    /// How many more times it may pass from network to network.
    var hopsLeft = Packet.hops
    /// For a segment, which sender to tell of its loss; it stands for the sender's retransmission timer.
    var lossReport: LossReport?

    /// How often a packet may pass from network to network.
    static let hops: UInt8 = 16

    /// A packet that has just been sent.
    public init(
        source: SocketAddress, destination: SocketAddress, transport: Transport, payload: Bytes,
        ecn: ECN = .notCapable
    ) {
        self.source = source
        self.destination = destination
        self.transport = transport
        self.payload = payload
        self.ecn = ecn
    }

    /// How many bytes it has on the line: the payload and the usual headers.
    public var size: Int {
        let transportHeader =
            switch transport {
            case .udp: 8
            case .tcp: 20
            }
        return payload.count + transportHeader + (destination.ip.isV4 ? 20 : 40)
    }
}

/// What a simulated TCP segment says beside its bytes.
public struct TCPHeader: Hashable, Sendable {
    /// The flags of RFC 9293.
    public struct Flags: OptionSet, Hashable, Sendable {
        /// The flags as they stand in a header.
        public var rawValue: UInt8

        /// Flags from a header.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// No more bytes follow.
        public static let fin = Flags(rawValue: 0x01)
        /// The connection begins.
        public static let syn = Flags(rawValue: 0x02)
        /// The connection is broken off.
        public static let rst = Flags(rawValue: 0x04)
        /// `acknowledgement` means something.
        public static let ack = Flags(rawValue: 0x10)
    }

    /// What kind of segment it is.
    public var flags: Flags
    /// The number of the payload's first byte. A SYN and a FIN take a number too. 64 bits, so that none comes twice.
    public var sequence: UInt64
    /// The number of the first byte that has not been received, where there is an ACK.
    public var acknowledgement: UInt64
    /// For how many bytes from there on the receiver has room.
    public var window: UInt64

    /// A header that says what it is told to.
    public init(flags: Flags, sequence: UInt64 = 0, acknowledgement: UInt64 = 0, window: UInt64 = 0) {
        self.flags = flags
        self.sequence = sequence
        self.acknowledgement = acknowledgement
        self.window = window
    }
}

/// Which sender to tell of a segment's loss, by number, so that packets stay plain values.
struct LossReport: Hashable, Sendable {
    var host: UInt32
    var stream: UInt32
    /// How often it has been lost before.
    var attempt: UInt8
}
