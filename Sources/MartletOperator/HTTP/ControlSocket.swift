internal import Glibc

/// The right to be the one node of a folder, and where that node is talked to: a socket for this user alone.
///
/// The right is a lock that the system takes back when the process ends in whatever way, so that a socket that was
/// left behind never looks like a node that runs. It lasts until `release`.
public final class ControlSocket: Sendable {
    /// Where the socket is.
    public let path: String
    private let lock: Int32
    let descriptor: Int32

    /// What a node's socket is called in its folder.
    public static let usualName = "control.sock"

    /// What is locked in a node's folder as long as it runs.
    public static let lockName = "node.lock"

    /// Takes the lock of the folder `folder` and makes the socket at `path`. Throws `alreadyRunning` where another process
    /// has the lock.
    public init(of folder: String, path: String) throws(OperatorError) {
        self.path = path
        let lockPath = folder + "/" + Self.lockName
        lock = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard lock >= 0 else {
            throw OperatorError(.file, "the file \(lockPath) cannot be made: \(wordsOfErrno())")
        }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let owner = Self.owner(in: lock)
            close(lock)
            throw OperatorError(
                .alreadyRunning,
                "a node runs already with these files"
                    + (owner.map { " (process \($0.process)); it is talked to at \($0.path), as by `martlet status`" }
                        ?? "")
                    + ". Stop it first, or choose another folder with --data-dir")
        }
        do throws(OperatorError) {
            descriptor = try ListeningSocket.unix(path)
        } catch {
            close(lock)
            throw error
        }
        let text = Array("\(getpid()) \(path)\n".utf8)
        ftruncate(lock, 0)
        _ = pwrite(lock, text, text.count, 0)
    }

    /// Takes the socket's file away and gives the right back. The socket itself is closed by its server.
    public func release() {
        unlink(path)
        ftruncate(lock, 0)
        close(lock)
    }

    /// Does the same where there never was a server.
    public func abandon() {
        release()
        close(descriptor)
    }

    /// The process that has the lock, and where it is talked to, as it wrote it.
    private static func owner(in descriptor: Int32) -> (process: Int, path: String)? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        let line = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).prefix { !$0.isNewline }
        let words = line.split(separator: " ", maxSplits: 1)
        guard words.count == 2, let process = Int(words[0]) else { return nil }
        return (process, String(words[1]))
    }
}
