public import MartletRuntime
public import MartletWire

/// One UDP socket that several protocols share, told apart by first bytes (RFC 9443, with the Mainline DHT added).
///
/// QUIC, STUN, DTLS and the DHT's KRPC each register who takes their datagrams, and all send by the same socket, so
/// that the NAT mapping that one keeps alive serves the others. A datagram whose protocol nobody has registered is
/// dropped and counted.
public final class Demultiplexer {
    /// A protocol that a datagram may be of.
    public enum Kind: Int, CaseIterable, Hashable, Sendable {
        /// STUN and TURN (RFC 8489): the first byte is 0 to 3.
        case stun
        /// DTLS: the first byte is 20 to 63.
        case dtls
        /// KRPC (BEP 5): a bencoded dictionary whose first key has a length, so `d` and a digit.
        case krpc
        /// QUIC: the first byte is 64 or more. Our connection ids begin with a byte of at least 0x80, so that no packet
        /// of QUIC that is meant for us has a digit behind a `d`.
        case quic
        /// Nothing that is known.
        case unknown

        /// The protocol of the datagram that carries `bytes`. Looks at two of them.
        @inlinable
        public init(of bytes: RawSpan) {
            guard bytes.byteCount >= 2 else {
                self = .unknown
                return
            }
            switch bytes[0] {
            case 0...3: self = .stun
            case 20...63: self = .dtls
            case UInt8(ascii: "d") where UInt8(ascii: "0")...UInt8(ascii: "9") ~= bytes[1]: self = .krpc
            case 64...: self = .quic
            default: self = .unknown
            }
        }
    }

    /// Takes a datagram of one protocol.
    public typealias Taker = (borrowing Datagram) -> Void

    /// The socket that all share. Its callbacks are this object's.
    public let socket: UDPSocket
    /// How many datagrams came for which nobody was registered.
    public private(set) var unclaimed = 0
    private var takers: [Taker?] = Array(repeating: nil, count: Kind.allCases.count)
    private var atBatchEnd: [() -> Void] = []
    private var whenWritable: [() -> Void] = []

    /// Takes over the callbacks of `socket`.
    public init(_ socket: UDPSocket) {
        self.socket = socket
        // The socket is closed with this object, and calls nobody back then.
        socket.onDatagram = { [unowned self] in take($0) }
        // The same holds here.
        socket.onBatchEnd = { [unowned self] in for call in atBatchEnd { call() } }
        // And here.
        socket.onWritable = { [unowned self] in for call in whenWritable { call() } }
    }

    deinit {
        socket.close()
    }

    /// Makes `taker` take the datagrams of `kind`, or nobody. Datagrams that are `unknown` can be taken as well.
    public func register(_ kind: Kind, _ taker: Taker?) {
        takers[kind.rawValue] = taker
    }

    /// Calls `call` after the last datagram of each batch.
    public func onBatchEnd(_ call: @escaping () -> Void) { atBatchEnd.append(call) }

    /// Calls `call` when the socket has room again after a `send` was `blocked`, whoever sent.
    public func onWritable(_ call: @escaping () -> Void) { whenWritable.append(call) }

    /// Closes the socket. Nothing is called back afterwards.
    public func close() {
        socket.close()
        takers = takers.map { _ in nil }
        atBatchEnd = []
        whenWritable = []
    }

    private func take(_ datagram: borrowing Datagram) {
        guard let taker = takers[Kind(of: datagram.bytes).rawValue] else {
            unclaimed += 1
            return
        }
        taker(datagram)
    }
}
