internal import Glibc

extension NetworkError.Reason {
    /// What the system means by the error `number`.
    init(errno number: Int32) {
        switch number {
        case ECONNREFUSED: self = .refused
        case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN: self = .unreachable
        case ETIMEDOUT: self = .timedOut
        case ECONNRESET, EPIPE, ECONNABORTED: self = .reset
        case EBADF: self = .closed
        case EADDRINUSE: self = .addressInUse
        case EADDRNOTAVAIL: self = .addressNotAvailable
        case EACCES, EPERM: self = .notPermitted
        case EMFILE, ENFILE, ENOMEM, ENOBUFS, EAGAIN: self = .exhausted
        default: self = .system(number, wordsOfError(number))
        }
    }

    /// What the system's call that has just failed says.
    static func ofErrno() -> NetworkError.Reason { NetworkError.Reason(errno: errno) }
}

/// The system's words for the error `number`.
func wordsOfError(_ number: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
        let start = buffer.baseAddress.unsafelyUnwrapped
        guard strerror_r(number, start, buffer.count) == 0 else { return "unknown error" }
        return String(cString: start)
    }
}
