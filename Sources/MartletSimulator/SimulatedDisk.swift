public import MartletRuntime
public import MartletWire

/// What a simulated host keeps while it is off: files in memory, and the ways in which a disk can fail.
public final class SimulatedDisk {
    /// The most bytes that all files together may have.
    public var capacity = Int.max
    /// Every write fails with this error, where it is set.
    public var writeFailure: FileError?
    /// Every read fails with this error, where it is set.
    public var readFailure: FileError?
    /// The longest that an operation takes; drawn evenly.
    public var latency = Duration.milliseconds(5)
    /// The files, by path.
    public private(set) var files: [String: Bytes] = [:]
    private var random: SeededRandom

    init(random: SeededRandom) { self.random = random }

    /// How many bytes all files have.
    public var used: Int { files.values.reduce(0) { $0 + $1.count } }

    /// Puts a file on the disk, or takes one away, as someone does who has the disk in hand.
    public func set(_ path: String, to contents: Bytes?) { files[path] = contents }

    func delay() -> Duration { random.duration(upTo: latency) }

    func replace(_ path: String, _ contents: Bytes) throws(FileError) {
        if let writeFailure { throw writeFailure }
        guard used - (files[path]?.count ?? 0) + contents.count <= capacity else { throw .full }
        files[path] = contents
    }

    func append(_ path: String, _ contents: Bytes) throws(FileError) {
        if let writeFailure { throw writeFailure }
        guard used + contents.count <= capacity else { throw .full }
        var writer = Writer(capacity: (files[path]?.count ?? 0) + contents.count)
        writer.bytes(files[path] ?? Bytes())
        writer.bytes(contents)
        files[path] = writer.finish()
    }

    /// The host was switched off while `contents` were being added: a part of them, drawn, made it.
    func tear(_ path: String, _ contents: Bytes) {
        let part = contents.slice(0..<Int.random(in: 0...contents.count, using: &random))
        // A disk that is full or broken keeps what it had, torn or not.
        try? append(path, part)
    }
}

/// The files of a simulated host, as its environment shows them. Operations take a while, one after the other; what
/// the host was killed in the middle of has happened wholly, or not at all, or for `append` in part.
///
/// It is `@unchecked Sendable` because a world runs on one thread at a time.
final class SimulatedFiles: FileStore, @unchecked Sendable {
    private let life: HostLife
    private let disk: SimulatedDisk
    private let loop: EventLoop
    private var freeAt = Instant.start

    init(of host: Host, life: HostLife, loop: EventLoop) {
        self.life = life
        self.loop = loop
        disk = host.disk
    }

    nonisolated(nonsending) func read(_ path: String, maximum: Int) async throws(FileError) -> Bytes? {
        try check(path)
        try await turn {}
        if let failure = disk.readFailure { throw failure }
        guard let contents = disk.files[path] else { return nil }
        guard contents.count <= maximum else { throw .tooLarge }
        return contents
    }

    nonisolated(nonsending) func replace(
        _ path: String, with bytes: Bytes, isPrivate: Bool
    ) async throws(FileError) {
        try check(path)
        try await turn {}
        try disk.replace(path, bytes)
    }

    nonisolated(nonsending) func append(_ bytes: Bytes, to path: String) async throws(FileError) {
        try check(path)
        try await turn { self.disk.tear(path, bytes) }
        try disk.append(path, bytes)
    }

    nonisolated(nonsending) func remove(_ path: String) async throws(FileError) {
        try check(path)
        try await turn {}
        if let failure = disk.writeFailure { throw failure }
        disk.set(path, to: nil)
    }

    nonisolated(nonsending) func move(_ path: String, to other: String) async throws(FileError) {
        try check(path)
        try check(other)
        try await turn {}
        if let failure = disk.writeFailure { throw failure }
        guard let contents = disk.files[path] else { return }
        disk.set(path, to: nil)
        disk.set(other, to: contents)
    }

    /// Always `nil`: what is on a simulated disk is reached through these files alone.
    nonisolated(nonsending) func place(of path: String) async throws(FileError) -> String? {
        try check(path)
        try await turn {}
        return nil
    }

    nonisolated(nonsending) func list(_ path: String) async throws(FileError) -> [String] {
        if !path.isEmpty { try check(path) }
        try await turn {}
        if let failure = disk.readFailure { throw failure }
        let prefix = path.isEmpty ? "" : path + "/"
        let names = disk.files.keys.filter { $0.hasPrefix(prefix) }.map { name in
            String(name.dropFirst(prefix.count).prefix { $0 != "/" })
        }
        return Set(names).sorted()
    }

    private func check(_ path: String) throws(FileError) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard !path.isEmpty, !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else { throw .badPath }
    }

    /// Waits for the disk. `onDeath` is done instead of the operation where the host is killed meanwhile.
    private nonisolated(nonsending) func turn(onDeath: () -> Void) async throws(FileError) {
        guard life.host != nil else { throw .cancelled }
        freeAt = max(freeAt, loop.now) + disk.delay()
        let done = freeAt
        do {
            try await loop.sleep(until: done)
        } catch {
            if life.host == nil { onDeath() }
            throw .cancelled
        }
    }
}
