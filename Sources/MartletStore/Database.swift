internal import MartletRuntime
internal import MartletWire

/// A database on disk or in memory: one connection that writes and a pool of those that read. Every call blocks, and
/// comes from any thread.
///
/// Readers of a file see the last batch that was written whole, and neither wait for the writer nor make it wait. A
/// database in memory has its one connection for both.
final class Database: Sendable {
    private let path: String?
    private let readersKept: Int
    // Held for as long as a batch takes; but only one conversation writes, so nobody on a loop waits for it.
    private let writer: Lock<ChangeWriter?>
    private let readers = Lock<[SQLiteConnection]>([])
    /// The version that the schema had; 0 for a new one.
    let foundVersion: Int

    /// Opens the file at `path`, makes it where it is missing, and brings it up to date.
    init(path: String, limits: StoreLimits) throws(StoreError) {
        let connection = try SQLiteConnection(path: path, isReader: false)
        foundVersion = try Schema.prepare(connection, isFile: true)
        try connection.limit(to: limits.fileSize + limits.fileSlack)
        writer = Lock(try ChangeWriter(connection, limits: limits))
        self.path = path
        readersKept = limits.readers
    }

    /// A database in memory, with the content of the file `image` where that is not empty.
    init(image: Bytes, limits: StoreLimits) throws(StoreError) {
        let connection = try SQLiteConnection(image: image)
        foundVersion = try Schema.prepare(connection, isFile: false)
        try connection.limit(to: limits.fileSize + limits.fileSlack)
        writer = Lock(try ChangeWriter(connection, limits: limits))
        path = nil
        readersKept = 0
    }

    /// Does all of `batch`, or nothing.
    func write(_ batch: [Work]) throws(StoreError) -> BatchOutcome {
        try writer.withLock { writer throws(StoreError) in
            guard let writer else { throw .closed }
            return try writer.write(batch)
        }
    }

    /// Asks the database something.
    func read<Answer>(_ question: (PeerReader) throws(StoreError) -> Answer) throws(StoreError) -> Answer {
        guard let path else {
            return try writer.withLock { writer throws(StoreError) in
                guard let writer else { throw .closed }
                return try question(PeerReader(connection: writer.connection))
            }
        }
        let kept = readers.withLock { $0.popLast() }
        let connection = if let kept { kept } else { try SQLiteConnection(path: path, isReader: true) }
        let answer = try question(PeerReader(connection: connection))
        // One that failed is let go instead.
        readers.withLock { if $0.count < readersKept { $0.append(connection) } }
        return answer
    }

    /// How many bytes the database has, free ones included.
    func size() throws(StoreError) -> Int {
        try read { reader throws(StoreError) in try reader.connection.size() }
    }

    /// The whole database as the bytes of a file.
    func image() throws(StoreError) -> Bytes {
        try read { reader throws(StoreError) in try reader.connection.image() }
    }

    /// Closes all connections; the last one of a file takes the log of changes into it. Reading that is under way is
    /// finished first.
    func close() {
        readers.withLock { $0 = [] }
        writer.withLock { $0 = nil }
    }
}
