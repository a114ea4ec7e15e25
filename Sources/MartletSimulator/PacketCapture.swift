public import MartletRuntime
public import MartletWire

/// Writes down a world's packets in the pcap format, so that Wireshark and its like show them.
///
/// Without hosts named, each packet stands in the capture once, as it was sent. With hosts, a packet stands there
/// whenever one of them sends or gets it, as a capture on those hosts would show it. Packets have real IP, UDP and TCP
/// headers with real checksums; TCP's 64-bit numbers show their lower halves. Times are nanoseconds from the world's
/// start.
public final class PacketCapture: WorldWatcher {
    /// pcap with nanoseconds, and packets that begin with an IP header.
    private static let magic: UInt32 = 0xA1B2_3C4D
    private static let linkTypeRaw: UInt32 = 101
    /// By how many bits a TCP window is shifted to fit into its field (RFC 7323).
    private static let windowShift: UInt8 = 8

    private let hosts: Set<Int>?
    private var records: [Bytes] = []
    private var size = 0
    private var identification: UInt16 = 0
    /// How many packets have been written down.
    public private(set) var count = 0

    /// A capture of what `hosts` send and get, or of all that is sent.
    public init(on hosts: [Host]? = nil) {
        self.hosts = hosts.map { Set($0.map(\.number)) }
        // Version 2.4, no correction of the time, packets of up to 64 KiB.
        var header = Writer(capacity: 24)
        for word in [Self.magic, 4 << 16 | 2, 0, 0, 65_535, Self.linkTypeRaw] as [UInt32] { header.littleEndian(word) }
        keep(header.finish())
    }

    /// "packet capture".
    public var name: String { "packet capture" }

    /// Writes the packet down.
    public func sent(_ packet: Packet, by host: Host) {
        if hosts?.contains(host.number) ?? true { write(packet, at: host.environment.loop.now) }
    }

    /// Writes the packet down, where this host's packets are wanted.
    public func delivered(_ packet: Packet, to host: Host) {
        if hosts?.contains(host.number) ?? false { write(packet, at: host.environment.loop.now) }
    }

    /// The capture so far, as the contents of a file.
    public var bytes: Bytes {
        var writer = Writer(capacity: size)
        for record in records { writer.bytes(record) }
        return writer.finish()
    }

    /// Puts the capture so far into a file of the real machine.
    public func write(to path: String) throws(FileError) {
        try writeFile(path, bytes)
    }

    // MARK: Format

    private func keep(_ record: Bytes) {
        records.append(record)
        size += record.count
    }

    private func write(_ packet: Packet, at time: Instant) {
        let packet = encode(packet)
        var record = Writer(capacity: 16 + packet.count)
        record.littleEndian(UInt32(truncatingIfNeeded: time.nanoseconds / 1_000_000_000))
        record.littleEndian(UInt32(truncatingIfNeeded: time.nanoseconds % 1_000_000_000))
        record.littleEndian(UInt32(packet.count))
        record.littleEndian(UInt32(packet.count))
        record.bytes(packet)
        keep(record.finish())
        count += 1
    }

    private func encode(_ packet: Packet) -> Bytes {
        let body: Bytes
        let number: UInt8
        switch packet.transport {
        case .udp: (body, number) = (udp(packet), 17)
        case .tcp(let header): (body, number) = (tcp(packet, header), 6)
        }
        var writer = Writer(capacity: 40 + body.count)
        if packet.destination.ip.isV4 {
            identification &+= 1
            func header(checksum: UInt16) -> Bytes {
                var header = Writer(capacity: 20)
                header.integer(0x4500 | UInt16(packet.ecn.rawValue))
                header.integer(UInt16(20 + body.count))
                header.integer(identification)
                // Do not fragment: nothing here does.
                header.integer(0x4000 as UInt16)
                header.integer(64 << 8 | UInt16(number))
                header.integer(checksum)
                header.address(packet.source.ip)
                header.address(packet.destination.ip)
                return header.finish()
            }
            var sum = InternetChecksum()
            sum.add(header(checksum: 0))
            writer.bytes(header(checksum: sum.value))
        } else {
            writer.integer(6 << 28 | UInt32(packet.ecn.rawValue) << 20)
            writer.integer(UInt16(body.count))
            writer.integer(UInt16(number) << 8 | 64)
            writer.address(packet.source.ip)
            writer.address(packet.destination.ip)
        }
        writer.bytes(body)
        return writer.finish()
    }

    private func udp(_ packet: Packet) -> Bytes {
        func datagram(checksum: UInt16) -> Bytes {
            var writer = Writer(capacity: 8 + packet.payload.count)
            writer.integer(packet.source.port)
            writer.integer(packet.destination.port)
            writer.integer(UInt16(truncatingIfNeeded: 8 + packet.payload.count))
            writer.integer(checksum)
            writer.bytes(packet.payload)
            return writer.finish()
        }
        let sum = checksum(packet, datagram(checksum: 0), protocolNumber: 17)
        // A sum of zero would mean that there is none.
        return datagram(checksum: sum == 0 ? 0xFFFF : sum)
    }

    private func tcp(_ packet: Packet, _ header: TCPHeader) -> Bytes {
        let isFirst = header.flags.contains(.syn)
        let length = isFirst ? 28 : 20
        func segment(checksum: UInt16) -> Bytes {
            var writer = Writer(capacity: length + packet.payload.count)
            writer.integer(packet.source.port)
            writer.integer(packet.destination.port)
            writer.integer(UInt32(truncatingIfNeeded: header.sequence))
            writer.integer(UInt32(truncatingIfNeeded: header.acknowledgement))
            let push: UInt16 = packet.payload.isEmpty ? 0 : 0x08
            writer.integer(UInt16(length / 4) << 12 | push | UInt16(header.flags.rawValue))
            writer.integer(UInt16(clamping: isFirst ? header.window : header.window >> Self.windowShift))
            writer.integer(checksum)
            writer.integer(0 as UInt16)
            if isFirst {
                // The largest segment, nothing, and the shift of the window.
                writer.integer(0x0204_0000 | UInt32(SimulatedTCP.maximumSegment))
                writer.integer(0x0103_0300 | UInt32(Self.windowShift))
            }
            writer.bytes(packet.payload)
            return writer.finish()
        }
        return segment(checksum: checksum(packet, segment(checksum: 0), protocolNumber: 6))
    }

    /// The checksum of what follows the IP header, with the addresses that it takes in.
    private func checksum(_ packet: Packet, _ body: Bytes, protocolNumber: UInt32) -> UInt16 {
        var pseudo = Writer(capacity: 40)
        pseudo.address(packet.source.ip)
        pseudo.address(packet.destination.ip)
        pseudo.integer(UInt32(body.count))
        pseudo.integer(protocolNumber)
        var sum = InternetChecksum()
        sum.add(pseudo.finish())
        sum.add(body)
        return sum.value
    }
}

/// The checksum of RFC 1071. Only the last part that is added may have an odd number of bytes.
struct InternetChecksum {
    private var sum: UInt64 = 0

    mutating func add(_ bytes: Bytes) {
        bytes.withUnsafeBytes { bytes in
            for index in bytes.indices { sum += UInt64(bytes[index]) << (index & 1 == 0 ? 8 : 0) }
        }
    }

    var value: UInt16 {
        var folded = sum
        while folded > 0xFFFF { folded = folded & 0xFFFF + folded >> 16 }
        return ~UInt16(folded)
    }
}
