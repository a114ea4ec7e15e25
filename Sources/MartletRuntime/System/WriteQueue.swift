internal import CLinux
internal import Glibc
internal import MartletWire

/// What waits to be written to a TCP connection, in the order in which it will leave.
struct WriteQueue: ~Copyable {
    /// How many pieces leave in one call of the system.
    private static let gatherLimit = 64

    private var pieces = Ring<Bytes>()
    /// How many bytes wait.
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(_ bytes: Bytes) {
        count += bytes.count
        pieces.append(bytes)
    }

    mutating func removeAll() {
        pieces = Ring()
        count = 0
    }

    /// What came of a `flush`.
    enum Outcome {
        /// Nothing is left.
        case empty
        /// The kernel has no room for the rest.
        case full
        /// The system's error.
        case failed(Int32)
    }

    /// Hands as much to the kernel as it takes.
    mutating func flush(to descriptor: Int32) -> Outcome {
        while count > 0 {
            let (offered, sent) = pieces.count == 1 ? sendFirst(to: descriptor) : gather(to: descriptor)
            if sent >= 0 {
                drop(sent)
                // The kernel takes less than it is offered when it has no more room, and says so when it has again.
                if sent < offered { return .full }
            } else if errno == EAGAIN {
                return .full
            } else if errno != EINTR {
                return .failed(errno)
            }
        }
        return .empty
    }

    private func sendFirst(to descriptor: Int32) -> (offered: Int, sent: Int) {
        let piece = pieces[0]
        return piece.withUnsafeBytes { buffer in
            (buffer.count, send(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL)))
        }
    }

    private func gather(to descriptor: Int32) -> (offered: Int, sent: Int) {
        let number = min(pieces.count, Self.gatherLimit)
        return withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.gatherLimit) { vectors in
            var offered = 0
            for position in 0..<number {
                // The queue holds on to the bytes, so they stay where they are beyond this call, and the kernel only
                // reads them.
                vectors[position] = pieces[position].withUnsafeBytes { buffer in
                    iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count)
                }
                offered += vectors[position].iov_len
            }
            var header = msghdr()
            header.msg_iov = vectors.baseAddress
            header.msg_iovlen = number
            return (offered, sendmsg(descriptor, &header, Int32(MSG_NOSIGNAL)))
        }
    }

    private mutating func drop(_ sent: Int) {
        count -= sent
        var left = sent
        while left > 0 {
            let first = pieces[0].count
            guard left >= first else {
                pieces[0] = pieces[0].slice(left..<first)
                return
            }
            _ = pieces.popFirst()
            left -= first
        }
    }
}
