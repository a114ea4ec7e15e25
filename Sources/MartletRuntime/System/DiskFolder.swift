internal import CLinux
internal import Glibc
internal import MartletWire

/// A directory, and what is done in it; each call blocks. It is opened, and locked, when it is first needed.
///
/// It is `@unchecked Sendable` because one thread at a time uses it: the store's worker, and after that has ended
/// whoever closes it.
final class DiskFolder: @unchecked Sendable {
    /// The name under which a file is written before it takes its place.
    static let replacing = ".replacing"
    /// No file above this is read, whatever the caller allows.
    private static let longest = 1 << 30

    private let path: String
    private var opened: OpenDescriptor?

    /// The directory at `path`, which is made, for its owner alone, where it is missing.
    init(path: String) {
        self.path = path
    }

    func close() { opened = nil }

    func read(_ path: DiskPath, maximum: Int) throws(FileError) -> Bytes? {
        let maximum = min(maximum, Self.longest)
        guard let parent = try directory(path.directories) else { return nil }
        // Opening must not wait for the other end of a pipe that has this name.
        let file = openat(parent.number, path.name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw FileError(number: errno)
        }
        let opened = OpenDescriptor(file)
        let status = try opened.status()
        guard status.st_mode & S_IFMT == S_IFREG else { throw .system(EINVAL, "not a regular file") }
        guard status.st_size <= maximum else { throw .tooLarge }
        var writer = Writer(capacity: Int(status.st_size) + 1)
        while true {
            // One more than may be there, to notice a file that grows meanwhile.
            let room = min(max(writer.capacity - writer.count, 4096), maximum + 1 - writer.count)
            let before = writer.count
            try writer.append(upTo: room) { buffer throws(FileError) in
                try opened.retrying { Glibc.read(opened.number, buffer.baseAddress, buffer.count) }
            }
            if writer.count > maximum { throw .tooLarge }
            if writer.count == before { return writer.finish() }
        }
    }

    func replace(_ path: DiskPath, with bytes: Bytes, isPrivate: Bool) throws(FileError) {
        let parent = try madeDirectory(path.directories)
        // What a crash may have left. Only this store writes here, so the name is free afterwards.
        unlinkat(parent.number, Self.replacing, 0)
        let mode: mode_t = isPrivate ? 0o600 : 0o644
        let file = openat(parent.number, Self.replacing, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        if file < 0 { throw FileError(number: errno) }
        let opened = OpenDescriptor(file)
        do throws(FileError) {
            try opened.write(bytes)
            try opened.synchronize()
            guard renameat(parent.number, Self.replacing, parent.number, path.name) == 0 else {
                throw FileError(number: errno)
            }
        } catch {
            unlinkat(parent.number, Self.replacing, 0)
            throw error
        }
        try parent.synchronize()
    }

    func append(_ bytes: Bytes, to path: DiskPath) throws(FileError) {
        let parent = try madeDirectory(path.directories)
        let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK
        let file = openat(parent.number, path.name, flags, 0o600 as mode_t)
        if file < 0 { throw FileError(number: errno) }
        let opened = OpenDescriptor(file)
        let before = try opened.status().st_size
        do throws(FileError) {
            try opened.write(bytes)
        } catch {
            // A log with half an entry is worse than one without; where even this fails, half an entry it is.
            _ = ftruncate(opened.number, before)
            throw error
        }
        try opened.synchronize()
        // It may have been made just now, and then its name has to reach the disk as well.
        if before == 0 { try parent.synchronize() }
    }

    func remove(_ path: DiskPath) throws(FileError) {
        guard let parent = try directory(path.directories) else { return }
        if unlinkat(parent.number, path.name, 0) < 0 {
            if errno == ENOENT { return }
            throw FileError(number: errno)
        }
        try parent.synchronize()
    }

    func move(_ path: DiskPath, to other: DiskPath) throws(FileError) {
        guard let parent = try directory(path.directories) else { return }
        let otherParent = try madeDirectory(other.directories)
        if renameat(parent.number, path.name, otherParent.number, other.name) < 0 {
            if errno == ENOENT { return }
            throw FileError(number: errno)
        }
        try otherParent.synchronize()
        try parent.synchronize()
    }

    func place(of path: DiskPath) throws(FileError) -> String {
        _ = try madeDirectory(path.directories)
        return ([self.path] + path.directories + [path.name]).joined(separator: "/")
    }

    func list(_ path: DiskPath?) throws(FileError) -> [String] {
        guard let opened = try directory(path.map { $0.directories + [$0.name] } ?? ["."]) else { return [] }
        let copy = fcntl(opened.number, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0, let stream = fdopendir(copy) else { throw FileError(number: errno) }
        defer { closedir(stream) }
        var names: [String] = []
        errno = 0
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { name in
                String(validating: name.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let name, name != ".", name != "..", name != Self.replacing { names.append(name) }
            errno = 0
        }
        if errno != 0 { throw FileError(number: errno) }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    // MARK: Directories

    /// The directory that `names` lead to, or `nil` where one is missing.
    private func directory(_ names: [String]) throws(FileError) -> OpenDescriptor? {
        var opened = try root()
        for name in names {
            let next = openat(opened.number, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard next >= 0 else {
                if errno == ENOENT { return nil }
                throw FileError(number: errno)
            }
            opened = OpenDescriptor(next)
        }
        return opened
    }

    /// The same, with what is missing made.
    private func madeDirectory(_ names: [String]) throws(FileError) -> OpenDescriptor {
        var opened = try root()
        for name in names {
            if mkdirat(opened.number, name, 0o700) == 0 {
                try opened.synchronize()
            } else if errno != EEXIST {
                throw FileError(number: errno)
            }
            let next = openat(opened.number, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            if next < 0 { throw FileError(number: errno) }
            opened = OpenDescriptor(next)
        }
        return opened
    }

    private func root() throws(FileError) -> OpenDescriptor {
        if let opened { return opened }
        guard !path.isEmpty, !path.utf8.contains(0) else { throw .badPath }
        if mkdir(path, 0o700) < 0, errno != EEXIST { throw FileError(number: errno) }
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if descriptor < 0 { throw FileError(number: errno) }
        let directory = OpenDescriptor(descriptor)
        // Two nodes with one identity would be worse than none. File systems that know no locks let everyone in.
        if flock(descriptor, LOCK_EX | LOCK_NB) < 0, errno == EWOULDBLOCK {
            throw .system(EWOULDBLOCK, "another process uses the directory")
        }
        opened = directory
        return directory
    }
}

/// A descriptor that is closed when it is let go.
private final class OpenDescriptor {
    let number: Int32

    init(_ number: Int32) { self.number = number }

    deinit { Glibc.close(number) }

    func status() throws(FileError) -> stat {
        var status = stat()
        if fstat(number, &status) < 0 { throw FileError(number: errno) }
        return status
    }

    func write(_ bytes: Bytes) throws(FileError) {
        try bytes.withUnsafeBytes { buffer throws(FileError) in
            var written = 0
            while written < buffer.count {
                let rest = UnsafeRawBufferPointer(rebasing: buffer[written...])
                written += try retrying { Glibc.write(number, rest.baseAddress, rest.count) }
            }
        }
    }

    func synchronize() throws(FileError) {
        _ = try retrying { Int(fsync(number)) }
    }

    /// Calls again what a signal broke off.
    func retrying(_ call: () -> Int) throws(FileError) -> Int {
        while true {
            let result = call()
            if result >= 0 { return result }
            if errno != EINTR { throw FileError(number: errno) }
        }
    }
}
