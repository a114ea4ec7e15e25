import Foundation
import Martlet

/// The file that a person's key is kept in, for that person alone: libp2p's protobuf encoding, in a file of mode 0600.
struct IdentityFile {
    /// Longer than any key that is taken.
    private static let longest = 16 << 10

    private let path: String

    /// Where it is by itself: `identity` in the folder `martlet` of where the system keeps what belongs to programs.
    static var usual: String {
        let home = ProcessInfo.processInfo.environment
        let data = home["XDG_DATA_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        return (data ?? NSHomeDirectory() + "/.local/share") + "/martlet/identity"
    }

    init(_ path: String) { self.path = path }

    /// The key in the file. Where there is no file, it is made with a new key.
    func key() throws(IdentityError) -> PrivateKey {
        if let key = try read() { return key }
        try make()
        guard let key = try read() else { throw error("is gone again") }
        return key
    }

    private func read() throws(IdentityError) -> PrivateKey? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw error("cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw error("is no file") }
        guard status.st_mode & 0o077 == 0 else {
            throw error(
                "can be read by others (mode \(String(status.st_mode & 0o777, radix: 8))), so that its key may not be"
                    + " yours alone; remove it for a new one, or if you trust it: chmod 600 '\(path)'")
        }
        guard status.st_size > 0, status.st_size <= Self.longest else { throw error("holds no key") }
        var count = 0
        let secret = Secret(count: Int(status.st_size)) { count = Glibc.read(descriptor, $0.baseAddress, $0.count) }
        guard count == secret.count else { throw error("cannot be read as a whole") }
        do throws(KeyError) {
            return try PrivateKey(protobuf: secret.span)
        } catch {
            throw self.error("holds no key: \(error)")
        }
    }

    /// Makes the file with a new key, whole or not at all; where somebody else is faster, theirs stays.
    private func make() throws(IdentityError) {
        let folder = (path as NSString).deletingLastPathComponent
        do {
            if !folder.isEmpty {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            }
        } catch {
            throw self.error("cannot be made: \(error.localizedDescription)")
        }
        var random = SystemRandomNumberGenerator()
        let secret = PrivateKey.ed25519(using: &random).protobuf
        let draft = path + ".\(String(random.next(), radix: 16))"
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw error("cannot be made: \(String(cString: strerror(errno)))") }
        defer { unlink(draft) }
        let written = secret.span.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        let isWhole = written == secret.count && fsync(descriptor) == 0
        close(descriptor)
        guard isWhole, link(draft, path) == 0 || errno == EEXIST else {
            throw error("cannot be made: \(String(cString: strerror(errno)))")
        }
    }

    private func error(_ what: String) -> IdentityError { IdentityError(description: "the key's file \(path) \(what)") }
}

/// Why there is no key, as a sentence.
struct IdentityError: Error, CustomStringConvertible {
    let description: String
}
