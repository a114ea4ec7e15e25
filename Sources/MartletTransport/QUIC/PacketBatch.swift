internal import MartletRuntime
internal import MartletWire

/// Where packets are written, one behind the other, and sent together where they go the same way and are as long, so
/// that the kernel cuts them apart.
final class PacketBatch {
    /// The largest packet that is written where nothing is known of the way.
    static let packetSize = 1452
    /// The largest packet that is written to another process of this host, where no line sets a bound: four of them are
    /// what the kernel takes in one call, and the work for each packet is spread over as many bytes.
    static let largestPacket = 16_240
    /// The kernel takes at most 64 KiB in one call.
    private static let sendSize = 65_000

    private let socket: UDPSocket
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536 + largestPacket, alignment: 64)
    private let segments: Int
    private var start = 0
    private var end = 0
    private var count = 0
    private var segment = 0
    private var destination = SocketAddress(.anyV4, port: 0)
    private var source: IPAddress?
    private var ecn = ECN.notCapable
    /// What the socket did not take, to be sent first when it does.
    private var waiting: [Waiting] = []
    /// How many batches the network refused.
    private(set) var failures = 0

    private struct Waiting {
        var bytes: Bytes
        var destination: SocketAddress
        var source: IPAddress?
        var segment: Int?
        var ecn: ECN
    }

    init(_ socket: UDPSocket) {
        self.socket = socket
        segments = max(socket.maximumSegments, 1)
    }

    deinit {
        memory.deallocate()
    }

    /// Whether the socket takes nothing at the moment. Then nothing must be added.
    var isBlocked: Bool { !waiting.isEmpty }

    /// Where the next packet is to be written: room for `largestPacket` bytes.
    var room: UnsafeMutablePointer<UInt8> {
        (memory.baseAddress! + end).assumingMemoryBound(to: UInt8.self)
    }

    /// Adds the packet of `size` bytes that was written to `room`.
    func add(_ size: Int, to destination: SocketAddress, from source: IPAddress?, ecn: ECN) {
        let joins =
            size <= segment && destination == self.destination && source == self.source && ecn == self.ecn
        if count > 0, !joins { sendRun() }
        if count == 0 {
            self.destination = destination
            self.source = source
            self.ecn = ecn
            segment = size
        }
        end += size
        count += 1
        // A shorter packet can only be the last.
        if size < segment || count == segments || end - start + segment > Self.sendSize
            || end + Self.largestPacket > memory.count
        {
            send()
        }
    }

    /// Sends what was added.
    func send() {
        sendRun()
        start = 0
        end = 0
    }

    /// Sends the packets that go together. What stands behind them stays where it is.
    private func sendRun() {
        guard count > 0 else { return }
        let bytes = UnsafeRawBufferPointer(rebasing: memory[start..<end])
        let segment = count > 1 ? segment : nil
        if isBlocked || !pass(bytes.bytes, destination, source, segment, ecn) {
            waiting.append(
                Waiting(
                    bytes: Bytes(copying: bytes), destination: destination, source: source, segment: segment, ecn: ecn))
        }
        start = end
        count = 0
    }

    /// Sends what the socket did not take before. Whether it takes more.
    func resume() -> Bool {
        var sent = 0
        for entry in waiting {
            guard pass(entry.bytes.span, entry.destination, entry.source, entry.segment, entry.ecn) else { break }
            sent += 1
        }
        waiting.removeFirst(sent)
        return waiting.isEmpty
    }

    private func pass(
        _ bytes: RawSpan, _ destination: SocketAddress, _ source: IPAddress?, _ segment: Int?, _ ecn: ECN
    ) -> Bool {
        switch socket.send(bytes, to: destination, from: source, segmentSize: segment, ecn: ecn) {
        case .sent: return true
        case .blocked: return false
        case .dropped:
            // As if the network had lost it; the connection notices if it was not the only one.
            failures += 1
            return true
        }
    }
}
