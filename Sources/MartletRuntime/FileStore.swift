public import MartletWire

/// The files of an environment: small whole files and logs that grow. Paths are relative to its directory.
///
/// All of it happens away from the loop, and in the order in which it was asked for.
public protocol FileStore: AnyObject, Sendable {
    /// The whole of a file, or `nil` where there is none. Fails with `tooLarge` above `maximum` bytes.
    nonisolated(nonsending) func read(_ path: String, maximum: Int) async throws(FileError) -> Bytes?

    /// Puts `bytes` in the place of a file, or makes it. After a crash at any moment there is the old or the new one,
    /// whole. Only its owner can read it where it `isPrivate`.
    nonisolated(nonsending) func replace(_ path: String, with bytes: Bytes, isPrivate: Bool) async throws(FileError)

    /// Adds `bytes` to the end of a file, or makes it. After a crash a part of them may be there.
    nonisolated(nonsending) func append(_ bytes: Bytes, to path: String) async throws(FileError)

    /// Removes a file. That there was none is no error.
    nonisolated(nonsending) func remove(_ path: String) async throws(FileError)

    /// Gives a file another name, and takes the place of what had that. That there was no such file is no error.
    nonisolated(nonsending) func move(_ path: String, to other: String) async throws(FileError)

    /// Where the file `path` stands on this machine, for a library that opens files by itself; directories on the way
    /// are made. `nil` where these files are on no disk of this machine, as those of a simulated host.
    nonisolated(nonsending) func place(of path: String) async throws(FileError) -> String?

    /// The names in a directory, in ascending order; none where there is no such directory. The empty path is the
    /// store's own directory.
    nonisolated(nonsending) func list(_ path: String) async throws(FileError) -> [String]
}

/// Why a file could not be read or written.
public enum FileError: Error, Hashable, Sendable {
    /// The disk is full, or the quota is.
    case full
    /// This process may not.
    case notPermitted
    /// It is larger than the caller allows.
    case tooLarge
    /// The path leads out of the store, or is empty.
    case badPath
    /// The conversation was cancelled, or the environment has been shut down.
    case cancelled
    /// Another error of the system, by its number and its words.
    case system(Int32, String)
}
