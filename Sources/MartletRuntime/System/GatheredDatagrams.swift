internal import CLinux
internal import Glibc
internal import MartletWire

/// Datagrams that leave together, by one call of the system for many.
///
/// Those that follow each other to one receiver, are of one size and fit, are one message that the kernel takes apart.
final class GatheredDatagrams {
    /// How many messages one call sends.
    private static let capacity = 64
    private static let byteCapacity = 1 << 17

    private struct Message {
        let destination: SocketAddress
        let source: IPAddress?
        let segmentSize: Int
        var segments = 1
        var bytes: Range<Int>
        /// Whether another segment may follow: none after one that is shorter.
        var isOpen = true
    }

    private var messages: [Message] = []
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCapacity, alignment: 64)
    private let headers = UnsafeMutablePointer<cl_mmsghdr>.allocate(capacity: capacity)
    private let vectors = UnsafeMutablePointer<iovec>.allocate(capacity: capacity)
    private let names = UnsafeMutableRawPointer.allocate(byteCount: capacity * nameStride, alignment: 8)
    private let controls = UnsafeMutableRawPointer.allocate(byteCount: capacity * SentControl.capacity, alignment: 8)
    private static let nameStride = (SystemAddress.capacity + 7) & ~7

    init() {
        messages.reserveCapacity(Self.capacity)
        headers.initialize(repeating: cl_mmsghdr(), count: Self.capacity)
        vectors.initialize(repeating: iovec(), count: Self.capacity)
        names.initializeMemory(as: UInt8.self, repeating: 0, count: Self.capacity * Self.nameStride)
        for index in 0..<Self.capacity {
            headers[index].msg_hdr.msg_name = names + index * Self.nameStride
            headers[index].msg_hdr.msg_iov = vectors + index
            headers[index].msg_hdr.msg_iovlen = 1
        }
    }

    deinit {
        memory.deallocate()
        headers.deallocate()
        vectors.deallocate()
        names.deallocate()
        controls.deallocate()
    }

    var isEmpty: Bool { messages.isEmpty }

    /// Takes a copy of `bytes`, which join those before where `segments` says that the kernel takes messages apart. Says
    /// whether there was room.
    func append(
        _ bytes: UnsafeRawBufferPointer, to destination: SocketAddress, from source: IPAddress?, segments: Bool
    )
        -> Bool
    {
        let start = messages.last?.bytes.upperBound ?? 0
        guard bytes.count <= Self.byteCapacity - start else { return false }
        let end = start + bytes.count
        if segments, let last = messages.last, last.isOpen, last.segmentSize > 0, last.destination == destination,
            last.source == source,
            1...last.segmentSize ~= bytes.count, last.segments < SystemUDPSocket.segmentLimit,
            end - last.bytes.lowerBound <= SystemUDPSocket.sizeLimit
        {
            let index = messages.count - 1
            messages[index].bytes = last.bytes.lowerBound..<end
            messages[index].segments += 1
            messages[index].isOpen = bytes.count == last.segmentSize
        } else {
            guard messages.count < Self.capacity else { return false }
            messages.append(
                Message(destination: destination, source: source, segmentSize: bytes.count, bytes: start..<end))
        }
        UnsafeMutableRawBufferPointer(rebasing: memory[start..<end]).copyMemory(from: bytes)
        return true
    }

    /// Sends everything, and is empty afterwards. A message that the system refuses is given to `refused`; where it has
    /// no room, that and all behind it are lost. `refusal` is the error with which a test has messages of several
    /// segments fail.
    func send(through descriptor: Int32, refusal: Int32, refused: (Refusal) -> Void) {
        for index in messages.indices { prepare(index) }
        var next = 0
        var isRepeated = false
        while next < messages.count {
            let isRefused = refusal != 0 && messages[next].segments > 1
            let count = refusal == 0 ? messages.count - next : 1
            let sent = isRefused ? -1 : cl_sendmmsg(descriptor, headers + next, UInt32(count), Int32(MSG_NOSIGNAL))
            if sent > 0 {
                next += Int(sent)
                isRepeated = false
                continue
            }
            let number = isRefused ? refusal : errno
            if number == EINTR { continue }
            // It may only tell what had become of a datagram sent before.
            let isNews = number == ECONNREFUSED || number == EHOSTUNREACH || number == ENETUNREACH
            if isNews, !isRepeated {
                isRepeated = true
                continue
            }
            isRepeated = false
            let message = messages[next]
            next += 1
            refused(
                Refusal(
                    error: number, destination: message.destination, source: message.source,
                    segmentSize: message.segmentSize,
                    bytes: UnsafeRawBufferPointer(rebasing: memory[message.bytes])))
            if number == EAGAIN { break }
        }
        messages.removeAll(keepingCapacity: true)
    }

    /// Forgets everything.
    func removeAll() { messages.removeAll(keepingCapacity: true) }

    /// A message that was not sent.
    struct Refusal {
        let error: Int32
        let destination: SocketAddress
        let source: IPAddress?
        let segmentSize: Int
        let bytes: UnsafeRawBufferPointer
    }

    private func prepare(_ index: Int) {
        let message = messages[index]
        vectors[index] = iovec(iov_base: memory.baseAddress! + message.bytes.lowerBound, iov_len: message.bytes.count)
        var control = SentControl(controls + index * SentControl.capacity)
        if message.segments > 1 { control.segmentSize(message.segmentSize) }
        if let source = message.source { control.source(source) }
        headers[index].msg_hdr.msg_namelen = SystemAddress.store(
            message.destination, at: names + index * Self.nameStride)
        headers[index].msg_hdr.msg_control = control.count > 0 ? control.memory : nil
        headers[index].msg_hdr.msg_controllen = control.count
    }
}
