internal import MartletWire

/// What TLS still says behind the handshake of a QUIC connection: a machine.
///
/// None of it is used, so GnuTLS need not be kept for it. A server may send tickets, which are passed over; whatever else
/// comes breaks the rules, above all a change of keys, which is QUIC's own business (RFC 9001, section 6).
public struct LateMessages: Sendable {
    /// How many bytes there may be in all: no server has more than a few tickets to give.
    public static let maximumSize = 64 << 10
    /// NewSessionTicket, by its number in RFC 8446 §4.
    private static let ticket: UInt8 = 4
    /// A type, and a length of three bytes.
    private static let headerSize = 4

    private let mayBringTickets: Bool
    private var header: UInt32 = 0
    private var headerCount = 0
    private var rest = 0
    private var size = 0

    /// What comes to the `role` end.
    public init(to role: TLSRole) {
        mayBringTickets = role == .client
    }

    /// Passes over `bytes`, which are cut anywhere. Whether the peer may say that.
    public mutating func pass(_ bytes: RawSpan) -> Bool {
        size += bytes.byteCount
        guard mayBringTickets || bytes.isEmpty, size <= Self.maximumSize else { return false }
        var position = 0
        while position < bytes.byteCount {
            if rest > 0 {
                let step = min(rest, bytes.byteCount - position)
                rest -= step
                position += step
                continue
            }
            if headerCount == 0, bytes[position] != Self.ticket { return false }
            header = header << 8 | UInt32(bytes[position])
            headerCount += 1
            position += 1
            if headerCount == Self.headerSize {
                rest = Int(header & 0xFF_FFFF)
                (header, headerCount) = (0, 0)
            }
        }
        return true
    }
}
