import Foundation
import Glibc

/// Where a command's results go. Nothing else writes there, so that no result is lost unnoticed: each is written whole and
/// at once, and whatever keeps it from being written ends the command.
enum StandardOutput {
    /// Writes `text` and the end of the line.
    static func line(_ text: String) throws(OutputError) {
        try write(Data("\(text)\n".utf8))
    }

    /// Writes `bytes` as they are.
    static func write(_ bytes: Data) throws(OutputError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Whoever gave it to this program reads without waiting, and so made it one that does not wait either.
                var wanted = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
                _ = poll(&wanted, 1, -1)
            case EPIPE: throw .readerLeft
            case let number: throw .failed(String(cString: strerror(number)))
            }
        }
    }
}

/// Why a result could not be written.
enum OutputError: Error, CustomStringConvertible {
    /// Nobody reads any more, as when `head` has seen enough. That ends a command and is no failure of it.
    case readerLeft
    /// The system says why.
    case failed(String)

    var description: String {
        switch self {
        case .readerLeft: "nobody reads its output"
        case .failed(let words): "its output cannot be written: \(words)"
        }
    }
}

/// Where everything goes that is said beside a command's results.
enum StandardError {
    /// Writes `text` and the end of the line.
    static func line(_ text: String) { write("\(text)\n") }

    /// Writes `text`. If that fails, there is nobody left to be told.
    static func write(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}
