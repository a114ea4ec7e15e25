internal import CLinux
internal import Glibc
internal import MartletWire

/// The memory through which all UDP sockets of a loop send and receive, so that neither allocates.
///
/// One receive or send is over before the next begins, but a send may happen while what was received is being
/// delivered: each has its own.
final class DatagramMemory {
    /// The largest batch that the kernel hands over or takes at once.
    static let batchCapacity = 1 << 16

    private static let controlCapacity = 256

    private let batch = UnsafeMutableRawPointer.allocate(byteCount: batchCapacity, alignment: 64)
    private let receiveName = SystemAddress()
    private let receiveControl = UnsafeMutableRawPointer.allocate(byteCount: controlCapacity, alignment: 8)
    private let receiveHeader = UnsafeMutablePointer<msghdr>.allocate(capacity: 1)
    private let receiveVector = UnsafeMutablePointer<iovec>.allocate(capacity: 1)
    private let sendName = SystemAddress()
    private let sendControl = UnsafeMutableRawPointer.allocate(byteCount: SentControl.capacity, alignment: 8)
    private let sendHeader = UnsafeMutablePointer<msghdr>.allocate(capacity: 1)
    private let sendVector = UnsafeMutablePointer<iovec>.allocate(capacity: 1)

    /// The error with which sends of several segments fail, where a test plays an older kernel.
    var segmentRefusal: Int32 = 0
    private var isSegmented = false

    init() {
        receiveVector.initialize(to: iovec(iov_base: batch, iov_len: Self.batchCapacity))
        sendVector.initialize(to: iovec())
        receiveHeader.initialize(to: msghdr())
        receiveHeader.pointee.msg_iov = receiveVector
        receiveHeader.pointee.msg_iovlen = 1
        receiveHeader.pointee.msg_name = receiveName.memory
        receiveHeader.pointee.msg_control = receiveControl
        sendHeader.initialize(to: msghdr())
        sendHeader.pointee.msg_iov = sendVector
        sendHeader.pointee.msg_iovlen = 1
        sendHeader.pointee.msg_name = sendName.memory
    }

    deinit {
        batch.deallocate()
        receiveControl.deallocate()
        receiveHeader.deallocate()
        receiveVector.deallocate()
        sendControl.deallocate()
        sendHeader.deallocate()
        sendVector.deallocate()
    }

    // MARK: Receiving

    /// Receives one datagram, or several of one sender as one. Says how many bytes came, or -1 with `errno`.
    func receive(from descriptor: Int32) -> Int {
        receiveHeader.pointee.msg_namelen = socklen_t(SystemAddress.capacity)
        receiveHeader.pointee.msg_controllen = Self.controlCapacity
        return recvmsg(descriptor, receiveHeader, 0)
    }

    /// What came last, of which the receive told `count` bytes.
    func received(_ count: Int) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: batch, count: count) }

    /// Who sent what came last.
    var sender: SocketAddress? { receiveName.value }

    /// What the kernel told beside what came last.
    var control: ReceivedControl {
        ReceivedControl(
            UnsafeRawBufferPointer(start: receiveControl, count: Int(receiveHeader.pointee.msg_controllen)))
    }

    // MARK: Sending

    /// Makes everything ready for `send`: to whom, from which address, marked how.
    func prepare(to destination: SocketAddress, from source: IPAddress?, segmentSize: Int?, ecn: ECN) {
        sendHeader.pointee.msg_namelen = SystemAddress.store(destination, at: sendName.memory)
        var control = SentControl(sendControl)
        if let segmentSize { control.segmentSize(segmentSize) }
        isSegmented = segmentSize != nil
        if let source { control.source(source) }
        if ecn != .notCapable { control.ecn(ecn, isV6: destination.ip.isV6) }
        sendHeader.pointee.msg_control = control.count > 0 ? sendControl : nil
        sendHeader.pointee.msg_controllen = control.count
    }

    /// Sends `bytes` as was prepared. Returns 0 or the error's number.
    func send(_ bytes: UnsafeRawBufferPointer, through descriptor: Int32) -> Int32 {
        if isSegmented, segmentRefusal != 0 { return segmentRefusal }
        // The kernel only reads.
        sendVector.pointee = iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
        while sendmsg(descriptor, sendHeader, Int32(MSG_NOSIGNAL)) < 0 {
            if errno != EINTR { return errno }
        }
        return 0
    }
}
