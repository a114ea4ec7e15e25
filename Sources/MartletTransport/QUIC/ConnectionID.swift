internal import CQUIC
internal import MartletWire

/// By which a QUIC packet says which connection it belongs to: up to 20 bytes (RFC 9000 §5.1).
struct ConnectionID: Hashable {
    /// How many bytes those have that we choose. Their first is at least 0x80: see `Demultiplexer.Kind.quic`.
    static let localSize = 8
    /// The most bytes that one may have.
    static let maximumSize = 20

    private var low: UInt64 = 0
    private var high: UInt64 = 0
    private var top: UInt32 = 0
    private let count: UInt8

    /// The id that `bytes` are, or `nil` where there are too many.
    init?(_ bytes: RawSpan) {
        guard bytes.byteCount <= Self.maximumSize else { return nil }
        count = UInt8(bytes.byteCount)
        bytes.withUnsafeBytes { source in
            withUnsafeMutableBytes(of: &self) { $0.copyMemory(from: source) }
        }
    }

    /// The id in ngtcp2's form.
    init(_ id: ngtcp2_cid) {
        count = UInt8(truncatingIfNeeded: min(id.datalen, Self.maximumSize))
        withUnsafeBytes(of: id.data) { source in
            withUnsafeMutableBytes(of: &self) {
                $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<min(id.datalen, Self.maximumSize)]))
            }
        }
    }

    /// One of ours, drawn from `generator`.
    init(using generator: inout some RandomNumberGenerator) {
        count = UInt8(Self.localSize)
        // The first byte in memory is the lowest.
        low = UInt64(littleEndian: generator.next() | 0x80)
    }

    /// The destination id of a packet with a short header, if it can be one of ours.
    init?(ofShortHeader packet: RawSpan) {
        guard packet.byteCount > Self.localSize, packet[1] >= 0x80 else { return nil }
        count = UInt8(Self.localSize)
        low = packet.unsafeLoadUnaligned(fromByteOffset: 1, as: UInt64.self)
    }

    /// The id in ngtcp2's form.
    var cid: ngtcp2_cid {
        var id = ngtcp2_cid()
        withUnsafeBytes(of: self) {
            ngtcp2_cid_init(&id, $0.baseAddress!.assumingMemoryBound(to: UInt8.self), Int(count))
        }
        return id
    }
}

/// By which a peer that has lost its state proves that a connection is over (RFC 9000 §10.3).
struct ResetToken: Hashable {
    static let size = 16
    private let value: UInt128

    /// The token that stands in the first 16 bytes at `pointer`.
    init(_ pointer: UnsafeRawPointer) {
        value = pointer.loadUnaligned(as: UInt128.self)
    }

    /// The token that a datagram would end with if it is a stateless reset, or `nil` where it is too short for one.
    init?(endOf datagram: RawSpan) {
        // One byte for the first, at least 38 bits that look random, and the token.
        guard datagram.byteCount >= 21 else { return nil }
        value = datagram.unsafeLoadUnaligned(fromByteOffset: datagram.byteCount - Self.size, as: UInt128.self)
    }
}
