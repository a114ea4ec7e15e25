import MartletRuntime
import MartletWire

/// A UDP socket of a simulated host.
final class SimulatedUDPSocket: UDPSocket {
    /// The environment that this is a socket of, until it is closed.
    private var environment: SimulatedEnvironment?
    let reusesPort: Bool
    /// What IPv4's length field leaves to a datagram's payload.
    private static let largestDatagram = 65_507

    init(environment: SimulatedEnvironment, localAddress: SocketAddress, reusesPort: Bool) {
        self.environment = environment
        self.reusesPort = reusesPort
        super.init(loop: environment.loop, localAddress: localAddress)
    }

    override var maximumSegments: Int { 64 }

    override func send(
        _ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress?, segmentSize: Int?, ecn: ECN
    ) -> SendResult {
        guard let environment, let host = environment.livingHost else { return .dropped(.closed) }
        guard let from = source ?? environment.sourceAddress(for: destination.ip, bound: localAddress.ip) else {
            return .dropped(.unreachable)
        }
        guard destination.port != 0, destination.ip.isV4 == from.isV4 else { return .dropped(.unreachable) }
        guard min(segmentSize ?? bytes.byteCount, bytes.byteCount) <= Self.largestDatagram else {
            return .dropped(.system(90, "message too long"))
        }
        var reader = Reader(bytes)
        repeat {
            let size = min(segmentSize ?? bytes.byteCount, reader.remaining)
            guard let segment = try? reader.span(size) else { break }
            host.world.send(
                Packet(
                    source: SocketAddress(from, port: localAddress.port), destination: destination, transport: .udp,
                    payload: Bytes(copying: segment), ecn: ecn),
                from: host)
        } while !reader.isAtEnd
        return .sent
    }

    override func close() {
        environment?.udpClosed(self)
        die()
    }

    /// Lets go of everything; nothing is called back any more.
    func die() {
        environment = nil
        onDatagram = nil
        onBatchEnd = nil
        onWritable = nil
    }

    func receive(_ packet: borrowing Packet) {
        guard let onDatagram else { return }
        let onBatchEnd = onBatchEnd
        onDatagram(
            Datagram(
                bytes: packet.payload.span, source: packet.source, localAddress: packet.destination.ip, ecn: packet.ecn)
        )
        onBatchEnd?()
    }
}
