internal import CLinux
internal import Glibc
public import MartletWire

/// The files in one directory of this machine.
///
/// Everything happens on one thread, in the order in which it was asked for, and is on the disk when it returns. A
/// path is names joined by `/`; directories on the way are made when a file is written. Symbolic links that somebody
/// put into the directory are followed. One store at a time uses a directory: it holds a lock on it.
///
/// A file is replaced by way of `.replacing` beside it, a name that therefore no path may have. Where the conversation
/// is cancelled, what it asked for has either not begun or is finished all the same.
public final class DiskFiles: FileStore {
    private let loop: EventLoop
    private let workers = Workers(name: "martlet-disk", threads: 1)
    private let folder: DiskFolder

    /// The files in the directory `path`, for conversations on `loop`. The directory is opened with the first call;
    /// where it is missing it is made then, for its owner alone, and where another store uses it every call fails.
    public init(directory path: String, on loop: EventLoop) {
        folder = DiskFolder(path: path)
        self.loop = loop
    }

    /// How many threads there are now.
    var threads: Int { workers.threads }

    /// Finishes what was asked for, ends the thread and unlocks the directory. Later calls fail with `cancelled`.
    public func shutdown() {
        workers.shutdown(.finish)
        folder.close()
    }

    /// The whole of a file, or `nil` where there is none. Fails with `tooLarge` above `maximum` bytes.
    public nonisolated(nonsending) func read(_ path: String, maximum: Int) async throws(FileError) -> Bytes? {
        let path = try DiskPath(path)
        return try await onDisk { folder throws(FileError) in try folder.read(path, maximum: maximum) }
    }

    /// Puts `bytes` in the place of a file, or makes it; after a crash at any moment there is the old or the new one.
    public nonisolated(nonsending) func replace(
        _ path: String, with bytes: Bytes, isPrivate: Bool
    ) async throws(FileError) {
        let path = try DiskPath(path)
        try await onDisk { folder throws(FileError) in try folder.replace(path, with: bytes, isPrivate: isPrivate) }
    }

    /// Adds `bytes` to the end of a file, or makes it. What could not be added whole is taken back.
    public nonisolated(nonsending) func append(_ bytes: Bytes, to path: String) async throws(FileError) {
        let path = try DiskPath(path)
        try await onDisk { folder throws(FileError) in try folder.append(bytes, to: path) }
    }

    /// Removes a file. That there was none is no error.
    public nonisolated(nonsending) func remove(_ path: String) async throws(FileError) {
        let path = try DiskPath(path)
        try await onDisk { folder throws(FileError) in try folder.remove(path) }
    }

    /// Gives a file another name, and takes the place of what had that. That there was no such file is no error.
    public nonisolated(nonsending) func move(_ path: String, to other: String) async throws(FileError) {
        let (path, other) = (try DiskPath(path), try DiskPath(other))
        try await onDisk { folder throws(FileError) in try folder.move(path, to: other) }
    }

    /// Where the file `path` stands on this machine, as the store's directory was named; directories on the way are
    /// made.
    public nonisolated(nonsending) func place(of path: String) async throws(FileError) -> String? {
        let path = try DiskPath(path)
        return try await onDisk { folder throws(FileError) in try folder.place(of: path) }
    }

    /// The names in a directory, in ascending order of their bytes; none where there is no such directory. The empty
    /// path is the store's own directory. Names that are not UTF-8 are left out.
    public nonisolated(nonsending) func list(_ path: String) async throws(FileError) -> [String] {
        let path = path.isEmpty ? nil : try DiskPath(path)
        return try await onDisk { folder throws(FileError) in try folder.list(path) }
    }

    private nonisolated(nonsending) func onDisk<Result: Sendable>(
        _ work: @escaping @Sendable (DiskFolder) throws(FileError) -> Result
    ) async throws(FileError) -> Result {
        do {
            return try await workers.run(on: loop) { [folder] in try work(folder) }
        } catch let error as FileError {
            throw error
        } catch WorkersError.overloaded {
            throw .system(EAGAIN, "too many files wait to be read or written")
        } catch WorkersError.noThread(let number) {
            throw FileError(number: number)
        } catch {
            throw .cancelled
        }
    }
}

/// A path inside a store: names that are none of the ways out.
struct DiskPath: Sendable {
    /// The names of the directories on the way.
    var directories: [String]
    /// The file's own name.
    var name: String

    init(_ text: String) throws(FileError) {
        var names = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let isGood = names.allSatisfy {
            !$0.isEmpty && $0 != "." && $0 != ".." && $0 != DiskFolder.replacing && !$0.utf8.contains(0)
                && $0.utf8.count <= 255
        }
        guard isGood, names.count <= 16 else { throw .badPath }
        name = names.removeLast()
        directories = names
    }
}

extension FileError {
    /// What an error number of the system means for a file.
    init(number: Int32) {
        switch number {
        case ENOSPC, EDQUOT, EFBIG: self = .full
        case EACCES, EPERM, EROFS: self = .notPermitted
        default: self = .system(number, String(cString: strerror(number)))
        }
    }
}
