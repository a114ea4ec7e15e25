internal import CLinux
internal import Glibc
internal import MartletWire

/// Datagrams of one socket that are on their way out and of which nobody wants to hear: gathered while the loop does what
/// it is about, and then handed to the kernel by one call.
///
/// Those that go the same way one behind the other, and are as long, are one message for the kernel, which cuts it apart.
final class DatagramPost {
    /// How many messages leave in one call.
    static let messageLimit = 64
    /// How many bytes they have together.
    static let capacity = 64 << 10
    /// What the kernel takes apart at most, in one message.
    private static let segmentLimit = 64
    private static let sizeLimit = 65_000
    private static let nameStride = 32

    private struct Message {
        var destination: SocketAddress
        var source: IPAddress?
        var size: Int
        /// How long each datagram is; the last may be shorter.
        var segment: Int
        var segments = 1
    }

    private let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
    private let headers = UnsafeMutablePointer<cl_mmsghdr>.allocate(capacity: messageLimit)
    private let vectors = UnsafeMutablePointer<iovec>.allocate(capacity: messageLimit)
    private let names = UnsafeMutableRawPointer.allocate(byteCount: messageLimit * nameStride, alignment: 8)
    private let controls = UnsafeMutableRawPointer.allocate(
        byteCount: messageLimit * SentControl.capacity, alignment: 8)
    private var messages: [Message] = []
    private var used = 0

    init() {
        headers.initialize(repeating: cl_mmsghdr(), count: Self.messageLimit)
        vectors.initialize(repeating: iovec(), count: Self.messageLimit)
    }

    deinit {
        memory.deallocate()
        headers.deallocate()
        vectors.deallocate()
        names.deallocate()
        controls.deallocate()
    }

    var isEmpty: Bool { messages.isEmpty }

    /// Puts a copy of a datagram behind the others. Where there is no room for it, it says `false`: then `send` comes
    /// first. `joins` says whether the kernel can take messages apart.
    func add(_ bytes: RawSpan, to destination: SocketAddress, from source: IPAddress?, joins: Bool) -> Bool {
        let size = bytes.byteCount
        guard used + size <= Self.capacity else { return false }
        if !joins || !join(size, destination, source) {
            guard messages.count < Self.messageLimit else { return false }
            vectors[messages.count] = iovec(iov_base: memory + used, iov_len: 0)
            messages.append(Message(destination: destination, source: source, size: size, segment: size))
        }
        bytes.withUnsafeBytes { buffer in
            if let start = buffer.baseAddress { (memory + used).copyMemory(from: start, byteCount: size) }
        }
        used += size
        return true
    }

    /// Counts a datagram to the last message, where it goes the same way and fits.
    private func join(_ size: Int, _ destination: SocketAddress, _ source: IPAddress?) -> Bool {
        let last = messages.count - 1
        guard last >= 0, size > 0, size <= messages[last].segment, messages[last].segments < Self.segmentLimit,
            // A shorter one can only be the last.
            messages[last].size == messages[last].segment * messages[last].segments,
            messages[last].size + size <= Self.sizeLimit,
            messages[last].destination == destination, messages[last].source == source
        else { return false }
        messages[last].size += size
        messages[last].segments += 1
        return true
    }

    /// Hands all to the kernel. What it does not take is lost. Says whether it can take messages apart, as far as is seen.
    /// A test plays an older one, which refuses those of several segments with the error `refusal`.
    func send(through descriptor: Int32, refusal: Int32 = 0) -> Bool {
        for index in messages.indices { address(index) }
        var canSegment = true
        var first = 0
        var hasTriedAgain = false
        while first < messages.count {
            switch hand(first, to: descriptor, refusal) {
            case .taken(let count):
                first += count
                hasTriedAgain = false
            case .failed(EINTR): break
            case .failed(EAGAIN): first = messages.count
            case .failed(ECONNREFUSED), .failed(EHOSTUNREACH), .failed(ENETUNREACH):
                // What has become of a datagram before; or else of this one.
                if hasTriedAgain { first += 1 }
                hasTriedAgain.toggle()
            case .failed(let number):
                if messages[first].segments > 1, sendEach(first, through: descriptor) {
                    if number == EIO || number == EINVAL || number == ENOPROTOOPT { canSegment = false }
                }
                first += 1
            }
        }
        messages.removeAll(keepingCapacity: true)
        used = 0
        return canSegment
    }

    private enum Outcome {
        case taken(Int)
        case failed(Int32)
    }

    /// Hands the messages from `first` on to the kernel.
    private func hand(_ first: Int, to descriptor: Int32, _ refusal: Int32) -> Outcome {
        if refusal != 0, messages[first].segments > 1 { return .failed(refusal) }
        let count = refusal == 0 ? messages.count - first : 1
        let taken = cl_sendmmsg(descriptor, headers + first, UInt32(count), Int32(MSG_NOSIGNAL))
        return taken > 0 ? .taken(Int(taken)) : .failed(errno)
    }

    /// Makes everything ready for a message.
    private func address(_ index: Int) {
        let message = messages[index]
        let name = names + index * Self.nameStride
        var control = SentControl(controls + index * SentControl.capacity)
        if message.segments > 1 { control.segmentSize(message.segment) }
        if let source = message.source { control.source(source) }
        vectors[index].iov_len = message.size
        var header = msghdr()
        header.msg_name = name
        header.msg_namelen = SystemAddress.store(message.destination, at: name)
        header.msg_iov = vectors + index
        header.msg_iovlen = 1
        header.msg_control = control.count > 0 ? control.memory : nil
        header.msg_controllen = control.count
        headers[index] = cl_mmsghdr(msg_hdr: header, msg_len: 0)
    }

    /// Sends the datagrams of a message one by one. Whether the first of them left.
    private func sendEach(_ index: Int, through descriptor: Int32) -> Bool {
        let message = messages[index]
        var control = SentControl(controls + index * SentControl.capacity)
        if let source = message.source { control.source(source) }
        var header = headers[index].msg_hdr
        header.msg_control = control.count > 0 ? control.memory : nil
        header.msg_controllen = control.count
        var vector = vectors[index]
        var left = message.size
        var isFirst = true
        var hasLeft = false
        while left > 0 {
            vector.iov_len = min(left, message.segment)
            let sent = withUnsafeMutablePointer(to: &vector) { pointer in
                header.msg_iov = pointer
                return sendmsg(descriptor, &header, Int32(MSG_NOSIGNAL))
            }
            if isFirst { hasLeft = sent >= 0 }
            isFirst = false
            left -= vector.iov_len
            vector.iov_base += vector.iov_len
        }
        return hasLeft
    }
}
