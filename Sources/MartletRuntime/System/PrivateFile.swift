internal import CLinux
internal import Glibc

/// A small file that its owner alone may read, as one that holds a key. Reading and making it block for a moment.
public struct PrivateFile: Sendable {
    /// Why it cannot be used.
    public struct Failure: Error, Hashable, Sendable {
        /// The end of a sentence that begins with the file: `can be read by others (mode 644); …`.
        public var words: String
    }

    private let path: String

    /// The file at `path`.
    public init(_ path: String) { self.path = path }

    /// Lends what the file holds, at most `maximum` bytes, to `body`; its memory is wiped afterwards. Where there is no file,
    /// it is made with `fresh`, and its folders with it; where somebody else is faster, theirs stays. One that others can
    /// read is refused.
    public func read<Value>(
        orMake fresh: RawSpan, maximum: Int, _ body: (RawSpan) -> Value
    ) throws(Failure) -> Value {
        if let value = try read(maximum, body) { return value }
        try make(fresh)
        guard let value = try read(maximum, body) else { throw Failure(words: "is gone again") }
        return value
    }

    private func read<Value>(_ maximum: Int, _ body: (RawSpan) -> Value) throws(Failure) -> Value? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw failure("cannot be read")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Failure(words: "is no file")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw Failure(
                words: "can be read by others (mode \(String(status.st_mode & 0o777, radix: 8))), so that its key may"
                    + " not be yours alone; remove it for a new one, or if you trust it: chmod 600 '\(path)'")
        }
        guard status.st_size > 0, status.st_size <= maximum else { throw Failure(words: "holds no key") }
        let count = Int(status.st_size)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 8)
        defer {
            explicit_bzero(memory, count)
            memory.deallocate()
        }
        guard Glibc.read(descriptor, memory, count) == count else { throw Failure(words: "cannot be read as a whole") }
        return body(unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: memory, count: count)))
    }

    /// Makes the file, whole or not at all.
    private func make(_ bytes: RawSpan) throws(Failure) {
        makeFolders()
        var random = SystemRandomNumberGenerator()
        let draft = path + ".\(String(random.next(), radix: 16))"
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("cannot be made") }
        defer { unlink(draft) }
        let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        let isWhole = written == bytes.byteCount && fsync(descriptor) == 0
        close(descriptor)
        guard isWhole, link(draft, path) == 0 || errno == EEXIST else { throw failure("cannot be made") }
    }

    /// Makes the folders on the way, as far as they are missing. Where that fails, making the file does as well.
    private func makeFolders() {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        var folder = ""
        for (index, part) in parts.enumerated() {
            folder += index == 0 ? String(part) : "/" + part
            if !folder.isEmpty { mkdir(folder, 0o700) }
        }
    }

    private func failure(_ what: String) -> Failure { Failure(words: "\(what): \(String(cString: strerror(errno)))") }
}
